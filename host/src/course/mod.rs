//! One run under way: its starts, and what each brings home.

mod board;
mod cancel;
mod flight;
mod home;
mod known;
mod launch;
mod lost;
mod needs;
mod pace;
mod plan;
mod prepare;
mod resume;
mod rows;
mod silence;

pub(crate) use known::{Known, know, read_record};
pub(crate) use needs::reckon;
pub(crate) use plan::{Plan, UsedJob};
pub use resume::{Resume, Trust};

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;

use wire::api::{ApiError, ErrorKind};
use wire::contract::{Input, RunPlan, RunRecord};
use wire::names::RunId;

use crate::cost::Rate;
use crate::error::Error;
use crate::event::{Event, Progress, Reporter};
use crate::exit_code;
use crate::interrupts::Interrupts;
use crate::request::{Manner, Out, Request};
use crate::results::{Ending, Landing, Phases, Reports, Tail, TaskResult};
use crate::run::RunResult;
use crate::session::Session;

use board::Board;
use flight::Flight;
use pace::Pace;
use rows::Rows;
use silence::Silence;

/// Why no more tasks are started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stop {
    /// The user's wish.
    Interrupted,
    /// A task failed, and one failure was to end them all.
    FailFast,
    /// The run would cost more than it may.
    Cost,
}

/// A run under way.
pub(crate) struct Course<'a> {
    session: &'a Session,
    record: RunRecord,
    plan: Plan,
    board: Board,
    flights: Vec<Flight>,
    next_start: u32,
    /// By job: what a second costs, where anything is billed.
    rates: Vec<Option<Rate>>,
    manner: Manner,
    /// At most so many tasks at once, where the job does not see to that itself.
    window: Option<u32>,
    out: Out,
    /// Whether what is brought home stays in the bucket, too.
    keep: bool,
    tail: Tail,
    reports: Reports,
    resend: Option<Resend<'a>>,
    phases: Phases,
    /// Documents that must be in the bucket before the first start.
    unwritten: Option<Unwritten>,
    results: Vec<TaskResult>,
    stop: Option<Stop>,
    spent: f64,
    /// Why cancels did not go through, as far as the user knows.
    told: HashSet<String>,
    rows: Rows,
    /// The newest start whose task found an input gone: it is to be sent before anything else is started.
    inputs_missed: Option<u32>,
    /// From this start on all inputs were there, as they were looked for again.
    inputs_seen: Option<u32>,
    /// How often a task was started again for that.
    resent: HashMap<u32, u32>,
    /// Tells this sortie's starts from another's.
    me: String,
    /// Calls made since the last look, other than by looking.
    calls: u32,
    /// Whether tasks may be started: of a run that this machine has not started, only if the user says so.
    may_start: bool,
}

/// What is needed to send inputs once more.
struct Resend<'a> {
    request: &'a Request,
    inputs: Vec<Input>,
}

/// What the bucket must know of a run before anything of it is started.
struct Unwritten {
    plan: Option<RunPlan>,
}

/// What a course begins with.
struct Beginning<'a> {
    session: &'a Session,
    record: RunRecord,
    plan: Plan,
    rates: Vec<Option<Rate>>,
    manner: Manner,
    out: Out,
}

impl<'a> Beginning<'a> {
    /// A course of which nothing is started yet.
    fn course(self) -> Course<'a> {
        Course {
            board: Board::new(self.record.tasks),
            reports: Reports::of(self.record.run),
            window: self.record.parallel,
            session: self.session,
            record: self.record,
            plan: self.plan,
            rates: self.rates,
            manner: self.manner,
            out: self.out,
            keep: false,
            flights: Vec::new(),
            next_start: 0,
            tail: Tail::none(),
            resend: None,
            phases: Phases::default(),
            unwritten: None,
            results: Vec::new(),
            stop: None,
            spent: 0.0,
            told: HashSet::new(),
            rows: Rows::default(),
            inputs_missed: None,
            inputs_seen: None,
            resent: HashMap::new(),
            calls: 0,
            me: RunId::new().to_string(),
            may_start: true,
        }
    }
}

