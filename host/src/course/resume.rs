//! Coming back to a run, with the bucket alone.

use jiff::{SignedDuration, Timestamp};
use wire::contract::{RunRecord, Start};
use wire::names::RunId;

use super::board::{Board, State};
use super::flight::Flight;
use super::known::{Known, find_executions, know, read_plan, read_starts};
use super::plan::Plan;
use super::{Beginning, Course};
use crate::cloud_run::Execution;
use crate::cost::Rate;
use crate::error::Error;
use crate::request::{Manner, Out};
use crate::session::Session;

/// Who vouches for what the bucket says is to be started: tasks may create objects there, too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trust {
    /// This machine, which has started the run.
    Machine,
    /// The user.
    User,
    /// Nobody: nothing is started.
    Nobody,
}

/// How to go on with a run.
#[derive(Debug, Clone)]
pub struct Resume {
    /// Where its results go.
    pub out: Out,
    /// How often a task that the platform has failed is tried again; absent = as the run was told.
    pub retries: Option<u32>,
    /// Whether the output of an only task is shown.
    pub show: bool,
    /// Who vouches for what the bucket says is to be started.
    pub trust: Trust,
    /// Whether what is brought home stays in the bucket, too.
    pub keep: bool,
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
            written,
            executions,
        } = know(session, run).await?;
        if starts.is_empty() {
            return Err(Error::usage(format!("run `{run}` was never started"))
                .with_hint("type its `sortie run` again"));
        }
        let plan = learn_plan(session, &record, &starts).await?;
        let mut board = Board::new(record.tasks);
        let mut flights = Vec::with_capacity(starts.len());
        let mut next_start = 0;
        let known = written.into_iter().zip(executions);
        for (start, (written, executions)) in starts.into_iter().zip(known) {
            if !plan.has_made(&start) {
                continue;
            }
            for task in start
                .tasks
                .iter()
                .flat_map(|range| range.task..range.task + range.count)
            {
                // What is asked for now counts from now on.
                if how.retries.is_none() && board.state(task) != Some(State::Waiting) {
                    board.try_again(task);
                }
                board.set(task, State::Started(start.start));
            }
            next_start = start.start + 1;
            let may_be_asked_for = how.trust == Trust::Machine && is_recent(run, written);
            flights.extend(adopt(start, executions, may_be_asked_for));
        }
        let beginning = Beginning {
            rates: rates(session, &plan, &flights),
            session,
            manner: Manner::coming_back(record.driving, how.retries),
            record,
            plan,
            out: how.out,
        };
        let mut course = beginning.course();
        course.board = board;
        course.flights = flights;
        course.next_start = next_start;
        course.may_start = how.trust != Trust::Nobody;
        course.keep = how.keep;
        course.open_tail(how.show)?;
        Ok(course)
    }

    /// Brings home what is there already, and waits for nothing; says how many tasks that were not.
    pub(crate) async fn fetch(
        &mut self,
        reporter: &mut dyn crate::event::Reporter,
    ) -> Result<u32, Error> {
        self.manner = Manner::default();
        self.bring_what_is_there(reporter).await?;
        Ok(self.board.count() - self.board.home())
    }

    /// Takes over what another sortie, that drives the same run, has started since.
    pub(super) async fn learn_starts(&mut self) -> Result<(), Error> {
        let starts = read_starts(self.session, &self.record).await?;
        let (starts, written): (Vec<Start>, Vec<_>) = starts.into_iter().unzip();
        let executions = find_executions(self.session, &self.record, &starts).await?;
        let known = written.into_iter().zip(executions);
        for (start, (written, executions)) in starts.into_iter().zip(known) {
            if start.start < self.next_start || !self.plan.has_made(&start) {
                continue;
            }
            for task in start
                .tasks
                .iter()
                .flat_map(|range| range.task..range.task + range.count)
            {
                if self.board.state(task) != Some(State::Home) {
                    self.board.set(task, State::Started(start.start));
                }
            }
            self.next_start = start.start + 1;
            let may_be_asked_for = is_recent(self.run(), written);
            self.flights
                .extend(adopt(start, executions, may_be_asked_for));
        }
        // Only a start that was written after the look for the inputs proves anything of them.
        self.inputs_seen = self.inputs_seen.map(|_| self.next_start);
        Ok(())
    }

    /// Whether more may be started; the bucket alone does not vouch for what would be.
    pub(super) fn may_start(&self) -> Result<(), Error> {
        if self.may_start {
            return Ok(());
        }
        let run = self.run();
        let waiting = crate::text::count(u64::from(self.board.waiting()), "task", "tasks");
        Err(Error::usage(format!(
            "{waiting} would have to be started, and this machine has not started run `{run}`"
        ))
        .with_hint(format!(
            "if you trust who did: `sortie wait --start-the-rest {run}`"
        )))
    }

    /// Leaves all other tasks out.
    pub(crate) fn only(&mut self, task: u32) {
        for other in (0..self.board.count()).filter(|&other| other != task) {
            self.board.set(other, State::Home);
        }
    }
}

/// What tasks do is told by what was written before anything ran, and by nothing that tasks could write.
async fn learn_plan(
    session: &Session,
    record: &RunRecord,
    starts: &[Start],
) -> Result<Plan, Error> {
    let mut plan = Plan {
        tasks: vec![None; record.tasks as usize],
        ..Plan::default()
    };
    if record.planned {
        for part in read_plan(session, record).await?.jobs {
            plan.learn(&part);
        }
    } else if let Some(first) = starts.first().filter(|first| first.start == 0) {
        plan.learn(first);
    }
    Ok(plan)
}

/// Whether a start is so young that its execution cannot have been and gone.
fn is_recent(run: RunId, written: Option<Timestamp>) -> bool {
    let age = Timestamp::now().duration_since(written.unwrap_or(run.created_at()));
    age < SignedDuration::from_hours(24)
}

/// The executions of a start; a young one of ours that has none was perhaps never asked for.
fn adopt(start: Start, executions: Vec<Execution>, may_be_asked_for: bool) -> Vec<Flight> {
    if executions.is_empty() {
        return vec![if may_be_asked_for {
            Flight::anothers(start)
        } else {
            Flight::new(start, None)
        }];
    }
    let flight = |execution| Flight::new(start.clone(), Some(execution));
    executions.into_iter().map(flight).collect()
}

fn rates(session: &Session, plan: &Plan, flights: &[Flight]) -> Vec<Option<Rate>> {
    let rate = |job: &super::UsedJob| {
        let flight = flights.iter().find(|flight| flight.start.job == job.name)?;
        let limits = flight.execution.as_ref()?.template.limits();
        Some(Rate::of(&limits, session.prices?))
    };
    plan.jobs.iter().map(rate).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_old_runs_young_start_may_yet_be_asked_for() {
        let young = Timestamp::now();
        let old = young.checked_sub(SignedDuration::from_hours(30)).unwrap();
        let run = RunId::new();
        assert!(is_recent(run, Some(young)) && is_recent(run, None));
        assert!(
            !is_recent(run, Some(old)),
            "its execution may have been and gone"
        );
    }
}
