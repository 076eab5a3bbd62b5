use bytes::{Buf, Bytes};
use http::{HeaderValue, StatusCode, header};
use reqwest::Response;

use super::Bucket;
use super::media::{MediaHead, content_range};
use crate::api::{Again, Api, ApiError, ErrorKind, Failure, Request, Retry, broken, next_chunk};

/// A download under way.
///
/// A connection that breaks or stalls is replaced by one that goes on from the same byte of the same generation.
#[derive(Debug)]
pub struct Download {
    api: Api,
    /// Names the generation.
    request: Request,
    retry: Retry,
    size: u64,
    generation: u64,
    expected: u32,
    running: u32,
    position: u64,
    connection: Option<Connection>,
    done: bool,
}

#[derive(Debug)]
struct Connection {
    response: Response,
    /// Bytes we have already, because the server took no notice of the range.
    skip: u64,
}

impl Bucket {
    /// Begins a download that resumes by itself and is checked at its end.
    pub async fn download(
        &self,
        name: &str,
        generation: Option<u64>,
    ) -> Result<Download, ApiError> {
        let request = self.media_request(name, generation)?;
        let response = self.api.send(&request).await?;
        let head = MediaHead::parse(response.headers());
        let lacks = |what: &str| {
            let why = format!("the answer names no {what}");
            request.fail(ErrorKind::Protocol).with_source(why)
        };
        let size = head.size().ok_or_else(|| lacks("size"))?;
        let expected = head.checksums.crc32c.ok_or_else(|| lacks("crc32c"))?;
        let generation = head.generation.ok_or_else(|| lacks("generation"))?;
        let mut retry = self.api.retry();
        retry.progressed();
        Ok(Download {
            request: self.media_request(name, Some(generation))?,
            retry,
            api: self.api.clone(),
            size,
            generation,
            expected,
            running: 0,
            position: 0,
            connection: Some(Connection { response, skip: 0 }),
            done: false,
        })
    }
}

impl Download {
    /// The whole object's size in bytes.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The generation it is pinned to.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// The next bytes; `None` at the end, which is reached only if the checksum matches.
    pub async fn next(&mut self) -> Result<Option<Bytes>, ApiError> {
        if self.done {
            return Ok(None);
        }
        loop {
            match self.step().await {
                Ok(Some(bytes)) if bytes.is_empty() => {}
                Ok(Some(bytes)) => return Ok(Some(self.take(bytes))),
                Ok(None) => return self.finish().map(|()| None),
                Err(failure) => {
                    self.connection = None;
                    self.retry.pause(failure, true).await?;
                }
            }
        }
    }

    /// The next bytes that are new to us, perhaps none; `None` after the last.
    async fn step(&mut self) -> Result<Option<Bytes>, Failure> {
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None if self.position == self.size => return Ok(None),
            None => self.reopen().await?,
        };
        let chunk = next_chunk(&mut connection.response, self.api.idle()).await;
        let mut bytes = match chunk {
            Ok(Some(bytes)) => bytes,
            // All is there; how the connection ends does not matter.
            _ if self.position == self.size => return Ok(None),
            Ok(None) => return Err(self.cut()),
            Err(source) => return Err(broken(&self.request, source)),
        };
        let skipped = connection.skip.min(bytes.len() as u64);
        connection.skip -= skipped;
        bytes.advance(usize::try_from(skipped).unwrap_or(bytes.len()));
        if bytes.len() as u64 > self.size - self.position {
            return Err(self.protocol("the server sent more bytes than the object has"));
        }
        self.connection = Some(connection);
        Ok(Some(bytes))
    }

    fn take(&mut self, bytes: Bytes) -> Bytes {
        self.running = crc32c::crc32c_append(self.running, &bytes);
        self.position += bytes.len() as u64;
        self.retry.progressed();
        bytes
    }

    fn finish(&mut self) -> Result<(), ApiError> {
        self.connection = None;
        if self.running != self.expected {
            let why = "its bytes do not match the crc32c that the server sent with them";
            return Err(self.request.fail(ErrorKind::Corrupt).with_source(why));
        }
        self.done = true;
        Ok(())
    }

    async fn reopen(&self) -> Result<Connection, Failure> {
        let mut request = self.request.clone();
        let range = HeaderValue::try_from(format!("bytes={}-", self.position));
        if let (Ok(range), true) = (range, self.position > 0) {
            request.headers.insert(header::RANGE, range);
        }
        let response = self
            .api
            .exchange(&request)
            .await
            .map_err(|failure| self.explain(failure))?;
        let head = MediaHead::parse(response.headers());
        if head
            .generation
            .is_some_and(|generation| generation != self.generation)
        {
            return Err(self.protocol("the server went on with another generation"));
        }
        let skip = match content_range(response.headers()) {
            _ if response.status() != StatusCode::PARTIAL_CONTENT => self.position,
            Some((first, size))
                if first == self.position && size.is_none_or(|size| size == self.size) =>
            {
                0
            }
            _ => return Err(self.protocol("the server went on with another range")),
        };
        Ok(Connection { response, skip })
    }

    /// The object was there when the download began.
    fn explain(&self, mut failure: Failure) -> Failure {
        let error = &mut failure.error;
        if matches!(error.kind, ErrorKind::NotFound | ErrorKind::Precondition) {
            error.kind = ErrorKind::NotFound;
            error.action = format!(
                "{} to its end: it was replaced or deleted meanwhile",
                self.request.action
            );
        }
        failure
    }

    fn cut(&self) -> Failure {
        let why = format!(
            "the body ended after {} of {} bytes",
            self.position, self.size
        );
        let error = self.request.fail(ErrorKind::Unavailable).with_source(why);
        Failure::new(error, Again::Unclear)
    }

    fn protocol(&self, why: &'static str) -> Failure {
        let error = self.request.fail(ErrorKind::Protocol).with_source(why);
        Failure::new(error, Again::Never)
    }
}
