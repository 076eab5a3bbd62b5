//! Steps: commands before and after the command.

use std::sync::Arc;
use std::time::{Duration, Instant};

use wire::contract::{
    Command, CommandEnd, Outcome, Problem, Reason, STEP_GRACE_MS, Spec, Stage, Step, StepReport,
};
use wire::names::Stream;

use crate::command::Running;
use crate::runner::Runner;
use crate::spawn::SpawnError;
use crate::stop::chain;
use crate::streams::{Sink, Tail};

/// A step that was begun.
#[derive(Debug)]
pub(crate) struct Done {
    stage: Stage,
    index: u32,
    pub(crate) end: CommandEnd,
    duration: Duration,
    tail: Arc<Tail>,
}

impl Done {
    fn succeeded(&self) -> bool {
        self.end.outcome == Outcome::Exited && self.end.code == Some(0)
    }

    /// For the report, once the streams are drained.
    pub(crate) fn report(&self) -> StepReport {
        StepReport {
            stage: self.stage,
            index: self.index,
            outcome: self.end.outcome,
            code: self.end.code,
            signal: self.end.signal,
            duration_ms: u64::try_from(self.duration.as_millis()).unwrap_or(u64::MAX),
            tail: self.tail.bytes().into(),
        }
    }
}

impl Runner<'_> {
    /// Runs the steps before the command. Where one fails, or we are to end, there will be no command: what to say
    /// instead.
    pub(crate) async fn before(
        &mut self,
        spec: &mut Spec,
    ) -> Option<(CommandEnd, Option<Problem>)> {
        for (stage, steps) in [(Stage::Setup, &mut spec.setup), (Stage::Pre, &mut spec.pre)] {
            let all = steps.len();
            for (index, step) in std::mem::take(steps).into_iter().enumerate() {
                self.step(stage, index, step).await;
                let Some(done) = self.steps.last().filter(|done| !done.succeeded()) else {
                    continue;
                };
                return Some(refuse(done, all));
            }
        }
        None
    }

    /// Runs the steps after the command; what to say if not all could be begun.
    pub(crate) async fn after(&mut self, spec: &mut Spec) -> Option<Problem> {
        let all = spec.post.len();
        for (index, step) in std::mem::take(&mut spec.post).into_iter().enumerate() {
            if self.interrupt.came() {
                let number = index + 1;
                return Some(Problem {
                    reason: Reason::Step,
                    message: format!("the cancel came before post command {number} of {all}"),
                });
            }
            self.step(Stage::Post, index, step).await;
        }
        None
    }

    /// How the step that decides ended: the first that failed, else the last, if all were begun.
    pub(crate) fn decision(&self, all_begun: bool) -> Option<CommandEnd> {
        let post = || self.steps.iter().filter(|done| done.stage == Stage::Post);
        let failed = post().find(|done| !done.succeeded());
        let decides = failed.or_else(|| post().next_back().filter(|_| all_begun))?;
        Some(decides.end)
    }

    async fn step(&mut self, stage: Stage, index: usize, step: Step) {
        let tail = Arc::new(Tail::default());
        let begun = Instant::now();
        let limit = step.timeout();
        let end = match self.start_step(stage, step.command, &tail).await {
            Ok(mut running) => {
                let grace = Duration::from_millis(STEP_GRACE_MS);
                running.supervise(Some(limit), grace, self.interrupt).await
            }
            Err(error) => {
                let message = chain(&error);
                tail.push(message.as_bytes());
                self.tell(&message);
                not_started(&error)
            }
        };
        self.steps.push(Done {
            stage,
            index: u32::try_from(index).unwrap_or(u32::MAX),
            end,
            duration: begun.elapsed(),
            tail,
        });
    }

    async fn start_step(
        &mut self,
        stage: Stage,
        command: Command,
        tail: &Arc<Tail>,
    ) -> Result<Running, SpawnError> {
        let sink = Sink {
            capture: self.capture.clone(),
            stream: Stream::Stderr,
            tail: Some(tail.clone()),
        };
        let as_root = stage == Stage::Setup;
        self.start(command, None, as_root, [sink.clone(), sink])
            .await
    }
}

fn not_started(error: &SpawnError) -> CommandEnd {
    let code = match error {
        SpawnError::Exec { code, .. } => *code,
        _ => 126,
    };
    CommandEnd {
        outcome: Outcome::Exec,
        code: Some(code),
        signal: None,
    }
}

/// What is said of a task whose command was not run because of a step.
fn refuse(done: &Done, all: usize) -> (CommandEnd, Option<Problem>) {
    let none = |outcome| CommandEnd {
        outcome,
        code: None,
        signal: None,
    };
    if done.end.outcome == Outcome::Cancelled {
        return (none(Outcome::Cancelled), None);
    }
    let how = match (done.end.outcome, done.end.code) {
        (Outcome::Deadline, _) => "met its time limit".to_owned(),
        (Outcome::Exec, _) => "could not be started".to_owned(),
        (_, Some(code)) => format!("ended with code {code}"),
        (_, None) => "did not end".to_owned(),
    };
    let (stage, number) = (done.stage.as_str(), done.index + 1);
    let problem = Problem {
        reason: Reason::Step,
        message: format!("{stage} command {number} of {all} {how}, so the command was not run"),
    };
    (none(Outcome::Setup), Some(problem))
}
