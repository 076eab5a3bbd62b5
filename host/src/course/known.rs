//! What the bucket and Cloud Run know of a run, trusted no further than it can be checked.

use std::collections::HashSet;

use futures_util::{StreamExt, TryStreamExt, stream};
use jiff::Timestamp;
use wire::api::ErrorKind;
use wire::bucket::List;
use wire::contract::{Document, RunPlan, RunRecord, SORTIE_RUN, SpecSource, Start, TaskRange};
use wire::names::RunId;

use crate::cloud_run::Execution;
use crate::error::Error;
use crate::session::Session;
use crate::submit;

/// A start with ten thousand specs of its own has a few hundred kilobytes, with small ones inline as many more.
const DOCUMENT_LIMIT: u64 = 64 << 20;

/// No run has more tasks.
const MOST_TASKS: u32 = 1_000_000;

/// Documents that are read at once.
const AT_ONCE: usize = 16;

/// A run as the bucket and Cloud Run know it.
#[derive(Debug)]
pub(crate) struct Known {
    pub(crate) record: RunRecord,
    pub(crate) starts: Vec<Start>,
    /// When each was written.
    pub(crate) written: Vec<Option<Timestamp>>,
    /// By start: the oldest first, and any twin of it.
    pub(crate) executions: Vec<Vec<Execution>>,
}

impl Known {
    /// Every execution, twins included.
    pub(crate) fn all_executions(&self) -> impl Iterator<Item = &Execution> {
        self.executions.iter().flatten()
    }
}

/// What the bucket says of a run; `None`: nothing.
pub(crate) async fn read_record(session: &Session, run: RunId) -> Result<Option<RunRecord>, Error> {
    match session.bucket.read(&run.record(), DOCUMENT_LIMIT).await {
        Ok((_, json)) => {
            let record = RunRecord::from_json(&json).map_err(unreadable)?;
            check_record(&record, run).map(|()| Some(record))
        }
        Err(error) if error.kind == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::api("cannot read what the run is")(error)),
    }
}

/// Reads a run's record and starts, and finds their executions.
pub(crate) async fn know(session: &Session, run: RunId) -> Result<Known, Error> {
    let Some(record) = read_record(session, run).await? else {
        return Err(Error::usage(format!("run `{run}` was never started"))
            .with_hint("type its `sortie run` again"));
    };
    let elsewhere = |there: &str, here: &str| !there.is_empty() && there != here;
    if elsewhere(&record.project, &session.project) || elsewhere(&record.region, &session.region) {
        let (project, region) = (&record.project, &record.region);
        return Err(
            Error::usage(format!("run `{run}` is in `{project}`, region `{region}`"))
                .with_hint(format!("add `--project {project} --region {region}`")),
        );
    }
    let (starts, written): (Vec<_>, Vec<_>) =
        read_starts(session, &record).await?.into_iter().unzip();
    let executions = find_executions(session, &record, &starts).await?;
    Ok(Known {
        record,
        starts,
        written,
        executions,
    })
}

/// The record comes from a bucket in which tasks may create objects: its names become directories here.
fn check_record(record: &RunRecord, run: RunId) -> Result<(), Error> {
    let refuse = |why: &str| {
        let why = format!("it {why}");
        Err(Error::local(
            "cannot trust what the bucket says of the run",
            why,
        ))
    };
    if record.run != run {
        return refuse("is about another run");
    }
    if record.tasks == 0 || record.tasks > MOST_TASKS {
        return refuse("has an impossible number of tasks");
    }
    if record.names.is_empty() {
        return Ok(());
    }
    let names: HashSet<&String> = record.names.iter().collect();
    if names.len() != record.tasks as usize {
        return refuse("does not name each task once");
    }
    for name in names {
        if crate::task_file::check_name(name).is_err() {
            return refuse("names a task as no directory can be named");
        }
    }
    Ok(())
}

/// A start comes from a bucket in which tasks may create objects.
fn is_possible(start: &Start, record: &RunRecord, name: &str) -> bool {
    let jobs = &record.jobs;
    let known = start.job == record.job || jobs.contains(&start.job);
    let mut next: u64 = 0;
    let fits = start.tasks.iter().all(|range| {
        let in_order = u64::from(range.index) == next;
        next += u64::from(range.count);
        in_order
            && u64::from(range.task) + u64::from(range.count) <= u64::from(record.tasks)
            && range.step <= 1
            && range.spec <= MOST_TASKS
    });
    let specs = start.specs.iter().map(|source| match source {
        SpecSource::Objects { first, count } if *first <= MOST_TASKS => u64::from(*count),
        SpecSource::Objects { .. } => u64::MAX / 4,
        _ => 1,
    });
    let specs = specs.fold(0, u64::saturating_add);
    start.run == record.run
        && name == record.run.start(start.start)
        && known
        && fits
        && next <= 10_000
        && specs <= 10_000
}

