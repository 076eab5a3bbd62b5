//! The command while it runs, and how it ends.

use std::io;
use std::time::Duration;

use rustix::process::{Pid, WaitOptions, WaitStatus, wait};
use tokio::sync::{oneshot, watch};
use tokio::time::{sleep, timeout};
use wire::contract::Outcome;

use crate::family::{Family, adopt_orphans, kill_all};
use crate::interrupt::{COMMAND_GRACE, Interrupt};
use crate::launch::Launch;
use crate::spawn::{SpawnError, spawn};
use crate::streams::Ends;

/// After SIGKILL, the status comes at once, or a disk keeps it.
const STATUS: Duration = Duration::from_secs(2);

/// A command under way.
#[derive(Debug)]
pub(crate) struct Running {
    /// With all it starts.
    pub(crate) family: Family,
    status: oneshot::Receiver<WaitStatus>,
}

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct End {
    /// Whose doing it was.
    pub(crate) outcome: Outcome,
    /// As a shell gives it.
    pub(crate) code: Option<i32>,
    /// If a signal ended it.
    pub(crate) signal: Option<i32>,
}

impl Running {
    /// Starts it, on the thread that will wait for it and for every orphan.
    pub(crate) async fn start(launch: Launch, ends: Ends) -> Result<Self, SpawnError> {
        adopt_orphans().map_err(SpawnError::Process)?;
        let (started, start) = oneshot::channel();
        let (ended, status) = oneshot::channel();
        let (gone, family) = watch::channel(false);
        let whole_life = move || match spawn(&launch, ends) {
            Ok(leader) => {
                // A receiver that has left needs no answer.
                let _ = started.send(Ok(leader));
                reap(leader, ended);
                gone.send_replace(true);
            }
            Err(error) => {
                let _ = started.send(Err(error));
            }
        };
        let thread = std::thread::Builder::new()
            .name("reaper".to_owned())
            .spawn(whole_life);
        thread.map_err(SpawnError::Process)?;
        let lost = |_| Err(SpawnError::Process(io::ErrorKind::Other.into()));
        let leader = start.await.unwrap_or_else(lost)?;
        Ok(Self {
            family: Family::new(leader, family),
            status,
        })
    }

    /// Waits for its end, and brings it about when its time is up or ours is.
    pub(crate) async fn supervise(
        &mut self,
        limit: Option<Duration>,
        grace: Duration,
        interrupt: &Interrupt,
    ) -> End {
        let outcome = tokio::select! {
            biased;
            status = &mut self.status => return End::natural(status.ok()),
            () = interrupt.after(Duration::ZERO) => Outcome::Cancelled,
            () = limited(limit) => Outcome::Deadline,
        };
        self.family.ask();
        let patience = if outcome == Outcome::Deadline {
            grace
        } else {
            COMMAND_GRACE
        };
        let status = tokio::select! {
            biased;
            status = &mut self.status => status.ok(),
            () = interrupt.after(COMMAND_GRACE) => self.kill().await,
            () = sleep(patience) => self.kill().await,
        };
        End {
            outcome,
            ..End::natural(status)
        }
    }

    async fn kill(&mut self) -> Option<WaitStatus> {
        kill_all();
        timeout(STATUS, &mut self.status).await.ok()?.ok()
    }
}

impl End {
    fn natural(status: Option<WaitStatus>) -> Self {
        let exit = status.and_then(WaitStatus::exit_status);
        let signal = status.and_then(WaitStatus::terminating_signal);
        let outcome = if signal.is_some() {
            Outcome::Signaled
        } else {
            Outcome::Exited
        };
        Self {
            outcome,
            code: exit.or(signal.map(|signal| 128 + signal)),
            signal,
        }
    }
}

async fn limited(limit: Option<Duration>) {
    match limit {
        Some(limit) => sleep(limit).await,
        None => std::future::pending().await,
    }
}

/// Waits for everybody until there is nobody; tells of the leader.
fn reap(leader: Pid, ended: oneshot::Sender<WaitStatus>) {
    let mut ended = Some(ended);
    loop {
        match wait(WaitOptions::empty()) {
            Ok(Some((pid, status))) if pid == leader => {
                if let Some(ended) = ended.take() {
                    // Whoever asked may have given up.
                    let _ = ended.send(status);
                }
            }
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(_) => return,
        }
    }
}
