//! Jobs, executions and tasks as clients see them.

use base64::prelude::{BASE64_STANDARD, Engine as _};
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::record::{Execution, Job, Operation, Subject, Task, TaskState};
use super::state::{Records, State};
use crate::clock::micros;

/// Who did everything here.
pub(crate) const OWNER: &str = "owner@localhost";

/// A resource being built: what has its default value is left out, as proto JSON does.
struct Fields(Map<String, Value>);

impl Fields {
    fn set(&mut self, key: &str, value: impl Into<Value>) {
        let value = value.into();
        let default = match &value {
            Value::Null => true,
            Value::Bool(set) => !set,
            Value::Number(number) => number.as_u64() == Some(0),
            Value::String(text) => text.is_empty(),
            Value::Array(items) => items.is_empty(),
            Value::Object(_) => false,
        };
        if !default {
            self.0.insert(key.to_owned(), value);
        }
    }

    fn time(&mut self, key: &str, time: Option<Timestamp>) {
        self.set(key, time.map(micros));
    }

    fn map(&mut self, key: &str, map: &Map<String, Value>) {
        if !map.is_empty() {
            self.0.insert(key.to_owned(), Value::Object(map.clone()));
        }
    }
}

/// Opaque, and in quotes as Google's are.
pub(crate) fn etag(uid: &str, updated: Timestamp) -> String {
    format!(
        "\"{}\"",
        BASE64_STANDARD.encode(format!("{uid}/{}", updated.as_microsecond()))
    )
}

pub(crate) fn parent(state: &State) -> String {
    format!("projects/{}/locations/{}", state.project, state.region)
}

fn job_name(state: &State, job: &str) -> String {
    format!("{}/jobs/{job}", parent(state))
}

fn execution_name(state: &State, execution: &Execution) -> String {
    format!(
        "{}/executions/{}",
        job_name(state, &execution.job),
        execution.id
    )
}

pub(crate) fn job(state: &State, records: &Records, job: &Job) -> Value {
    let mut fields = Fields(job.body.clone());
    fields.set("name", job_name(state, &job.id));
    fields.set("uid", job.uid.as_str());
    fields.set("generation", job.generation.to_string());
    fields.set("observedGeneration", job.generation.to_string());
    fields.time("createTime", Some(job.created));
    fields.time("updateTime", Some(job.updated));
    fields.set("creator", OWNER);
    fields.set("lastModifier", OWNER);
    fields.set("executionCount", job.execution_count);
    let ready = condition("Ready", "CONDITION_SUCCEEDED", job.updated);
    fields.set("terminalCondition", ready);
    fields.set("etag", etag(&job.uid, job.updated));
    let latest = job
        .latest
        .as_ref()
        .and_then(|id| records.executions.get(id));
    if let Some(latest) = latest {
        let mut reference = Fields(Map::new());
        reference.set("name", latest.id.as_str());
        reference.time("createTime", Some(latest.created));
        reference.time("completionTime", latest.completed);
        reference.set("completionStatus", completion_status(latest));
        fields.set("latestCreatedExecution", reference.0);
    }
    Value::Object(fields.0)
}

fn completion_status(execution: &Execution) -> &'static str {
    match execution.completed {
        None if execution.started.is_none() => "EXECUTION_PENDING",
        None => "EXECUTION_RUNNING",
        Some(_) if execution.cancelled => "EXECUTION_CANCELLED",
        Some(_) if succeeded(execution) => "EXECUTION_SUCCEEDED",
        Some(_) => "EXECUTION_FAILED",
    }
}

pub(crate) fn succeeded(execution: &Execution) -> bool {
    execution.is_done()
        && execution.fault.is_none()
        && execution.count(TaskState::Succeeded) == execution.tasks.len()
}

