//! The real binary, doing one task of a run.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use archive::{Links, Policy, Refuse, Unpacker};
use base64::Engine;
use rustix::process::{Pid, Signal, kill_process};
use sha2::{Digest, Sha256};
use tempfile::TempDir;
use wire::contract::{Archive, Captured, Claim, Document, Report, Spec};
use wire::names::{AttemptObjects, RunId, Stream};

use crate::site::{BUCKET, Site};

/// What the entrypoint is started with.
pub(crate) struct Task<'a> {
    site: &'a Site,
    pub(crate) run: RunId,
    command: Command,
    pub(crate) directory: TempDir,
}

impl<'a> Task<'a> {
    pub(crate) fn new(site: &'a Site, spec: Spec) -> Self {
        Self::of_run(site, site.run(spec))
    }

    pub(crate) fn of_run(site: &'a Site, run: RunId) -> Self {
        Self::under(
            site,
            run,
            &[OsStr::new(env!("CARGO_BIN_EXE_sortie-entrypoint"))],
        )
    }

    /// Started by way of another program.
    pub(crate) fn under(site: &'a Site, run: RunId, argv: &[&OsStr]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut command = Command::new(argv[0]);
        command
            .args(&argv[1..])
            .env_clear()
            .env("PATH", "/usr/local/bin:/usr/bin:/bin")
            .env("SORTIE_RUN", format!("gs://{BUCKET}/{}", run.start(0)))
            .env("SORTIE_WORKSPACE", directory.path().join("workspace"))
            .env("STORAGE_EMULATOR_HOST", &site.storage)
            .env("GCE_METADATA_HOST", &site.metadata)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        Self {
            site,
            run,
            command,
            directory,
        }
    }

    pub(crate) fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    /// The container's own streams go nowhere.
    pub(crate) fn quiet(mut self) -> Self {
        self.command.stdout(Stdio::null()).stderr(Stdio::null());
        self
    }

    pub(crate) fn workspace(&self) -> PathBuf {
        self.directory.path().join("workspace")
    }

    pub(crate) fn start(mut self) -> Started<'a> {
        let child = self.command.spawn().unwrap();
        Started {
            task: self,
            child: Some(child),
        }
    }

    pub(crate) fn finish(self) -> Finished<'a> {
        self.start().finish()
    }
}

/// An entrypoint under way; killed with this value.
pub(crate) struct Started<'a> {
    pub(crate) task: Task<'a>,
    child: Option<Child>,
}

impl<'a> Started<'a> {
    pub(crate) fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.as_ref().unwrap().id()).unwrap();
        kill_process(Pid::from_raw(pid).unwrap(), signal).unwrap();
    }

    /// Watches it to its end, and tells how much memory it held at the most, in bytes.
    pub(crate) fn peak(&self) -> u64 {
        let status = format!("/proc/{}/status", self.child.as_ref().unwrap().id());
        let mut peak = 0;
        // A zombie has a status, and no memory.
        while let Some(kibibytes) = high_water(&std::fs::read_to_string(&status).unwrap()) {
            peak = peak.max(kibibytes << 10);
            std::thread::sleep(Duration::from_millis(10));
        }
        peak
    }

    /// Waits for a file of the workspace.
    pub(crate) fn until(&self, path: &str) -> PathBuf {
        let path = self.task.workspace().join(path);
        until(|| path.exists(), &path.display().to_string());
        path
    }

    pub(crate) fn finish(mut self) -> Finished<'a> {
        let output = self.child.take().unwrap().wait_with_output().unwrap();
        let Task {
            site,
            run,
            directory,
            ..
        } = self.take_task();
        Finished {
            site,
            run,
            output,
            directory,
        }
    }

    fn take_task(mut self) -> Task<'a> {
        let empty = Task {
            site: self.task.site,
            run: self.task.run,
            command: Command::new("/nonexistent"),
            directory: tempfile::tempdir().unwrap(),
        };
        std::mem::replace(&mut self.task, empty)
    }
}

impl Drop for Started<'_> {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn high_water(status: &str) -> Option<u64> {
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix(" kB")?.parse().ok()
}

