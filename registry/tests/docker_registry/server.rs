use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

/// bcrypt, of the name that goes with an access token and of [`TOKEN`].
const PASSWORDS: &str =
    "oauth2accesstoken:$2b$05$abcdefghijklmnopqrstuuSDjfNGgDV/jl2nooPoFmmqMrufqZfM6\n";

pub(crate) const TOKEN: &str = "a-token";

/// Debian's `docker-registry`, on a port of its own, with an empty storage.
pub(crate) struct Server {
    child: Child,
    _data: TempDir,
    pub(crate) host: String,
}

impl Server {
    pub(crate) fn open() -> Self {
        Self::start(false)
    }

    /// One that wants a name and a password.
    pub(crate) fn closed() -> Self {
        Self::start(true)
    }

    fn start(closed: bool) -> Self {
        let data = tempfile::tempdir().unwrap();
        let root = data.path().display();
        std::fs::write(data.path().join("passwords"), PASSWORDS).unwrap();
        let mut config = format!(
            "version: 0.1\nlog: {{level: info}}\nstorage: {{filesystem: {{rootdirectory: {root}/blobs}}}}\n\
             http: {{addr: '127.0.0.1:0', secret: s}}\n"
        );
        if closed {
            let passwords = format!("{{htpasswd: {{realm: r, path: {root}/passwords}}}}");
            config = format!("{config}auth: {passwords}\n");
        }
        let file = data.path().join("config.yml");
        std::fs::write(&file, config).unwrap();
        let mut child = Command::new("docker-registry")
            .arg("serve")
            .arg(file)
            .stderr(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .expect("`docker-registry` is Debian's package of that name");
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let host = lines.find_map(|line| {
            let line = line.unwrap();
            let (_, rest) = line.split_once("listening on ")?;
            Some(rest.split('"').next().unwrap().to_owned())
        });
        // Whoever does not read its log stops it.
        std::thread::spawn(move || lines.for_each(drop));
        Self {
            child,
            _data: data,
            host: host.unwrap(),
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
