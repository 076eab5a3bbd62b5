//! Jobs, executions and tasks as version 1 shows them.

use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine as _};
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::template;
use crate::clock::micros;
use crate::metadata::PROJECT_NUMBER;
use crate::run::record::{Execution, Job, Task};
use crate::run::show as v2;
use crate::run::state::{Records, State};

const VERSION: &str = "run.googleapis.com/v1";

/// What a replacement must name to be sure of what it replaces.
pub(crate) fn resource_version(uid: &str, updated: Timestamp) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(format!("{uid}/{}", updated.as_microsecond()))
}

pub(crate) fn job(state: &State, records: &Records, job: &Job) -> Value {
    let shown = v2::job(state, records, job);
    let mut labels = map(&shown, "/labels");
    labels.insert(
        "cloud.googleapis.com/location".into(),
        state.region.as_str().into(),
    );
    let updated = micros(job.updated);
    labels.insert("run.googleapis.com/lastUpdatedTime".into(), updated.into());
    let mut annotations = owned(map(&shown, "/annotations"));
    annotations.insert("run.googleapis.com/lastModifier".into(), v2::OWNER.into());
    annotations.insert(
        "run.googleapis.com/launch-stage".into(),
        shown["launchStage"].clone(),
    );
    let mut metadata = metadata(&job.id, &job.uid, job.created, job.updated);
    metadata["generation"] = job.generation.into();
    metadata["selfLink"] = link("jobs", &job.id).into();
    metadata["labels"] = labels.into();
    metadata["annotations"] = annotations.into();
    let mut status = json!({"observedGeneration": job.generation});
    if job.execution_count > 0 {
        status["executionCount"] = job.execution_count.into();
    }
    status["conditions"] = json!([condition(&shown["terminalCondition"])]);
    if let Some(latest) = shown.get("latestCreatedExecution") {
        status["latestCreatedExecution"] = renamed(
            latest,
            &[
                ("name", "name"),
                ("createTime", "creationTimestamp"),
                ("completionTime", "completionTimestamp"),
                ("completionStatus", "completionStatus"),
            ],
        );
    }
    json!({
        "apiVersion": VERSION, "kind": "Job", "metadata": metadata,
        "spec": {"template": template::execution(&shown["template"])}, "status": status,
    })
}

pub(crate) fn execution(state: &State, execution: &Execution) -> Value {
    let shown = v2::execution(state, execution);
    let mut metadata = metadata(
        &execution.id,
        &execution.uid,
        execution.created,
        execution.updated,
    );
    metadata["generation"] = 1.into();
    metadata["selfLink"] = link("executions", &execution.id).into();
    metadata["labels"] = execution.labels.clone().into();
    let mut annotations = owned(execution.annotations.clone());
    annotations.extend(template::annotations(&shown["template"]));
    metadata["annotations"] = annotations.into();
    let owner = json!({
        "apiVersion": VERSION, "kind": "Job", "name": execution.job, "uid": execution.job_uid,
        "controller": true, "blockOwnerDeletion": true,
    });
    metadata["ownerReferences"] = json!([owner]);
    let mut spec = renamed(
        &shown,
        &[("parallelism", "parallelism"), ("taskCount", "taskCount")],
    );
    spec["template"] = json!({"spec": template::task(&shown["template"])});
    let mut status = renamed(
        &shown,
        &[
            ("startTime", "startTime"),
            ("completionTime", "completionTime"),
            ("runningCount", "runningCount"),
            ("succeededCount", "succeededCount"),
            ("failedCount", "failedCount"),
            ("cancelledCount", "cancelledCount"),
            ("retriedCount", "retriedCount"),
            ("logUri", "logUri"),
        ],
    );
    status["observedGeneration"] = 1.into();
    status["conditions"] = conditions(&shown);
    json!({
        "apiVersion": VERSION, "kind": "Execution", "metadata": metadata, "spec": spec, "status": status,
    })
}

