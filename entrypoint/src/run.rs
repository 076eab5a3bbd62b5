//! The command's time, and what follows it: running, ending what is left, saving what it made.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::sleep;
use wire::contract::{INLINE_LIMIT, Outcome, Outputs, Problem, Reason, Report, Spec};

use crate::capture::{Capture, STREAMS};
use crate::command::{End, Running};
use crate::console::say;
use crate::family::Family;
use crate::interrupt::{COLLECT_UNTIL, DRAIN, Interrupt};
use crate::launch::Launch;
use crate::outputs::{self, OutputsError};
use crate::spawn::SpawnError;
use crate::stop::{self, Stop, chain};
use crate::storage::Store;
use crate::streams::Streams;
use crate::user::User;
use crate::workspace::Workspace;
use crate::{checkpoints, logs};

/// A command that has ended, or could not begin.
#[derive(Debug)]
pub(crate) struct Ended {
    end: End,
    problem: Option<Problem>,
    left: Option<Family>,
    streams: Streams,
    capture: Arc<Capture>,
    logs: JoinSet<()>,
    finish_logs: oneshot::Sender<()>,
}

/// Runs the command to its end, its streams and checkpoints going to the bucket meanwhile.
pub(crate) async fn run(
    spec: &mut Spec,
    inherited: BTreeMap<OsString, OsString>,
    workspace: &Workspace,
    user: Option<User>,
    store: &Store,
    interrupt: &Interrupt,
) -> Result<Ended, Stop> {
    let process_error = |error: std::io::Error| {
        let error = SpawnError::Process(error);
        Stop::setup(Reason::Exec, &error)
    };
    let launch = Launch::prepare(spec, inherited, workspace.root(), user).map_err(process_error)?;
    let capture = Arc::new(Capture::default());
    let (streams, ends) = Streams::open(&capture).map_err(process_error)?;
    let (finish_logs, finish) = oneshot::channel();
    let mut logs = JoinSet::new();
    let interval = Duration::from_millis(spec.log_interval_ms);
    logs.spawn(logs::upload(
        store.clone(),
        capture.clone(),
        interval,
        finish,
    ));
    let (end, problem, left) = match Running::start(launch, ends).await {
        Ok(running) => {
            let (end, family) = supervise(running, spec, workspace, store, interrupt).await;
            (end, None, Some(family))
        }
        Err(SpawnError::Exec {
            code,
            program,
            source,
        }) => {
            let error = SpawnError::Exec {
                code,
                program,
                source,
            };
            tell(&capture, &chain(&error));
            let end = End {
                outcome: Outcome::Exec,
                code: Some(code),
                signal: None,
            };
            (end, Some(stop::problem(Reason::Exec, &error)), None)
        }
        Err(error) => return Err(Stop::setup(reason(&error), &error)),
    };
    Ok(Ended {
        end,
        problem,
        left,
        streams,
        capture,
        logs,
        finish_logs,
    })
}

async fn supervise(
    mut running: Running,
    spec: &Spec,
    workspace: &Workspace,
    store: &Store,
    interrupt: &Interrupt,
) -> (End, Family) {
    // Dropped with the last checkpoint under way, when the command has ended.
    let mut checkpoints = JoinSet::new();
    if let Some(interval) = spec.checkpoint_interval_ms {
        let interval = Duration::from_millis(interval);
        let output = workspace.output();
        checkpoints.spawn(checkpoints::keep(
            store.clone(),
            output,
            spec.output_limit,
            interval,
        ));
    }
    let grace = Duration::from_millis(spec.grace_ms);
    let end = running.supervise(spec.timeout(), grace, interrupt).await;
    (end, running.family)
}

/// As a shell does: the command's own standard error says why there is no command.
fn tell(capture: &Capture, message: &str) {
    let [_, stderr] = STREAMS;
    capture.push(stderr, format!("sortie: {message}\n").as_bytes());
    say(message);
}

fn reason(error: &SpawnError) -> Reason {
    match error {
        SpawnError::User(_) => Reason::User,
        SpawnError::Directory(_) => Reason::Workspace,
        SpawnError::Exec { .. } | SpawnError::Process(_) => Reason::Exec,
    }
}

impl Ended {
    /// How the command ended.
    pub(crate) fn enter(&mut self, report: &mut Report) {
        report.outcome = self.end.outcome;
        report.code = self.end.code;
        report.signal = self.end.signal;
        report.problem = self.problem.take();
    }

    /// Ends what the command left behind, and saves logs and outputs, in the time that an interrupt leaves.
    pub(crate) async fn collect(
        self,
        output: PathBuf,
        limit: Option<u64>,
        store: &Store,
        interrupt: &Interrupt,
        report: &mut Report,
    ) {
        let capture = self.capture.clone();
        let saved = interrupt
            .cut(COLLECT_UNTIL, self.save(output, limit, store, interrupt))
            .await;
        [report.stdout, report.stderr] = capture.report();
        capture.abandon();
        match saved.unwrap_or(Err(OutputsError::Cut)) {
            Ok(outputs) => report.outputs = outputs,
            Err(error) => enter_loss(report, &error),
        }
    }

    async fn save(
        mut self,
        output: PathBuf,
        limit: Option<u64>,
        store: &Store,
        interrupt: &Interrupt,
    ) -> Result<Outputs, OutputsError> {
        if let Some(family) = self.left {
            family.end().await;
        }
        let (tell_room, room) = oneshot::channel();
        let logs = async {
            tokio::select! {
                biased;
                () = self.streams.drained() => {}
                () = late(interrupt) => {}
            }
            // The streams' claim on the report comes first: they are known by now.
            let size = self.capture.inline_size(INLINE_LIMIT).unwrap_or(0);
            // The outputs may have failed already.
            let _ = tell_room.send(INLINE_LIMIT - size);
            // The uploader may have given up, and said so.
            let _ = self.finish_logs.send(());
            self.logs.join_next().await
        };
        let room = async { room.await.unwrap_or(0) };
        let (_, outputs) = tokio::join!(logs, outputs::save(store, output, limit, room));
        outputs
    }
}

/// Comes when nobody waits any longer for what an interrupted command wrote.
async fn late(interrupt: &Interrupt) {
    interrupt.after(Duration::ZERO).await;
    sleep(DRAIN).await;
}

/// Outputs that are lost change what we say of a command that ended by itself; its code stays.
fn enter_loss(report: &mut Report, error: &OutputsError) {
    if matches!(report.outcome, Outcome::Exited | Outcome::Signaled) {
        report.outcome = match error {
            OutputsError::Cut => Outcome::Cancelled,
            OutputsError::Pack(_) | OutputsError::Send(_) => Outcome::Collect,
        };
    }
    report
        .problem
        .get_or_insert_with(|| stop::problem(Reason::Outputs, error));
}
