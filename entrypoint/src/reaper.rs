//! Processes are started, and waited for: the command, its steps, and every orphan.

use std::collections::HashMap;
use std::io;
use std::sync::mpsc;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};

use rustix::process::{Pid, WaitOptions, WaitStatus, wait};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{Notify, oneshot, watch};

use crate::family::{Family, adopt_orphans};
use crate::launch::{Launch, Script};
use crate::spawn::{SpawnError, spawn};
use crate::streams::Ends;

/// Starts processes and waits for all there are.
///
/// They die with the thread that starts them, which therefore is one for all and lives as long as this value. It
/// starts them under a lock, without which nobody waits: the standard library waits for its own failed starts.
#[derive(Debug)]
pub(crate) struct Reaper {
    requests: mpsc::Sender<Request>,
}

/// A process that was started.
#[derive(Debug)]
pub(crate) struct Started {
    /// With all it starts.
    pub(crate) family: Family,
    /// How it ended, once it has.
    pub(crate) status: oneshot::Receiver<WaitStatus>,
}

struct Request {
    launch: Launch,
    ends: Ends,
    answer: oneshot::Sender<Result<Started, SpawnError>>,
}

/// A process that has not ended.
struct Leader {
    ended: oneshot::Sender<WaitStatus>,
    /// To be there as long as the process.
    _script: Option<Script>,
}

struct Shared {
    leaders: Mutex<HashMap<Pid, Leader>>,
    /// A start has ended: what was not waited for meanwhile may be waited for now.
    started: Notify,
    /// Whether there is no process at all.
    gone: watch::Sender<bool>,
}

impl Reaper {
    /// From now on every child and orphan is waited for.
    pub(crate) fn start() -> Result<Self, SpawnError> {
        adopt_orphans().map_err(SpawnError::Process)?;
        let children = signal(SignalKind::child()).map_err(SpawnError::Process)?;
        let shared = Arc::new(Shared {
            leaders: Mutex::default(),
            started: Notify::new(),
            gone: watch::Sender::new(true),
        });
        let (requests, queue) = mpsc::channel();
        let of_thread = shared.clone();
        let thread = std::thread::Builder::new().name("starter".to_owned());
        let thread = thread.spawn(move || of_thread.start_all(&queue));
        thread.map_err(SpawnError::Process)?;
        tokio::spawn(shared.reap(children));
        Ok(Self { requests })
    }

    /// Starts a process.
    pub(crate) async fn spawn(&self, launch: Launch, ends: Ends) -> Result<Started, SpawnError> {
        let (answer, started) = oneshot::channel();
        let request = Request {
            launch,
            ends,
            answer,
        };
        let lost = || SpawnError::Process(io::ErrorKind::Other.into());
        self.requests.send(request).map_err(|_| lost())?;
        started.await.unwrap_or_else(|_| Err(lost()))
    }
}

impl Shared {
    fn start_all(&self, queue: &mpsc::Receiver<Request>) {
        while let Ok(request) = queue.recv() {
            let started = self.start(request.launch, request.ends);
            self.started.notify_one();
            // Whoever asked may have given up.
            let _ = request.answer.send(started);
        }
    }

    fn start(&self, mut launch: Launch, ends: Ends) -> Result<Started, SpawnError> {
        let mut leaders = self.lock();
        let leader = spawn(&launch, ends)?;
        let (ended, status) = oneshot::channel();
        let script = launch.script.take();
        leaders.insert(
            leader,
            Leader {
                ended,
                _script: script,
            },
        );
        self.gone.send_replace(false);
        let family = Family::new(leader, self.gone.subscribe());
        Ok(Started { family, status })
    }

    async fn reap(self: Arc<Self>, mut children: Signal) {
        loop {
            tokio::select! {
                _ = children.recv() => {}
                () = self.started.notified() => {}
            }
            // While something is being started nobody waits, not even for the lock.
            match self.leaders.try_lock() {
                Ok(leaders) => self.reap_all(leaders),
                Err(TryLockError::Poisoned(leaders)) => self.reap_all(leaders.into_inner()),
                Err(TryLockError::WouldBlock) => {}
            }
        }
    }

    fn reap_all(&self, mut leaders: MutexGuard<'_, HashMap<Pid, Leader>>) {
        loop {
            match wait(WaitOptions::NOHANG) {
                Ok(Some((pid, status))) => {
                    if let Some(leader) = leaders.remove(&pid) {
                        // Whoever asked may have given up.
                        let _ = leader.ended.send(status);
                    }
                }
                Ok(None) => return,
                Err(rustix::io::Errno::INTR) => {}
                Err(_) => {
                    self.gone.send_replace(true);
                    return;
                }
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Pid, Leader>> {
        self.leaders.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
