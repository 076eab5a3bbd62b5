//! An attempt as a process, watched until it and all it started are gone.

use std::ffi::{CString, OsString};
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use fs_err as fs;
use rustix::fs::{Mode, OFlags};
use rustix::process::{Pid, Resource, Rlimit, WaitId, WaitIdOptions, getrlimit, setrlimit, waitid};
use tokio::sync::watch;

use super::attempt::{Cause, Ended, GRACE};
use super::process::{self, Marks};
use super::state::Stop;

/// A process to be started.
pub(crate) struct Launch {
    pub(crate) argv: Vec<OsString>,
    pub(crate) environment: Vec<(OsString, OsString)>,
    pub(crate) marks: Vec<(&'static str, String)>,
    pub(crate) log: PathBuf,
    pub(crate) core_files: Option<u64>,
}

impl Launch {
    /// Runs it to its end, or says why it could not be started.
    pub(crate) async fn run(
        self,
        timeout: Duration,
        mut stop: watch::Receiver<Stop>,
    ) -> io::Result<(Cause, Ended)> {
        let (log, marks) = (self.log.clone(), self.marks.clone());
        let spawning = tokio::task::spawn_blocking(move || self.spawn());
        let child = spawning.await.map_err(io::Error::other)??;
        let pid = child.id();
        let mut exited = tokio::task::spawn_blocking(move || wait_unreaped(pid));
        let cause = tokio::select! {
            _ = &mut exited => Cause::Own,
            () = tokio::time::sleep(timeout) => Cause::Timeout,
            _ = stop.wait_for(|stop| *stop != Stop::Go) => Cause::Stop,
        };
        if cause != Cause::Own {
            process::terminate(pid);
            let _ = tokio::time::timeout(GRACE, &mut exited).await;
        }
        let reaping =
            tokio::task::spawn_blocking(move || end(child, &Marks::of_attempt(pid, &log, &marks)));
        let status = reaping.await.map_err(io::Error::other)??;
        let ended = Ended {
            exit_code: status.code(),
            signal: status.signal(),
        };
        Ok((cause, ended))
    }

    fn spawn(self) -> io::Result<Child> {
        if let Some(directory) = self.log.parent() {
            fs::create_dir_all(directory)?;
        }
        let log = CString::new(self.log.into_os_string().into_vec())?;
        let mut words = self.argv.into_iter();
        let program = words
            .next()
            .ok_or_else(|| io::Error::other("there is no command"))?;
        let mut command = Command::new(&program);
        command.args(words).env_clear().envs(self.environment);
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        set_apart(&mut command, log, self.core_files);
        command.spawn().map_err(|failure| {
            io::Error::new(
                failure.kind(),
                format!("cannot start `{}`: {failure}", program.display()),
            )
        })
    }
}

/// Gives the process a session of its own, by which its descendants are known even when their parents are gone, and the
/// log to write to. The log is opened by the process itself: a descriptor of ours would be seen, between fork and exec, in
/// every task that happens to start at that moment, and would mark it as something that this process has left behind.
#[expect(
    unsafe_code,
    reason = "std can neither call setsid nor open a file in the child"
)]
fn set_apart(command: &mut Command, log: CString, core_files: Option<u64>) {
    let set_apart = move || {
        rustix::process::setsid()?;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::CLOEXEC;
        let log = rustix::fs::open(log.as_c_str(), flags, Mode::from_raw_mode(0o666))?;
        rustix::stdio::dup2_stdout(&log)?;
        rustix::stdio::dup2_stderr(&log)?;
        if core_files.is_some() {
            let limit = Rlimit {
                current: core_files,
                ..getrlimit(Resource::Core)
            };
            setrlimit(Resource::Core, limit)?;
        }
        Ok(())
    };
    // SAFETY: setsid, open, dup2, getrlimit, setrlimit and close are async-signal-safe, and nothing is allocated.
    unsafe {
        command.pre_exec(set_apart);
    }
}

/// Blocks until the process has ended, and leaves it to be reaped, so that its number stays its own.
fn wait_unreaped(pid: u32) {
    let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) else {
        return;
    };
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
    while let Err(rustix::io::Errno::INTR) = waitid(WaitId::Pid(pid), options) {}
}

fn end(mut child: Child, marks: &Marks) -> io::Result<ExitStatus> {
    process::end_all(marks);
    child.wait()
}
