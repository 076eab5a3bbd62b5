//! Tasks that ended and left no report.

use std::collections::{HashMap, HashSet};

use wire::names::Attempt;

use super::Course;
use super::board::State;
use super::flight::Flight;
use crate::cloud_run::Task;
use crate::error::Error;
use crate::event::{Event, Reporter};
use crate::results::{Cause, Explanation, Place, Tail, TaskResult, explain, land_lost};
use crate::session::Session;
use crate::submit;

/// What the entrypoint exits with when another has claimed its attempt.
const TWIN: i32 = entrypoint::exit::TWIN as i32;

/// What is known of a task that left no report.
pub(super) struct Lost {
    explanation: Explanation,
    platform: Option<Task>,
    /// Whether it began, and may have left logs and a checkpoint.
    claimed: bool,
}

impl Lost {
    pub(super) async fn land(
        self,
        session: &Session,
        place: Place<'_>,
        tail: &mut Tail,
        reporter: &mut dyn Reporter,
    ) -> Result<TaskResult, Error> {
        let platform = self.platform.as_ref();
        let left = self.claimed;
        land_lost(
            session,
            place,
            &self.explanation,
            platform,
            left,
            tail,
            reporter,
        )
        .await
    }
}

impl Course<'_> {
    /// Lands, or starts again, what ended with no report; says how many calls that took.
    pub(super) async fn bring_home_lost(
        &mut self,
        reporter: &mut dyn Reporter,
    ) -> Result<u32, Error> {
        let mut calls = 0;
        for i in 0..self.flights.len() {
            let Some(flight) = self.flights.get(i).filter(|flight| !flight.is_over()) else {
                continue;
            };
            let open: Vec<u32> = self.board.in_start(flight.start.start).collect();
            if flight.has_ended() && self.has_working_twin(i) {
                // Its tasks are the other's, and at work.
                continue;
            }
            if flight.has_ended() {
                if !open.is_empty() {
                    calls += self.explain_all(i, open, reporter).await?;
                }
                if let Some(flight) = self.flights.get_mut(i) {
                    flight.close();
                }
            } else if flight.unexplained(open.len()) > flight.asked {
                calls += self.explain_ended(i, open, reporter).await?;
                let left = self.board.in_start(self.start_of(i)).count();
                if let Some(flight) = self.flights.get_mut(i) {
                    flight.asked = flight.unexplained(left);
                }
            }
        }
        Ok(calls)
    }

    fn has_working_twin(&self, i: usize) -> bool {
        let start = self.start_of(i);
        let mut others = self.flights.iter().enumerate().filter(|(j, _)| *j != i);
        others.any(|(_, other)| other.start.start == start && !other.has_ended())
    }

    fn start_of(&self, i: usize) -> u32 {
        self.flights
            .get(i)
            .map_or(u32::MAX, |flight| flight.start.start)
    }

    /// What Cloud Run says of an execution's tasks, by their numbers within it.
    async fn platform(&self, flight: &Flight) -> Result<HashMap<u32, Task>, Error> {
        let Some(execution) = &flight.execution else {
            return Ok(HashMap::new());
        };
        let tasks = self.session.cloud_run.tasks(&execution.name).await;
        let tasks = tasks.map_err(Error::api("cannot learn why a task left no report"))?;
        Ok(tasks.into_iter().map(|task| (task.index, task)).collect())
    }

    /// Its execution is over: nothing more will come of any of them.
    async fn explain_all(
        &mut self,
        i: usize,
        open: Vec<u32>,
        reporter: &mut dyn Reporter,
    ) -> Result<u32, Error> {
        let Some(flight) = self.flights.get(i) else {
            return Ok(0);
        };
        let platform = self.platform(flight).await?;
        let of = |task: &u32| platform.get(&flight.index(*task)?);
        let code = |task: &Task| task.last_attempt_result.as_ref()?.exit_code;
        let twin = |task: &u32| of(task).and_then(code) == Some(TWIN);
        if open.iter().any(twin)
            && let Some(other) = self.working_twin(flight).await?
        {
            self.flights.push(other);
            return Ok(2);
        }
        let calls = 1 + pages(platform.len());
        Ok(calls + self.send_home_lost(i, open, platform, reporter).await?)
    }

    /// Its execution goes on, but some of them have ended.
    async fn explain_ended(
        &mut self,
        i: usize,
        open: Vec<u32>,
        reporter: &mut dyn Reporter,
    ) -> Result<u32, Error> {
        let Some(flight) = self.flights.get(i) else {
            return Ok(0);
        };
        let mut platform = self.platform(flight).await?;
        let mut calls = 1 + pages(platform.len());
        let code = |task: &Task| task.last_attempt_result.as_ref()?.exit_code;
        // A twin's work goes on elsewhere; that is looked for when its execution is over.
        platform.retain(|_, task| task.completion_time.is_some() && code(task) != Some(TWIN));
        let ended = |task: &u32| {
            let index = flight.index(*task);
            index.is_some_and(|index| platform.contains_key(&index))
        };
        let ended: HashSet<u32> = open.into_iter().filter(ended).collect();
        if ended.is_empty() {
            return Ok(calls);
        }
        // What has ended by now may have reported since the reports were listed.
        let start = flight.start.start;
        let wanted = |attempt: Attempt| attempt.start == start && ended.contains(&attempt.task);
        let bucket = &self.session.bucket;
        let (found, listed) = self.reports.newest(bucket, wanted, reporter).await?;
        calls += listed;
        let lost = ended.into_iter().filter(|task| !found.contains_key(task));
        let mut lost: Vec<u32> = lost.collect();
        lost.sort_unstable();
        for written in found.into_values() {
            let errand = self.report(written);
            self.run_errands(vec![errand], reporter).await?;
        }
        // One whose report cannot be used is open still, and explained when its execution is over.
        calls += self.send_home_lost(i, lost, platform, reporter).await?;
        Ok(calls)
    }

    /// Where an execution's tasks left because a twin had claimed them first: the twin.
    ///
    /// An answer to `:run` may be lost, its execution not yet be listed, and the question be asked again.
    async fn working_twin(&self, flight: &Flight) -> Result<Option<Flight>, Error> {
        let known = self
            .flights
            .iter()
            .filter_map(|flight| flight.execution.as_ref());
        let known: Vec<&str> = known.map(|execution| execution.name.as_str()).collect();
        let twin = submit::look(self.session, &flight.start, &known).await?;
        Ok(twin.map(|twin| Flight::new(flight.start.clone(), Some(twin))))
    }

    async fn send_home_lost(
        &mut self,
        i: usize,
        open: Vec<u32>,
        platform: HashMap<u32, Task>,
        reporter: &mut dyn Reporter,
    ) -> Result<u32, Error> {
        let (claimed, calls) = self.reports.claimed(&self.session.bucket).await?;
        let claimed: HashSet<u32> = claimed.iter().map(|attempt| attempt.task).collect();
        let mut errands = Vec::new();
        for task in open {
            let Some(flight) = self.flights.get(i) else {
                break;
            };
            let of = flight.index(task).and_then(|index| platform.get(&index));
            let explanation = explain(flight.execution.as_ref(), of);
            if self.may_try_again(task, &explanation, reporter) {
                self.board.set(task, State::Waiting);
                continue;
            }
            let lost = Lost {
                explanation,
                platform: of.cloned(),
                claimed: claimed.contains(&task),
            };
            errands.push(self.lost(task, lost));
        }
        self.run_errands(errands, reporter).await?;
        Ok(calls)
    }

    /// Only what the platform has failed is tried again: a command that failed would fail once more.
    fn may_try_again(
        &mut self,
        task: u32,
        explanation: &Explanation,
        reporter: &mut dyn Reporter,
    ) -> bool {
        let left = self.board.tried_again(task) < self.manner.retries;
        let started = self.stop.is_none() && self.may_start().is_ok();
        if explanation.cause != Cause::Platform || !left || !started {
            return false;
        }
        let tries = self.board.try_again(task) + 1;
        let text = format!(
            "task `{}` is tried again ({tries} of {}): {}",
            self.record.name(task),
            self.manner.retries,
            explanation.why
        );
        reporter.event(&Event::Warning(&text));
        true
    }
}

/// The pages that so many things take after the first.
fn pages(n: usize) -> u32 {
    u32::try_from(n / 1000).unwrap_or(u32::MAX)
}
