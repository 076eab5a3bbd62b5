//! The process that stays outside: it starts the new one, passes signals on and waits.

use std::fs::File;
use std::io;
use std::io::Read as _;
use std::os::fd::OwnedFd;

use nix::errno::Errno;
use nix::sys::signal::{SigSet, Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use rustix::pipe::{PipeFlags, pipe_with};

use crate::inside::{Failure, Inside, Program, Stage};
use crate::kernel::Side;
use crate::plan::{self, Step};
use crate::{Error, Refused, UID, host, kernel};

/// Passed on to the program. Stop and the terminal's own stops are between us and our shell.
const FORWARDED: [Signal; 9] = [
    Signal::SIGTERM,
    Signal::SIGINT,
    Signal::SIGHUP,
    Signal::SIGQUIT,
    Signal::SIGCONT,
    Signal::SIGTSTP,
    Signal::SIGUSR1,
    Signal::SIGUSR2,
    Signal::SIGWINCH,
];

/// See [`crate::check`].
pub(crate) fn check() -> Result<(), Refused> {
    let plan = plan::probe().map_err(|error| Refused::Missing(io::Error::other(error)))?;
    match start(&plan, None) {
        Ok(child) => reap(child),
        Err(Error::Refused(refused)) => return Err(refused),
        Err(other) => return Err(Refused::Missing(io::Error::other(other))),
    }
    Ok(())
}

/// See [`crate::Sandbox::run`].
pub(crate) fn run(steps: &[Step], program: &Program) -> Result<i32, Error> {
    // Blocked before there is a child, so that none gets lost; they wait for us in the kernel.
    let mut signals: SigSet = FORWARDED.into_iter().collect();
    signals.add(Signal::SIGCHLD);
    // What is ignored here would stay ignored in the program, and forwarding it would do nothing: a shell that starts
    // something in the background ignores INT and QUIT for it.
    for signal in FORWARDED.into_iter().chain([Signal::SIGCHLD]) {
        kernel::default_action(signal);
    }
    let before = signals
        .thread_swap_mask(nix::sys::signal::SigmaskHow::SIG_BLOCK)
        .map_err(cannot("block signals"))?;
    let code = start(steps, Some(program)).and_then(|child| supervise(child, &signals));
    before
        .thread_set_mask()
        .map_err(cannot("unblock signals"))?;
    code
}

fn cannot<E: Into<io::Error>>(step: &str) -> impl FnOnce(E) -> Error {
    let step = step.to_owned();
    move |error| Error::SetUp {
        step,
        source: error.into(),
    }
}

/// Starts the new process and returns once it is the program, or has done its steps if there is none.
fn start(steps: &[Step], program: Option<&Program>) -> Result<Pid, Error> {
    let (ours, theirs) = pipe_with(PipeFlags::CLOEXEC).map_err(cannot("make a pipe"))?;
    let uid_map = format!("{UID} {} 1\n", rustix::process::geteuid().as_raw());
    let gid_map = format!("{UID} {} 1\n", rustix::process::getegid().as_raw());
    let inside = Inside {
        uid_map: uid_map.as_bytes(),
        gid_map: gid_map.as_bytes(),
        steps,
        program,
        pipe: theirs,
    };
    let child = match kernel::clone_into_namespaces() {
        Ok(Side::Inside) => {
            drop(ours);
            inside.go()
        }
        Ok(Side::Outside(child)) => child,
        Err(error) => return Err(host::explain(error).into()),
    };
    drop(inside);
    match failure(ours)? {
        None => Ok(child),
        Some(failure) => {
            reap(child);
            Err(explain(failure, steps, program))
        }
    }
}

/// What the new process wrote before it ended; none if it closed the pipe by becoming the program.
fn failure(pipe: OwnedFd) -> Result<Option<Failure>, Error> {
    let mut bytes = Vec::new();
    File::from(pipe)
        .read_to_end(&mut bytes)
        .map_err(cannot("hear from the sandbox"))?;
    Ok(bytes.try_into().ok().map(Failure::from_bytes))
}

fn explain(failure: Failure, steps: &[Step], program: Option<&Program>) -> Error {
    let source = io::Error::from_raw_os_error(failure.errno);
    let step = match failure.stage {
        Stage::Enter => return host::explain(source).into(),
        Stage::Step(number) => match steps.get(usize::from(number)) {
            Some(Step::Processes { .. }) => return Refused::MaskedProc(source).into(),
            Some(step) => step.to_string(),
            None => "take a step that is not in the plan".to_owned(),
        },
        Stage::Leave => "leave the host's root".to_owned(),
        Stage::Disarm => "give up privileges".to_owned(),
        Stage::Execute => {
            return Error::Exec {
                program: program.map(Program::name).unwrap_or_default(),
                source,
            };
        }
    };
    Error::SetUp { step, source }
}

/// Waits for a process that is ending by itself.
fn reap(child: Pid) {
    while waitpid(child, None) == Err(Errno::EINTR) {}
}

/// Passes signals on until the program has ended.
fn supervise(child: Pid, signals: &SigSet) -> Result<i32, Error> {
    loop {
        match signals.wait().map_err(cannot("wait for a signal"))? {
            Signal::SIGCHLD => {
                if let Some(code) = ended(child)? {
                    return Ok(code);
                }
            }
            // It may have ended this very moment, which the next signal will tell.
            signal => drop(kill(child, signal)),
        }
    }
}

/// The exit code, once there is one.
fn ended(child: Pid) -> Result<Option<i32>, Error> {
    match waitpid(child, Some(WaitPidFlag::WNOHANG)).map_err(cannot("wait for the sandbox"))? {
        WaitStatus::Exited(_, code) => Ok(Some(code)),
        WaitStatus::Signaled(_, signal, _) => Ok(Some(128 + signal as i32)),
        _ => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::Sandbox;

    /// What a kernel before 5.12 gets.
    #[test]
    fn mounts_are_read_only_one_by_one_too() {
        let root = tempfile::tempdir().unwrap();
        let file = root.path().join("file");
        fs::write(&file, "").unwrap();
        for name in ["workspace", "tmp", "mount"] {
            fs::create_dir(root.path().join(name)).unwrap();
        }
        let sandbox = Sandbox {
            workspace: root.path().join("workspace"),
            tmp: root.path().join("tmp"),
            home: root.path().join("home"),
            path: Vec::new(),
            mounts: vec![file.clone(), root.path().join("mount"), "/dev".into()],
            program: file.clone(),
            core_files: None,
        };
        let steps = plan::steps_for(&sandbox, Some(plan::host_mounts().unwrap())).unwrap();
        let script = format!(
            "for place in /usr /etc /dev/pts /sys/fs/cgroup {0}/mount; do touch $place/x && exit 1; done 2>/dev/null
             test ! -w {0}/file && test ! -w /.sortie/program && touch /workspace/x",
            root.path().display()
        );
        let program = Program::new(&["/bin/sh".into(), "-c".into(), script.into()], &[]).unwrap();

        let child = start(&steps, Some(&program)).unwrap();

        assert_eq!(waitpid(child, None).unwrap(), WaitStatus::Exited(child, 0));
        assert!(root.path().join("workspace/x").exists());
    }
}
