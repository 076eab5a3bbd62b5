//! How one run stands.

use std::collections::{BTreeMap, HashSet};

use serde::Serialize;
use wire::contract::RunRecord;
use wire::names::{Attempt, RunId};

use crate::cloud_run::Execution;
use crate::course::{Known, know};
use crate::error::Error;
use crate::event::Reporter;
use crate::results::Reports;
use crate::session::Session;

/// How one run stands.
#[derive(Debug, Serialize)]
pub struct Standing {
    /// The run.
    pub run: RunId,
    /// Who started it.
    pub owner: String,
    /// When.
    pub created_at: jiff::Timestamp,
    /// Its executions' short names, in the order of their starts.
    pub executions: Vec<String>,
    /// Whether something of it may still run.
    pub running: bool,
    /// Every task, in order.
    pub tasks: Vec<TaskStanding>,
}

/// How one task stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TaskStanding {
    /// Its number.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// How it stands.
    pub state: TaskState,
    /// As reports have it: `exited`, `deadline`, ….
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outcome: Option<String>,
    /// The command's exit code.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<i32>,
}

/// How a task stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum TaskState {
    /// Its command is at work, or about to be.
    Running,
    /// It is in an execution, and its container has not begun.
    Pending,
    /// It is in no execution yet.
    Waiting,
    /// It has reported.
    Ended,
    /// Its execution is over, and it has not reported.
    Lost,
}

/// Looks how a run stands: a page of reports and one of claims tell of a thousand tasks.
pub async fn standing(
    session: &Session,
    run: RunId,
    reporter: &mut dyn Reporter,
) -> Result<Standing, Error> {
    let Known {
        record,
        starts,
        executions,
        ..
    } = know(session, run).await?;
    let mut reports = Reports::of(run);
    let (claimed, _) = reports.claimed(&session.bucket).await?;
    let (written, _) = reports.newest(&session.bucket, |_| true, reporter).await?;
    // A task's newest start, and whether that is over.
    let mut newest: BTreeMap<u32, (u32, bool)> = BTreeMap::new();
    for (start, executions) in starts.iter().zip(&executions) {
        let over = executions.iter().all(Execution::ended);
        for range in &start.tasks {
            for task in range.task..range.task.saturating_add(range.count) {
                newest.insert(task, (start.start, over));
            }
        }
    }
    let claimed: HashSet<(u32, u32)> = claimed
        .iter()
        .map(|Attempt { task, start, .. }| (*task, *start))
        .collect();
    let task = |index: u32| {
        let newest_report = written.get(&index);
        let started = newest.get(&index);
        let known = newest_report.filter(|written| {
            started.is_none_or(|(start, _)| written.objects.attempt.start == *start)
        });
        let state = match (known, started) {
            (Some(_), _) => TaskState::Ended,
            (None, None) => TaskState::Waiting,
            (None, Some((_, true))) => TaskState::Lost,
            (None, Some((start, false))) if claimed.contains(&(index, *start)) => {
                TaskState::Running
            }
            (None, Some((_, false))) => TaskState::Pending,
        };
        TaskStanding {
            index,
            name: record.name(index),
            state,
            outcome: known.map(|written| written.outcome.clone()),
            code: known.and_then(|written| written.code),
        }
    };
    let tasks = (0..record.tasks).map(task).collect();
    let names = executions.iter().flatten().map(|e| e.short().to_owned());
    let RunRecord {
        owner, created_at, ..
    } = record;
    Ok(Standing {
        run,
        owner,
        created_at,
        executions: names.collect(),
        running: executions.iter().flatten().any(|e| !e.ended()),
        tasks,
    })
}