/// Polls; a test that waits in vain fails instead of hanging.
pub(crate) fn until(mut condition: impl FnMut() -> bool, what: &str) {
    for _ in 0..3000 {
        if condition() {
            return;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    panic!("waited in vain for {what}");
}

/// An entrypoint that has ended.
pub(crate) struct Finished<'a> {
    site: &'a Site,
    pub(crate) run: RunId,
    pub(crate) output: Output,
    pub(crate) directory: TempDir,
}

impl Finished<'_> {
    pub(crate) fn code(&self) -> i32 {
        // Shown if the test fails.
        println!(
            "{}: {}",
            self.output.status,
            String::from_utf8_lossy(&self.output.stderr)
        );
        self.output.status.code().unwrap()
    }

    pub(crate) fn workspace(&self) -> PathBuf {
        self.directory.path().join("workspace")
    }

    /// The one report, whose key fits the claim.
    pub(crate) fn report(&self) -> Report {
        Report::from_json(&self.site.get(&self.objects().report())).unwrap()
    }

    pub(crate) fn metadata(&self) -> std::collections::BTreeMap<String, String> {
        let name = self.objects().report();
        self.site
            .wait(self.site.bucket.stat(&name))
            .unwrap()
            .metadata
    }

    pub(crate) fn objects(&self) -> AttemptObjects {
        let reports = self.site.list(&self.run.reports());
        let [name] = &reports[..] else {
            panic!("{reports:?} {:?}", self.output)
        };
        let objects = AttemptObjects::from_report(self.run, name).unwrap();
        let claim = Claim::from_json(&self.site.get(&objects.claim())).unwrap();
        let digest = Sha256::digest(objects.key.as_bytes());
        let hex: String = digest
            .iter()
            .flat_map(|byte| [byte >> 4, byte & 15])
            .map(|digit| char::from_digit(digit.into(), 16).unwrap())
            .collect();
        assert_eq!(claim.key_sha256, hex);
        objects
    }

    /// Everything the command wrote to a stream, from wherever it is.
    pub(crate) fn stream(&self, stream: Stream) -> Vec<u8> {
        let report = self.report();
        let captured: Captured = match stream {
            Stream::Stdout => report.stdout,
            Stream::Stderr => report.stderr,
        };
        assert_eq!(captured.lost, 0);
        let bytes = match captured.inline {
            Some(inline) => inline.0,
            None => self.chunks(stream, captured.chunks),
        };
        assert_eq!(bytes.len() as u64, captured.bytes);
        bytes
    }

    fn chunks(&self, wanted: Stream, count: u32) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut found = 0;
        let names = self.site.list(&self.objects().logs());
        for (next, name) in names.iter().enumerate() {
            let (_, sequence, stream) = AttemptObjects::from_log(self.run, name).unwrap();
            assert_eq!(sequence as usize, next, "one sequence for both streams");
            if stream == wanted {
                found += 1;
                bytes.extend_from_slice(&self.site.get(name));
            }
        }
        assert_eq!(found, count);
        bytes
    }

    pub(crate) fn stdout(&self) -> String {
        String::from_utf8(self.stream(Stream::Stdout)).unwrap()
    }

    pub(crate) fn stderr(&self) -> String {
        String::from_utf8(self.stream(Stream::Stderr)).unwrap()
    }

    /// The outputs, unpacked as they came.
    pub(crate) fn outputs(&self) -> TempDir {
        let gzip = match self.report().outputs.archive {
            Archive::None => panic!("no outputs: {:?}", self.report()),
            Archive::Inline(text) => base64::engine::general_purpose::STANDARD
                .decode(text)
                .unwrap(),
            Archive::Object {
                size, generation, ..
            } => {
                let name = self.objects().outputs();
                let meta = self.site.wait(self.site.bucket.stat(&name)).unwrap();
                assert_eq!((meta.size, meta.generation), (size, generation));
                self.site.get(&name).to_vec()
            }
        };
        unpack(&gzip)
    }
}

pub(crate) fn unpack(gzip: &[u8]) -> TempDir {
    let target = tempfile::tempdir().unwrap();
    let policy = Policy {
        keep_mtimes: true,
        refuse: Refuse::Fail,
        links: Links::Keep,
        max_entries: u64::MAX,
        max_directory_names: u64::MAX,
        max_bytes: u64::MAX,
        owner: None,
    };
    let unpacker = Unpacker::new(target.path(), policy).unwrap();
    unpacker.unpack(gzip).unwrap();
    unpacker.finish().unwrap();
    target
}

/// Names, kinds, permission bits and contents of a tree.
pub(crate) fn tree(root: &Path) -> Vec<(OsString, char, u32, Vec<u8>)> {
    use std::os::unix::fs::PermissionsExt;
    let mut found = Vec::new();
    let mut directories = vec![root.to_owned()];
    while let Some(directory) = directories.pop() {
        for entry in std::fs::read_dir(&directory).unwrap() {
            let path = entry.unwrap().path();
            let name = path.strip_prefix(root).unwrap().as_os_str().to_owned();
            let metadata = path.symlink_metadata().unwrap();
            let mode = metadata.permissions().mode() & 0o777;
            if metadata.is_dir() {
                found.push((name, 'd', mode, Vec::new()));
                directories.push(path);
            } else if metadata.is_symlink() {
                let target = std::fs::read_link(&path).unwrap();
                found.push((name, 'l', 0, target.into_os_string().into_encoded_bytes()));
            } else {
                found.push((name, 'f', mode, std::fs::read(&path).unwrap()));
            }
        }
    }
    found.sort();
    found
}
