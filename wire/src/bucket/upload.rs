use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};
use http::HeaderValue;
use serde_json::Value;

use super::checksum::{Digest, Hasher};
use super::insert::{met_object, verified};
use super::session::{Part, Session, Stored};
use super::{Bucket, NewObject, ObjectMeta, Precondition};
use crate::api::{Again, ApiError, ErrorKind, Failure, Payload, Retry};

/// Smaller writes are gathered, so that a chunk is not made of thousands of slices.
const SMALL: usize = 16 * 1024;

/// A resumable upload under way. Dropped = abandoned: no object appears.
///
/// After [`ErrorKind::SessionLost`] the whole upload must begin anew.
#[derive(Debug)]
pub struct Upload {
    bucket: Bucket,
    name: String,
    action: String,
    precondition: Precondition,
    session: Session,
    pending: Pending,
    /// Where `pending` begins: all before it is acknowledged.
    offset: u64,
    hasher: Hasher,
    /// Whether the answer to a last part was lost: the object may exist already.
    maybe_done: bool,
}

impl Bucket {
    /// Begins a resumable upload of unknown size.
    ///
    /// With [`Precondition::Absent`] an object that is there already is [`ErrorKind::Exists`] here, or
    /// [`ErrorKind::Forbidden`] for a caller that may not overwrite. It may be his own, from an upload that he gave
    /// up: [`Bucket::holds`] tells.
    pub async fn upload(&self, name: &str, object: &NewObject) -> Result<Upload, ApiError> {
        let request = self.upload_request("write", name, "resumable", object.precondition)?;
        let mut request = request.with_json(&Value::Object(object.resource(name)));
        let content_type = HeaderValue::from_static(object.content_type);
        request
            .headers
            .insert("x-upload-content-type", content_type);
        let answer = self.api.send(&request).await;
        let answer = answer.map_err(|error| met_object(error, object.precondition))?;
        Ok(Upload {
            session: Session::open(self, &request.action, &answer)?,
            bucket: self.clone(),
            name: name.to_owned(),
            action: request.action,
            precondition: object.precondition,
            pending: Pending::default(),
            offset: 0,
            hasher: Hasher::default(),
            maybe_done: false,
        })
    }
}

impl Upload {
    /// Takes bytes; sends a chunk when enough are there. Holds no more than the unacknowledged chunk.
    pub async fn write(&mut self, bytes: Bytes) -> Result<(), ApiError> {
        self.hasher.update(&bytes);
        self.pending.push(bytes);
        // A chunk that may be the last is kept: the last one carries the checksums.
        while self.pending.length > self.bucket.chunk_size {
            self.send_chunk().await?;
        }
        Ok(())
    }

    /// Bytes taken so far.
    pub fn written(&self) -> u64 {
        self.hasher.size()
    }

    pub(super) fn chunk_size(&self) -> usize {
        self.bucket.chunk_size
    }

    /// Sends the rest with the checksums of the whole.
    ///
    /// If the answer to it is lost, and no other comes within the budget, the object itself is looked for, with a
    /// budget of its own: only what is not there is an error.
    pub async fn finish(mut self) -> Result<ObjectMeta, ApiError> {
        let digest = self.hasher.clone().finish();
        match self.send_last(&digest).await {
            Ok(meta) => verified(&self.action, meta, &digest),
            Err(error) => {
                let error = met_object(error, self.precondition);
                if !self.maybe_done {
                    return Err(error);
                }
                self.bucket
                    .written_after_all(&self.name, &digest, error)
                    .await
            }
        }
    }

    /// Tells the server to forget it.
    pub async fn abandon(self) {
        if let Err(error) = self.session.cancel().await {
            tracing::debug!("{error}: the upload session stays until it expires");
        }
    }

    /// Sends a chunk until the server has stored something of it.
    async fn send_chunk(&mut self) -> Result<(), ApiError> {
        let mut retry = self.retry();
        loop {
            let part = Part {
                first: self.offset,
                bytes: self.pending.first(self.bucket.chunk_size),
                whole: None,
            };
            let before = retry.tries();
            match self.put(part, &mut retry).await? {
                Stored::Until(until) if self.acknowledge(until)? => return Ok(()),
                Stored::Until(_) => self.pause_once(&mut retry, before).await?,
                Stored::Object(_) => return Err(self.protocol("the server ended the upload early")),
            }
        }
    }

