//! The command while it runs, and how it ends.

use std::time::Duration;

use rustix::process::WaitStatus;
use tokio::sync::oneshot;
use tokio::time::{sleep, timeout};
use wire::contract::{CommandEnd, Outcome};

use crate::family::{Family, kill_all};
use crate::interrupt::{COMMAND_GRACE, Interrupt};
use crate::reaper::Started;

/// After SIGKILL, the status comes at once, or a disk keeps it.
const STATUS: Duration = Duration::from_secs(2);

/// A command under way.
#[derive(Debug)]
pub(crate) struct Running {
    /// With all it starts.
    pub(crate) family: Family,
    status: oneshot::Receiver<WaitStatus>,
}

impl Running {
    /// A process that was started.
    pub(crate) fn new(started: Started) -> Self {
        let Started { family, status } = started;
        Self { family, status }
    }

    /// Waits for its end, and brings it about when its time is up or ours is.
    pub(crate) async fn supervise(
        &mut self,
        limit: Option<Duration>,
        grace: Duration,
        interrupt: &Interrupt,
    ) -> CommandEnd {
        let outcome = tokio::select! {
            biased;
            status = &mut self.status => return natural(status.ok()),
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
        CommandEnd {
            outcome,
            ..natural(status)
        }
    }

    async fn kill(&mut self) -> Option<WaitStatus> {
        kill_all();
        timeout(STATUS, &mut self.status).await.ok()?.ok()
    }
}

fn natural(status: Option<WaitStatus>) -> CommandEnd {
    let exit = status.and_then(WaitStatus::exit_status);
    let signal = status.and_then(WaitStatus::terminating_signal);
    let outcome = if signal.is_some() {
        Outcome::Signaled
    } else {
        Outcome::Exited
    };
    CommandEnd {
        outcome,
        code: exit.or(signal.map(|signal| 128 + signal)),
        signal,
    }
}

async fn limited(limit: Option<Duration>) {
    match limit {
        Some(limit) => sleep(limit).await,
        None => std::future::pending().await,
    }
}
