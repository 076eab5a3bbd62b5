//! What Cloud Run answers, as far as sortie looks at it.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Deserialize;

/// A stored definition.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Job {
    /// `projects/P/locations/R/jobs/J`.
    pub name: String,
    /// When it was made.
    pub create_time: Option<Timestamp>,
    /// Whether it can be run; absent while Cloud Run has not looked.
    pub terminal_condition: Option<Condition>,
    /// What its executions are made of.
    pub template: ExecutionTemplate,
}

impl Job {
    /// Whether it can be run.
    pub fn is_ready(&self) -> bool {
        self.is("CONDITION_SUCCEEDED")
    }

    /// Whether it can not, as it is.
    pub fn has_failed(&self) -> bool {
        self.is("CONDITION_FAILED")
    }

    fn is(&self, state: &str) -> bool {
        self.terminal_condition
            .as_ref()
            .is_some_and(|condition| condition.state == state)
    }
}

/// What executions are made of.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ExecutionTemplate {
    /// At most so many tasks at once; 0 = as many as may.
    #[serde(default)]
    pub parallelism: u32,
    /// What tasks are made of.
    pub template: TaskTemplate,
}

/// What tasks are made of.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TaskTemplate {
    /// `3600s`.
    pub timeout: Option<String>,
    /// How often Cloud Run itself tries a task again.
    pub max_retries: u32,
    /// The containers.
    pub containers: Vec<Container>,
}

impl TaskTemplate {
    /// The task's timeout in milliseconds.
    pub fn timeout_ms(&self) -> Option<u64> {
        let seconds: f64 = self.timeout.as_ref()?.strip_suffix('s')?.parse().ok()?;
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "Cloud Run's limit is 168 hours"
        )]
        Some((seconds * 1000.0).max(0.0) as u64)
    }

    /// What a task may use.
    pub fn limits(&self) -> BTreeMap<String, String> {
        let first = self.containers.first();
        first
            .map(|container| container.resources.limits.clone())
            .unwrap_or_default()
    }

    /// Whether a variable of the containers' environment comes from a secret.
    pub fn has_secret(&self, name: &str) -> bool {
        let mut all = self.containers.iter().flat_map(|container| &container.env);
        all.any(|variable| variable.name == name && variable.value_source.is_some())
    }

    /// The value a container's environment has.
    pub fn env(&self, name: &str) -> Option<&str> {
        self.containers
            .iter()
            .flat_map(|container| &container.env)
            .find(|variable| variable.name == name)
            .and_then(|variable| variable.value.as_deref())
    }
}

/// A container.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Container {
    /// Its image.
    pub image: String,
    /// Its environment.
    pub env: Vec<EnvVar>,
    /// What it may use.
    pub resources: Resources,
}

/// What a container may use.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Resources {
    /// `cpu`, `memory`, `nvidia.com/gpu`.
    pub limits: BTreeMap<String, String>,
}

/// An environment variable.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EnvVar {
    /// Its name.
    pub name: String,
    /// Absent where it is a secret, or empty.
    pub value: Option<String>,
    /// Where a secret's value comes from.
    pub value_source: Option<serde::de::IgnoredAny>,
}

/// One `:run` call.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Execution {
    /// `projects/P/locations/R/jobs/J/executions/E`.
    pub name: String,
    /// When it was made.
    pub create_time: Option<Timestamp>,
    /// When it ended.
    pub completion_time: Option<Timestamp>,
    /// How many tasks it has.
    pub task_count: u32,
    /// Tasks that run now.
    pub running_count: u32,
    /// Tasks that exited with 0.
    pub succeeded_count: u32,
    /// Tasks that ran out of tries.
    pub failed_count: u32,
    /// Tasks that were cancelled.
    pub cancelled_count: u32,
    /// How it stands.
    pub conditions: Vec<Condition>,
    /// What it was started with, overrides included.
    pub template: TaskTemplate,
    /// The page of its logs.
    pub log_uri: Option<String>,
}

impl Execution {
    /// Whether it has ended, by its `Completed` condition: an operation's `error` is no reliable verdict.
    pub fn ended(&self) -> bool {
        self.condition("Completed").is_some_and(|condition| {
            matches!(
                condition.state.as_str(),
                "CONDITION_SUCCEEDED" | "CONDITION_FAILED"
            )
        })
    }

    /// Its job's short name.
    pub fn job(&self) -> &str {
        self.name.split('/').nth(5).unwrap_or_default()
    }

    /// Its own short name.
    pub fn short(&self) -> &str {
        self.name.rsplit('/').next().unwrap_or_default()
    }

    /// Whether somebody cancelled it.
    pub fn cancelled(&self) -> bool {
        self.cancelled_count > 0
            || self
                .conditions
                .iter()
                .any(|condition| condition.execution_reason.as_deref() == Some("CANCELLED"))
    }

    /// Tasks that have ended, however.
    pub fn ended_tasks(&self) -> u32 {
        self.succeeded_count + self.failed_count + self.cancelled_count
    }

    /// A condition by its type.
    pub fn condition(&self, kind: &str) -> Option<&Condition> {
        self.conditions
            .iter()
            .find(|condition| condition.kind == kind)
    }
}

/// How something stands.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Condition {
    /// `Completed`, `Started`, `ResourcesAvailable`.
    #[serde(rename = "type")]
    pub kind: String,
    /// `CONDITION_…`.
    pub state: String,
    /// Why, for all resources.
    pub reason: Option<String>,
    /// Why, for executions.
    pub execution_reason: Option<String>,
    /// For people.
    pub message: Option<String>,
}

/// One container of an execution.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Task {
    /// `CLOUD_RUN_TASK_INDEX`.
    pub index: u32,
    /// When its container started.
    pub start_time: Option<Timestamp>,
    /// When it ended for good.
    pub completion_time: Option<Timestamp>,
    /// How it stands.
    pub conditions: Vec<Condition>,
    /// How its last attempt ended.
    pub last_attempt_result: Option<AttemptResult>,
}

/// How an attempt ended. At most one of code and signal is set; code 0 is absent.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct AttemptResult {
    /// The container's exit code.
    pub exit_code: Option<i32>,
    /// The signal that ended it.
    pub term_signal: Option<i32>,
    /// What the platform says.
    pub status: Option<Status>,
}

/// A gRPC status.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Status {
    /// gRPC's number.
    pub code: i32,
    /// For people.
    pub message: Option<String>,
}