/// A task's own labels: those of its execution, and which one that is.
pub(crate) fn task_labels(execution: &Execution) -> Map<String, Value> {
    let mut labels = execution.labels.clone();
    let id = execution.id.as_str();
    labels.insert("run.googleapis.com/execution".into(), id.into());
    labels
}

pub(crate) fn task(state: &State, execution: &Execution, index: usize, task: &Task) -> Value {
    let shown = v2::task(state, execution, index, task);
    let id = format!("{}-task{index}", execution.id);
    let uid = shown["uid"].as_str().unwrap_or_default();
    let updated = task.completed.or(task.started).unwrap_or(execution.created);
    let mut metadata = metadata(&id, uid, execution.created, updated);
    metadata["generation"] = 1.into();
    metadata["selfLink"] = link("tasks", &id).into();
    metadata["labels"] = task_labels(execution).into();
    metadata["annotations"] = owned(execution.annotations.clone()).into();
    let mut status = renamed(
        &shown,
        &[
            ("index", "index"),
            ("startTime", "startTime"),
            ("completionTime", "completionTime"),
            ("retried", "retried"),
            ("lastAttemptResult", "lastAttemptResult"),
            ("logUri", "logUri"),
        ],
    );
    status["observedGeneration"] = 1.into();
    status["conditions"] = conditions(&shown);
    json!({
        "apiVersion": VERSION, "kind": "Task", "metadata": metadata, "spec": template::task(&shown), "status": status,
    })
}

fn metadata(name: &str, uid: &str, created: Timestamp, updated: Timestamp) -> Value {
    json!({
        "name": name, "namespace": PROJECT_NUMBER, "uid": uid, "creationTimestamp": micros(created),
        "resourceVersion": resource_version(uid, updated),
    })
}

fn link(kind: &str, id: &str) -> String {
    format!("/apis/{VERSION}/namespaces/{PROJECT_NUMBER}/{kind}/{id}")
}

fn owned(mut annotations: Map<String, Value>) -> Map<String, Value> {
    annotations.insert("run.googleapis.com/creator".into(), v2::OWNER.into());
    annotations
}

fn map(value: &Value, pointer: &str) -> Map<String, Value> {
    let found = value.pointer(pointer).and_then(Value::as_object);
    found.cloned().unwrap_or_default()
}

/// The named fields that are there, under their names of this version.
pub(crate) fn renamed(value: &Value, names: &[(&str, &str)]) -> Value {
    let mut fields = Map::new();
    for (old, new) in names {
        if let Some(found) = value.get(*old) {
            fields.insert((*new).to_owned(), found.clone());
        }
    }
    Value::Object(fields)
}

fn conditions(shown: &Value) -> Value {
    let conditions = shown["conditions"].as_array();
    conditions.into_iter().flatten().map(condition).collect()
}

fn condition(condition: &Value) -> Value {
    let status = match condition["state"].as_str() {
        Some("CONDITION_SUCCEEDED") => "True",
        Some("CONDITION_FAILED") => "False",
        _ => "Unknown",
    };
    let kept = [
        ("type", "type"),
        ("message", "message"),
        ("lastTransitionTime", "lastTransitionTime"),
    ];
    let mut made = renamed(condition, &kept);
    made["status"] = status.into();
    let reason = condition
        .get("executionReason")
        .or_else(|| condition.get("reason"));
    if let Some(reason) = reason.and_then(Value::as_str) {
        made["reason"] = camel(reason).into();
    }
    made
}

/// `NON_ZERO_EXIT_CODE` is `NonZeroExitCode` here.
fn camel(constant: &str) -> String {
    let words = constant
        .split('_')
        .filter_map(|word| word.split_at_checked(1));
    words
        .map(|(first, rest)| first.to_owned() + &rest.to_ascii_lowercase())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons() {
        assert_eq!(camel("NON_ZERO_EXIT_CODE"), "NonZeroExitCode");
        assert_eq!(camel("CANCELLED"), "Cancelled");
    }
}