/// The run's starts in their order, and when each was written.
pub(super) async fn read_starts(
    session: &Session,
    record: &RunRecord,
) -> Result<Vec<(Start, Option<Timestamp>)>, Error> {
    let run = record.run;
    let prefix = run.starts();
    let mut names = Vec::new();
    let mut next: Option<String> = None;
    loop {
        let query = List {
            prefix: &prefix,
            page: next.as_deref(),
            ..List::default()
        };
        let page = session.bucket.list(&query).await;
        let page = page.map_err(Error::api("cannot list the run's starts"))?;
        let found = page.objects.into_iter();
        names.extend(found.map(|object| (object.name, object.created)));
        match page.next {
            Some(token) => next = Some(token),
            None => break,
        }
    }
    // Numbers follow each other, whatever lies there: one beyond them all was made up.
    let count = names.len();
    let read = names.into_iter().map(|(name, created)| async move {
        let read = session.bucket.read(&name, DOCUMENT_LIMIT).await;
        let (_, json) = read.map_err(Error::api("cannot read a start of the run"))?;
        let start = Start::from_json(&json).ok();
        let start = start
            .filter(|start| (start.start as usize) < count && is_possible(start, record, &name));
        Ok::<_, Error>(start.map(|start| (start, created)))
    });
    let read = stream::iter(read).buffered(AT_ONCE);
    let read: Vec<Option<_>> = read.try_collect().await?;
    let mut starts: Vec<(Start, _)> = read.into_iter().flatten().collect();
    starts.sort_by_key(|(start, _)| start.start);
    Ok(starts)
}

/// By their environment: the only thing that goes through Cloud Run.
pub(super) async fn find_executions(
    session: &Session,
    record: &RunRecord,
    starts: &[Start],
) -> Result<Vec<Vec<Execution>>, Error> {
    let mut found = vec![Vec::new(); starts.len()];
    let mut jobs: Vec<&str> = starts.iter().map(|start| start.job.as_str()).collect();
    jobs.sort_unstable();
    jobs.dedup();
    for job in jobs {
        let all = submit::executions(session, job, record.run).await?;
        // A list begins with the newest.
        for execution in all.into_iter().rev() {
            let uri = execution.template.env(SORTIE_RUN).map(str::to_owned);
            let of = |start: &Start| {
                let name = submit::start_uri(session, record.run, start.start);
                start.job == job && uri.as_deref() == Some(name.as_str())
            };
            if let Some(at) = starts.iter().position(of)
                && let Some(slot) = found.get_mut(at)
            {
                slot.push(execution);
            }
        }
    }
    Ok(found)
}

fn unreadable(error: wire::contract::ContractError) -> Error {
    Error::local("cannot use what the bucket says of the run", error)
}

pub(super) async fn read_plan(session: &Session, record: &RunRecord) -> Result<RunPlan, Error> {
    let read = session
        .bucket
        .read(&record.run.plan(), DOCUMENT_LIMIT)
        .await;
    let (_, json) = read.map_err(Error::api("cannot read the run's plan"))?;
    let plan = RunPlan::from_json(&json).map_err(unreadable)?;
    let possible = |part: &Start| {
        let mut counts = part.tasks.iter().map(|range| u64::from(range.count));
        let tasks = counts.try_fold(0_u64, u64::checked_add);
        let in_range = |range: &TaskRange| {
            u64::from(range.task) + u64::from(range.count) <= u64::from(record.tasks)
                && range.step <= 1
                && range.spec <= MOST_TASKS
        };
        let specs = part.specs.iter().all(|source| match source {
            SpecSource::Objects { first, count } => *first <= MOST_TASKS && *count <= MOST_TASKS,
            _ => true,
        });
        tasks.is_some_and(|tasks| tasks <= u64::from(record.tasks))
            && part.tasks.iter().all(in_range)
            && specs
    };
    if !plan.jobs.iter().all(possible) {
        let why = "it has impossible numbers";
        return Err(Error::local("cannot trust the run's plan", why));
    }
    Ok(plan)
}
