//! One attempt of a task: what it is made of, and what it came to.

use std::ffi::OsString;
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::time::Duration;

use serde_json::Value;
use tokio::sync::watch;

use super::inside;
use super::launch::Launch;
use super::record::{AttemptResult, Execution};
use super::state::{State, Stop};
use crate::options::Container;
use crate::schema;

/// What a process has between SIGTERM and SIGKILL.
pub(crate) const GRACE: Duration = Duration::from_secs(10);
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
const DEFAULT_TIMEOUT: f64 = 600.0;

/// What is to be started.
pub(crate) struct Attempt {
    image: String,
    launch: Launch,
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
            image: text(execution.container().get("image")),
            launch: Launch {
                argv: argv(state, execution)?,
                environment,
                marks,
                log: state.log_path(&execution.id, task, attempt),
                core_files: state.core_files,
            },
            timeout: Duration::from_secs_f64(timeout.unwrap_or(DEFAULT_TIMEOUT)),
        })
    }

    /// Runs it to its end.
    pub(crate) async fn run(self, state: &State, stop: watch::Receiver<Stop>) -> End {
        let (timeout, launch) = (self.timeout, self.launch);
        let ran = match &state.containers {
            None => launch.run(timeout, stop).await,
            Some(containers) => {
                let (terminate, terminated) = watch::channel(false);
                let container = Container {
                    image: self.image,
                    argv: launch.argv,
                    environment: launch.environment.into_iter().collect(),
                    terminated,
                };
                inside::run(containers, container, terminate, timeout, stop).await
            }
        };
        match ran {
            Ok((Cause::Stop, ended)) => End::Stopped(Cause::Stop.result(ended)),
            Ok((cause, ended)) => End::Finished(cause.result(ended)),
            Err(failure) => End::Finished(not_started(&failure)),
        }
    }
}

/// What is known of an end: a code, or the number of a signal.
#[derive(Clone, Copy)]
pub(crate) struct Ended {
    pub(crate) exit_code: Option<i32>,
    pub(crate) signal: Option<i32>,
}

/// Why an attempt ended.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cause {
    Own,
    Timeout,
    Stop,
}

impl Cause {
    fn result(self, ended: Ended) -> AttemptResult {
        let (code, message) = match self {
            Self::Timeout => (4, "The configured timeout was reached."),
            Self::Stop => (1, "The task was cancelled."),
            Self::Own if ended.exit_code == Some(0) => (0, ""),
            Self::Own => (10, "The container exited with an error."),
        };
        AttemptResult {
            exit_code: ended.exit_code,
            signal: ended.signal,
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

fn text(value: Option<&Value>) -> String {
    value.and_then(Value::as_str).unwrap_or_default().to_owned()
}

fn resolve(state: &State, variable: &Value) -> Result<(OsString, OsString), End> {
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
    if state.containers.is_some() {
        return Ok(own.collect());
    }
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
