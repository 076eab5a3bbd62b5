//! Coming back to a run, with the bucket alone.

use futures_util::{StreamExt, TryStreamExt, stream};
use wire::api::ErrorKind;
use wire::bucket::List;
use wire::contract::{Document, RunPlan, RunRecord, SORTIE_RUN, Start};
use wire::names::RunId;

use super::board::{Board, State};
use super::flight::Flight;
use super::plan::Plan;
use super::{Beginning, Course};
use crate::cost::Rate;
use crate::error::Error;
use crate::request::{Manner, Out};
use crate::session::Session;
use crate::submit;

/// A start with ten thousand specs of its own has a few hundred kilobytes, with small ones inline as many more.
const DOCUMENT_LIMIT: u64 = 64 << 20;

/// Documents that are read at once.
const AT_ONCE: usize = 16;

/// How to go on with a run.
#[derive(Debug, Clone)]
pub struct Resume {
    /// Where its results go.
    pub out: Out,
    /// How often a task that the platform has failed is tried again.
    pub retries: u32,
    /// Whether the output of an only task is shown.
    pub show: bool,
    /// Whether what is brought home stays in the bucket, too.
    pub keep: bool,
}

/// A run as the bucket and Cloud Run know it.
#[derive(Debug)]
pub(crate) struct Known {
    pub(crate) record: RunRecord,
    pub(crate) starts: Vec<Start>,
    /// By start.
    pub(crate) executions: Vec<Option<crate::cloud_run::Execution>>,
}

/// What the bucket says of a run; `None`: nothing.
pub(crate) async fn read_record(session: &Session, run: RunId) -> Result<Option<RunRecord>, Error> {
    match session.bucket.read(&run.record(), DOCUMENT_LIMIT).await {
        Ok((_, json)) => RunRecord::from_json(&json).map(Some).map_err(unreadable),
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
    let starts = read_starts(session, run).await?;
    let executions = find_executions(session, &record, &starts).await?;
    Ok(Known {
        record,
        starts,
        executions,
    })
}

async fn read_starts(session: &Session, run: RunId) -> Result<Vec<Start>, Error> {
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
        names.extend(page.objects.into_iter().map(|object| object.name));
        match page.next {
            Some(token) => next = Some(token),
            None => break,
        }
    }
    let read = names.into_iter().map(|name| async move {
        let read = session.bucket.read(&name, DOCUMENT_LIMIT).await;
        let (_, json) = read.map_err(Error::api("cannot read a start of the run"))?;
        Start::from_json(&json).map_err(unreadable)
    });
    let read = stream::iter(read).buffered(AT_ONCE);
    let mut starts: Vec<Start> = read.try_collect().await?;
    starts.sort_by_key(|start| start.start);
    Ok(starts)
}

/// By their environment: the only thing that goes through Cloud Run.
async fn find_executions(
    session: &Session,
    record: &RunRecord,
    starts: &[Start],
) -> Result<Vec<Option<crate::cloud_run::Execution>>, Error> {
    let mut found = vec![None; starts.len()];
    let mut jobs: Vec<&str> = starts.iter().map(|start| start.job.as_str()).collect();
    jobs.sort_unstable();
    jobs.dedup();
    for job in jobs {
        let all = submit::executions(session, job, record.run).await?;
        for (slot, start) in found.iter_mut().zip(starts) {
            let uri = submit::start_uri(session, record.run, start.start);
            let of = |e: &&crate::cloud_run::Execution| {
                start.job == job && e.template.env(SORTIE_RUN) == Some(uri.as_str())
            };
            // Of twins the one that was accepted first has the claims; the last of a list is the oldest.
            if let Some(execution) = all.iter().rfind(of) {
                *slot = Some(execution.clone());
            }
        }
    }
    Ok(found)
}

fn unreadable(error: wire::contract::ContractError) -> Error {
    Error::local("cannot use what the bucket says of the run", error)
}

impl<'a> Course<'a> {
    /// What the bucket and Cloud Run know of a run is enough to go on with it.
    pub(crate) async fn resume(
        session: &'a Session,
        run: RunId,
        how: Resume,
    ) -> Result<Self, Error> {
        let Known {
            record,
            starts,
            executions,
        } = know(session, run).await?;
        if starts.is_empty() {
            return Err(Error::usage(format!("run `{run}` was never started"))
                .with_hint("type its `sortie run` again"));
        }
        let mut plan = Plan {
            tasks: vec![None; record.tasks as usize],
            ..Plan::default()
        };
        if record.planned {
            for part in read_plan(session, run).await?.jobs {
                plan.learn(&part);
            }
        }
        let mut board = Board::new(record.tasks);
        for start in &starts {
            if !record.planned {
                plan.learn(start);
            }
            for range in &start.tasks {
                for task in range.task..range.task.saturating_add(range.count) {
                    board.set(task, State::Started(start.start));
                }
            }
        }
        let next_start = starts.last().map_or(0, |last| last.start + 1);
        let flights: Vec<Flight> = starts
            .into_iter()
            .zip(executions)
            .map(|(start, execution)| Flight::new(start, execution))
            .collect();
        let beginning = Beginning {
            rates: rates(session, &plan, &flights),
            session,
            record,
            plan,
            manner: Manner {
                retries: how.retries,
                ..Manner::default()
            },
            out: how.out,
        };
        let mut course = beginning.course();
        course.board = board;
        course.flights = flights;
        course.next_start = next_start;
        course.keep = how.keep;
        course.open_tail(how.show)?;
        Ok(course)
    }

    /// Brings home what is there already, and waits for nothing; says how many tasks that were not.
    pub(crate) async fn fetch(
        &mut self,
        reporter: &mut dyn crate::event::Reporter,
    ) -> Result<u32, Error> {
        self.bring_home(reporter).await?;
        Ok(self.board.count() - self.board.home())
    }

    /// Leaves all other tasks out.
    pub(crate) fn only(&mut self, task: u32) {
        for other in (0..self.board.count()).filter(|&other| other != task) {
            self.board.set(other, State::Home);
        }
    }
}

async fn read_plan(session: &Session, run: RunId) -> Result<RunPlan, Error> {
    let read = session.bucket.read(&run.plan(), DOCUMENT_LIMIT).await;
    let (_, json) = read.map_err(Error::api("cannot read the run's plan"))?;
    RunPlan::from_json(&json).map_err(unreadable)
}

fn rates(session: &Session, plan: &Plan, flights: &[Flight]) -> Vec<Option<Rate>> {
    let rate = |job: &super::UsedJob| {
        let flight = flights.iter().find(|flight| flight.start.job == job.name)?;
        let limits = flight.execution.as_ref()?.template.limits();
        Some(Rate::of(&limits, session.prices?))
    };
    plan.jobs.iter().map(rate).collect()
}
