//! The runs there are.

use std::collections::BTreeMap;

use futures_util::{StreamExt, TryStreamExt, stream};
use serde::Serialize;
use wire::contract::{RunRecord, SORTIE_RUN};
use wire::names::{RunId, StartUri};

use super::list_runs;
use crate::cloud_run::Execution;
use crate::course::read_record;
use crate::error::Error;
use crate::session::Session;

/// Records that are read at once.
const AT_ONCE: usize = 16;

/// Where a team has many runs, so many are looked at for the caller's own.
const LOOKED_AT: usize = 500;

/// A run in a line.
#[derive(Debug, Clone, Serialize)]
pub struct Overview {
    /// The run.
    pub run: RunId,
    /// Who started it.
    pub owner: String,
    /// When.
    pub created_at: jiff::Timestamp,
    /// How many tasks it has.
    pub tasks: u32,
    /// Its job; of several, the first.
    pub job: String,
    /// Tasks that run now.
    pub running: u32,
    /// Tasks that exited with 0.
    pub succeeded: u32,
    /// Tasks that did not.
    pub failed: u32,
    /// Tasks that were cancelled.
    pub cancelled: u32,
    /// Whether something of it may still run.
    pub active: bool,
    /// Whether Cloud Run still knows of it.
    pub known: bool,
}

/// The newest runs, newest first: of an owner, or of everybody.
pub async fn overview(
    session: &Session,
    owner: Option<&str>,
    most: usize,
) -> Result<Vec<Overview>, Error> {
    let mut runs = list_runs(session, wire::names::RUNS).await?;
    runs.sort_by_key(|run| std::cmp::Reverse(*run));
    let reading = runs.into_iter().take(LOOKED_AT);
    let reading = reading.map(|run| read_usable_record(session, run));
    let reading = stream::iter(reading).buffered(AT_ONCE);
    // A run whose record is gone is about to be swept by the bucket's own rule.
    let reading = reading.try_filter_map(|record| async move { Ok(record) });
    let mine = reading.try_filter(|record: &RunRecord| {
        std::future::ready(owner.is_none_or(|owner| record.owner == owner))
    });
    let records: Vec<RunRecord> = mine.take(most).try_collect().await?;
    let executions = executions_of(session, &records).await?;
    Ok(records
        .into_iter()
        .map(|record| describe(record, &executions))
        .collect())
}

/// A record that another version wrote, or a task, is nobody's reason not to see the others.
pub(super) async fn read_usable_record(
    session: &Session,
    run: RunId,
) -> Result<Option<RunRecord>, Error> {
    match read_record(session, run).await {
        Err(Error::Local { source, .. }) => {
            tracing::debug!(%run, error = %source, "left aside");
            Ok(None)
        }
        read => read,
    }
}

/// The executions of these runs.
pub(super) async fn executions_of(
    session: &Session,
    records: &[RunRecord],
) -> Result<BTreeMap<RunId, Vec<Execution>>, Error> {
    let mut jobs: Vec<&str> = records.iter().flat_map(RunRecord::all_jobs).collect();
    jobs.sort_unstable();
    jobs.dedup();
    let mut all: BTreeMap<RunId, Vec<Execution>> = BTreeMap::new();
    let Some(oldest) = records.iter().map(|record| record.run).min() else {
        return Ok(all);
    };
    for job in jobs {
        for execution in crate::submit::executions(session, job, oldest).await? {
            let uri = execution.template.env(SORTIE_RUN);
            if let Some(Ok(uri)) = uri.map(str::parse::<StartUri>) {
                all.entry(uri.run).or_default().push(execution);
            }
        }
    }
    Ok(all)
}

fn describe(record: RunRecord, executions: &BTreeMap<RunId, Vec<Execution>>) -> Overview {
    let of = executions.get(&record.run).map_or(&[][..], Vec::as_slice);
    let sum = |count: fn(&Execution) -> u32| of.iter().map(count).sum();
    let started: u32 = of.iter().map(|execution| execution.task_count).sum();
    let active = of.iter().any(|execution| !execution.ended());
    Overview {
        run: record.run,
        owner: record.owner,
        created_at: record.created_at,
        tasks: record.tasks,
        job: record.job,
        running: sum(|e| e.running_count),
        succeeded: sum(|e| e.succeeded_count),
        failed: sum(|e| e.failed_count),
        cancelled: sum(|e| e.cancelled_count),
        active: active || (record.planned && !of.is_empty() && started < record.tasks),
        known: !of.is_empty(),
    }
}
