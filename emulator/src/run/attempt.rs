//! One attempt of a task: a process, watched until it and all it started are gone.

use std::ffi::{CString, OsString};
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use fs_err as fs;
use rustix::fs::{Mode, OFlags};
use rustix::process::{Pid, WaitId, WaitIdOptions, waitid};
use serde_json::Value;
use tokio::sync::watch;

use super::process::{self, Marks};
use super::record::{AttemptResult, Execution};
use super::state::{State, Stop};
use crate::schema;

/// What a process has between SIGTERM and SIGKILL.
const GRACE: Duration = Duration::from_secs(10);
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
const DEFAULT_TIMEOUT: f64 = 600.0;

/// What is to be started.
pub(crate) struct Attempt {
    argv: Vec<OsString>,
    environment: Vec<(OsString, OsString)>,
    marks: Vec<(&'static str, String)>,
    log: PathBuf,
    timeout: Duration,
}

/// How an attempt ended.
pub(crate) enum End {
    Finished(AttemptResult),
    /// It could not begin, and no other attempt could: the common reason and what happened.
    Refused(&'static str, String),
    /// It was told to stop.
    Stopped(AttemptResult),
}

impl Attempt {
    pub(crate) fn prepare(
        state: &State,
        execution: &Execution,
        task: usize,
        attempt: u32,
    ) -> Result<Self, End> {
        let marks = vec![
            ("CLOUD_RUN_EXECUTION", execution.id.clone()),
            ("CLOUD_RUN_TASK_INDEX", task.to_string()),
            ("CLOUD_RUN_TASK_ATTEMPT", attempt.to_string()),
            ("STORAGE_EMULATOR_HOST", state.storage_host.clone()),
        ];
        let mut environment = variables(state, execution)?;
        let mut set = |name: &str, value: &str| {
            environment.retain(|(known, _)| known != name);
            environment.push((name.into(), value.into()));
        };
        for (name, value) in &marks {
            set(name, value);
        }
        set("CLOUD_RUN_JOB", &execution.job);
        set("CLOUD_RUN_TASK_COUNT", &execution.tasks.len().to_string());
        set("GCE_METADATA_HOST", &state.metadata_host);
        if !environment.iter().any(|(name, _)| name == "PATH") {
            environment.push(("PATH".into(), DEFAULT_PATH.into()));
        }
        let timeout = execution
            .template
            .get("timeout")
            .and_then(Value::as_str)
            .and_then(schema::seconds);
        Ok(Self {
            argv: argv(state, execution)?,
            environment,
            marks,
            log: state.log_path(&execution.id, task, attempt),
            timeout: Duration::from_secs_f64(timeout.unwrap_or(DEFAULT_TIMEOUT)),
        })
    }

    /// Runs it to its end.
    pub(crate) async fn run(self, mut stop: watch::Receiver<Stop>) -> End {
        let (timeout, log, marks) = (self.timeout, self.log.clone(), self.marks.clone());
        let child = match tokio::task::spawn_blocking(move || self.spawn())
            .await
            .map_err(io::Error::other)
        {
            Ok(Ok(child)) => child,
            Ok(Err(failure)) | Err(failure) => return End::Finished(not_started(&failure)),
        };
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
        let reaped =
            tokio::task::spawn_blocking(move || end(child, &Marks::of_attempt(pid, &log, &marks)));
        let result = match reaped.await.map_err(io::Error::other) {
            Ok(Ok(status)) => cause.result(status),
            Ok(Err(failure)) | Err(failure) => not_started(&failure),
        };
        if cause == Cause::Stop {
            End::Stopped(result)
        } else {
            End::Finished(result)
        }
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
        set_apart(&mut command, log);
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
fn set_apart(command: &mut Command, log: CString) {
    let set_apart = move || {
        rustix::process::setsid()?;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::CLOEXEC;
        let log = rustix::fs::open(log.as_c_str(), flags, Mode::from_raw_mode(0o666))?;
        rustix::stdio::dup2_stdout(&log)?;
        rustix::stdio::dup2_stderr(&log)?;
        Ok(())
    };
    // SAFETY: setsid, open, dup2, and close are async-signal-safe, and nothing is allocated.
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

#[derive(Clone, Copy, PartialEq, Eq)]
enum Cause {
    Own,
    Timeout,
    Stop,
}

impl Cause {
    fn result(self, status: ExitStatus) -> AttemptResult {
        let (code, message) = match self {
            Self::Timeout => (4, "The configured timeout was reached."),
            Self::Stop => (1, "The task was cancelled."),
            Self::Own if status.success() => (0, ""),
            Self::Own => (10, "The container exited with an error."),
        };
        AttemptResult {
            exit_code: status.code(),
            signal: status.signal(),
            code,
            message: message.into(),
        }
    }
}

fn not_started(failure: &io::Error) -> AttemptResult {
    let message = format!("The container could not be started: {failure}.");
    AttemptResult {
        code: 13,
        message,
        ..AttemptResult::default()
    }
}

fn variables(state: &State, execution: &Execution) -> Result<Vec<(OsString, OsString)>, End> {
    let variables = execution
        .container()
        .get("env")
        .and_then(Value::as_array)
        .map_or(&[][..], Vec::as_slice);
    variables
        .iter()
        .map(|variable| resolve(state, variable))
        .collect()
}

fn resolve(state: &State, variable: &Value) -> Result<(OsString, OsString), End> {
    let text = |value: Option<&Value>| value.and_then(Value::as_str).unwrap_or_default().to_owned();
    let name = text(variable.get("name"));
    let Some(reference) = variable.pointer("/valueSource/secretKeyRef") else {
        return Ok((name.into(), text(variable.get("value")).into()));
    };
    let (secret, version) = (
        text(reference.get("secret")),
        text(reference.get("version")),
    );
    let value = state.secrets.access(&secret, &version);
    let value = value.ok_or_else(|| {
        let message = format!("Secret {secret} or its version {version} was not found.");
        End::Refused("SECRETS_ACCESS_CHECK_FAILED", message)
    })?;
    Ok((name.into(), OsString::from_vec(value)))
}

fn argv(state: &State, execution: &Execution) -> Result<Vec<OsString>, End> {
    let container = execution.container();
    let text = |pointer| {
        container
            .pointer(pointer)
            .and_then(Value::as_str)
            .unwrap_or_default()
    };
    let list = |key| {
        container
            .get(key)
            .and_then(Value::as_array)
            .map_or(&[][..], Vec::as_slice)
    };
    let own = list("command")
        .iter()
        .chain(list("args"))
        .filter_map(Value::as_str)
        .map(OsString::from);
    if state.runner.is_empty() {
        let argv: Vec<OsString> = own.collect();
        if list("command").is_empty() && argv.is_empty() {
            let message =
                "The container has no command, and this emulator cannot look into its image.";
            return Err(End::Refused("CONTAINER_MISSING", message.into()));
        }
        return Ok(argv);
    }
    let mut argv = state.runner.clone();
    argv.push(format!("--image={}", text("/image")).into());
    argv.push(format!("--cpu={}", text("/resources/limits/cpu")).into());
    argv.push(format!("--memory={}", text("/resources/limits/memory")).into());
    argv.push("--".into());
    argv.extend(own);
    Ok(argv)
}
