//! What every call to a Google API needs: a token, a quota project, retries, errors by meaning.

mod client;
mod error;
mod exchange;
mod payload;
mod refusal;
mod retry;

pub use client::http_client;
pub use error::{ApiError, ErrorKind};
pub use retry::{Haste, RetryConfig};

pub(crate) use exchange::{Request, broken, next_chunk};
pub(crate) use payload::Payload;
pub(crate) use retry::{Again, Backoff, Failure, Retry};

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, header};
use serde::de::DeserializeOwned;
use url::Url;

use crate::token::Tokens;

/// No JSON answer is longer: a page of 1,000 objects has about one MiB.
const JSON_LIMIT: u64 = 64 << 20;

/// A connection pool with tokens and retry rules.
#[derive(Debug, Clone)]
pub struct Api {
    shared: Arc<Shared>,
    retry: RetryConfig,
    idle: Duration,
    haste: Haste,
}

/// Where a quota project is left out.
#[derive(Debug, Default)]
struct Denied {
    everywhere: bool,
    /// Only the API that is asked there is off in that project.
    hosts: Vec<String>,
}

#[derive(Debug)]
struct Shared {
    http: reqwest::Client,
    tokens: Tokens,
    quota_project: Option<HeaderValue>,
    /// Where the quota project has been the cause of a 403.
    quota_denied: Mutex<Denied>,
}

impl Api {
    /// `http` must come from [`http_client`]: another might follow redirects, or unpack bodies.
    ///
    /// A quota project that cannot stand in a header is left out.
    pub fn new(
        http: reqwest::Client,
        tokens: Tokens,
        quota_project: Option<String>,
        retry: RetryConfig,
    ) -> Self {
        let quota_project = quota_project.and_then(|project| project.try_into().ok());
        let shared = Shared {
            http,
            tokens,
            quota_project,
            quota_denied: Mutex::default(),
        };
        Self {
            shared: Arc::new(shared),
            retry,
            idle: Duration::from_mins(1),
            haste: Haste::NONE,
        }
    }

    /// The same pool and tokens with other retry rules.
    #[must_use]
    pub fn with_retry(mut self, retry: RetryConfig) -> Self {
        self.retry = retry;
        self
    }

    /// How long a connection may move no byte, in either direction, before it counts as broken. 60 s unless set.
    #[must_use]
    pub fn with_idle_timeout(mut self, idle: Duration) -> Self {
        self.idle = idle;
        self
    }

    /// Shortens the pauses, the budgets and the idle timeout, of whatever retry rules it has and will have.
    #[must_use]
    pub fn with_haste(mut self, haste: Haste) -> Self {
        self.haste = haste;
        self
    }

    /// Sends a request with a JSON body, if any, and reads a JSON answer (`Null` for an empty body).
    ///
    /// `action`: a fragment for the error, such as ``cannot start job `j` ``.
    /// `idempotent`: may be sent again when it is not known whether the server acted on it. 429 and refused
    /// connections are tried again in any case.
    pub async fn json(
        &self,
        action: &str,
        method: reqwest::Method,
        url: Url,
        body: Option<&serde_json::Value>,
        idempotent: bool,
    ) -> Result<serde_json::Value, ApiError> {
        let mut request = Request::new(action, method, url, idempotent);
        if let Some(body) = body {
            request = request.with_json(body);
        }
        let (collected, _) = self.collect(&request, JSON_LIMIT).await?;
        if collected.body.is_empty() {
            return Ok(serde_json::Value::Null);
        }
        parse_json(action, &collected.body)
    }

    /// Sends a request whose answer is one JSON document.
    pub(crate) async fn json_as<T: DeserializeOwned>(
        &self,
        request: &Request,
    ) -> Result<T, ApiError> {
        self.json_with(request, &mut self.retry()).await
    }

    /// The same with the caller's own [`Retry`].
    pub(crate) async fn json_with<T: DeserializeOwned>(
        &self,
        request: &Request,
        retry: &mut Retry,
    ) -> Result<T, ApiError> {
        let collected = self.collect_with(request, JSON_LIMIT, retry).await?;
        parse_json(&request.action, &collected.body)
    }

    pub(crate) fn retry(&self) -> Retry {
        Retry::new(self.haste.shorten_all(self.retry))
    }

    pub(crate) fn idle(&self) -> Duration {
        self.haste.shorten(self.idle)
    }
}

/// An answer with its whole body.
pub(crate) struct Collected {
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

pub(crate) fn parse_json<T: DeserializeOwned>(action: &str, body: &[u8]) -> Result<T, ApiError> {
    serde_json::from_slice(body)
        .map_err(|source| ApiError::new(action, ErrorKind::Protocol).with_source(source))
}

impl Request {
    pub(crate) fn with_json(mut self, body: &serde_json::Value) -> Self {
        let json = HeaderValue::from_static("application/json");
        self.headers.insert(header::CONTENT_TYPE, json);
        self.body = Payload::from(Bytes::from(body.to_string()));
        self
    }
}
