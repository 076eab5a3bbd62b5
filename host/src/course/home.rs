//! Bringing results home as they come.

use std::path::PathBuf;

use futures_util::{FutureExt, StreamExt, stream};
use wire::contract::{Problem, Reason, Report};
use wire::names::{Attempt, AttemptObjects, RunId};

use super::Course;
use super::board::State;
use super::flight::Flight;
use super::lost::Lost;
use crate::error::Error;
use crate::event::{Event, Reporter};
use crate::results::{self, Place, Tail, TaskResult, Written};
use crate::session::Session;

/// An input that vanished beneath a run is sent again so many times.
const RESTARTS: u32 = 2;

/// So many results are on their way at once.
const AT_ONCE: usize = 8;

/// So many are made ready at a time.
const AT_A_TIME: usize = 200;

/// What is to be brought home of one task.
pub(super) struct Errand<'a> {
    session: &'a Session,
    run: RunId,
    task: u32,
    name: String,
    target: PathBuf,
    claude: bool,
    keep: bool,
    cargo: Cargo,
}

/// By what a task is brought home.
enum Cargo {
    /// Its report.
    Report {
        objects: AttemptObjects,
        created: Option<jiff::Timestamp>,
        may_restart: bool,
    },
    /// What else it left.
    Lost(Box<Lost>),
}

/// What came of an errand.
enum Brought {
    Home(Box<TaskResult>),
    /// Its report is none that can be used.
    Unusable(AttemptObjects, String),
    /// It found an input gone, in this start, and is worth another.
    WithoutInput(u32, u32),
}

impl<'a> Course<'a> {
    /// Lands what has been reported since the last look, and what will never be; says how many calls that took,
    /// other than for the results themselves.
    pub(super) async fn bring_home(&mut self, reporter: &mut dyn Reporter) -> Result<u32, Error> {
        if !self.flights.iter().any(Flight::has_moved) {
            return Ok(0);
        }
        self.bring_what_is_there(reporter).await
    }

    /// The same, whether Cloud Run has told of an end or not: a report is there before its container has ended.
    pub(super) async fn bring_what_is_there(
        &mut self,
        reporter: &mut dyn Reporter,
    ) -> Result<u32, Error> {
        let ended: Vec<u32> = self.flights.iter().map(Flight::ended_tasks).collect();
        let board = &self.board;
        let wanted =
            |attempt: Attempt| board.state(attempt.task) == Some(State::Started(attempt.start));
        let bucket = &self.session.bucket;
        let (found, mut calls) = self.reports.newest(bucket, wanted, reporter).await?;
        let found: Vec<Written> = found.into_values().collect();
        let mut found = found.into_iter().peekable();
        while found.peek().is_some() {
            let some: Vec<Written> = found.by_ref().take(AT_A_TIME).collect();
            let mut errands = Vec::with_capacity(some.len());
            for written in some {
                if !self.may_come_again(&written) {
                    errands.push(self.report(written));
                }
            }
            self.run_errands(errands, reporter).await?;
            // One of many may end them all: the others do not wait for every result to land.
            if self.stop.is_some() {
                calls += self.cancel_the_rest(reporter).await;
            }
        }
        for (flight, ended) in self.flights.iter_mut().zip(ended) {
            flight.listed = Some(ended);
        }
        calls += self.bring_home_lost(reporter).await?;
        Ok(calls)
    }

    fn of_start(&self, start: u32) -> impl Iterator<Item = &Flight> {
        let flights = self.flights.iter();
        flights.filter(move |flight| flight.start.start == start)
    }

    /// Whether Cloud Run itself will try a task again that has failed.
    fn may_come_again(&self, written: &Written) -> bool {
        let mut flights = self.of_start(written.objects.attempt.start);
        written.code != Some(0) && flights.any(Flight::may_try_again)
    }

