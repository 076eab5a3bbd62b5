//! Fork and exec: the one place that runs code between the two.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use nix::libc;
use rustix::process::{Pid, Signal};
use rustix::thread::{Gid, Uid};

use crate::launch::Launch;
use crate::streams::Ends;
use crate::user::User;

/// The command did not start.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SpawnError {
    /// The kernel took the program for none. The command's own fault: 126 or 127.
    #[error("cannot run `{program}`")]
    Exec {
        /// As in the spec.
        program: String,
        /// 127 if it is not there, else 126.
        code: i32,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The user's ids were refused.
    #[error("cannot become the command's user")]
    User(#[source] io::Error),
    /// The workspace cannot be entered.
    #[error("cannot enter the workspace")]
    Directory(#[source] io::Error),
    /// No process, no thread, no memory.
    #[error("cannot start a process")]
    Process(#[source] io::Error),
}

/// What a child does before exec, told apart in the one number that comes back from it.
#[derive(Clone, Copy)]
enum Stage {
    Process = 1,
    Directory = 2,
    User = 3,
}

/// Errors of a stage come back as `stage * STAGE + errno`.
const STAGE: i32 = 10_000;

/// Starts the command in a session of its own. The child dies with the calling thread, which must live as long
/// as it does.
pub(crate) fn spawn(launch: &Launch, [stdout, stderr]: Ends) -> Result<Pid, SpawnError> {
    let stdin = launch.stdin.try_clone().map_err(SpawnError::Process)?;
    let mut command = Command::new(&launch.program);
    command
        .args(&launch.arguments)
        .env_clear()
        .envs(&launch.environment)
        .stdin(Stdio::from(stdin))
        .stdout(Stdio::from(stdout))
        .stderr(Stdio::from(stderr));
    prepare_child(&mut command, Child::of(launch)?);
    match command.spawn() {
        Ok(child) => i32::try_from(child.id())
            .ok()
            .and_then(Pid::from_raw)
            .ok_or_else(|| SpawnError::Process(io::ErrorKind::Other.into())),
        Err(error) => Err(explain(error, launch)),
    }
}

fn explain(error: io::Error, launch: &Launch) -> SpawnError {
    let raw = error.raw_os_error().unwrap_or_default();
    let errno = io::Error::from_raw_os_error(raw % STAGE);
    match raw / STAGE {
        stage if stage == Stage::Process as i32 => SpawnError::Process(errno),
        stage if stage == Stage::Directory as i32 => SpawnError::Directory(errno),
        stage if stage == Stage::User as i32 => SpawnError::User(errno),
        _ if matches!(
            raw,
            libc::EAGAIN | libc::ENOMEM | libc::EMFILE | libc::ENFILE
        ) =>
        {
            SpawnError::Process(error)
        }
        _ => {
            let missing = error.kind() == io::ErrorKind::NotFound || !launch.is_found();
            let program = launch.program.to_string_lossy().into_owned();
            SpawnError::Exec {
                program,
                code: if missing { 127 } else { 126 },
                source: error,
            }
        }
    }
}

/// What the child needs, made before the fork: after it nothing may allocate.
struct Child {
    directory: CString,
    user: Option<(User, Vec<Gid>)>,
    script: Option<RawFd>,
}

impl Child {
    fn of(launch: &Launch) -> Result<Self, SpawnError> {
        let directory = CString::new(launch.directory.as_os_str().as_bytes())
            .map_err(|error| SpawnError::Directory(error.into()))?;
        let user = launch.user.clone().map(|user| {
            let groups = user.groups.iter().map(|&gid| Gid::from_raw(gid)).collect();
            (user, groups)
        });
        let script = launch.script.as_ref().and_then(|script| script.inherited());
        Ok(Self {
            directory,
            user,
            script: script.map(AsRawFd::as_raw_fd),
        })
    }

    fn prepare(&self) -> io::Result<()> {
        let at = |stage: Stage| {
            move |error: rustix::io::Errno| {
                io::Error::from_raw_os_error(stage as i32 * STAGE + error.raw_os_error())
            }
        };
        rustix::process::setsid().map_err(at(Stage::Process))?;
        rustix::process::chdir(&*self.directory).map_err(at(Stage::Directory))?;
        if let Some((user, groups)) = &self.user {
            let (uid, gid) = (Uid::from_raw(user.uid), Gid::from_raw(user.gid));
            // Of this thread: the only one that a forked child has.
            rustix::thread::set_thread_groups(groups).map_err(at(Stage::User))?;
            rustix::thread::set_thread_res_gid(gid, gid, gid).map_err(at(Stage::User))?;
            rustix::thread::set_thread_res_uid(uid, uid, uid).map_err(at(Stage::User))?;
        }
        // After the change of user, which would undo it.
        rustix::process::set_parent_process_death_signal(Some(Signal::KILL))
            .map_err(at(Stage::Process))
    }
}

/// `struct sigaction` as the kernel has it: handler, flags, restorer, mask. All zeros are SIG_DFL.
type KernelAction = [u64; 4];

static DEFAULT: KernelAction = [0; 4];

/// Bytes of a signal set.
const SIGNAL_SET: usize = 8;

#[expect(
    unsafe_code,
    reason = "what runs between fork and exec can be checked by nobody but us"
)]
fn prepare_child(command: &mut Command, child: Child) {
    let prepare = move || {
        // The kernel's own call: the library's refuses the two signals it keeps for itself, which may be ignored all
        // the same.
        for signal in 1..=libc::SIGRTMAX() {
            let none = std::ptr::null::<KernelAction>();
            // SAFETY: reads a static of the length the kernel asks for, and is asked to write nowhere.
            unsafe {
                libc::syscall(
                    libc::SYS_rt_sigaction,
                    signal,
                    &raw const DEFAULT,
                    none,
                    SIGNAL_SET,
                );
            }
        }
        // SAFETY: a plain system call on numbers. Descriptors are marked to be closed, not closed, so that the one
        // through which std reports a failed exec still works.
        unsafe {
            libc::syscall(
                libc::SYS_close_range,
                3,
                u32::MAX,
                libc::CLOSE_RANGE_CLOEXEC,
            );
        }
        if let Some(script) = child.script {
            // SAFETY: a plain system call on numbers; it unmarks a descriptor that the command is to read.
            unsafe {
                libc::fcntl(script, libc::F_SETFD, 0);
            }
        }
        child.prepare()
    };
    // SAFETY: the closure makes system calls only: it takes no lock and allocates nothing.
    unsafe {
        command.pre_exec(prepare);
    }
}
