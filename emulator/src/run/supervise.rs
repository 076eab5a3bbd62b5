//! Takes an execution from its first task to its last.

use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde_json::Value;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::attempt::{Attempt, End};
use super::execution;
use super::record::{AttemptResult, Execution, Task, TaskState};
use super::state::{State, Stop};

/// How often, at most, the record of a long execution is written while it runs.
const SAVE_INTERVAL: Duration = Duration::from_secs(1);
/// How much longer than one writing there must be between two, so that however many tasks there are, recording them
/// takes a small part of the time.
const SAVE_SHARE: u32 = 20;

pub(crate) async fn supervise(state: Arc<State>, id: String, stop: watch::Receiver<Stop>) {
    let found = state.records().executions.get(&id).cloned();
    if let Some(execution) = found {
        run_tasks(&state, Arc::new(execution), &stop).await;
        conclude(&state, &id, *stop.borrow());
    }
    let finishing = Arc::clone(&state);
    let finished = tokio::task::spawn_blocking(move || finishing.finish(&id)).await;
    if let Ok(Err(failure)) = finished {
        tracing::error!(%failure, "cannot record the end of an execution");
    }
}

async fn run_tasks(state: &Arc<State>, execution: Arc<Execution>, stop: &watch::Receiver<Stop>) {
    let limit = match execution.parallelism {
        0 => state.concurrency,
        limit => state.concurrency.min(limit as usize),
    };
    let mut running = JoinSet::new();
    let mut waiting = 0..execution.tasks.len();
    let mut next_save = Instant::now() + SAVE_INTERVAL;
    loop {
        while running.len() < limit && *stop.borrow() == Stop::Go {
            let Some(index) = waiting.next() else { break };
            running.spawn(run_task(
                Arc::clone(state),
                Arc::clone(&execution),
                index,
                stop.clone(),
            ));
        }
        if running.join_next().await.is_none() {
            return;
        }
        let now = Instant::now();
        if now >= next_save {
            save(state, &execution.id).await;
            next_save = Instant::now() + SAVE_INTERVAL.max(now.elapsed() * SAVE_SHARE);
        }
    }
}

async fn save(state: &Arc<State>, id: &str) {
    let record = state.records().executions.get(id).cloned();
    if let Some(record) = record {
        let state = Arc::clone(state);
        let saved = tokio::task::spawn_blocking(move || state.save_execution(&record)).await;
        if let Ok(Err(failure)) = saved {
            tracing::warn!(%failure, "cannot record an execution's progress");
        }
    }
}

async fn run_task(
    state: Arc<State>,
    execution: Arc<Execution>,
    index: usize,
    mut stop: watch::Receiver<Stop>,
) {
    let slot = tokio::select! {
        slot = state.slots.acquire() => slot,
        _ = stop.wait_for(|stop| *stop != Stop::Go) => return,
    };
    let retries = execution
        .template
        .get("maxRetries")
        .and_then(Value::as_u64)
        .unwrap_or(0);
    for attempt in 0.. {
        if *stop.borrow() != Stop::Go {
            break;
        }
        begin(&state, &execution.id, index, attempt);
        let end = match Attempt::prepare(&state, &execution, index, attempt) {
            Ok(prepared) => prepared.run(&state, stop.clone()).await,
            Err(end) => end,
        };
        if settle(
            &state,
            &execution.id,
            index,
            end,
            u64::from(attempt) >= retries,
        ) {
            break;
        }
    }
    drop(slot);
}

fn begin(state: &State, id: &str, index: usize, attempt: u32) {
    let now = Timestamp::now();
    state.change(id, |execution| {
        execution.started.get_or_insert(now);
        if let Some(task) = execution.tasks.get_mut(index) {
            task.state = TaskState::Running;
            task.attempt = attempt;
            task.started.get_or_insert(now);
        }
    });
}

/// Records an attempt's end; whether the task is over.
fn settle(state: &State, id: &str, index: usize, end: End, last: bool) -> bool {
    let (outcome, result, fault) = match end {
        End::Finished(result) if result.code == 0 => (Some(TaskState::Succeeded), result, None),
        End::Finished(result) => (last.then_some(TaskState::Failed), result, None),
        // The verdict waits for why it was stopped.
        End::Stopped(result) => (None, result, None),
        End::Refused(reason, message) => {
            let result = AttemptResult {
                code: 9,
                message: message.clone(),
                ..AttemptResult::default()
            };
            (
                Some(TaskState::Failed),
                result,
                Some((reason.to_owned(), message)),
            )
        }
    };
    state.change(id, |execution| {
        if let Some(task) = execution.tasks.get_mut(index) {
            task.last = Some(result);
            task.state = outcome.unwrap_or(TaskState::Pending);
            task.completed = outcome.map(|_| Timestamp::now());
        }
        if fault.is_some() {
            execution.fault = fault;
        }
    });
    outcome.is_some()
}

fn conclude(state: &State, id: &str, stop: Stop) {
    state.change(id, |execution| {
        if stop == Stop::Shutdown && execution.tasks.iter().any(Task::is_open) {
            execution::fail(
                execution,
                "INTERNAL",
                "The emulator was stopped while this execution was running.",
            );
            return;
        }
        let now = Timestamp::now();
        for task in execution.tasks.iter_mut().filter(|task| task.is_open()) {
            task.state = TaskState::Cancelled;
            task.completed = Some(now);
        }
        // What had already ended when the cancel came was not cancelled.
        execution.cancelled = execution.count(TaskState::Cancelled) > 0;
        execution.completed = Some(now);
    });
}

impl Task {
    fn is_open(&self) -> bool {
        self.completed.is_none()
    }
}