    pub(super) fn report(&mut self, written: Written) -> Errand<'a> {
        let Attempt { task, start, .. } = written.objects.attempt;
        let created = self
            .of_start(start)
            .find_map(|flight| flight.execution.as_ref()?.create_time);
        let restarts = self.resent.get(&task).copied().unwrap_or(0);
        let may_restart = self.resend.is_some() && self.stop.is_none() && restarts < RESTARTS;
        let cargo = Cargo::Report {
            objects: written.objects,
            created,
            may_restart,
        };
        self.errand(task, cargo)
    }

    pub(super) fn lost(&mut self, task: u32, lost: Lost) -> Errand<'a> {
        self.errand(task, Cargo::Lost(Box::new(lost)))
    }

    fn errand(&mut self, task: u32, cargo: Cargo) -> Errand<'a> {
        Errand {
            session: self.session,
            run: self.run(),
            task,
            name: self.record.name(task),
            target: self.target(task),
            claude: self.record.is_claude(task),
            keep: self.keep,
            cargo,
        }
    }

    /// Runs errands, several at once unless somebody watches the only one.
    pub(super) async fn run_errands(
        &mut self,
        mut errands: Vec<Errand<'a>>,
        reporter: &mut dyn Reporter,
    ) -> Result<(), Error> {
        if errands.len() == 1
            && let Some(errand) = errands.pop()
        {
            // An only task's is kept if this breaks off.
            let mut none = Tail::none();
            let tail = match self.record.tasks {
                1 => &mut self.tail,
                _ => &mut none,
            };
            let brought = errand.run(tail, reporter).await?;
            self.receive(brought, reporter);
        }
        let each: Vec<_> = errands
            .into_iter()
            .map(|errand| errand.run_apart().boxed())
            .collect();
        let mut under_way = stream::iter(each).buffer_unordered(AT_ONCE);
        while let Some((brought, notes)) = under_way.next().await {
            notes.pass_on(reporter);
            self.receive(brought?, reporter);
        }
        Ok(())
    }

    /// Takes over what an errand brought.
    fn receive(&mut self, brought: Brought, reporter: &mut dyn Reporter) {
        match brought {
            Brought::Home(result) => self.take_home(*result, reporter),
            Brought::Unusable(objects, why) => {
                // Its claim holds, so nobody forged it: another version's, or a task that ruins its own run.
                let task = objects.attempt.task;
                let text = format!("the report of task {task} cannot be used: {why}");
                reporter.event(&Event::Warning(&text));
                self.reports.refuse(&objects);
            }
            Brought::WithoutInput(task, start) => {
                *self.resent.entry(task).or_default() += 1;
                self.inputs_missed = self.inputs_missed.max(Some(start));
                self.board.set(task, State::Waiting);
            }
        }
    }
}

impl Errand<'_> {
    async fn run_apart(self) -> (Result<Brought, Error>, Notes) {
        let mut notes = Notes::default();
        let brought = self.run(&mut Tail::none(), &mut notes).await;
        (brought, notes)
    }

    async fn run(self, tail: &mut Tail, reporter: &mut dyn Reporter) -> Result<Brought, Error> {
        let place = Place {
            run: self.run,
            task: self.task,
            name: &self.name,
            target: &self.target,
            claude: self.claude,
            keep: self.keep,
        };
        let session = self.session;
        let (objects, created, may_restart) = match self.cargo {
            Cargo::Lost(lost) => {
                let result = lost.land(session, place, tail, reporter).await?;
                return Ok(Brought::Home(Box::new(result)));
            }
            Cargo::Report {
                objects,
                created,
                may_restart,
            } => (objects, created, may_restart),
        };
        let start = objects.attempt.start;
        let found = match results::read(&session.bucket, objects.clone()).await? {
            Ok(found) => found,
            Err(why) => return Ok(Brought::Unusable(objects, why)),
        };
        if may_restart && input_is_gone(found.report.problem.as_ref()) {
            return Ok(Brought::WithoutInput(self.task, start));
        }
        let start = start_ms(created, &found.report);
        let mut result = results::land(session, place, found, tail, reporter).await?;
        result.phases.start = start;
        Ok(Brought::Home(Box::new(result)))
    }
}

fn input_is_gone(problem: Option<&Problem>) -> bool {
    problem.is_some_and(|problem| problem.reason == Reason::InputMissing)
}

/// From Cloud Run's answer to the claim; both times are the platform's.
fn start_ms(created: Option<jiff::Timestamp>, report: &Report) -> u64 {
    let created = created.unwrap_or(report.started_at);
    let waited = report.started_at.duration_since(created).as_millis();
    u64::try_from(waited)
        .unwrap_or(0)
        .saturating_add(report.phases.claim_ms)
}

/// What is said of one of several errands, until it can be passed on.
#[derive(Debug, Default)]
struct Notes(Vec<String>);

impl Reporter for Notes {
    fn event(&mut self, event: &Event<'_>) {
        if let Event::Warning(text) = event {
            self.0.push((*text).to_owned());
        }
    }
}

impl Notes {
    fn pass_on(self, reporter: &mut dyn Reporter) {
        for text in self.0 {
            reporter.event(&Event::Warning(&text));
        }
    }
}
