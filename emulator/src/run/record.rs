//! Jobs, executions, tasks and operations as they are kept.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::policy::Policy;

/// A stored job.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Job {
    pub(crate) id: String,
    pub(crate) uid: String,
    pub(crate) generation: u64,
    pub(crate) created: Timestamp,
    pub(crate) updated: Timestamp,
    /// What its owner sent, checked and with defaults.
    pub(crate) body: Map<String, Value>,
    pub(crate) execution_count: u32,
    pub(crate) latest: Option<String>,
    #[serde(default)]
    pub(crate) policy: Policy,
}

/// One run of a job.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Execution {
    pub(crate) id: String,
    pub(crate) uid: String,
    pub(crate) job: String,
    pub(crate) job_uid: String,
    pub(crate) job_generation: u64,
    pub(crate) created: Timestamp,
    pub(crate) started: Option<Timestamp>,
    pub(crate) completed: Option<Timestamp>,
    pub(crate) updated: Timestamp,
    pub(crate) labels: Map<String, Value>,
    pub(crate) annotations: Map<String, Value>,
    /// The task template, overrides applied.
    pub(crate) template: Map<String, Value>,
    pub(crate) parallelism: u32,
    pub(crate) tasks: Vec<Task>,
    pub(crate) cancelled: bool,
    /// To be removed once it has ended.
    pub(crate) doomed: bool,
    /// Why it ended other than by its tasks: the common reason and a message.
    pub(crate) fault: Option<(String, String)>,
    /// The storage endpoint its tasks were given, by which survivors of a crash are known.
    pub(crate) storage_host: String,
}

/// One task of an execution.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Task {
    pub(crate) state: TaskState,
    pub(crate) attempt: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) started: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) completed: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) last: Option<AttemptResult>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum TaskState {
    #[default]
    Pending,
    Running,
    Succeeded,
    Failed,
    Cancelled,
}

/// How an attempt ended.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct AttemptResult {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) exit_code: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) signal: Option<i32>,
    /// A number of `google.rpc.Code`; 0 is success.
    pub(crate) code: i32,
    pub(crate) message: String,
}

/// A long-running operation.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Operation {
    pub(crate) id: String,
    pub(crate) created: Timestamp,
    pub(crate) subject: Subject,
}

/// What an operation is about.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Subject {
    /// It ends when this execution does.
    Execution(String),
    /// It is over, and this resource came of it. `kind` is the message's name.
    Done { kind: String, resource: Value },
}

/// How many of an execution's tasks are in which state.
#[derive(Default)]
pub(crate) struct Tally {
    pub(crate) running: usize,
    pub(crate) succeeded: usize,
    pub(crate) failed: usize,
    pub(crate) cancelled: usize,
    pub(crate) retried: usize,
}

impl Execution {
    pub(crate) fn tally(&self) -> Tally {
        let mut tally = Tally::default();
        for task in &self.tasks {
            match task.state {
                TaskState::Pending => {}
                TaskState::Running => tally.running += 1,
                TaskState::Succeeded => tally.succeeded += 1,
                TaskState::Failed => tally.failed += 1,
                TaskState::Cancelled => tally.cancelled += 1,
            }
            tally.retried += usize::from(task.attempt > 0);
        }
        tally
    }

    pub(crate) fn count(&self, state: TaskState) -> usize {
        self.tasks.iter().filter(|task| task.state == state).count()
    }

    pub(crate) fn is_done(&self) -> bool {
        self.completed.is_some()
    }

    /// The one container.
    pub(crate) fn container(&self) -> &Value {
        self.template
            .get("containers")
            .and_then(|containers| containers.get(0))
            .unwrap_or(&Value::Null)
    }
}
