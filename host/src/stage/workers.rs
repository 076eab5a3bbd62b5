//! A thread for each core, for what computes.
//!
//! Threads that come and go as work does are put on the same core by the system every so often, while another idles: a
//! fifth of the time of packing was lost so.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread;

use tokio::sync::oneshot;

use super::blocking;
use crate::error::Error;

type Work = Box<dyn FnOnce() + Send>;

/// They end with this value, when they have done what is waiting.
#[derive(Debug)]
pub(super) struct Workers {
    most: usize,
    /// Absent where the system gives no thread.
    queue: OnceLock<Option<Sender<Work>>>,
}

impl Workers {
    /// At the most so many, made when there is something to do.
    pub(super) fn new(most: usize) -> Self {
        Self {
            most,
            queue: OnceLock::new(),
        }
    }

    /// Does this in its turn; not at all, if nobody waits for it any more when its turn comes.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Error> {
        let Some(queue) = self.queue.get_or_init(|| hire(self.most)) else {
            return blocking(work).await;
        };
        let (answer, answered) = oneshot::channel();
        let work = move || {
            if !answer.is_closed() {
                // Who asked may have given up meanwhile.
                let _ = answer.send(work());
            }
        };
        let broke_down = |error| Error::local("a worker thread broke down", error);
        queue
            .send(Box::new(work))
            .map_err(|error| broke_down(error.to_string()))?;
        answered
            .await
            .map_err(|error| broke_down(error.to_string()))
    }
}

fn hire(most: usize) -> Option<Sender<Work>> {
    let (sender, queue) = channel();
    let queue = Arc::new(Mutex::new(queue));
    let hired = (0..most).map_while(|_| {
        let queue = queue.clone();
        let builder = thread::Builder::new().name("pack".to_owned());
        builder.spawn(move || work(&queue)).ok()
    });
    (hired.count() > 0).then_some(sender)
}

fn work(queue: &Mutex<Receiver<Work>>) {
    loop {
        let next = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(work) = next else { return };
        // The answer that never comes tells of it.
        let _ = catch_unwind(AssertUnwindSafe(work));
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    const SOON: Duration = Duration::from_millis(1);
    /// Only what hangs takes so long.
    const PATIENCE: Duration = Duration::from_secs(20);

    #[tokio::test]
    async fn one_that_breaks_down_takes_no_other_with_it() {
        let workers = Workers::new(1);
        let broken = workers.run(|| panic!("as a test")).await;
        assert!(broken.is_err());
        assert_eq!(workers.run(|| 7).await.unwrap(), 7);
    }

    /// Each ends when the other has begun.
    #[tokio::test]
    async fn as_many_are_at_work_as_there_are_workers() {
        let workers = Workers::new(2);
        let (tell_one, one_began) = channel();
        let (tell_other, other_began) = channel();
        let one = workers.run(move || {
            let _ = tell_one.send(());
            other_began.recv_timeout(PATIENCE)
        });
        let other = workers.run(move || {
            let _ = tell_other.send(());
            one_began.recv_timeout(PATIENCE)
        });
        let (one, other) = tokio::join!(one, other);
        assert_eq!((one.unwrap(), other.unwrap()), (Ok(()), Ok(())));
    }

    #[tokio::test]
    async fn what_nobody_waits_for_is_not_done() {
        let workers = Workers::new(1);
        let (open, gate) = channel::<()>();
        let first = workers.run(move || gate.recv());
        let mut first = Box::pin(first);
        assert!(timeout(SOON, &mut first).await.is_err());
        let (tell, told) = channel();
        {
            let mut second = Box::pin(workers.run(move || tell.send(())));
            assert!(timeout(SOON, &mut second).await.is_err());
        }
        drop(open);
        assert!(first.await.unwrap().is_err());
        workers.run(|| ()).await.unwrap();
        assert!(told.recv().is_err(), "it was not done");
    }
}