    async fn send_last(&mut self, digest: &Digest) -> Result<ObjectMeta, ApiError> {
        let mut retry = self.retry();
        loop {
            let part = Part {
                first: self.offset,
                bytes: self.pending.first(self.pending.length),
                whole: Some(digest),
            };
            let before = retry.tries();
            match self.put(part, &mut retry).await? {
                Stored::Object(meta) => return Ok(*meta),
                Stored::Until(until) if self.acknowledge(until)? => retry.progressed(),
                Stored::Until(_) => self.pause_once(&mut retry, before).await?,
            }
        }
    }

    /// A part may take its time on a slow line: only failing is limited.
    fn retry(&self) -> Retry {
        let mut retry = self.bucket.api.retry();
        retry.progressed();
        retry
    }

    /// Sends a part; after a failure asks how far the server is, rather than guess.
    async fn put(&mut self, part: Part<'_>, retry: &mut Retry) -> Result<Stored, ApiError> {
        let last = part.whole.is_some();
        let mut outcome = self.session.put(part).await;
        loop {
            match outcome {
                Ok(stored) => return Ok(stored),
                Err(failure) => {
                    self.maybe_done |= last && failure.again == Again::Unclear;
                    retry.pause(failure, true).await?;
                }
            }
            outcome = self.session.status().await;
        }
    }

    /// Forgets what the server has; says whether that was news.
    fn acknowledge(&mut self, until: u64) -> Result<bool, ApiError> {
        let Some(stored) = until.checked_sub(self.offset) else {
            let why = "the server lost bytes that it had acknowledged";
            return Err(ApiError::new(&self.action, ErrorKind::SessionLost).with_source(why));
        };
        let stored = usize::try_from(stored)
            .ok()
            .filter(|&stored| stored <= self.pending.length)
            .ok_or_else(|| self.protocol("the server has stored more than was sent"))?;
        self.pending.discard(stored);
        self.offset = until;
        Ok(stored > 0)
    }

    /// Nothing was stored: a try of its own, unless a failure has been counted and waited for already.
    async fn pause_once(&self, retry: &mut Retry, before: u32) -> Result<(), ApiError> {
        if retry.tries() > before {
            return Ok(());
        }
        let error = ApiError::new(&self.action, ErrorKind::Unavailable)
            .with_source("the server stored nothing of what was sent");
        retry.pause(Failure::new(error, Again::Unclear), true).await
    }

    fn protocol(&self, why: &'static str) -> ApiError {
        ApiError::new(&self.action, ErrorKind::Protocol).with_source(why)
    }
}

/// Bytes that are not acknowledged.
#[derive(Default)]
struct Pending {
    slices: VecDeque<Bytes>,
    /// Small writes, not yet a slice.
    tail: BytesMut,
    length: usize,
}

impl Pending {
    fn push(&mut self, bytes: Bytes) {
        self.length += bytes.len();
        if bytes.len() < SMALL {
            self.tail.extend_from_slice(&bytes);
            if self.tail.len() >= 4 * SMALL {
                self.close_tail();
            }
        } else {
            self.close_tail();
            self.slices.push_back(bytes);
        }
    }

    fn close_tail(&mut self) {
        if !self.tail.is_empty() {
            self.slices.push_back(self.tail.split().freeze());
        }
    }

    /// The first `length` bytes, which stay.
    fn first(&mut self, length: usize) -> Payload {
        self.close_tail();
        let mut left = length;
        let mut slices = Vec::with_capacity(self.slices.len());
        for slice in &self.slices {
            let taken = left.min(slice.len());
            if taken == 0 {
                break;
            }
            slices.push(slice.slice(..taken));
            left -= taken;
        }
        Payload::new(slices)
    }

    fn discard(&mut self, length: usize) {
        self.close_tail();
        self.length -= length;
        let mut left = length;
        while left > 0 {
            let Some(slice) = self.slices.front_mut() else {
                return;
            };
            let taken = left.min(slice.len());
            let _ = slice.split_to(taken);
            left -= taken;
            if slice.is_empty() {
                self.slices.pop_front();
            }
        }
    }
}

impl std::fmt::Debug for Pending {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pending")
            .field("length", &self.length)
            .finish_non_exhaustive()
    }
}
