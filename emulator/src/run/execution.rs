//! Executions and their tasks: start, read, cancel, delete.

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Map, Value};
use tokio::sync::watch;

use super::job::{check_etag, done, find as find_job};
use super::overrides::{self, Plan};
use super::page::{Page, place};
use super::record::{Execution, Job, Operation, Subject, Task, TaskState};
use super::state::{State, Stop};
use super::{show, spec, supervise};
use crate::answer::{self, Answer};
use crate::call::Call;
use crate::clock;
use crate::disk::Durability;
use crate::refusal::{Outcome, Refusal};
use crate::schema;

pub(crate) fn missing(id: &str) -> Refusal {
    Refusal::not_found(format!(
        "Resource '{id}' of kind 'EXECUTION' was not found: it does not exist."
    ))
}

/// Looks at an execution of a job, or with `-` of any. It is not copied: it may have very many tasks.
pub(crate) fn look<T>(
    state: &State,
    job: &str,
    id: &str,
    look: impl FnOnce(&Execution) -> T,
) -> Outcome<T> {
    let records = state.records();
    let found = records
        .executions
        .get(id)
        .filter(|execution| job == "-" || execution.job == job);
    found.map(look).ok_or_else(|| missing(id))
}

/// What a change of it needs to know: whether it is done, and how it looks.
fn examine(state: &State, job: &str, id: &str, etag: Option<&str>) -> Outcome<(bool, Value)> {
    let (is_done, actual, shown) = look(state, job, id, |execution| {
        let actual = show::etag(&execution.uid, execution.updated);
        (
            execution.is_done(),
            actual,
            show::execution(state, execution),
        )
    })?;
    check_etag(etag, &actual)?;
    Ok((is_done, shown))
}

pub(crate) async fn run(state: &Arc<State>, call: &mut Call, id: &str) -> Outcome<Answer> {
    let request = schema::message(spec::RUN_REQUEST, call.json().await?, "")?;
    let job = find_job(state, id)?;
    check_etag(
        request.get("etag").and_then(Value::as_str),
        &show::etag(&job.uid, job.updated),
    )?;
    let none = Map::new();
    let given = request
        .get("overrides")
        .and_then(Value::as_object)
        .unwrap_or(&none);
    if request.get("validateOnly") == Some(&Value::Bool(true)) {
        let execution = new_execution(state, &job, overrides::apply(&job.body, given)?);
        let resource = show::execution(state, &execution);
        return done(state, "Execution", resource, true);
    }
    let (_, operation) = start(state, &job, given)?;
    let shown = show::operation(state, &state.records(), &operation);
    Ok(answer::json(&shown))
}

/// Starts an execution with these overrides; its name.
pub(crate) fn launch(
    state: &Arc<State>,
    job: &Job,
    overrides: &Map<String, Value>,
) -> Outcome<String> {
    start(state, job, overrides).map(|(id, _)| id)
}

fn new_execution(state: &State, job: &Job, plan: Plan) -> Execution {
    let now = Timestamp::now();
    let template = job
        .body
        .get("template")
        .and_then(Value::as_object)
        .cloned()
        .unwrap_or_default();
    let map = |key| {
        template
            .get(key)
            .and_then(Value::as_object)
            .cloned()
            .unwrap_or_default()
    };
    let mut labels = map("labels");
    for (key, value) in [
        ("cloud.googleapis.com/location", state.region.as_str()),
        ("run.googleapis.com/job", &job.id),
        (
            "run.googleapis.com/jobGeneration",
            &job.generation.to_string(),
        ),
        ("run.googleapis.com/jobUid", &job.uid),
    ] {
        labels.insert(key.to_owned(), value.into());
    }
    let parallelism = template
        .get("parallelism")
        .and_then(Value::as_u64)
        .unwrap_or(0);
    Execution {
        id: format!("{}-{}", job.id, clock::random_suffix(5)),
        uid: uuid::Uuid::new_v4().to_string(),
        job: job.id.clone(),
        job_uid: job.uid.clone(),
        job_generation: job.generation,
        created: now,
        started: None,
        completed: None,
        updated: now,
        labels,
        annotations: map("annotations"),
        template: plan.template,
        parallelism: u32::try_from(parallelism).unwrap_or(u32::MAX),
        tasks: vec![Task::default(); plan.task_count],
        cancelled: false,
        doomed: false,
        fault: None,
        storage_host: state.storage_host.clone(),
    }
}

