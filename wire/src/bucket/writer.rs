use std::io::{self, Write};

use bytes::{Bytes, BytesMut};
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};

use super::{ObjectMeta, Upload};
use crate::api::ApiError;

/// What crosses to the runtime at once.
const PIECE: usize = 256 * 1024;

/// An upload as a blocking writer, for a thread outside the runtime.
///
/// It runs ahead of the network by half a chunk. Errors carry an [`ApiError`]: see [`ApiError::from_io`].
/// Only [`finish`](Self::finish) makes the object; dropped = abandoned.
#[derive(Debug)]
pub struct UploadWriter {
    pieces: mpsc::Sender<Order>,
    result: Option<oneshot::Receiver<Result<Option<ObjectMeta>, ApiError>>>,
    buffer: BytesMut,
}

#[derive(Debug)]
enum Order {
    Write(Bytes),
    Finish,
}

impl Upload {
    /// For a blocking thread; the upload itself goes on in `handle`'s runtime.
    pub fn into_writer(self, handle: &Handle) -> UploadWriter {
        let ahead = (self.chunk_size() / 2 / PIECE).max(1);
        let (pieces, orders) = mpsc::channel(ahead);
        let (sender, result) = oneshot::channel();
        handle.spawn(async move {
            let _ = sender.send(pump(self, orders).await);
        });
        UploadWriter {
            pieces,
            result: Some(result),
            buffer: BytesMut::new(),
        }
    }
}

/// `None` if the writer was dropped before it was finished.
async fn pump(
    mut upload: Upload,
    mut orders: mpsc::Receiver<Order>,
) -> Result<Option<ObjectMeta>, ApiError> {
    while let Some(order) = orders.recv().await {
        match order {
            Order::Write(piece) => upload.write(piece).await?,
            Order::Finish => return upload.finish().await.map(Some),
        }
    }
    upload.abandon().await;
    Ok(None)
}

impl UploadWriter {
    /// Sends the rest, and waits for the object.
    pub fn finish(mut self) -> io::Result<ObjectMeta> {
        self.flush()?;
        self.order(Order::Finish)?;
        self.outcome()?.ok_or_else(ended)
    }

    /// Tells the server to forget it, without waiting for its answer. The same as a drop, in words.
    pub fn abandon(self) {}

    fn order(&mut self, order: Order) -> io::Result<()> {
        if self.pieces.blocking_send(order).is_ok() {
            return Ok(());
        }
        // The upload has ended before us: it has failed.
        self.outcome()?;
        Err(ended())
    }

    fn outcome(&mut self) -> io::Result<Option<ObjectMeta>> {
        let result = self.result.take().ok_or_else(ended)?;
        let result = result.blocking_recv().map_err(|_| ended())?;
        result.map_err(io::Error::from)
    }
}

fn ended() -> io::Error {
    io::Error::other("the upload has ended already")
}

impl Write for UploadWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.buffer.capacity() == 0 {
            self.buffer.reserve(PIECE);
        }
        let length = bytes.len().min(PIECE - self.buffer.len());
        self.buffer.extend_from_slice(&bytes[..length]);
        if self.buffer.len() == PIECE {
            self.flush()?;
        }
        Ok(length)
    }

    /// Hands what is there to the upload; that it is stored is known only at the end.
    fn flush(&mut self) -> io::Result<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let piece = self.buffer.split().freeze();
        self.order(Order::Write(piece))
    }
}
