//! SIGTERM and SIGINT to ourselves: the execution is cancelled, or the platform's time is up.
//!
//! Ten seconds later comes SIGKILL, so everything after it has a place in that time.

use std::future::{Future, pending};
use std::io;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use crate::console;

/// From the interrupt on, the command has this long to end by itself.
pub(crate) const COMMAND_GRACE: Duration = Duration::from_secs(3);

/// From the interrupt on, outputs and logs have this long to be saved; the rest is the report's.
pub(crate) const COLLECT_UNTIL: Duration = Duration::from_millis(8_500);

/// Between the interrupt and SIGKILL, what the command wrote is read for so long after its end.
pub(crate) const DRAIN: Duration = Duration::from_secs(1);

/// Tells whether and when we were asked to end.
#[derive(Debug, Clone)]
pub(crate) struct Interrupt(watch::Receiver<Option<Instant>>);

impl Interrupt {
    /// Listens from now on.
    ///
    /// SIGTSTP comes before a live migration and SIGCONT after it; a handler that does nothing keeps us running,
    /// and unlike SIG_IGN it is not inherited by the command.
    pub(crate) fn listen() -> io::Result<Self> {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        for stop in [rustix::process::Signal::TSTP, rustix::process::Signal::CONT] {
            drop(signal(SignalKind::from_raw(stop.as_raw()))?);
        }
        let (sender, receiver) = watch::channel(None);
        tokio::spawn(async move {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            sender.send_replace(Some(Instant::now()));
            console::hurry();
            // The time of the first one counts, for as long as we live.
            sender.closed().await;
        });
        Ok(Self(receiver))
    }

    /// Whether it came.
    pub(crate) fn came(&self) -> bool {
        self.0.borrow().is_some()
    }

    /// Waits for so long after it; for ever if it never comes.
    pub(crate) async fn after(&self, delay: Duration) {
        let mut at = self.0.clone();
        let came = at.wait_for(Option::is_some).await.ok().and_then(|at| *at);
        match came {
            Some(at) => sleep_until(at + delay).await,
            None => pending().await,
        }
    }

    /// What `work` says, or `None` if the interrupt (and the delay after it) comes first.
    pub(crate) async fn cut<T>(&self, delay: Duration, work: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            biased;
            done = work => Some(done),
            () = self.after(delay) => None,
        }
    }
}
