//! The namespaces API, version 1, as far as it is about jobs: `gcloud run jobs` speaks it. It shows and steers the very
//! jobs and executions of version 2; its resources are translations of that version's.

mod read;
mod selector;
mod show;
mod spec;
mod template;

use std::sync::Arc;

use http::Method;
use serde_json::{Map, Value, json};

use self::selector::Selector;
use super::job::missing as missing_job;
use super::page::{Page, place};
use super::record::Execution;
use super::state::State;
use super::{Place, execution, job, split, task};
use crate::answer::{self, Answer};
use crate::call::Call;
use crate::metadata::PROJECT_NUMBER;
use crate::refusal::{Outcome, Refusal};
use crate::router;
use crate::schema;
use crate::server::Site;

/// A region's host carries the region in its name, which is not looked at here: there is one.
pub(crate) async fn route(
    site: &Site,
    call: &mut Call,
    namespace: &str,
    path: &[&str],
) -> Outcome<Answer> {
    let state = &site.run.state;
    if namespace != state.project && namespace != PROJECT_NUMBER {
        return Err(Refusal::forbidden(format!(
            "Permission denied on resource project {namespace} (or it may not exist)."
        )));
    }
    match path {
        ["jobs"] => match call.method {
            Method::GET => list_jobs(state, call),
            Method::POST => create(state, call).await,
            _ => Err(Refusal::method_not_allowed()),
        },
        ["jobs", segment] => one_job(state, call, segment).await,
        ["executions"] if call.method == Method::GET => list_executions(state, call),
        ["executions", segment] => one_execution(state, call, segment).await,
        ["tasks"] if call.method == Method::GET => list_tasks(state, call),
        ["tasks", id] if call.method == Method::GET => {
            let task = task::find(state, "-", "-", id, |execution, index, task| {
                show::task(state, execution, index, task)
            })?;
            answer::selected(call, task)
        }
        _ => Err(router::nowhere()),
    }
}

/// The verbs of a job's policy; of what else a job can do there is nothing here.
pub(crate) async fn policy(
    site: &Site,
    call: &mut Call,
    place: Place<'_>,
    segment: &str,
) -> Outcome<Answer> {
    match split(segment) {
        (_, Some("getIamPolicy" | "setIamPolicy" | "testIamPermissions")) => {
            super::route(site, call, place, &["jobs", segment]).await
        }
        _ => Err(router::nowhere()),
    }
}

async fn one_job(state: &Arc<State>, call: &mut Call, segment: &str) -> Outcome<Answer> {
    match (&call.method, split(segment)) {
        (&Method::GET, (id, None)) => answer::selected(call, shown_job(state, id)?),
        (&Method::PUT, (id, None)) => replace(state, call, id).await,
        (&Method::DELETE, (id, None)) => {
            job::find(state, id)?;
            if call.query.get("dryRun") != Some("all") {
                job::remove(state, id)?;
            }
            Ok(success())
        }
        (&Method::POST, (id, Some("run"))) => {
            let given = schema::message(spec::RUN_REQUEST, call.json().await?, "")?;
            let overrides = read::overrides(given.get("overrides"));
            let job = job::find(state, id)?;
            let execution = execution::launch(state, &job, &overrides)?;
            Ok(answer::json(&shown_execution(state, &execution)?))
        }
        _ => Err(router::nowhere()),
    }
}

async fn one_execution(state: &Arc<State>, call: &mut Call, segment: &str) -> Outcome<Answer> {
    match (&call.method, split(segment)) {
        (&Method::GET, (id, None)) => answer::selected(call, shown_execution(state, id)?),
        (&Method::DELETE, (id, None)) => {
            execution::remove(state, id)?;
            Ok(success())
        }
        (&Method::POST, (id, Some("cancel"))) => {
            schema::message(&[], call.json().await?, "")?;
            execution::stop(state, id)?;
            Ok(answer::json(&shown_execution(state, id)?))
        }
        _ => Err(router::nowhere()),
    }
}

fn shown_job(state: &State, id: &str) -> Outcome<Value> {
    let records = state.records();
    let found = records.jobs.get(id).ok_or_else(|| missing_job(id))?;
    Ok(show::job(state, &records, found))
}

fn shown_execution(state: &State, id: &str) -> Outcome<Value> {
    execution::look(state, "-", id, |found| show::execution(state, found))
}

/// What a deletion answers.
fn success() -> Answer {
    answer::json(&json!({"status": "Success"}))
}

async fn create(state: &Arc<State>, call: &mut Call) -> Outcome<Answer> {
    let given = schema::message(spec::JOB, call.json().await?, "job")?;
    let (id, body) = read::job(given)?;
    let rehearsal = call.query.get("dryRun") == Some("all");
    let made = job::insert(state, &id, job::checked(state, body)?, rehearsal)?;
    Ok(answer::json(&show::job(state, &state.records(), &made)))
}

async fn replace(state: &Arc<State>, call: &mut Call, id: &str) -> Outcome<Answer> {
    let given = schema::message(spec::JOB, call.json().await?, "job")?;
    let version = given
        .get("metadata")
        .and_then(|metadata| metadata.get("resourceVersion"))
        .and_then(Value::as_str)
        .map(str::to_owned);
    let (named, body) = read::job(given)?;
    if named != id {
        return Err(Refusal::invalid(format!(
            "metadata.name `{named}` is not the name `{id}` of the request."
        )));
    }
    let found = job::find(state, id)?;
    let actual = show::resource_version(&found.uid, found.updated);
    job::check_etag(version.as_deref(), &actual)?;
    let rehearsal = call.query.get("dryRun") == Some("all");
    let changed = job::change(state, found, job::checked(state, body)?, rehearsal)?;
    Ok(answer::json(&show::job(state, &state.records(), &changed)))
}

fn list_jobs(state: &State, call: &Call) -> Outcome<Answer> {
    let (page, selector) = (Page::of_v1(call)?, Selector::of(call)?);
    let records = state.records();
    let jobs = records.jobs.values();
    let shown = jobs
        .filter(|job| {
            let labels = job.body.get("labels").and_then(Value::as_object);
            selector.takes(labels.unwrap_or(&Map::new()))
        })
        .map(|job| (place(job.created, &job.id), job))
        .collect();
    page.answer_v1("JobList", shown, |job| show::job(state, &records, job))
}

fn list_executions(state: &State, call: &Call) -> Outcome<Answer> {
    let (page, selector) = (Page::of_v1(call)?, Selector::of(call)?);
    let records = state.records();
    let executions = records.executions.values();
    let shown = executions
        .filter(|execution| selector.takes(&execution.labels))
        .map(|execution| (place(execution.created, &execution.id), execution))
        .collect();
    page.answer_v1("ExecutionList", shown, |execution| {
        show::execution(state, execution)
    })
}

fn list_tasks(state: &State, call: &Call) -> Outcome<Answer> {
    let (page, selector) = (Page::of_v1(call)?, Selector::of(call)?);
    let records = state.records();
    let chosen: Vec<&Execution> = records
        .executions
        .values()
        .filter(|execution| selector.takes(&show::task_labels(execution)))
        .collect();
    page.sorted_v1("TaskList", task::of(chosen), |entry| {
        let (execution, index, task) = entry;
        show::task(state, execution, index, task)
    })
}
