//! Whatever runs in a task, one after the other: its processes, and what they print.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::JoinSet;
use wire::contract::{ByteString, Command, CommandEnd, Outcome, Problem, Reason, Spec};

use crate::beneath::Directory;
use crate::capture::{Capture, STREAMS};
use crate::checkpoints;
use crate::command::Running;
use crate::console::say;
use crate::family::Family;
use crate::interrupt::Interrupt;
use crate::launch::Scene;
use crate::reaper::Reaper;
use crate::spawn::SpawnError;
use crate::steps::Done;
use crate::stop::{self, Stop, chain};
use crate::storage::Store;
use crate::streams::{Sink, Streams};
use crate::user::User;

/// Runs commands.
#[derive(Debug)]
pub(crate) struct Runner<'a> {
    scene: Scene,
    user: Option<User>,
    reaper: Reaper,
    pub(crate) interrupt: &'a Interrupt,
    pub(crate) capture: Arc<Capture>,
    /// Of everything that was started.
    pub(crate) streams: Vec<Streams>,
    /// Those that were begun.
    pub(crate) steps: Vec<Done>,
    /// Whoever was started last.
    family: Option<Family>,
}

impl<'a> Runner<'a> {
    /// Runs nothing yet.
    pub(crate) fn new(
        scene: Scene,
        user: Option<User>,
        interrupt: &'a Interrupt,
    ) -> Result<Self, SpawnError> {
        Ok(Self {
            scene,
            user,
            reaper: Reaper::start()?,
            interrupt,
            capture: Arc::new(Capture::default()),
            streams: Vec::new(),
            steps: Vec::new(),
            family: None,
        })
    }

    /// Runs the spec's command to its end, its checkpoints going to the bucket meanwhile. Says how long it took, too.
    pub(crate) async fn command(
        &mut self,
        spec: &mut Spec,
        output: Directory,
        store: &Store,
    ) -> Result<(CommandEnd, Option<Problem>, Duration), Stop> {
        let sinks = STREAMS.map(|stream| Sink {
            capture: self.capture.clone(),
            stream,
            tail: None,
        });
        let command = std::mem::replace(&mut spec.command, Command::Argv(Vec::new()));
        let stdin = spec.stdin.take();
        let begun = Instant::now();
        match self.start(command, stdin, false, sinks).await {
            Ok(mut running) => {
                // Dropped with the last checkpoint under way, when the command has ended.
                let mut checkpoints = JoinSet::new();
                if let Some(interval) = spec.checkpoint_interval_ms {
                    let interval = Duration::from_millis(interval);
                    let (store, limit) = (store.clone(), spec.output_limit);
                    checkpoints.spawn(checkpoints::keep(store, output, limit, interval));
                }
                let grace = Duration::from_millis(spec.grace_ms);
                let limit = spec.timeout();
                let end = running.supervise(limit, grace, self.interrupt).await;
                Ok((end, None, begun.elapsed()))
            }
            Err(error @ SpawnError::Exec { code, .. }) => {
                self.tell(&chain(&error));
                let end = CommandEnd {
                    outcome: Outcome::Exec,
                    code: Some(code),
                    signal: None,
                };
                let problem = stop::problem(Reason::Exec, &error);
                Ok((end, Some(problem), begun.elapsed()))
            }
            Err(error) => Err(Stop::setup(reason(&error), &error)),
        }
    }

    /// Starts a command.
    pub(crate) async fn start(
        &mut self,
        command: Command,
        stdin: Option<ByteString>,
        as_root: bool,
        sinks: [Sink; 2],
    ) -> Result<Running, SpawnError> {
        let user = self.user.as_ref().filter(|_| !as_root);
        let launch = self.scene.launch(command, stdin, user);
        let launch = launch.map_err(SpawnError::Process)?;
        let (streams, ends) = Streams::open(sinks).map_err(SpawnError::Process)?;
        self.streams.push(streams);
        let running = Running::new(self.reaper.spawn(launch, ends).await?);
        self.family = Some(running.family.clone());
        Ok(running)
    }

    /// Ends everything that still runs; says whether it is gone.
    pub(crate) async fn end_all(&self) -> bool {
        match &self.family {
            Some(family) => family.end().await,
            None => true,
        }
    }

    /// As a shell does: the command's own standard error says why there is no command.
    pub(crate) fn tell(&self, message: &str) {
        let [_, stderr] = STREAMS;
        self.capture
            .push(stderr, format!("sortie: {message}\n").as_bytes());
        say(message);
    }
}

/// What an error at a start comes of.
pub(crate) fn reason(error: &SpawnError) -> Reason {
    match error {
        SpawnError::User(_) => Reason::User,
        SpawnError::Directory(_) => Reason::Workspace,
        SpawnError::Exec { .. } | SpawnError::Process(_) => Reason::Exec,
    }
}
