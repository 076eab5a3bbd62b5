//! What every call to a Google API needs: a token, a quota project, retries, errors by meaning.

use std::time::Duration;

use url::Url;

use crate::token::Tokens;

/// How long to try.
#[derive(Debug, Clone, Copy)]
pub struct RetryConfig {
    /// Tries after the first.
    pub retries: u32,
    /// From the first try; no new one is begun after it.
    pub budget: Duration,
    /// The first pause's upper bound; doubles each time.
    pub first_pause: Duration,
    /// No pause is longer, `Retry-After` apart.
    pub longest_pause: Duration,
}

/// What an error means, whatever its status.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// 404.
    NotFound,
    /// 409, or a create that met an object.
    Exists,
    /// 412: another generation than the one named.
    Precondition,
    /// 401 after a fresh token, or no token to be had.
    Unauthenticated,
    /// 403.
    Forbidden,
    /// 400 and the other 4xx.
    Invalid,
    /// Bytes that do not match their checksum.
    Corrupt,
    /// 5xx, 429, 408, a broken connection: still so after all retries.
    Unavailable,
    /// Larger than the caller takes.
    TooLarge,
    /// An answer that is no answer of this API.
    Protocol,
}

/// A call that failed.
#[derive(Debug, thiserror::Error)]
#[error("{action}")]
pub struct ApiError {
    /// A fragment that says what was tried: ``cannot read `inputs/…` ``.
    pub action: String,
    /// What it means.
    pub kind: ErrorKind,
    /// The HTTP status, if one came.
    pub status: Option<u16>,
    /// Google's `reason` or `status` word, if one came.
    pub reason: Option<String>,
    /// How many tries it took.
    pub tries: u32,
    /// What to type next.
    pub hint: Option<String>,
    /// The cause, such as the server's message.
    #[source]
    pub source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

/// A connection pool with tokens and retry rules.
#[derive(Debug, Clone)]
pub struct Api {}

impl Api {
    /// `http` must come from [`http_client`].
    pub fn new(_http: reqwest::Client, _tokens: Tokens, _quota_project: Option<String>, _retry: RetryConfig) -> Self {
        todo!()
    }

    /// Sends a request with a JSON body, if any, and reads a JSON answer (`Null` for an empty body).
    ///
    /// `idempotent`: may be sent again when it is not known whether the server acted on it. 429 and refused
    /// connections are tried again in any case.
    pub async fn json(
        &self,
        _action: &str,
        _method: reqwest::Method,
        _url: Url,
        _body: Option<&serde_json::Value>,
        _idempotent: bool,
    ) -> Result<serde_json::Value, ApiError> {
        todo!()
    }
}

/// The one HTTP client: rustls with ring, roots bundled, no redirects, no decompression, timeouts on connect and idle reads.
pub fn http_client() -> Result<reqwest::Client, reqwest::Error> {
    todo!()
}