impl Course<'_> {
    /// The run's name.
    pub(crate) fn run(&self) -> RunId {
        self.record.run
    }

    /// Whether something of it may run, or have run.
    pub(crate) fn is_started(&self) -> bool {
        !self.flights.is_empty()
    }

    /// Starts every task and brings their results home as they end.
    pub(crate) async fn drive(
        &mut self,
        reporter: &mut dyn Reporter,
        interrupts: &mut Interrupts,
    ) -> Result<(), Error> {
        let mut pace = Pace::new();
        let mut silence = Silence::default();
        let mut calls = 0;
        loop {
            if let Some(error) = self.launch_patiently(reporter, interrupts).await? {
                silence.lasts(&error, reporter);
                self.session.revive().await?;
            }
            if self.board.all_home() {
                return Ok(());
            }
            let look = async {
                tokio::time::sleep(pace.next(calls)).await;
                self.look(reporter).await
            };
            tokio::select! {
                looked = look => match looked {
                    Ok(made) => {
                        calls = made;
                        silence.broken();
                    }
                    Err(Look::Silence(error)) => {
                        calls = 1;
                        silence.lasts(&error, reporter);
                        self.session.revive().await?;
                    }
                    Err(Look::Failed(error)) => return Err(error),
                },
                () = interrupts.next() => {
                    self.interrupted(reporter, interrupts).await?;
                    pace.quicken();
                }
            }
        }
    }

    /// Starts everything that may be started, and leaves the rest to whoever waits for it.
    pub(crate) async fn start_only(
        &mut self,
        reporter: &mut dyn Reporter,
        interrupts: &mut Interrupts,
    ) -> Result<(), Error> {
        let silence = self.launch_patiently(reporter, interrupts).await?;
        if let Some(error) = silence {
            return Err(Error::api("cannot start all of the run")(error));
        }
        let waiting = self.board.waiting();
        if waiting > 0 {
            let text = format!(
                "{waiting} of {} tasks wait for their turn, and for somebody who waits for them",
                self.board.count()
            );
            reporter.event(&Event::Warning(&text));
        }
        Ok(())
    }

    /// One look at everything that is under way; says how many calls it took.
    async fn look(&mut self, reporter: &mut dyn Reporter) -> Result<u32, Look> {
        let mut calls = std::mem::take(&mut self.calls);
        calls += flight::refresh(self.session, self.run(), &mut self.flights).await?;
        if self.flights.iter().any(|flight| !flight.is_over()) {
            self.tail.look(self.session, self.run(), reporter).await;
        }
        calls += self.bring_home(reporter).await?;
        self.mind_the_cost(reporter);
        if self.stop.is_some() {
            calls += self.cancel_the_rest(reporter).await;
        }
        if reporter.wants_rows() {
            calls += self
                .rows
                .refresh(self.session, &self.record, &self.flights)
                .await?;
        }
        reporter.event(&Event::Progress(&self.progress()));
        Ok(calls)
    }

    fn progress(&self) -> Progress {
        let running = |flight: &Flight| flight.running();
        Progress {
            rows: self.rows.of(&self.board),
            tasks: self.board.count(),
            waiting: self.board.waiting(),
            running: self.flights.iter().map(running).sum(),
            home: self.board.home(),
            failed: self.results.iter().filter(|r| r.exit_code != 0).count(),
            cost: self.rates.iter().any(Option::is_some).then_some(self.spent),
        }
    }

    /// Where a task lands.
    fn target(&self, task: u32) -> PathBuf {
        self.out.of_task(&self.record, task)
    }

    /// Where the results go must be writable before anything runs for them.
    fn open_tail(&mut self, show: bool) -> Result<(), Error> {
        let landing = Landing::begin(&self.target(0), self.run(), 0)?;
        self.tail = if show && self.record.tasks == 1 {
            Tail::into(landing, self.record.is_claude(0))
        } else {
            Tail::none()
        };
        Ok(())
    }

    /// What a task's second costs, where anything is billed.
    fn rate(&self, task: u32) -> Option<Rate> {
        let job = self.plan.job(task)?;
        self.rates.get(job as usize).copied().flatten()
    }

    /// Tells that all is home.
    pub(crate) fn finish(mut self, reporter: &mut dyn Reporter) -> RunResult {
        self.results.sort_by_key(|result| result.index);
        let exit_code = self.exit_code();
        let directory = self.out.of_run(self.run());
        let cost = self.results.iter().filter_map(|result| result.cost);
        let cost = cost.reduce(|sum, cost| sum + cost);
        reporter.event(&Event::Finished {
            run: self.run(),
            dir: &directory,
            tasks: &self.results,
            cost,
            code: exit_code,
        });
        RunResult {
            run: self.run(),
            tasks: self.results,
            directory,
            cost,
            exit_code,
        }
    }

    fn exit_code(&self) -> i32 {
        match &self.results[..] {
            [only] if self.record.tasks == 1 => only.exit_code,
            all if all.iter().all(|task| task.exit_code == 0) => exit_code::SUCCESS,
            // One that failed, or a limit, cancelled the others.
            _ if matches!(self.stop, Some(Stop::FailFast | Stop::Cost)) => exit_code::BATCH_FAILED,
            all if all.iter().any(|task| task.outcome == Ending::Cancelled) => {
                exit_code::INTERRUPTED
            }
            _ => exit_code::BATCH_FAILED,
        }
    }
}

/// Why a look came to nothing.
enum Look {
    /// Nobody answered.
    Silence(ApiError),
    /// It will not get better.
    Failed(Error),
}

impl From<Error> for Look {
    fn from(error: Error) -> Self {
        match error {
            Error::Api { source, .. } if source.kind == ErrorKind::Unavailable => {
                Self::Silence(*source)
            }
            error => Self::Failed(error),
        }
    }
}
