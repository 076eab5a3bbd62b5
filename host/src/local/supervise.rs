//! Waits for a child in place of its parent, which signals us.

use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::Command;

use nix::sys::signal::{SigSet, SigmaskHow, Signal, kill, pthread_sigmask};

use crate::error::Error;

/// Waits for a child, handing it the signals that mean the container; `terminated` is called at the first SIGTERM.
pub(super) fn supervise(mut command: Command, terminated: impl FnOnce()) -> Result<i32, Error> {
    let signals: SigSet = [
        Signal::SIGTERM,
        Signal::SIGINT,
        Signal::SIGHUP,
        Signal::SIGCHLD,
    ]
    .into_iter()
    .collect();
    let failed = |error: nix::Error| Error::local("cannot supervise the task", error);
    let mut before = SigSet::empty();
    // Blocked before the child exists, so that its end cannot be missed.
    pthread_sigmask(SigmaskHow::SIG_BLOCK, Some(&signals), Some(&mut before)).map_err(failed)?;
    die_with_parent_and(&mut command, before);
    crate::core_files::give_back(&mut command);
    let mut child = command
        .spawn()
        .map_err(|error| Error::local("cannot start the task", error))?;
    let pid = nix::unistd::Pid::from_raw(child.id().cast_signed());
    let mut terminated = Some(terminated);
    loop {
        if let Some(status) = child
            .try_wait()
            .map_err(|error| Error::local("cannot wait for the task", error))?
        {
            return Ok(status
                .code()
                .unwrap_or_else(|| 128 + status.signal().unwrap_or(0)));
        }
        let signal = signals.wait().map_err(failed)?;
        if signal != Signal::SIGCHLD {
            let _ = kill(pid, signal);
        }
        if signal == Signal::SIGTERM
            && let Some(terminated) = terminated.take()
        {
            terminated();
        }
    }
}

/// The child unblocks what we blocked, and does not outlive a killed container.
#[expect(
    unsafe_code,
    reason = "between fork and exec only async-signal-safe calls are made"
)]
fn die_with_parent_and(command: &mut Command, mask: nix::sys::signal::SigSet) {
    let restore = move || {
        nix::sys::prctl::set_pdeathsig(nix::sys::signal::Signal::SIGKILL)?;
        mask.thread_set_mask()?;
        Ok(())
    };
    // SAFETY: prctl and sigprocmask are async-signal-safe; nothing is allocated.
    unsafe {
        command.pre_exec(restore);
    }
}