fn start(
    state: &Arc<State>,
    job: &Job,
    overrides: &Map<String, Value>,
) -> Outcome<(String, Operation)> {
    let mut execution = new_execution(state, job, overrides::apply(&job.body, overrides)?);
    let (switch, stop) = watch::channel(Stop::Go);
    let job = {
        let mut records = state.records();
        if records.stopping {
            return Err(Refusal::unavailable("The emulator is stopping."));
        }
        while records.executions.contains_key(&execution.id) {
            execution.id = format!("{}-{}", execution.job, clock::random_suffix(5));
        }
        let Some(job) = records.jobs.get_mut(&execution.job) else {
            return Err(missing(&execution.job));
        };
        job.execution_count += 1;
        job.latest = Some(execution.id.clone());
        let job = job.clone();
        records
            .executions
            .insert(execution.id.clone(), execution.clone());
        records.running.insert(execution.id.clone(), switch);
        job
    };
    let id = execution.id.clone();
    // Recorded before it runs: a crash in between must not leave a run that nobody knows of.
    let recorded = state
        .save_execution(&execution)
        .and_then(|()| state.save_job(&job, Durability::Unsynced));
    let operation = recorded.and_then(|()| state.add_operation(Subject::Execution(id.clone())));
    let operation = match operation {
        Ok(operation) => operation,
        Err(failure) => {
            let mut records = state.records();
            records.executions.remove(&id);
            records.running.remove(&id);
            return Err(failure.into());
        }
    };
    tokio::spawn(supervise::supervise(Arc::clone(state), id.clone(), stop));
    Ok((id, operation))
}

pub(crate) fn get(state: &State, call: &Call, job: &str, id: &str) -> Outcome<Answer> {
    let shown = look(state, job, id, |execution| {
        show::execution(state, execution)
    })?;
    answer::selected(call, shown)
}

pub(crate) fn list(state: &State, call: &Call, job: &str) -> Outcome<Answer> {
    let page = Page::of(call)?;
    if job != "-" {
        find_job(state, job)?;
    }
    let records = state.records();
    let of_job = records
        .executions
        .values()
        .filter(|execution| job == "-" || execution.job == job);
    let entries = of_job
        .map(|execution| (place(execution.created, &execution.id), execution))
        .collect();
    page.answer("executions", entries, |execution| {
        show::execution(state, execution)
    })
}

pub(crate) async fn cancel(
    state: &Arc<State>,
    call: &mut Call,
    job: &str,
    id: &str,
) -> Outcome<Answer> {
    let request = schema::message(spec::CANCEL_REQUEST, call.json().await?, "")?;
    let etag = request.get("etag").and_then(Value::as_str);
    let (is_done, shown) = examine(state, job, id, etag)?;
    let rehearsal = request.get("validateOnly") == Some(&Value::Bool(true));
    if is_done {
        return Err(not_running(id));
    }
    if rehearsal {
        return done(state, "Execution", shown, true);
    }
    let operation = state.add_operation(Subject::Execution(id.to_owned()))?;
    request_cancel(state, id, false);
    Ok(answer::json(&show::operation(
        state,
        &state.records(),
        &operation,
    )))
}

fn not_running(id: &str) -> Refusal {
    Refusal::failed_precondition(format!(
        "Execution '{id}' cannot be cancelled because it is not running."
    ))
}

/// Cancels one that runs.
pub(crate) fn stop(state: &State, id: &str) -> Outcome<()> {
    if look(state, "-", id, Execution::is_done)? {
        return Err(not_running(id));
    }
    request_cancel(state, id, false);
    Ok(())
}

/// Deletes one; if it runs, once it has been cancelled.
pub(crate) fn remove(state: &State, id: &str) -> Outcome<()> {
    if look(state, "-", id, Execution::is_done)? {
        return Ok(state.remove_execution(id)?);
    }
    request_cancel(state, id, true);
    Ok(())
}

fn request_cancel(state: &State, id: &str, doomed: bool) {
    state.change(id, |execution| {
        execution.cancelled |= !execution.is_done();
        execution.doomed |= doomed;
    });
    if let Some(switch) = state.records().running.get(id) {
        switch.send_replace(Stop::Cancel);
    }
}

/// Deletes a finished execution; one that runs is cancelled first.
pub(crate) fn delete(state: &Arc<State>, call: &Call, job: &str, id: &str) -> Outcome<Answer> {
    let (is_done, shown) = examine(state, job, id, call.query.get("etag"))?;
    if call.query.flag("validateOnly") {
        return done(state, "Execution", shown, true);
    }
    if is_done {
        state.remove_execution(id)?;
        return done(state, "Execution", shown, false);
    }
    let operation = state.add_operation(Subject::Execution(id.to_owned()))?;
    request_cancel(state, id, true);
    Ok(answer::json(&show::operation(
        state,
        &state.records(),
        &operation,
    )))
}

/// Ends an execution for a reason that is none of its tasks'.
pub(crate) fn fail(execution: &mut Execution, reason: &str, message: &str) {
    let now = Timestamp::now();
    for task in execution
        .tasks
        .iter_mut()
        .filter(|task| task.completed.is_none())
    {
        task.state = TaskState::Failed;
        task.completed = Some(now);
    }
    execution.fault = Some((reason.to_owned(), message.to_owned()));
    execution.completed = Some(now);
    execution.updated = now;
}
