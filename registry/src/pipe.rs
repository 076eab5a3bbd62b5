use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use reqwest::Response;
use tokio::sync::mpsc;
use wire::api::{ApiError, ErrorKind};

use crate::Progress;
use crate::blob::{Blob, Check};
use crate::client::Call;
use crate::connection::{IDLE, broken, next_chunk};
use crate::retry::Failure;
use crate::upload::Tell;

/// So many pieces of a blob wait between the two connections; a piece has at most some hundred kilobytes.
const WAITING: usize = 4;

/// A blob in memory goes out in pieces of this size, so that progress shows on a slow line.
const PIECE: usize = 128 * 1024;

/// Bytes that can be had.
#[derive(Debug)]
pub(crate) enum Incoming {
    Memory(Bytes),
    Download(Box<(Call, Response)>),
}

/// Reads and sends at once, until both have ended or one has failed.
pub(crate) async fn both(
    pump: impl Future<Output = Result<(), Failure>>,
    upload: impl Future<Output = Result<Response, Failure>>,
) -> Result<Response, Failure> {
    let (mut pump, mut upload) = (pin!(pump), pin!(upload));
    tokio::select! {
        // What goes wrong at the source breaks the upload too: it is the source's error that tells.
        biased;
        pumped = pump.as_mut() => {
            pumped?;
            upload.await
        }
        answer = upload.as_mut() => {
            let response = answer?;
            // A refusal leaves the rest unread.
            if response.status().is_success() {
                pump.await?;
            }
            Ok(response)
        }
    }
}

/// Reads a blob, verifies it, and passes it on.
pub(crate) async fn pump(
    blob: &Blob,
    incoming: Incoming,
    pieces: mpsc::Sender<Bytes>,
    tell: Tell<'_>,
) -> Result<(), Failure> {
    let mut feed = Feed {
        check: Check::new(blob),
        pieces,
        tell,
    };
    match incoming {
        Incoming::Memory(bytes) => feed.memory(bytes).await?,
        Incoming::Download(download) => {
            let (call, response) = *download;
            feed.download(&call, response).await?;
        }
    }
    feed.check.finish()
}

struct Feed<'a> {
    check: Check<'a>,
    pieces: mpsc::Sender<Bytes>,
    tell: Tell<'a>,
}

impl Feed<'_> {
    async fn memory(&mut self, mut bytes: Bytes) -> Result<(), Failure> {
        while !bytes.is_empty() {
            let piece = bytes.split_to(bytes.len().min(PIECE));
            self.pass(piece).await?;
        }
        Ok(())
    }

    async fn download(&mut self, call: &Call, mut response: Response) -> Result<(), Failure> {
        while let Some(piece) = next_chunk(&mut response)
            .await
            .map_err(|cause| broken(call, cause))?
        {
            self.pass(piece).await?;
        }
        Ok(())
    }

    async fn pass(&mut self, piece: Bytes) -> Result<(), Failure> {
        self.check.take(&piece)?;
        let passed = tokio::time::timeout(IDLE, self.pieces.send(piece)).await;
        // An upload that has ended says itself why; this only ends the reading.
        if !matches!(passed, Ok(Ok(()))) {
            let host = "the registry takes no more of a blob";
            return Err(Failure::again(ApiError::new(host, ErrorKind::Unavailable)));
        }
        (self.tell)(Progress::Sending {
            digest: self.check.blob.digest.clone(),
            sent: self.check.taken,
            size: self.check.blob.size,
        });
        Ok(())
    }
}

/// A body of `size` bytes that comes through a channel, and a count of what the connection has taken.
pub(crate) fn piped(size: u64) -> (mpsc::Sender<Bytes>, reqwest::Body, Arc<AtomicU64>) {
    let (sender, pieces) = mpsc::channel(WAITING);
    let sent = Arc::new(AtomicU64::new(0));
    let body = Piped {
        pieces,
        left: size,
        sent: Arc::clone(&sent),
    };
    (sender, reqwest::Body::wrap(body), sent)
}

struct Piped {
    pieces: mpsc::Receiver<Bytes>,
    left: u64,
    sent: Arc<AtomicU64>,
}

impl Body for Piped {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        let Some(piece) = std::task::ready!(self.pieces.poll_recv(context)) else {
            // A short body must break the request, not end it.
            return Poll::Ready(Some(Err(io::ErrorKind::UnexpectedEof.into())));
        };
        self.left = self.left.saturating_sub(piece.len() as u64);
        self.sent.fetch_add(piece.len() as u64, Ordering::Relaxed);
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}
