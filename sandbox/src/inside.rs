//! The new process, from its first moment to the program that it becomes.
//!
//! System calls only: it may be the copy of one thread of many, with locks held for ever by threads that are no more.

use std::ffi::{CStr, CString, OsStr, OsString};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;

use nix::sys::signal::{SigSet, Signal};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{MountFlags, MountPropagationFlags, UnmountFlags};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::thread::{CapabilitySet, CapabilitySets};

use crate::plan::Step;
use crate::{Error, kernel};

/// What the new process becomes.
pub(crate) struct Program {
    path: CString,
    argv: kernel::Strings,
    env: kernel::Strings,
    core_files: Option<u64>,
}

impl Program {
    pub(crate) fn new(argv: &[OsString], env: &[(OsString, OsString)]) -> Result<Self, Error> {
        let argv = argv
            .iter()
            .map(|argument| c_string(argument, "argument"))
            .collect::<Result<Vec<_>, _>>()?;
        let path = argv
            .first()
            .cloned()
            .ok_or(Error::Unpassable { what: "name" })?;
        let env = env.iter().map(|(name, value)| {
            let mut pair = name.clone();
            pair.push("=");
            pair.push(value);
            c_string(&pair, "environment")
        });
        let env = kernel::Strings::new(env.collect::<Result<Vec<_>, _>>()?);
        Ok(Self {
            path,
            argv: kernel::Strings::new(argv),
            env,
            core_files: None,
        })
    }

    pub(crate) fn with_core_files(self, core_files: Option<u64>) -> Self {
        Self { core_files, ..self }
    }

    pub(crate) fn name(&self) -> String {
        self.path.to_string_lossy().into_owned()
    }
}

fn c_string(value: &OsStr, what: &'static str) -> Result<CString, Error> {
    CString::new(value.as_bytes()).map_err(|_| Error::Unpassable { what })
}

/// How far the new process came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Its user, its own mount table and the empty root: what a kernel refuses when it refuses namespaces.
    Enter,
    /// The step with this number.
    Step(u16),
    /// Leaving the host's root behind.
    Leave,
    /// Giving up what it may do.
    Disarm,
    /// Becoming the program.
    Execute,
}

/// Where it stopped, and the kernel's answer, as the bytes that go through the pipe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) stage: Stage,
    pub(crate) errno: i32,
}

impl Failure {
    pub(crate) const LEN: usize = 7;

    fn to_bytes(self) -> [u8; Self::LEN] {
        let (kind, step) = match self.stage {
            Stage::Enter => (0, 0),
            Stage::Step(step) => (1, step),
            Stage::Leave => (2, 0),
            Stage::Disarm => (3, 0),
            Stage::Execute => (4, 0),
        };
        let [low, high] = step.to_le_bytes();
        let [a, b, c, d] = self.errno.to_le_bytes();
        [kind, low, high, a, b, c, d]
    }

    pub(crate) fn from_bytes([kind, low, high, a, b, c, d]: [u8; Self::LEN]) -> Self {
        let stage = match kind {
            0 => Stage::Enter,
            1 => Stage::Step(u16::from_le_bytes([low, high])),
            2 => Stage::Leave,
            3 => Stage::Disarm,
            _ => Stage::Execute,
        };
        Self {
            stage,
            errno: i32::from_le_bytes([a, b, c, d]),
        }
    }
}

/// What to do inside.
pub(crate) struct Inside<'a> {
    /// The lines that make this process user and group 1000.
    pub(crate) uid_map: &'a [u8],
    pub(crate) gid_map: &'a [u8],
    pub(crate) steps: &'a [Step],
    /// None: only to see whether the steps work.
    pub(crate) program: Option<&'a Program>,
    /// Told of a failure. Closes by itself when the program starts, and tells by its other end that the parent lives.
    pub(crate) pipe: OwnedFd,
}

