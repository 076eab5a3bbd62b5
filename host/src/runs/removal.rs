//! Taking runs away, and what was left behind.

use std::time::Duration;

use futures_util::{StreamExt, TryStreamExt, stream};
use wire::api::ErrorKind;
use wire::bucket::List;
use wire::contract::SORTIE_RUN;
use wire::names::{RunId, StartUri};

use super::list_runs;
use crate::cloud_run::Execution;
use crate::course::read_record;
use crate::error::{Error, chain};
use crate::record::LocalRecord;
use crate::session::Session;
use crate::submit;

/// Objects that are deleted at once.
const AT_ONCE: usize = 16;

/// What was taken away.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct Removed {
    /// Objects of the bucket.
    pub objects: u64,
    /// Executions of Cloud Run.
    pub executions: u32,
}

/// Removes a run: its objects, its executions where the caller may, and what this machine remembers of it.
///
/// `force`: even if it runs; it is cancelled first.
pub async fn remove(session: &Session, run: RunId, force: bool) -> Result<Removed, Error> {
    let executions = executions(session, run).await?;
    for execution in executions.iter().filter(|execution| !execution.ended()) {
        if !force {
            return Err(
                Error::usage(format!("run `{run}` is running")).with_hint(format!(
                    "`sortie cancel {run}` ends it; `sortie rm --force {run}` does both"
                )),
            );
        }
        let cancelled = session.cloud_run.cancel(&execution.name).await;
        cancelled.map_err(Error::api("cannot cancel the run"))?;
    }
    let mut removed = Removed::default();
    for execution in &executions {
        match session.cloud_run.delete(&execution.name).await {
            Ok(()) => removed.executions += 1,
            // A team's member may start them, and see them, and no more.
            Err(error) => {
                tracing::debug!(error = %chain(&error), "the execution stays");
            }
        }
    }
    removed.objects = remove_objects(session, run).await?;
    LocalRecord::remove(&session.data_dir, run)?;
    Ok(removed)
}

async fn executions(session: &Session, run: RunId) -> Result<Vec<Execution>, Error> {
    let Some(record) = read_record(session, run).await? else {
        return Ok(Vec::new());
    };
    let all = submit::executions(session, &record.job, run).await?;
    Ok(all.into_iter().filter(|e| run_of(e) == Some(run)).collect())
}

fn run_of(execution: &Execution) -> Option<RunId> {
    let uri: StartUri = execution.template.env(SORTIE_RUN)?.parse().ok()?;
    Some(uri.run)
}

/// The record goes last: while anything is left, the run can be found and removed again.
async fn remove_objects(session: &Session, run: RunId) -> Result<u64, Error> {
    let prefix = run.prefix();
    let record = run.record();
    let mut removed = 0;
    loop {
        let query = List {
            prefix: &prefix,
            ..List::default()
        };
        let page = session.bucket.list(&query).await;
        let page = page.map_err(Error::api("cannot list the run's objects"))?;
        let mut objects = page.objects;
        objects.retain(|object| object.name != record);
        if objects.is_empty() && page.next.is_none() {
            break;
        }
        removed += objects.len() as u64;
        let deletions = objects.into_iter().map(|object| async move {
            match session
                .bucket
                .delete(&object.name, Some(object.generation))
                .await
            {
                // Somebody else's by now, and not what we saw.
                Err(error) if error.kind == ErrorKind::Precondition => Ok(()),
                deleted => deleted,
            }
        });
        let deleted = stream::iter(deletions).buffer_unordered(AT_ONCE);
        let deleted: Result<(), _> = deleted.try_collect().await;
        deleted.map_err(Error::api("cannot remove the run"))?;
    }
    let deleted = session.bucket.delete(&record, None).await;
    deleted.map_err(Error::api("cannot remove the run"))?;
    Ok(removed + 1)
}

/// What is swept.
#[derive(Debug, Clone)]
pub struct Sweep {
    /// Runs that began earlier than so long ago.
    pub older_than: Duration,
    /// Whether it is only said what would go.
    pub dry_run: bool,
}

/// Removes what the caller left: runs of his that are old and over, by their records' owner; executions whose run is
/// gone; and, where he may, jobs made for a single definition that nothing has used for so long.
///
/// Calls `tell` for each thing that goes, in words.
pub async fn sweep(
    session: &Session,
    how: &Sweep,
    tell: &mut (dyn FnMut(&str) + Send),
) -> Result<Removed, Error> {
    let now = jiff::Timestamp::now();
    let limit = now.checked_sub(how.older_than);
    let limit = limit.map_err(|error| Error::local("cannot reckon with that age", error))?;
    let mut removed = Removed::default();
    for run in list_runs(session, wire::names::RUNS).await? {
        // Names are in the order of their making.
        if run.created_at() >= limit {
            break;
        }
        let record = read_record(session, run).await?;
        if record.is_some_and(|record| record.owner != session.owner) {
            continue;
        }
        let open = executions(session, run).await?.iter().any(|e| !e.ended());
        if open {
            continue;
        }
        tell(&format!("run {run}"));
        if !how.dry_run {
            let of_run = remove(session, run, false).await?;
            removed.objects += of_run.objects;
            removed.executions += of_run.executions;
        }
    }
    sweep_jobs(session, how, limit, tell).await?;
    Ok(removed)
}

/// Jobs that were made for one definition, and that nothing has used for so long.
async fn sweep_jobs(
    session: &Session,
    how: &Sweep,
    limit: jiff::Timestamp,
    tell: &mut (dyn FnMut(&str) + Send),
) -> Result<(), Error> {
    let jobs = session.cloud_run.jobs().await;
    let jobs = jobs.map_err(Error::api("cannot list the jobs"))?;
    for job in jobs {
        let short = job.name.rsplit('/').next().unwrap_or_default();
        let made_for_one = short.starts_with("local-") || short.starts_with("sortie-adhoc-");
        if !made_for_one || short == session.job || job.create_time.is_none_or(|t| t >= limit) {
            continue;
        }
        let used = session.cloud_run.executions_since(short, limit).await;
        let used = used.map_err(Error::api("cannot list a job's executions"))?;
        if used
            .iter()
            .any(|e| !e.ended() || e.create_time.is_some_and(|t| t >= limit))
        {
            continue;
        }
        tell(&format!("job {short}"));
        if how.dry_run {
            continue;
        }
        if let Err(error) = session.cloud_run.delete(&job.name).await {
            tell(&format!("job {short} stays: {}", chain(&error)));
        }
    }
    Ok(())
}
