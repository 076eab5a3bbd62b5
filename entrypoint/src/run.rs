//! The command's time, and what surrounds it: steps, ending what is left, saving what was made.

use std::time::Duration;

use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::sleep;
use wire::contract::{CommandEnd, INLINE_LIMIT, Outcome, Problem, Reason, Report, Spec};

use crate::beneath::Directory;
use crate::interrupt::{COLLECT_UNTIL, DRAIN, Interrupt};
use crate::launch::Scene;
use crate::outputs::OutputsError;
use crate::runner::{Runner, reason};
use crate::saved::Saved;
use crate::steps::Done;
use crate::stop::{self, Stop};
use crate::storage::Store;
use crate::streams::Streams;
use crate::user::User;
use crate::workspace::Workspace;
use crate::{fetch, logs};

/// A task in which nothing more is to be run.
#[derive(Debug)]
pub(crate) struct Ended<'a> {
    /// How the task ended, and how its command did if that is another question.
    end: CommandEnd,
    command: Option<CommandEnd>,
    problem: Option<Problem>,
    command_time: Duration,
    runner: Runner<'a>,
    logs: JoinSet<()>,
    finish_logs: oneshot::Sender<()>,
}

/// Runs the steps and the command to their end, their streams going to the bucket meanwhile.
pub(crate) async fn run<'a>(
    spec: &mut Spec,
    scene: Scene,
    workspace: &mut Workspace,
    user: Option<User>,
    store: &Store,
    interrupt: &'a Interrupt,
) -> Result<Ended<'a>, Stop> {
    let runner = Runner::new(scene, user.clone(), interrupt);
    let mut runner = runner.map_err(|error| Stop::setup(reason(&error), &error))?;
    let (finish_logs, finish) = oneshot::channel();
    let mut logs = JoinSet::new();
    let interval = Duration::from_millis(spec.log_interval_ms);
    let capture = runner.capture.clone();
    logs.spawn(logs::upload(store.clone(), capture, interval, finish));
    let (end, problem, command_time) = if let Some((end, problem)) = runner.before(spec).await {
        (end, problem, Duration::ZERO)
    } else {
        let output = Directory::At(workspace.output());
        runner.command(spec, output, store).await?
    };
    let mut ended = Ended {
        end,
        command: None,
        problem,
        command_time,
        runner,
        logs,
        finish_logs,
    };
    if !spec.post.is_empty() && ended.has_run() {
        ended.after(spec, workspace, user.as_ref(), store).await;
    }
    Ok(ended)
}

