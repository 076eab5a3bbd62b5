//! Jobs: create, read, change, delete, and their policies.

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Map, Value};

use super::page::{Page, place};
use super::record::{Job, Subject};
use super::state::{State, Stop};
use super::{show, spec, validate};
use crate::answer::{self, Answer};
use crate::call::Call;
use crate::disk::Durability;
use crate::policy::{self, Policy};
use crate::refusal::{Outcome, Refusal};
use crate::schema;

pub(crate) fn missing(id: &str) -> Refusal {
    Refusal::not_found(format!(
        "Resource '{id}' of kind 'JOB' in region was not found: it does not exist."
    ))
}

pub(crate) fn find(state: &State, id: &str) -> Outcome<Job> {
    state
        .records()
        .jobs
        .get(id)
        .cloned()
        .ok_or_else(|| missing(id))
}

/// Refuses a stale `etag`.
pub(crate) fn check_etag(given: Option<&str>, actual: &str) -> Outcome<()> {
    match given {
        Some(given) if given != actual => Err(Refusal::aborted(
            "ABORTED: The resource has been modified since it was read: its etag differs from the one given.",
        )),
        _ => Ok(()),
    }
}

fn render(state: &State, job: &Job) -> Value {
    show::job(state, &state.records(), job)
}

/// The operation of something already done; recorded unless it was only a rehearsal.
pub(crate) fn done(state: &State, kind: &str, resource: Value, rehearsal: bool) -> Outcome<Answer> {
    let subject = Subject::Done {
        kind: kind.into(),
        resource,
    };
    let operation = if rehearsal {
        let id = uuid::Uuid::new_v4().to_string();
        super::record::Operation {
            id,
            created: Timestamp::now(),
            subject,
        }
    } else {
        state.add_operation(subject)?
    };
    Ok(answer::json(&show::operation(
        state,
        &state.records(),
        &operation,
    )))
}

pub(crate) fn get(state: &State, call: &Call, id: &str) -> Outcome<Answer> {
    let job = find(state, id)?;
    answer::selected(call, render(state, &job))
}

pub(crate) fn list(state: &State, call: &Call) -> Outcome<Answer> {
    let page = Page::of(call)?;
    let records = state.records();
    let jobs = records
        .jobs
        .values()
        .map(|job| (place(job.created, &job.id), job))
        .collect();
    page.answer("jobs", jobs, |job| show::job(state, &records, job))
}

/// The body of a create or patch, checked and completed, and the etag it came with.
async fn body(state: &State, call: &mut Call) -> Outcome<(Map<String, Value>, Option<String>)> {
    let mut body = schema::message(spec::JOB, call.json().await?, "job")?;
    body.remove("name");
    let etag = match body.remove("etag") {
        Some(Value::String(etag)) => Some(etag),
        _ => None,
    };
    Ok((checked(state, body)?, etag))
}

/// A body of known fields, checked and completed.
pub(crate) fn checked(state: &State, mut body: Map<String, Value>) -> Outcome<Map<String, Value>> {
    validate::job(&mut body, &state.account)?;
    Ok(body)
}

pub(crate) async fn create(state: &Arc<State>, call: &mut Call) -> Outcome<Answer> {
    let id = call.query.get("jobId").unwrap_or_default().to_owned();
    let rehearsal = call.query.flag("validateOnly");
    let (body, _) = body(state, call).await?;
    let job = insert(state, &id, body, rehearsal)?;
    done(state, "Job", render(state, &job), rehearsal)
}

