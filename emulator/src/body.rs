//! Bodies in both directions: whole, streamed from disk, or read with a limit.

use std::collections::VecDeque;
use std::io::{self, Read};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Empty, Full};
use hyper::body::{Frame, Incoming, SizeHint};
use tokio::sync::mpsc;

use crate::lock::lock;
use crate::refusal::{Outcome, Refusal};

/// How much of a file is read at once.
const PIECE: usize = 256 * 1024;
/// Pieces read ahead of a slow receiver.
const AHEAD: usize = 4;

pub(crate) type Body = BoxBody<Bytes, io::Error>;

pub(crate) fn empty() -> Body {
    Empty::new().map_err(|never| match never {}).boxed()
}

pub(crate) fn full(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into())
        .map_err(|never| match never {})
        .boxed()
}

/// A body read from `source` by a thread of its own; `length` is what it will give, if known.
pub(crate) fn streamed(source: impl Read + Send + 'static, length: Option<u64>) -> Body {
    let (sender, pieces) = mpsc::channel(AHEAD);
    tokio::task::spawn_blocking(move || pump(source, &sender));
    Streamed {
        pieces,
        left: length,
    }
    .boxed()
}

fn pump(mut source: impl Read, pieces: &mpsc::Sender<io::Result<Bytes>>) {
    loop {
        let mut piece = BytesMut::zeroed(PIECE);
        let read = source.read(&mut piece).map(|count| {
            piece.truncate(count);
            piece.freeze()
        });
        let last = !matches!(&read, Ok(piece) if !piece.is_empty());
        if last && read.is_ok() {
            return;
        }
        if pieces.blocking_send(read).is_err() || last {
            return;
        }
    }
}

struct Streamed {
    pieces: mpsc::Receiver<io::Result<Bytes>>,
    left: Option<u64>,
}

impl hyper::body::Body for Streamed {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let piece = std::task::ready!(self.pieces.poll_recv(context));
        if let (Some(Ok(piece)), Some(left)) = (&piece, self.left.as_mut()) {
            *left = left.saturating_sub(piece.len() as u64);
        }
        Poll::Ready(piece.map(|piece| piece.map(Frame::data)))
    }

    fn size_hint(&self) -> SizeHint {
        self.left
            .map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

/// What has been read of a body, for whoever listens.
pub(crate) type Heard = Arc<Mutex<Vec<u8>>>;

/// How much of a body is listened to: more than any JSON here.
const HEARD_LIMIT: usize = 8 * 1024 * 1024;

/// A request's body, as it is read.
pub(crate) struct Source {
    bytes: Bytestream,
    heard: Option<Heard>,
}

/// Still on the wire, or already here.
enum Bytestream {
    Wire(Incoming),
    Here(VecDeque<Bytes>),
}

impl Source {
    pub(crate) fn wire(body: Incoming) -> Self {
        Self {
            bytes: Bytestream::Wire(body),
            heard: None,
        }
    }

    pub(crate) fn whole(bytes: Bytes) -> Self {
        Self::pieces([bytes])
    }

    pub(crate) fn pieces(pieces: impl IntoIterator<Item = Bytes>) -> Self {
        Self {
            bytes: Bytestream::Here(pieces.into_iter().collect()),
            heard: None,
        }
    }

    /// Keeps what will be read, up to a limit.
    pub(crate) fn listen(&mut self) -> Heard {
        Arc::clone(self.heard.get_or_insert_default())
    }

    /// The next piece; `None` at the proper end.
    pub(crate) async fn next(&mut self) -> Outcome<Option<Bytes>> {
        let piece = self.bytes.next().await?;
        if let (Some(heard), Some(piece)) = (&self.heard, &piece) {
            let mut heard = lock(heard);
            let room = HEARD_LIMIT.saturating_sub(heard.len());
            heard.extend_from_slice(&piece[..piece.len().min(room)]);
        }
        Ok(piece)
    }

    /// All of it, which may be at most `limit` bytes.
    pub(crate) async fn collect(&mut self, limit: usize) -> Outcome<Bytes> {
        let mut whole = BytesMut::new();
        while let Some(piece) = self.next().await? {
            if whole.len() + piece.len() > limit {
                return Err(Refusal::too_large(format!(
                    "Request payload size exceeds the limit: {limit} bytes."
                )));
            }
            whole.extend_from_slice(&piece);
        }
        Ok(whole.freeze())
    }

    /// Reads what nobody wanted, so that a client still sending sees the answer and not a reset connection.
    pub(crate) async fn drain(&mut self) {
        while let Ok(Some(_)) = self.next().await {}
    }
}

impl Bytestream {
    async fn next(&mut self) -> Outcome<Option<Bytes>> {
        let wire = match self {
            Self::Here(pieces) => return Ok(pieces.pop_front()),
            Self::Wire(wire) => wire,
        };
        while let Some(frame) = wire.frame().await {
            let frame = frame.map_err(|_| Refusal::invalid("The request body ended early."))?;
            if let Ok(data) = frame.into_data() {
                return Ok(Some(data));
            }
        }
        Ok(None)
    }
}
