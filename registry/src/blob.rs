use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use http_body::{Body, Frame, SizeHint};
use reqwest::Response;
use tokio::sync::mpsc;
use url::Url;
use wire::api::{ApiError, ErrorKind};

use crate::client::{Call, IDLE, Registry, broken, next_chunk};
use crate::digest::Hasher;
use crate::retry::Failure;
use crate::{Digest, Progress, RegistryError};

/// So many pieces of a blob wait between the two connections; a piece has at most some hundred kilobytes.
const WAITING: usize = 4;

/// A blob in memory goes out in pieces of this size, so that progress shows on a slow line.
const PIECE: usize = 128 * 1024;

const OCTETS: HeaderValue = HeaderValue::from_static("application/octet-stream");

/// A layer or config, by its digest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Blob {
    pub(crate) digest: Digest,
    pub(crate) size: u64,
}

/// Where a blob's bytes are.
#[derive(Debug)]
pub(crate) enum Source<'a> {
    Registry(&'a Registry),
    Memory(Bytes),
}

/// How a blob came to be in its repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Arrival {
    /// It was there.
    Present,
    /// The registry has taken it over from the base's repository.
    Mounted,
    /// It was sent.
    Sent,
}

pub(crate) type Tell<'a> = &'a mut (dyn FnMut(Progress) + Send);

enum Begun {
    Mounted,
    Session(Url),
}

impl Registry {
    /// Reads a small blob and verifies it.
    pub(crate) async fn small_blob(&self, blob: &Blob, limit: u64) -> Result<Bytes, RegistryError> {
        let call = self.blob_call("read", Method::GET, &blob.digest);
        let (_, body) = self.fetch(&call, limit).await?;
        let mut check = Check::new(blob);
        check.take(&body)?;
        check.finish().map_err(|failure| failure.error)?;
        Ok(body)
    }

    /// Sees to it that the repository has the blob.
    ///
    /// `mount`: a repository of the same registry that has it.
    pub(crate) async fn put_blob(
        &self,
        blob: &Blob,
        source: &Source<'_>,
        mount: Option<&str>,
        tell: Tell<'_>,
    ) -> Result<Arrival, RegistryError> {
        if self.has(&blob.digest).await? {
            return Ok(Arrival::Present);
        }
        let mut retry = self.retry();
        loop {
            let mut moved = false;
            let mut telling = |progress| {
                moved = true;
                tell(progress);
            };
            match self.try_put(blob, source, mount, &mut telling).await {
                Ok(arrival) => return Ok(arrival),
                Err(failure) => {
                    if moved {
                        retry.progressed();
                    }
                    retry.pause(failure).await?;
                }
            }
        }
    }