pub(crate) fn execution(state: &State, execution: &Execution) -> Value {
    let mut fields = Fields(Map::new());
    fields.set("name", execution_name(state, execution));
    fields.set("uid", execution.uid.as_str());
    fields.set("creator", OWNER);
    fields.set("generation", "1");
    fields.set("observedGeneration", "1");
    fields.map("labels", &execution.labels);
    fields.map("annotations", &execution.annotations);
    fields.time("createTime", Some(execution.created));
    fields.time("startTime", execution.started);
    fields.time("completionTime", execution.completed);
    fields.time("updateTime", Some(execution.updated));
    fields.set("launchStage", "GA");
    fields.set("job", execution.job.as_str());
    fields.set("parallelism", execution.parallelism);
    fields.set("taskCount", execution.tasks.len());
    fields.map("template", &execution.template);
    fields.set("reconciling", !execution.is_done());
    fields.set("conditions", conditions(execution));
    let tally = execution.tally();
    fields.set("runningCount", tally.running);
    fields.set("succeededCount", tally.succeeded);
    fields.set("failedCount", tally.failed);
    fields.set("cancelledCount", tally.cancelled);
    fields.set("retriedCount", tally.retried);
    fields.set(
        "logUri",
        format!("file://{}", state.logs.join(&execution.id).display()),
    );
    fields.set("etag", etag(&execution.uid, execution.updated));
    Value::Object(fields.0)
}

fn condition(kind: &str, state: &str, time: Timestamp) -> Value {
    json!({"type": kind, "state": state, "lastTransitionTime": micros(time)})
}

/// An empty message is none.
fn explain(condition: &mut Value, message: &str) {
    if !message.is_empty() {
        condition["message"] = message.into();
    }
}

fn conditions(execution: &Execution) -> Vec<Value> {
    let begun = execution.started;
    let stage = |kind| match begun {
        Some(time) => condition(kind, "CONDITION_SUCCEEDED", time),
        None if execution.is_done() => condition(kind, "CONDITION_FAILED", execution.updated),
        None => condition(kind, "CONDITION_PENDING", execution.created),
    };
    vec![
        completed(execution),
        stage("ResourcesAvailable"),
        stage("Started"),
    ]
}

fn completed(execution: &Execution) -> Value {
    let mut condition = match (execution.completed, execution.started) {
        (Some(time), _) if succeeded(execution) => {
            let mut condition = condition("Completed", "CONDITION_SUCCEEDED", time);
            condition["message"] = "Execution completed successfully.".into();
            return condition;
        }
        (Some(time), _) => condition("Completed", "CONDITION_FAILED", time),
        (None, Some(time)) => condition("Completed", "CONDITION_RECONCILING", time),
        (None, None) => condition("Completed", "CONDITION_PENDING", execution.created),
    };
    let done = execution.is_done();
    if let (true, Some((reason, message))) = (done, &execution.fault) {
        condition["reason"] = reason.as_str().into();
        condition["message"] = message.as_str().into();
    } else if execution.cancelled {
        condition["executionReason"] = if done { "CANCELLED" } else { "CANCELLING" }.into();
        condition["message"] = "Cancelled by user.".into();
    } else if done {
        condition["executionReason"] = "NON_ZERO_EXIT_CODE".into();
        explain(&mut condition, &failure(execution));
    }
    condition
}

/// What the first failed task has to say.
pub(crate) fn failure(execution: &Execution) -> String {
    let failed = execution
        .tasks
        .iter()
        .enumerate()
        .find(|(_, task)| task.state == TaskState::Failed);
    let Some((index, task)) = failed else {
        return String::new();
    };
    let message = task.last.as_ref().map_or("", |last| last.message.as_str());
    format!(
        "Task {}-task{index} failed with message: {message}",
        execution.id
    )
}

