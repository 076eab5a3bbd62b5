//! When something last happened here.

use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use hyper::body::{Frame, SizeHint};

use crate::body::Body;
use crate::lock::lock;

/// How often to look whether all has ended.
const LOOK: Duration = Duration::from_millis(5);

/// Counts what is going on, and remembers when the last of it ended.
#[derive(Clone)]
pub(crate) struct Activity(Arc<Mutex<Log>>);

struct Log {
    going_on: usize,
    last: Instant,
}

impl Default for Activity {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(Log {
            going_on: 0,
            last: Instant::now(),
        })))
    }
}

impl Activity {
    /// Something begins; it ends when what is returned is dropped.
    pub(crate) fn begin(&self) -> Busy {
        lock(&self.0).going_on += 1;
        Busy(self.clone())
    }

    pub(crate) fn touch(&self) {
        lock(&self.0).last = Instant::now();
    }

    /// Returns when nothing goes on.
    pub(crate) async fn rest(&self) {
        while lock(&self.0).going_on > 0 {
            tokio::time::sleep(LOOK).await;
        }
    }

    pub(crate) fn quiet_for(&self) -> Duration {
        let log = lock(&self.0);
        if log.going_on > 0 {
            Duration::ZERO
        } else {
            log.last.elapsed()
        }
    }
}

/// Something that goes on.
pub(crate) struct Busy(Activity);

impl Drop for Busy {
    fn drop(&mut self) {
        let mut log = lock(&self.0.0);
        log.going_on -= 1;
        log.last = Instant::now();
    }
}

/// A body whose sending is an activity: a long download is no idleness.
pub(crate) struct Tracked {
    pub(crate) body: Body,
    pub(crate) busy: Busy,
}

impl hyper::body::Body for Tracked {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        self.busy.0.touch();
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