    async fn has(&self, digest: &Digest) -> Result<bool, RegistryError> {
        let call = self.blob_call("look for", Method::HEAD, digest);
        match self.send(&call).await {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    async fn try_put(
        &self,
        blob: &Blob,
        source: &Source<'_>,
        mount: Option<&str>,
        tell: Tell<'_>,
    ) -> Result<Arrival, Failure> {
        let session = match self.begin(&blob.digest, mount).await? {
            Begun::Mounted => return Ok(Arrival::Mounted),
            Begun::Session(session) => session,
        };
        let session = self.stream(blob, source, session, tell).await?;
        self.finish(&blob.digest, session).await?;
        Ok(Arrival::Sent)
    }

    /// Begins an upload, or has the registry take the blob over. One that does not know how begins an upload.
    async fn begin(&self, digest: &Digest, mount: Option<&str>) -> Result<Begun, Failure> {
        let mut call = self.call(
            format!("cannot send `{digest}` to `{}`", self.image.host()),
            Method::POST,
            "blobs/uploads/",
        );
        if let Some(repository) = mount {
            let plain = call.url.clone();
            let pairs = [("mount", digest.as_str()), ("from", repository)];
            call.url.query_pairs_mut().extend_pairs(pairs);
            match self.exchange(&call).await {
                Ok(response) => return self.begun(&call, &response, digest),
                Err(failure) if failure.again => return Err(failure),
                Err(_) => call.url = plain,
            }
        }
        let response = self.exchange(&call).await?;
        self.begun(&call, &response, digest)
    }

    fn begun(&self, call: &Call, response: &Response, digest: &Digest) -> Result<Begun, Failure> {
        if response.status() == StatusCode::CREATED {
            check_header("the blob", response.headers(), digest)?;
            return Ok(Begun::Mounted);
        }
        self.session(call, response).map(Begun::Session)
    }

    /// Where the upload goes on, which is never at somebody else's.
    fn session(&self, call: &Call, response: &Response) -> Result<Url, Failure> {
        let session = self.destination(call, response)?;
        if session.origin() == self.image.root().origin() {
            return Ok(session);
        }
        Err(self.astray(&session, "where an upload may not go").into())
    }

    /// Sends the bytes in one request, as every tool does: not every registry takes several.
    async fn stream(
        &self,
        blob: &Blob,
        source: &Source<'_>,
        session: Url,
        tell: Tell<'_>,
    ) -> Result<Url, Failure> {
        let action = format!("cannot send `{}` to `{}`", blob.digest, self.image.host());
        let mut call = self.call_to(action, Method::PATCH, session);
        call.headers.insert(header::CONTENT_TYPE, OCTETS);
        let (pieces, body, sent) = piped(blob.size);
        let upload = self.attempt(&call, &call.url, blob.size, body, Some(&sent));
        let response = both(pump(blob, source, pieces, tell), upload).await?;
        if response.status().is_success() {
            return self.session(&call, &response);
        }
        let expired = response.status() == StatusCode::UNAUTHORIZED;
        let mut failure = self.refused(&call, response).await;
        if expired {
            // A token that ended between two calls: the next try begins with a challenge.
            failure.again = self.authorization.lock().await.take().is_some();
        }
        Err(failure)
    }

    /// Names the digest, by which the registry verifies what it has got.
    async fn finish(&self, digest: &Digest, mut session: Url) -> Result<(), Failure> {
        session
            .query_pairs_mut()
            .append_pair("digest", digest.as_str());
        let action = format!("cannot send `{digest}` to `{}`", self.image.host());
        let mut call = self.call_to(action, Method::PUT, session);
        call.headers.insert(header::CONTENT_TYPE, OCTETS);
        match self.send(&call).await {
            Ok(response) => Ok(check_header("the blob", response.headers(), digest)?),
            // The first of several tries may have done it, and with it ended the session.
            Err(_) if self.has(digest).await.unwrap_or(false) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    fn blob_call(&self, verb: &str, method: Method, digest: &Digest) -> Call {
        let action = format!("cannot {verb} `{digest}` at `{}`", self.image.host());
        self.call(action, method, &format!("blobs/{digest}"))
    }

    async fn open(&self, blob: &Blob) -> Result<(Call, Response), Failure> {
        let call = self.blob_call("read", Method::GET, &blob.digest);
        let response = self.exchange(&call).await?;
        Ok((call, response))
    }
}

/// The registry's opinion of the bytes, if it has one.
pub(crate) fn check_header(
    what: &str,
    headers: &HeaderMap,
    expected: &Digest,
) -> Result<(), RegistryError> {
    let Some(value) = headers.get("docker-content-digest") else {
        return Ok(());
    };
    let actual = String::from_utf8_lossy(value.as_bytes());
    if actual == expected.as_str() || !actual.starts_with("sha256:") {
        return Ok(());
    }
    Err(RegistryError::Digest {
        what: what.to_owned(),
        expected: expected.to_string(),
        actual: crate::error::printable(&actual),
    })
}

/// Reads and sends at once, until both have ended or one has failed.
async fn both(
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

async fn pump(
    blob: &Blob,
    source: &Source<'_>,
    pieces: mpsc::Sender<Bytes>,
    tell: Tell<'_>,
) -> Result<(), Failure> {
    let mut feed = Feed {
        check: Check::new(blob),
        pieces,
        tell,
    };
    match source {
        Source::Memory(bytes) => feed.memory(bytes.clone()).await?,
        Source::Registry(registry) => {
            let (call, response) = registry.open(blob).await?;
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

/// Holds a stream against what was announced.
struct Check<'a> {
    blob: &'a Blob,
    taken: u64,
    hasher: Hasher,
}

impl<'a> Check<'a> {
    fn new(blob: &'a Blob) -> Self {
        Self {
            blob,
            taken: 0,
            hasher: Hasher::default(),
        }
    }

    fn take(&mut self, bytes: &[u8]) -> Result<(), RegistryError> {
        self.taken += bytes.len() as u64;
        if self.taken > self.blob.size {
            return Err(self.size());
        }
        self.hasher.update(bytes);
        Ok(())
    }

    fn finish(&mut self) -> Result<(), Failure> {
        if self.taken < self.blob.size {
            return Err(Failure::again(self.size()));
        }
        let actual = std::mem::take(&mut self.hasher).finish();
        if actual == self.blob.digest {
            return Ok(());
        }
        Err(Failure::last(RegistryError::Digest {
            what: "a blob of the base".to_owned(),
            expected: self.blob.digest.to_string(),
            actual: actual.to_string(),
        }))
    }

    fn size(&self) -> RegistryError {
        RegistryError::Size {
            what: format!("blob `{}` of the base", self.blob.digest),
            expected: self.blob.size,
            actual: self.taken,
        }
    }
}

/// A body of `size` bytes that comes through a channel, and a count of what the connection has taken.
fn piped(size: u64) -> (mpsc::Sender<Bytes>, reqwest::Body, Arc<AtomicU64>) {
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
