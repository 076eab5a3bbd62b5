//! Executions under way.

use std::time::{Duration, Instant};

use wire::api::{ApiError, ErrorKind};
use wire::contract::{Start, TaskRange};
use wire::names::RunId;

use crate::cloud_run::Execution;
use crate::error::Error;
use crate::session::Session;
use crate::submit;

/// So many executions are asked for one by one; more by the pages of their job.
const FEW: usize = 3;

/// Who has written a start asks for its execution at once, unless he was killed between.
const ABOUT_TO_ASK: Duration = Duration::from_secs(15);

/// An execution of a start.
#[derive(Debug)]
pub(super) struct Flight {
    /// What it was told; its specs are left out.
    pub(super) start: Start,
    /// How it stands; absent: it is gone, or never was.
    pub(super) execution: Option<Execution>,
    /// Nothing more will come of it.
    over: bool,
    /// How many of its tasks had ended when the reports were listed last.
    pub(super) listed: Option<u32>,
    /// How many of those had no report when Cloud Run was asked about them last.
    pub(super) asked: u32,
    /// Its start is written, and nobody knows yet whether `:run` was heard.
    pub(super) unasked: bool,
    /// Until then another sortie may be about to ask.
    pub(super) anothers_until: Option<Instant>,
    /// A cancel of it went through.
    pub(super) cancelled: bool,
}

impl Flight {
    pub(super) fn new(mut start: Start, execution: Option<Execution>) -> Self {
        start.specs = Vec::new();
        Self {
            start,
            execution,
            over: false,
            listed: None,
            asked: 0,
            unasked: false,
            anothers_until: None,
            cancelled: false,
        }
    }

    /// Of a start that is written and has no execution yet, as far as anybody knows.
    pub(super) fn unasked(start: Start) -> Self {
        Self {
            unasked: true,
            ..Self::new(start, None)
        }
    }

    /// Likewise, of a start that another sortie wrote, which may be about to ask.
    pub(super) fn anothers(start: Start) -> Self {
        Self {
            anothers_until: Some(Instant::now() + ABOUT_TO_ASK),
            ..Self::unasked(start)
        }
    }

    /// Whether another sortie may still be about to ask.
    pub(super) fn is_anothers(&self) -> bool {
        self.anothers_until
            .is_some_and(|until| Instant::now() < until)
    }

    /// Whether everything it will ever bring is home.
    pub(super) fn is_over(&self) -> bool {
        self.over
    }

    pub(super) fn close(&mut self) {
        self.over = true;
    }

    /// Whether none of its tasks will do anything more.
    pub(super) fn has_ended(&self) -> bool {
        !self.unasked && self.execution.as_ref().is_none_or(Execution::ended)
    }

    /// How many of its tasks have ended.
    pub(super) fn ended_tasks(&self) -> u32 {
        self.execution.as_ref().map_or(0, Execution::ended_tasks)
    }

    pub(super) fn running(&self) -> u32 {
        let running = self.execution.as_ref().map(|e| e.running_count);
        running.unwrap_or(0)
    }

    /// Of its ended tasks those that have no result, if so many tasks of it are open.
    pub(super) fn unexplained(&self, open: usize) -> u32 {
        let total = self
            .start
            .tasks
            .iter()
            .map(|range| u64::from(range.count))
            .sum::<u64>();
        let gone = (u64::from(self.ended_tasks()) + open as u64).saturating_sub(total);
        u32::try_from(gone).unwrap_or(u32::MAX)
    }

    /// Whether there may be reports that no listing has shown.
    pub(super) fn has_moved(&self) -> bool {
        !self.over && (self.has_ended() || self.listed.unwrap_or(0) < self.ended_tasks())
    }

    /// Whether a report of a failure may be followed by another, of a new attempt.
    pub(super) fn may_try_again(&self) -> bool {
        let retries = |execution: &Execution| execution.template.max_retries;
        !self.has_ended() && self.execution.as_ref().is_some_and(|e| retries(e) > 0)
    }

    /// The number within the execution of a task of the run.
    pub(super) fn index(&self, task: u32) -> Option<u32> {
        let index = |range: &TaskRange| {
            let offset = task.checked_sub(range.task)?;
            (offset < range.count).then(|| range.index + offset)
        };
        self.start.tasks.iter().find_map(index)
    }

    /// The task of the run that has this number within the execution.
    pub(super) fn task(&self, index: u32) -> Option<u32> {
        let task = |range: &TaskRange| {
            let offset = index.checked_sub(range.index)?;
            (offset < range.count).then(|| range.task + offset)
        };
        self.start.tasks.iter().find_map(task)
    }

    fn name(&self) -> Option<&str> {
        self.execution.as_ref().map(|e| e.name.as_str())
    }
}

/// Asks how everything stands that is under way; says how many calls it took.
pub(super) async fn refresh(
    session: &Session,
    run: RunId,
    flights: &mut [Flight],
) -> Result<u32, Error> {
    let open = |flight: &&mut Flight| !flight.over && !flight.has_ended() && !flight.unasked;
    let mut under_way: Vec<&mut Flight> = flights.iter_mut().filter(open).collect();
    if under_way.len() <= FEW {
        return refresh_each(session, under_way).await;
    }
    let mut calls = 0;
    while let Some(job) = under_way.first().map(|flight| flight.start.job.clone()) {
        let all = submit::executions(session, &job, run).await?;
        calls += 1 + u32::try_from(all.len() / 100).unwrap_or(u32::MAX);
        for flight in &mut under_way {
            let found = all.iter().find(|e| Some(e.name.as_str()) == flight.name());
            if let Some(execution) = found {
                flight.execution = Some(execution.clone());
            }
        }
        let (missing, others): (Vec<_>, Vec<_>) = under_way
            .into_iter()
            .partition(|flight| flight.start.job == job);
        // Those that were not listed: gone, or too old for the page.
        let missing = missing.into_iter().filter(|flight| {
            let listed = all.iter().any(|e| Some(e.name.as_str()) == flight.name());
            !listed
        });
        calls += refresh_each(session, missing.collect()).await?;
        under_way = others;
    }
    Ok(calls)
}

async fn refresh_each(session: &Session, flights: Vec<&mut Flight>) -> Result<u32, Error> {
    let mut calls = 0;
    for flight in flights {
        let Some(name) = flight.name().map(str::to_owned) else {
            continue;
        };
        calls += 1;
        flight.execution = match session.cloud_run.execution(&name).await {
            Ok(execution) => Some(execution),
            // One word is no verdict: it must be gone from its job's list too.
            Err(error) if is_gone(&error) => {
                calls += 1;
                submit::look(session, &flight.start, &[]).await?
            }
            Err(error) => return Err(Error::api("cannot follow the run")(error)),
        };
    }
    Ok(calls)
}

fn is_gone(error: &ApiError) -> bool {
    error.kind == ErrorKind::NotFound
}
