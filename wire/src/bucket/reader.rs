use std::io::{self, BufRead, Read};

use bytes::{Buf, Bytes, BytesMut};
use tokio::runtime::Handle;
use tokio::sync::mpsc;

use super::Download;
use crate::api::ApiError;

/// Smaller chunks are put together before they cross to the reading thread.
const COALESCED: usize = 64 * 1024;

/// Chunks that may wait for the reading thread; one has at most some 400 KiB.
const WAITING: usize = 4;

/// A download as a blocking reader, for a thread outside the runtime.
///
/// The runtime reads ahead a little. Errors carry an [`ApiError`]: see [`ApiError::from_io`]. Dropped = ended.
#[derive(Debug)]
pub struct DownloadReader {
    chunks: mpsc::Receiver<Result<Bytes, ApiError>>,
    current: Bytes,
    ended: bool,
}

impl Download {
    /// For a blocking thread; the download itself goes on in `handle`'s runtime.
    pub fn into_reader(self, handle: &Handle) -> DownloadReader {
        let (sender, chunks) = mpsc::channel(WAITING);
        handle.spawn(pump(self, sender));
        DownloadReader {
            chunks,
            current: Bytes::new(),
            ended: false,
        }
    }
}

async fn pump(mut download: Download, sender: mpsc::Sender<Result<Bytes, ApiError>>) {
    let mut gathered = BytesMut::new();
    let end = loop {
        match download.next().await {
            Ok(Some(chunk)) if gathered.is_empty() && chunk.len() >= COALESCED => {
                if sender.send(Ok(chunk)).await.is_err() {
                    return;
                }
            }
            Ok(Some(chunk)) => {
                gathered.extend_from_slice(&chunk);
                if gathered.len() >= COALESCED
                    && sender.send(Ok(gathered.split().freeze())).await.is_err()
                {
                    return;
                }
            }
            Ok(None) => break Ok(Bytes::new()),
            Err(error) => break Err(error),
        }
    };
    if !gathered.is_empty() && sender.send(Ok(gathered.freeze())).await.is_err() {
        return;
    }
    // The empty chunk says that the end is the end: a pump that just stops says nothing.
    let _ = sender.send(end).await;
}

impl BufRead for DownloadReader {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.current.is_empty() && !self.ended {
            match self.chunks.blocking_recv() {
                Some(Ok(chunk)) => {
                    self.ended = chunk.is_empty();
                    self.current = chunk;
                }
                Some(Err(error)) => return Err(error.into()),
                None => return Err(io::Error::other("the download's runtime has ended")),
            }
        }
        Ok(&self.current)
    }

    fn consume(&mut self, amount: usize) {
        self.current.advance(amount);
    }
}

impl Read for DownloadReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let available = self.fill_buf()?;
        let length = available.len().min(buffer.len());
        buffer[..length].copy_from_slice(&available[..length]);
        self.consume(length);
        Ok(length)
    }
}
