use bytes::Bytes;
use http::{HeaderValue, Method, StatusCode, header};
use reqwest::Response;
use url::Url;
use wire::api::ErrorKind;

use crate::blob::{Blob, Check, check_header};
use crate::client::{Call, Registry};
use crate::pipe::{Incoming, both, piped, pump};
use crate::retry::Failure;
use crate::{Digest, Progress, RegistryError};

const OCTETS: HeaderValue = HeaderValue::from_static("application/octet-stream");

/// Where a blob's bytes are.
#[derive(Debug)]
pub(crate) enum Source<'a> {
    Registry(&'a Registry),
    Memory(Bytes),
}

impl Source<'_> {
    async fn open(&self, blob: &Blob) -> Result<Incoming, RegistryError> {
        match self {
            Self::Memory(bytes) => Ok(Incoming::Memory(bytes.clone())),
            Self::Registry(registry) => {
                let call = registry.blob_call("read", Method::GET, &blob.digest);
                let response = registry.send(&call).await?;
                Ok(Incoming::Download(Box::new((call, response))))
            }
        }
    }
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
        let incoming = source.open(blob).await?;
        let session = self.stream(blob, incoming, session, tell).await?;
        self.finish(&blob.digest, session).await?;
        Ok(Arrival::Sent)
    }

    /// Begins an upload, or has the registry take the blob over. One that does not know how begins an upload.
    async fn begin(&self, digest: &Digest, mount: Option<&str>) -> Result<Begun, Failure> {
        let mut call = self.call(
            format!("cannot send `{digest}` to `{}`", self.place()),
            Method::POST,
            "blobs/uploads/",
        );
        if let Some(repository) = mount {
            let plain = call.url.clone();
            let pairs = [("mount", digest.as_str()), ("from", repository)];
            call.url.query_pairs_mut().extend_pairs(pairs);
            match self.send(&call).await {
                Ok(response) => return self.begun(&call, &response, digest),
                Err(error) if error.kind() == ErrorKind::Unavailable => return Err(error.into()),
                Err(_) => call.url = plain,
            }
        }
        let response = self.send(&call).await?;
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
        incoming: Incoming,
        session: Url,
        tell: Tell<'_>,
    ) -> Result<Url, Failure> {
        let action = format!("cannot send `{}` to `{}`", blob.digest, self.place());
        let mut call = Call::new(action, Method::PATCH, session);
        call.headers.insert(header::CONTENT_TYPE, OCTETS);
        let (pieces, body, sent) = piped(blob.size);
        let upload = self.attempt(&call, &call.url, blob.size, body, Some(&sent));
        let response = both(pump(blob, incoming, pieces, tell), upload).await?;
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
        let action = format!("cannot send `{digest}` to `{}`", self.place());
        let mut call = Call::new(action, Method::PUT, session);
        call.headers.insert(header::CONTENT_TYPE, OCTETS);
        match self.send(&call).await {
            Ok(response) => Ok(check_header("the blob", response.headers(), digest)?),
            // The first of several tries may have done it, and with it ended the session.
            Err(_) if self.has(digest).await.unwrap_or(false) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    fn blob_call(&self, verb: &str, method: Method, digest: &Digest) -> Call {
        let action = format!("cannot {verb} `{digest}` at `{}`", self.place());
        self.call(action, method, &format!("blobs/{digest}"))
    }
}
