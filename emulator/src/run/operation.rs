//! Long-running operations.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use super::page::{Page, place};
use super::record::{Execution, Operation, Subject};
use super::state::{Records, State};
use super::{show, spec};
use crate::answer::{self, Answer};
use crate::call::Call;
use crate::refusal::{Outcome, Refusal};
use crate::schema;

/// How long `:wait` waits if nobody says.
const DEFAULT_WAIT: f64 = 60.0;
/// How long it waits at most.
const LONGEST_WAIT: f64 = 3600.0;

fn render(state: &State, id: &str) -> Outcome<Value> {
    let records = state.records();
    let found = records.operations.get(id);
    let operation =
        found.ok_or_else(|| Refusal::not_found(format!("Operation '{id}' was not found.")))?;
    Ok(show::operation(state, &records, operation))
}

pub(crate) fn get(state: &State, id: &str) -> Outcome<Answer> {
    render(state, id).map(|operation| answer::json(&operation))
}

pub(crate) async fn wait(state: &Arc<State>, call: &mut Call, id: &str) -> Outcome<Answer> {
    let request = schema::message(spec::WAIT_REQUEST, call.json().await?, "")?;
    let timeout = request
        .get("timeout")
        .and_then(Value::as_str)
        .and_then(schema::seconds);
    let timeout = Duration::from_secs_f64(timeout.unwrap_or(DEFAULT_WAIT).clamp(0.0, LONGEST_WAIT));
    let mut ended = state.ended();
    let done = async {
        loop {
            let operation = render(state, id)?;
            if operation.get("done").is_some() || ended.changed().await.is_err() {
                return Ok(operation);
            }
        }
    };
    match tokio::time::timeout(timeout, done).await {
        Ok(operation) => operation.map(|operation| answer::json(&operation)),
        Err(_) => get(state, id),
    }
}

pub(crate) fn list(state: &State, call: &Call) -> Outcome<Answer> {
    let page = Page::of(call)?;
    let wanted = match call.query.get("filter") {
        None => None,
        Some("done:true") => Some(true),
        Some("done:false") => Some(false),
        Some(other) => return Err(Refusal::invalid(format!("Invalid filter: {other}"))),
    };
    let records = state.records();
    let of_wanted = records
        .operations
        .values()
        .filter(|operation| wanted.is_none_or(|wanted| operation.is_done(&records) == wanted));
    let entries = of_wanted
        .map(|operation| (place(operation.created, &operation.id), operation))
        .collect();
    page.answer("operations", entries, |operation| {
        show::operation(state, &records, operation)
    })
}

impl Operation {
    fn is_done(&self, records: &Records) -> bool {
        match &self.subject {
            Subject::Done { .. } => true,
            Subject::Execution(id) => {
                let execution = records.executions.get(id);
                execution.is_none_or(Execution::is_done)
            }
        }
    }
}

/// Forgets the record; cancels nothing.
pub(crate) fn delete(state: &State, id: &str) -> Outcome<Answer> {
    render(state, id)?;
    state.remove_operation(id)?;
    Ok(answer::json(&json!({})))
}
