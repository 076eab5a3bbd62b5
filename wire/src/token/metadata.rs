use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use serde::Deserialize;
use url::Url;

use super::{Token, TokenError, TokenSource};
use crate::api::{Backoff, Haste, RetryConfig};

const HOST: &str = "metadata.google.internal";
const PATH: &str = "/computeMetadata/v1/instance/service-accounts/default/token";
const FLAVOR: &str = "metadata-flavor";

/// No honest answer has more bytes.
const LARGEST: usize = 256 * 1024;

/// For one request, its connection included.
const TIMEOUT: Duration = Duration::from_secs(10);

/// A network that is still coming up takes some time, its resolver too; then it is a failure.
///
/// A name that does not exist and a resolver that is not there yet cannot be told apart.
const RETRY: RetryConfig = RetryConfig {
    retries: u32::MAX,
    budget: Duration::from_mins(2),
    first_pause: Duration::from_millis(100),
    longest_pause: Duration::from_secs(5),
};

/// The metadata server's token of the default service account.
///
/// Tries for up to two minutes by itself.
#[derive(Debug)]
pub struct MetadataTokens {
    http: reqwest::Client,
    host: String,
    haste: Haste,
}

#[derive(Deserialize)]
struct Answer {
    access_token: String,
    expires_in: u64,
}

impl MetadataTokens {
    /// `host` as in `GCE_METADATA_HOST` (`host:port`); `None` = `metadata.google.internal`.
    pub fn new(http: reqwest::Client, host: Option<&str>) -> Self {
        let host = host.unwrap_or(HOST).to_owned();
        Self {
            http,
            host,
            haste: Haste::NONE,
        }
    }

    /// Shortens its pauses, its budget and its timeout.
    #[must_use]
    pub fn with_haste(mut self, haste: Haste) -> Self {
        self.haste = haste;
        self
    }

    async fn ask(&self, url: &Url) -> Result<Token, TokenError> {
        let asked_at = SystemTime::now();
        let mut response = self
            .http
            .get(url.clone())
            .header(FLAVOR, "Google")
            .timeout(self.haste.shorten(TIMEOUT))
            .send()
            .await
            .map_err(|error| self.unreachable(error))?;
        self.check(&response)?;
        // No cause is kept: a parser's error may quote what it could not read.
        let mut body = Vec::new();
        while body.len() < LARGEST
            && let Some(chunk) = response
                .chunk()
                .await
                .map_err(|error| self.unreachable(error))?
        {
            body.extend_from_slice(&chunk);
        }
        let answer: Answer =
            serde_json::from_slice(&body).map_err(|_| self.permanent("answered with no token"))?;
        let expires_at = asked_at.checked_add(Duration::from_secs(answer.expires_in));
        Ok(Token::new(answer.access_token, expires_at))
    }

    fn check(&self, response: &reqwest::Response) -> Result<(), TokenError> {
        let status = response.status();
        if status.is_server_error() || matches!(status.as_u16(), 408 | 429) {
            let mut error = self.permanent(&format!("answered {status}"));
            error.transient = true;
            return Err(error);
        }
        // What answers without it is no metadata server, whatever it says.
        let genuine = response
            .headers()
            .get(FLAVOR)
            .is_some_and(|value| value == "Google");
        match (genuine, status.as_u16()) {
            (true, 200) => Ok(()),
            (true, 404) => Err(self.permanent("knows no default service account")),
            (true, _) => Err(self.permanent(&format!("answered {status}"))),
            (false, _) => {
                Err(self.permanent("is no metadata server: its answer has no `Metadata-Flavor`"))
            }
        }
    }

    fn unreachable(&self, source: reqwest::Error) -> TokenError {
        TokenError {
            message: format!("cannot ask the metadata server `{}` for a token", self.host),
            hint: None,
            transient: true,
            source: Some(source.without_url().into()),
        }
    }

    fn permanent(&self, what: &str) -> TokenError {
        TokenError::permanent(&format!("`{}` {what}", self.host))
    }
}

#[async_trait]
impl TokenSource for MetadataTokens {
    async fn fetch(&self) -> Result<Token, TokenError> {
        let url: Url = format!("http://{}{PATH}", self.host)
            .parse()
            .map_err(|_| self.permanent("is no `host:port` of a metadata server"))?;
        let mut backoff = Backoff::new(self.haste.shorten_all(RETRY));
        loop {
            let mut error = match self.ask(&url).await {
                Ok(token) => return Ok(token),
                Err(error) if !error.transient => return Err(error),
                Err(error) => error,
            };
            let Some(pause) = backoff.next(None) else {
                // After two minutes the caller need not try as well.
                error.transient = false;
                error.hint = Some(
                    "there is a metadata server on Google Cloud only; elsewhere name one in `GCE_METADATA_HOST`"
                        .to_owned(),
                );
                return Err(error);
            };
            tracing::debug!(pause_ms = pause.as_millis(), "{error}, trying again");
            tokio::time::sleep(pause).await;
        }
    }
}
