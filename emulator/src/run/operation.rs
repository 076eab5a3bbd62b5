//! Long-running operations.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use super::page::{Page, place};
use super::state::State;
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
    let shown = records.operations.values().map(|operation| {
        (
            place(operation.created, &operation.id),
            show::operation(state, &records, operation),
        )
    });
    let is_wanted =
        |operation: &Value| wanted.is_none_or(|wanted| operation.get("done").is_some() == wanted);
    let entries = shown
        .filter(|(_, operation)| is_wanted(operation))
        .collect();
    Ok(page.answer("operations", entries, |operation| operation))
}

/// Forgets the record; cancels nothing.
pub(crate) fn delete(state: &State, id: &str) -> Outcome<Answer> {
    render(state, id)?;
    state.remove_operation(id)?;
    Ok(answer::json(&json!({})))
}
