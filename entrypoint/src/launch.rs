//! The command as it will be executed: argv, environment, standard input.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::io::{self, Seek, SeekFrom, Write};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::path::{Path, PathBuf};

use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};
use tempfile::NamedTempFile;
use wire::contract::{ByteString, Command, Spec};

use crate::user::{self, User};

/// Out of the way of the descriptors that scripts number themselves, and of those that shells take.
const SCRIPT_FD: RawFd = 100;

/// Everything that stands before the fork.
#[derive(Debug)]
pub(crate) struct Launch {
    /// Found in the environment's `PATH` if it has no slash.
    pub(crate) program: OsString,
    /// Without the program.
    pub(crate) arguments: Vec<OsString>,
    /// The whole of it.
    pub(crate) environment: BTreeMap<OsString, OsString>,
    /// Where it runs.
    pub(crate) directory: PathBuf,
    /// Whom to become.
    pub(crate) user: Option<User>,
    /// What it reads.
    pub(crate) stdin: OwnedFd,
    /// The text of a shell command.
    pub(crate) script: Option<Script>,
}

/// Shell text as a file outside the user's tree.
#[derive(Debug)]
pub(crate) enum Script {
    /// In memory, inherited by the shell.
    Memory(OwnedFd),
    /// Where there is no `/proc` to name the other by; removed with this value.
    File(NamedTempFile),
}

/// Where all commands of a task run.
#[derive(Debug)]
pub(crate) struct Scene {
    /// What the container gives.
    inherited: BTreeMap<OsString, OsString>,
    /// What the spec says.
    given: BTreeMap<OsString, OsString>,
    directory: PathBuf,
}

impl Scene {
    /// The spec's, with what the container's environment gives it.
    pub(crate) fn new(
        spec: &Spec,
        inherited: BTreeMap<OsString, OsString>,
        directory: &Path,
    ) -> Self {
        let plain = spec.env.iter();
        let plain = plain.map(|(name, value)| (name.into(), value.as_os_str().to_owned()));
        let absolute = |path: &ByteString| directory.join(path.as_os_str()).into_os_string();
        let paths = spec.workspace_env.iter();
        let paths = paths.map(|(name, path)| (name.into(), absolute(path)));
        Self {
            inherited,
            given: plain.chain(paths).collect(),
            directory: directory.to_owned(),
        }
    }

    /// Prepares a command for a user, or for whoever we are.
    pub(crate) fn launch(
        &self,
        command: Command,
        stdin: Option<ByteString>,
        user: Option<&User>,
    ) -> io::Result<Launch> {
        let (program, arguments, script) = match command {
            Command::Argv(argv) => {
                let mut argv = argv.iter().map(|argument| argument.as_os_str().to_owned());
                (argv.next().unwrap_or_default(), argv.collect(), None)
            }
            Command::Shell(text) => {
                let script = Script::new(&text.0, user)?;
                ("/bin/sh".into(), vec![script.path()], Some(script))
            }
        };
        Ok(Launch {
            program,
            arguments,
            environment: self.environment(user),
            directory: self.directory.clone(),
            user: user.cloned(),
            stdin: self::stdin(stdin)?,
            script,
        })
    }

    /// What the container gives, then what follows from the user, then what the spec says.
    fn environment(&self, user: Option<&User>) -> BTreeMap<OsString, OsString> {
        let mut environment = self.inherited.clone();
        match user {
            Some(user) => {
                environment.insert("HOME".into(), home(user, &self.directory).into());
                for name in ["USER", "LOGNAME"] {
                    match &user.name {
                        Some(user) => environment.insert(name.into(), user.into()),
                        None => environment.remove(OsStr::new(name)),
                    };
                }
            }
            None if !environment.contains_key(OsStr::new("HOME")) => {
                let home = user::own_home().filter(|home| home.is_dir());
                let home = home.unwrap_or_else(|| self.directory.clone());
                environment.insert("HOME".into(), home.into());
            }
            None => {}
        }
        environment.extend(self.given.clone());
        environment
    }
}

impl Launch {
    /// Whether any directory of `PATH` has the program: tells a command that is not there from one that may not
    /// be executed, as a shell does.
    pub(crate) fn is_found(&self) -> bool {
        let slash = self.program.as_encoded_bytes().contains(&b'/');
        let path = self.environment.get(OsStr::new("PATH"));
        slash
            || path.is_some_and(|path| {
                std::env::split_paths(path).any(|directory| directory.join(&self.program).is_file())
            })
    }
}

impl Script {
    fn new(text: &[u8], user: Option<&User>) -> io::Result<Self> {
        if Path::new("/proc/self/fd").exists() {
            let file = sealed("sortie-command", text)?;
            let script = rustix::io::fcntl_dupfd_cloexec(&file, SCRIPT_FD)?;
            return Ok(Self::Memory(script));
        }
        let mut file = tempfile::Builder::new()
            .prefix("sortie-command-")
            .tempfile()?;
        file.write_all(text)?;
        if let Some(user) = user {
            std::os::unix::fs::fchown(&file, Some(user.uid), Some(user.gid))?;
        }
        Ok(Self::File(file))
    }

    fn path(&self) -> OsString {
        match self {
            Self::Memory(file) => format!("/proc/self/fd/{}", file.as_raw_fd()).into(),
            Self::File(file) => file.path().into(),
        }
    }

    /// The descriptor that the shell must inherit.
    pub(crate) fn inherited(&self) -> Option<&OwnedFd> {
        match self {
            Self::Memory(file) => Some(file),
            Self::File(_) => None,
        }
    }
}

/// A file in memory that nobody can change: of any size, and no thread need feed it.
fn sealed(name: &str, content: &[u8]) -> io::Result<OwnedFd> {
    let file = memfd_create(name, MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
    let mut file = std::fs::File::from(file);
    file.write_all(content)?;
    file.seek(SeekFrom::Start(0))?;
    fcntl_add_seals(
        &file,
        SealFlags::WRITE | SealFlags::GROW | SealFlags::SHRINK | SealFlags::SEAL,
    )?;
    Ok(file.into())
}

fn stdin(content: Option<ByteString>) -> io::Result<OwnedFd> {
    match content {
        Some(content) => sealed("sortie-stdin", &content.0),
        // An image with nothing in it has no /dev/null.
        None => match std::fs::File::open("/dev/null") {
            Ok(null) => Ok(null.into()),
            Err(_) => sealed("sortie-stdin", b""),
        },
    }
}

/// A user without a home of its own has the workspace, which it can at least write.
fn home(user: &User, directory: &Path) -> PathBuf {
    user.home
        .clone()
        .filter(|home| home.is_dir())
        .unwrap_or_else(|| directory.to_owned())
}
