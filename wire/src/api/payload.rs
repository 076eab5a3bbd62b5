use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

/// The connection takes at most so much at once, so that progress shows on a slow line.
const FRAME: usize = 128 * 1024;

/// A request's body: a row of slices, which can be sent again without a copy.
#[derive(Debug, Clone, Default)]
pub(crate) struct Payload(Vec<Bytes>);

impl Payload {
    pub(crate) fn new(slices: Vec<Bytes>) -> Self {
        Self(slices)
    }

    pub(crate) fn len(&self) -> u64 {
        self.0.iter().map(|slice| slice.len() as u64).sum()
    }

    /// For one try; `sent` counts what the connection has taken.
    pub(super) fn body(&self, sent: Arc<AtomicU64>) -> reqwest::Body {
        reqwest::Body::wrap(Frames {
            slices: self.0.iter().cloned().collect(),
            left: self.len(),
            sent,
        })
    }
}

impl From<Bytes> for Payload {
    fn from(bytes: Bytes) -> Self {
        Self(vec![bytes])
    }
}

struct Frames {
    slices: VecDeque<Bytes>,
    left: u64,
    sent: Arc<AtomicU64>,
}

impl Body for Frames {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        while self.slices.front().is_some_and(Bytes::is_empty) {
            self.slices.pop_front();
        }
        let Some(first) = self.slices.front_mut() else {
            return Poll::Ready(None);
        };
        let frame = first.split_to(first.len().min(FRAME));
        let length = frame.len() as u64;
        self.left -= length;
        self.sent.fetch_add(length, Ordering::Relaxed);
        Poll::Ready(Some(Ok(Frame::data(frame))))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}