impl Ended<'_> {
    /// Whether there was a command, and time is left for what follows it.
    fn has_run(&self) -> bool {
        !matches!(
            self.end.outcome,
            Outcome::Setup | Outcome::Exec | Outcome::Cancelled
        )
    }

    /// The steps after the command, which find nobody running and what was kept from the command.
    async fn after(
        &mut self,
        spec: &mut Spec,
        workspace: &mut Workspace,
        user: Option<&User>,
        store: &Store,
    ) {
        // Who grades must not be watched, or helped, by what is graded.
        let fetched = if self.runner.end_all().await {
            fetch_late(spec, workspace, user, store, self.runner.interrupt).await
        } else {
            let message =
                "what the command has started could not be ended: nothing is run after it";
            Err(Stop::Setup(Problem {
                reason: Reason::Step,
                message: message.to_owned(),
            }))
        };
        let (decision, problem) = match fetched {
            Ok(()) => {
                let cut = self.runner.after(spec).await;
                (self.runner.decision(cut.is_none()), cut)
            }
            Err(stop) => (Some(stop_end(&stop)), step_problem(stop)),
        };
        self.problem = self.problem.take().or(problem);
        if spec.post_decides {
            let cancelled = || stop_end(&Stop::Cancelled);
            self.command = Some(self.end);
            self.end = decision.unwrap_or_else(cancelled);
        }
    }

    /// How the task ended.
    pub(crate) fn enter(&mut self, report: &mut Report) {
        report.outcome = self.end.outcome;
        report.code = self.end.code;
        report.signal = self.end.signal;
        report.command = self.command;
        report.problem = self.problem.take();
        report.phases.command_ms = u64::try_from(self.command_time.as_millis()).unwrap_or(u64::MAX);
    }

    /// Ends what is left running, and saves logs and outputs, in the time that an interrupt leaves.
    pub(crate) async fn collect(
        mut self,
        spec: &Spec,
        workspace: &Workspace,
        store: &Store,
        report: &mut Report,
    ) {
        let interrupt = self.runner.interrupt;
        let capture = self.runner.capture.clone();
        let steps = std::mem::take(&mut self.runner.steps);
        let mut saved = Saved::default();
        let saving = self.save(spec, workspace, store, &mut saved);
        // What is saved by then is saved.
        let _ = interrupt.cut(COLLECT_UNTIL, saving).await;
        [report.stdout, report.stderr] = capture.report();
        capture.abandon();
        report.steps = steps.iter().map(Done::report).collect();
        report.collected = saved.collected(&spec.collect);
        match saved.outputs.unwrap_or(Err(OutputsError::Cut)) {
            Ok(outputs) => report.outputs = outputs,
            Err(error) => enter_loss(report, &error),
        }
    }

    async fn save(self, spec: &Spec, workspace: &Workspace, store: &Store, saved: &mut Saved) {
        self.runner.end_all().await;
        let Self {
            runner,
            mut logs,
            finish_logs,
            ..
        } = self;
        let (tell_room, room) = oneshot::channel();
        let logs = async {
            tokio::select! {
                biased;
                () = drain(runner.streams) => {}
                () = late(runner.interrupt) => {}
            }
            // The streams' claim on the report comes first: they are known by now.
            let size = runner.capture.inline_size(INLINE_LIMIT).unwrap_or(0);
            // The outputs may have failed already.
            let _ = tell_room.send(INLINE_LIMIT - size);
            // The uploader may have given up, and said so.
            let _ = finish_logs.send(());
            logs.join_next().await
        };
        let room = async { room.await.unwrap_or(0) };
        tokio::join!(logs, saved.save(spec, workspace, store, room));
    }
}

async fn drain(streams: Vec<Streams>) {
    for streams in &streams {
        streams.drain();
    }
    for streams in streams {
        streams.drained().await;
    }
}

/// The inputs that only the steps after the command may see.
async fn fetch_late(
    spec: &Spec,
    workspace: &mut Workspace,
    user: Option<&User>,
    store: &Store,
    interrupt: &Interrupt,
) -> Result<(), Stop> {
    if interrupt.came() {
        return Err(Stop::Cancelled);
    }
    let inputs = &spec.post_inputs;
    if inputs.is_empty() {
        return Ok(());
    }
    workspace
        .make_room(inputs, user)
        .map_err(|error| Stop::setup(Reason::Workspace, &error))?;
    let fetch = fetch::inputs(
        store.bucket(),
        inputs,
        fetch::Ahead::default(),
        workspace,
        user,
    );
    let fetched = interrupt.cut(Duration::ZERO, fetch).await;
    fetched.unwrap_or(Err(Stop::Cancelled))
}

/// Comes when nobody waits any longer for what an interrupted command wrote.
async fn late(interrupt: &Interrupt) {
    interrupt.after(Duration::ZERO).await;
    sleep(DRAIN).await;
}

/// What kept the steps after the command from being run.
fn step_problem(stop: Stop) -> Option<Problem> {
    match stop {
        Stop::Setup(problem) => Some(Problem {
            reason: Reason::Step,
            ..problem
        }),
        Stop::Cancelled => None,
    }
}

fn stop_end(stop: &Stop) -> CommandEnd {
    let outcome = match stop {
        Stop::Setup(_) => Outcome::Setup,
        Stop::Cancelled => Outcome::Cancelled,
    };
    CommandEnd {
        outcome,
        code: None,
        signal: None,
    }
}

/// Outputs that are lost change what we say of a command that ended by itself; its code stays, and beside a cancel
/// its own end.
fn enter_loss(report: &mut Report, error: &OutputsError) {
    if matches!(report.outcome, Outcome::Exited | Outcome::Signaled) {
        if matches!(error, OutputsError::Cut) {
            report.command = Some(report.command_end());
        }
        report.outcome = match error {
            OutputsError::Cut => Outcome::Cancelled,
            OutputsError::Pack(_) | OutputsError::Send(_) => Outcome::Collect,
        };
    }
    report
        .problem
        .get_or_insert_with(|| stop::problem(Reason::Outputs, error));
}
