//! The tasks of executions: read one by one and in lists.

use std::cmp::Reverse;

use super::page::{Page, Place, place};
use super::record::{Execution, Task};
use super::state::State;
use super::{execution, show};
use crate::answer::{self, Answer};
use crate::call::Call;
use crate::refusal::{Outcome, Refusal};

pub(crate) fn list(state: &State, call: &Call, job: &str, id: &str) -> Outcome<Answer> {
    let page = Page::of(call)?;
    let records = state.records();
    let mut chosen: Vec<&Execution> = match id {
        "-" => records.executions.values().collect(),
        id => records.executions.get(id).into_iter().collect(),
    };
    chosen.retain(|execution| job == "-" || execution.job == job);
    if chosen.is_empty() && id != "-" {
        return Err(execution::missing(id));
    }
    page.sorted("tasks", of(chosen), |(execution, index, task)| {
        show::task(state, execution, index, task)
    })
}

type TaskOf<'a> = (&'a Execution, usize, &'a Task);

/// The tasks of these executions, newest execution first, and in the order of their indices within each.
pub(crate) fn of(mut executions: Vec<&Execution>) -> impl Iterator<Item = (Place, TaskOf<'_>)> {
    executions.sort_unstable_by_key(|execution| Reverse((execution.created, &execution.id)));
    let tasks = executions.into_iter().flat_map(|execution| {
        let tasks = execution.tasks.iter().enumerate();
        tasks.map(move |(index, task)| (execution, index, task))
    });
    tasks.map(|(execution, index, task)| {
        let order = format!("{}/{:06}", execution.id, 999_999 - index);
        (place(execution.created, &order), (execution, index, task))
    })
}

pub(crate) fn get(state: &State, call: &Call, job: &str, id: &str, task: &str) -> Outcome<Answer> {
    let shown = find(state, job, id, task, |execution, index, task| {
        show::task(state, execution, index, task)
    })?;
    answer::selected(call, shown)
}

/// Looks at a task by its name; execution and job may be `-`.
pub(crate) fn find<T>(
    state: &State,
    job: &str,
    id: &str,
    task: &str,
    look: impl FnOnce(&Execution, usize, &Task) -> T,
) -> Outcome<T> {
    let absent = || {
        Refusal::not_found(format!(
            "Resource '{task}' of kind 'TASK' was not found: it does not exist."
        ))
    };
    let (execution, number) = task.rsplit_once("-task").ok_or_else(absent)?;
    let found = if id == "-" { execution } else { id };
    let seen = execution::look(state, job, found, |found| {
        let index: usize = number.parse().ok().filter(|_| found.id == execution)?;
        Some(look(found, index, found.tasks.get(index)?))
    })?;
    seen.ok_or_else(absent)
}