pub(crate) fn task(state: &State, execution: &Execution, index: usize, task: &Task) -> Value {
    let mut fields = Fields(execution.template.clone());
    let uid = task_uid(&execution.uid, index);
    let updated = task.completed.or(task.started).unwrap_or(execution.created);
    fields.set(
        "name",
        format!(
            "{}/tasks/{}-task{index}",
            execution_name(state, execution),
            execution.id
        ),
    );
    fields.set("etag", etag(&uid, updated));
    fields.set("uid", uid);
    fields.set("generation", "1");
    fields.set("observedGeneration", "1");
    fields.map("labels", &execution.labels);
    fields.map("annotations", &execution.annotations);
    fields.time("createTime", Some(execution.created));
    fields.time("scheduledTime", task.started);
    fields.time("startTime", task.started);
    fields.time("completionTime", task.completed);
    fields.time("updateTime", Some(updated));
    fields.set("job", execution.job.as_str());
    fields.set("execution", execution.id.as_str());
    if fields
        .0
        .get("maxRetries")
        .is_some_and(|retries| *retries == 0)
    {
        fields.0.remove("maxRetries");
    }
    fields.set("reconciling", task.completed.is_none());
    fields.set("index", index);
    fields.set("retried", task.attempt);
    fields.set("conditions", task_conditions(execution, task));
    if let Some(last) = &task.last {
        fields.set("lastAttemptResult", attempt_result(last));
    }
    let log = state.log_path(&execution.id, index, task.attempt);
    fields.set("logUri", format!("file://{}", log.display()));
    Value::Object(fields.0)
}

fn task_uid(execution: &str, index: usize) -> String {
    let number = u32::try_from(index).unwrap_or(u32::MAX);
    format!(
        "{}{number:08x}",
        &execution[..execution.len().saturating_sub(8)]
    )
}

fn task_conditions(execution: &Execution, task: &Task) -> Vec<Value> {
    let state = match task.state {
        TaskState::Pending => "CONDITION_PENDING",
        TaskState::Running => "CONDITION_RECONCILING",
        TaskState::Succeeded => "CONDITION_SUCCEEDED",
        TaskState::Failed | TaskState::Cancelled => "CONDITION_FAILED",
    };
    let time = task.completed.or(task.started).unwrap_or(execution.created);
    let mut completed = condition("Completed", state, time);
    if task.state == TaskState::Cancelled {
        completed["executionReason"] = "CANCELLED".into();
    } else if task.state == TaskState::Failed {
        completed["executionReason"] = "NON_ZERO_EXIT_CODE".into();
        let last = task.last.as_ref();
        explain(
            &mut completed,
            last.map_or("", |last| last.message.as_str()),
        );
    }
    let mut conditions = vec![completed];
    if let Some(started) = task.started {
        conditions.push(condition("Started", "CONDITION_SUCCEEDED", started));
    }
    conditions
}

fn attempt_result(last: &super::record::AttemptResult) -> Value {
    let mut status = Fields(Map::new());
    status.set("code", last.code);
    status.set("message", last.message.as_str());
    let mut fields = Fields(Map::new());
    fields.set("exitCode", last.exit_code.filter(|code| *code != 0));
    fields.set("termSignal", last.signal);
    fields.set("status", status.0);
    Value::Object(fields.0)
}

pub(crate) fn operation(state: &State, records: &Records, operation: &Operation) -> Value {
    let mut fields = Fields(Map::new());
    fields.set(
        "name",
        format!("{}/operations/{}", parent(state), operation.id),
    );
    match &operation.subject {
        Subject::Done { kind, resource } => {
            let resource = typed(kind, resource.clone());
            fields.set("metadata", resource.clone());
            fields.set("done", true);
            fields.set("response", resource);
        }
        Subject::Execution(id) => {
            if let Some(found) = records.executions.get(id) {
                of_execution(
                    &mut fields,
                    found,
                    typed("Execution", execution(state, found)),
                );
            } else {
                fields.set("done", true);
                let message = format!("Execution '{id}' was not found.");
                fields.set("error", json!({"code": 5, "message": message}));
            }
        }
    }
    Value::Object(fields.0)
}

/// Cancelled executions end with a response, as has been seen; failed ones with an error.
fn of_execution(fields: &mut Fields, execution: &Execution, resource: Value) {
    fields.set("metadata", resource.clone());
    if !execution.is_done() {
        return;
    }
    fields.set("done", true);
    match &execution.fault {
        Some((_, message)) => fields.set("error", json!({"code": 13, "message": message})),
        None if succeeded(execution) || execution.cancelled => fields.set("response", resource),
        None => fields.set("error", json!({"code": 10, "message": failure(execution)})),
    }
}

fn typed(kind: &str, mut resource: Value) -> Value {
    resource["@type"] = format!("type.googleapis.com/google.cloud.run.v2.{kind}").into();
    resource
}