impl Inside<'_> {
    /// Does it all. Ends the process or becomes the program.
    pub(crate) fn go(&self) -> ! {
        let Err(failure) = self.try_go() else {
            kernel::leave(0)
        };
        // With the parent gone, nobody is there to be told.
        let _ = rustix::io::write(&self.pipe, &failure.to_bytes());
        kernel::leave(1)
    }

    fn try_go(&self) -> Result<(), Failure> {
        let at = |stage| {
            move |errno: Errno| Failure {
                stage,
                errno: errno.raw_os_error(),
            }
        };
        self.die_with_parent().map_err(at(Stage::Enter))?;
        self.enter().map_err(at(Stage::Enter))?;
        for (number, step) in (0..).zip(self.steps) {
            step.take().map_err(at(Stage::Step(number)))?;
        }
        let Some(program) = self.program else {
            return Ok(());
        };
        leave_host().map_err(at(Stage::Leave))?;
        disarm().map_err(at(Stage::Disarm))?;
        self.die_with_parent().map_err(at(Stage::Disarm))?;
        limit_core_files(program.core_files).map_err(at(Stage::Disarm))?;
        let error = kernel::execute(&program.path, &program.argv, &program.env);
        Err(Failure {
            stage: Stage::Execute,
            errno: error.raw_os_error().unwrap_or_default(),
        })
    }

    /// Asks for KILL when the parent dies, then makes sure that it did not die before. Its number cannot tell: seen
    /// from a new PID namespace it is 0 either way. The pipe can: the parent alone holds the other end.
    fn die_with_parent(&self) -> Result<(), Errno> {
        rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))?;
        let mut pipe = [PollFd::from_borrowed_fd(
            self.pipe.as_fd(),
            PollFlags::empty(),
        )];
        poll(&mut pipe, Some(&Timespec::default()))?;
        if pipe[0].revents().contains(PollFlags::ERR) {
            kernel::leave(1);
        }
        Ok(())
    }

    fn enter(&self) -> Result<(), Errno> {
        write_file(c"/proc/self/setgroups", b"deny")?;
        write_file(c"/proc/self/uid_map", self.uid_map)?;
        write_file(c"/proc/self/gid_map", self.gid_map)?;
        rustix::process::umask(Mode::empty());
        rustix::mount::mount_change(
            c"/",
            MountPropagationFlags::PRIVATE | MountPropagationFlags::REC,
        )?;
        // Any directory that is sure to exist: it is covered until the roots change places, then bare again.
        rustix::mount::mount(
            c"tmpfs",
            c"/usr",
            c"tmpfs",
            MountFlags::NOSUID | MountFlags::NODEV,
            c"mode=0755,size=1m",
        )?;
        rustix::fs::mkdir(c"/usr/old", Mode::from_raw_mode(0o755))?;
        rustix::fs::mkdir(c"/usr/new", Mode::from_raw_mode(0o755))?;
        rustix::process::pivot_root(c"/usr", c"/usr/old")?;
        rustix::process::chdir(c"/")
    }
}

impl Step {
    fn take(&self) -> Result<(), Errno> {
        let memory = MountFlags::NOSUID | MountFlags::NODEV;
        match self {
            Self::Directory { at, mode } => {
                unless_exists(rustix::fs::mkdir(at.as_c_str(), Mode::from_raw_mode(*mode)))
            }
            Self::File { at, content } => make_file(at, content),
            Self::Link { at, target } => {
                unless_exists(rustix::fs::symlink(target.as_c_str(), at.as_c_str()))
            }
            Self::Memory { at, options } => rustix::mount::mount(
                c"tmpfs",
                at.as_c_str(),
                c"tmpfs",
                memory,
                options.as_c_str(),
            ),
            Self::Processes { at } => rustix::mount::mount(
                c"proc",
                at.as_c_str(),
                c"proc",
                memory | MountFlags::NOEXEC,
                None,
            ),
            Self::Terminals { at } => {
                let options = c"newinstance,ptmxmode=0666,mode=0620";
                let _ = rustix::mount::mount(
                    c"devpts",
                    at.as_c_str(),
                    c"devpts",
                    MountFlags::NOSUID | MountFlags::NOEXEC,
                    options,
                );
                Ok(())
            }
            Self::Bind { from, at } => {
                rustix::mount::mount_bind_recursive(from.as_c_str(), at.as_c_str())
            }
            Self::ReadOnlyTree { at } => {
                kernel::make_tree_read_only(at).map_err(|error| errno_of(&error))
            }
            Self::Remount { at, flags } => {
                rustix::mount::mount_remount(at.as_c_str(), *flags | MountFlags::BIND, c"")
            }
        }
    }
}

