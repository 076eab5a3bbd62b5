//! Taking runs away, and what was left behind.

use std::time::Duration;

use futures_util::{StreamExt, TryStreamExt, stream};
use wire::api::ErrorKind;
use wire::bucket::List;
use wire::names::RunId;

use super::list_runs;
use super::overview::{executions_of, read_usable_record};
use crate::cloud_run::Execution;
use crate::error::{Error, chain};
use crate::record::LocalRecord;
use crate::session::Session;

/// A run with a plan may wait for somebody to go on with it.
const UNFINISHED: Duration = Duration::from_hours(48);

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
    let record = read_usable_record(session, run).await?;
    if let Some(record) = &record
        && record.owner != session.owner
        && !force
    {
        return Err(Error::usage(format!("run `{run}` is `{}`'s", record.owner))
            .with_hint(format!("`sortie rm --force {run}` removes it all the same")));
    }
    let executions = match record {
        Some(record) => executions_of(session, &[record]).await?.remove(&run),
        None => None,
    };
    let executions = executions.unwrap_or_default();
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

/// The record goes last: while anything is left, the run can be found and removed again.
async fn remove_objects(session: &Session, run: RunId) -> Result<u64, Error> {
    let prefix = run.prefix();
    let record = run.record();
    let mut generation = None;
    let mut removed = 0;
    loop {
        let query = List {
            prefix: &prefix,
            ..List::default()
        };
        let page = session.bucket.list(&query).await;
        let page = page.map_err(Error::api("cannot list the run's objects"))?;
        let mut objects = page.objects;
        objects.retain(|object| {
            let is_record = object.name == record;
            if is_record {
                generation = Some(object.generation);
            }
            !is_record
        });
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
    let deleted = session.bucket.delete(&record, generation).await;
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
    // What waits for somebody to start it is over only when nobody has come for so long.
    let unfinished = now.checked_sub(UNFINISHED).unwrap_or(limit);
    let mut old = Vec::new();
    for run in list_runs(session, wire::names::RUNS).await? {
        // Names are in the order of their making.
        if run.created_at() >= limit {
            break;
        }
        // One without a record is the bucket's own rule's to sweep.
        if let Some(record) = read_usable_record(session, run).await?
            && record.owner == session.owner
        {
            old.push(record);
        }
    }
    let executions = executions_of(session, &old).await?;
    let mut removed = Removed::default();
    for record in old {
        let of = executions.get(&record.run).map_or(&[][..], Vec::as_slice);
        let open = of.iter().any(|execution| !execution.ended());
        if open || (record.planned && record.run.created_at() >= unfinished) {
            continue;
        }
        tell(&format!("run {}", record.run));
        if !how.dry_run {
            let of_run = remove(session, record.run, false).await?;
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
        let old = job.create_time.is_some_and(|time| time < limit);
        if !session.made_for_one_definition(&job) || short == session.job || !old {
            continue;
        }
        let used = session.cloud_run.executions_since(short, limit).await;
        let used = used.map_err(Error::api("cannot list a job's executions"))?;
        let in_use = |e: &Execution| !e.ended() || e.create_time.is_some_and(|t| t >= limit);
        if used.iter().any(in_use) {
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