/// Makes a job of a checked body; a rehearsal only looks whether it could.
pub(crate) fn insert(
    state: &State,
    id: &str,
    body: Map<String, Value>,
    rehearsal: bool,
) -> Outcome<Job> {
    validate::job_id(id)?;
    let now = Timestamp::now();
    let job = Job {
        id: id.to_owned(),
        uid: uuid::Uuid::new_v4().to_string(),
        generation: 1,
        created: now,
        updated: now,
        body,
        execution_count: 0,
        latest: None,
        policy: Policy::default(),
    };
    {
        let mut records = state.records();
        if records.jobs.contains_key(id) {
            return Err(Refusal::conflict(format!(
                "Resource '{id}' already exists."
            )));
        }
        if !rehearsal {
            records.jobs.insert(id.to_owned(), job.clone());
        }
    }
    if !rehearsal {
        state.save_job(&job, Durability::Synced)?;
    }
    Ok(job)
}

pub(crate) async fn patch(state: &Arc<State>, call: &mut Call, id: &str) -> Outcome<Answer> {
    let rehearsal = call.query.flag("validateOnly");
    let (body, etag) = body(state, call).await?;
    let job = if call.query.flag("allowMissing") && !state.records().jobs.contains_key(id) {
        insert(state, id, body, rehearsal)?
    } else {
        let job = find(state, id)?;
        check_etag(etag.as_deref(), &show::etag(&job.uid, job.updated))?;
        change(state, job, body, rehearsal)?
    };
    done(state, "Job", render(state, &job), rehearsal)
}

/// Gives a job another body, a checked one.
pub(crate) fn change(
    state: &State,
    mut job: Job,
    body: Map<String, Value>,
    rehearsal: bool,
) -> Outcome<Job> {
    job.body = body;
    job.generation += 1;
    job.updated = Timestamp::now();
    if !rehearsal {
        state.records().jobs.insert(job.id.clone(), job.clone());
        state.save_job(&job, Durability::Synced)?;
    }
    Ok(job)
}

pub(crate) fn delete(state: &Arc<State>, call: &Call, id: &str) -> Outcome<Answer> {
    let job = find(state, id)?;
    check_etag(call.query.get("etag"), &show::etag(&job.uid, job.updated))?;
    let rehearsal = call.query.flag("validateOnly");
    let resource = render(state, &job);
    if !rehearsal {
        remove(state, id)?;
    }
    done(state, "Job", resource, rehearsal)
}

/// Deletes a job with its executions; those that run are cancelled first.
pub(crate) fn remove(state: &State, id: &str) -> Outcome<()> {
    for execution in doom(state, id) {
        state.remove_execution(&execution)?;
    }
    Ok(state.remove_job(id)?)
}

/// Cancels a job's running executions for good, and names the finished ones.
fn doom(state: &State, job: &str) -> Vec<String> {
    let mut records = state.records();
    let mut finished = Vec::new();
    let mut running = Vec::new();
    for execution in records
        .executions
        .values_mut()
        .filter(|execution| execution.job == job)
    {
        if execution.is_done() {
            finished.push(execution.id.clone());
        } else {
            execution.doomed = true;
            execution.cancelled = true;
            running.push(execution.id.clone());
        }
    }
    for switch in running.iter().filter_map(|id| records.running.get(id)) {
        switch.send_replace(Stop::Cancel);
    }
    finished
}

pub(crate) async fn get_policy(state: &Arc<State>, call: &mut Call, id: &str) -> Outcome<Answer> {
    let requested = policy::requested(call).await?;
    let job = find(state, id)?;
    Ok(answer::json(&job.policy.shown(requested)?))
}

pub(crate) async fn set_policy(state: &Arc<State>, call: &mut Call, id: &str) -> Outcome<Answer> {
    let given = policy::given(call).await?;
    let job = {
        let mut records = state.records();
        let job = records.jobs.get_mut(id).ok_or_else(|| missing(id))?;
        job.policy.replace(&given)?;
        job.clone()
    };
    state.save_job(&job, Durability::Synced)?;
    Ok(answer::json(&job.policy.to_json()))
}

/// The owner has every permission.
pub(crate) async fn test_permissions(
    state: &Arc<State>,
    call: &mut Call,
    id: &str,
) -> Outcome<Answer> {
    let permissions = policy::permissions(call).await?;
    find(state, id)?;
    Ok(answer::json(&permissions))
}