fn unless_exists(made: Result<(), Errno>) -> Result<(), Errno> {
    if made == Err(Errno::EXIST) {
        Ok(())
    } else {
        made
    }
}

fn errno_of(error: &io::Error) -> Errno {
    Errno::from_io_error(error).unwrap_or(Errno::IO)
}

fn make_file(at: &CStr, content: &[u8]) -> Result<(), Errno> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let file = rustix::fs::openat(CWD, at, flags, Mode::from_raw_mode(0o644))?;
    write_all(&file, content)
}

fn write_file(at: &CStr, content: &[u8]) -> Result<(), Errno> {
    let file = rustix::fs::openat(CWD, at, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())?;
    write_all(&file, content)
}

fn write_all(file: &OwnedFd, mut content: &[u8]) -> Result<(), Errno> {
    while !content.is_empty() {
        let written = rustix::io::write(file, content)?;
        content = content.get(written..).unwrap_or_default();
    }
    Ok(())
}

/// The new root becomes the root, and the host's is let go.
fn leave_host() -> Result<(), Errno> {
    rustix::mount::unmount(c"/old", UnmountFlags::DETACH)?;
    rustix::process::chdir(c"/new")?;
    rustix::process::pivot_root(c".", c".")?;
    rustix::mount::unmount(c".", UnmountFlags::DETACH)?;
    rustix::process::chdir(c"/workspace")
}

fn limit_core_files(soft: Option<u64>) -> Result<(), Errno> {
    if soft.is_none() {
        return Ok(());
    }
    let limit = Rlimit {
        current: soft,
        ..getrlimit(Resource::Core)
    };
    setrlimit(Resource::Core, limit)
}

/// No capability, no way to one, no terminal and no keyring of the caller's.
fn disarm() -> Result<(), Errno> {
    rustix::system::sethostname(b"sortie")?;
    // Fails for a group leader, which a new process is not.
    rustix::process::setsid()?;
    kernel::leave_keyring();
    rustix::process::umask(Mode::from_raw_mode(0o022));
    rustix::thread::set_no_new_privs(true)?;
    rustix::thread::clear_ambient_capability_set()?;
    for capability in CapabilitySet::all().iter() {
        // A kernel older than the newest capability does not know it.
        let dropped = rustix::thread::remove_capability_from_bounding_set(capability);
        if !matches!(dropped, Ok(()) | Err(Errno::INVAL)) {
            return dropped;
        }
    }
    let none = CapabilitySet::empty();
    rustix::thread::set_capabilities(
        None,
        CapabilitySets {
            effective: none,
            permitted: none,
            inheritable: none,
        },
    )?;
    kernel::close_all_on_exec();
    kernel::default_action(Signal::SIGPIPE);
    SigSet::empty()
        .thread_set_mask()
        .map_err(|errno| Errno::from_raw_os_error(errno as i32))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_survives_the_pipe() {
        for stage in [
            Stage::Enter,
            Stage::Step(513),
            Stage::Leave,
            Stage::Disarm,
            Stage::Execute,
        ] {
            let failure = Failure { stage, errno: 13 };
            assert_eq!(Failure::from_bytes(failure.to_bytes()), failure);
        }
    }
}
