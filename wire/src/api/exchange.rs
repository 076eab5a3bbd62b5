use std::io;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use reqwest::Response;
use url::Url;

use super::refusal::{Blame, Refusal};
use super::{Again, Api, ApiError, Collected, Denied, ErrorKind, Failure, Payload, Retry};
use crate::token::{Token, TokenError};

const QUOTA_PROJECT: &str = "x-goog-user-project";

const CERTIFICATE_HINT: &str = "where a proxy re-encrypts, `export SSL_CERT_FILE=…` names the file of its certificate; a clock that is wrong looks like this too: `date`";

/// A call that can be sent any number of times.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) action: String,
    pub(crate) method: Method,
    pub(crate) url: Url,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Payload,
    pub(crate) idempotent: bool,
}

impl Request {
    pub(crate) fn new(action: &str, method: Method, url: Url, idempotent: bool) -> Self {
        Self {
            action: action.to_owned(),
            method,
            url,
            headers: HeaderMap::new(),
            body: Payload::default(),
            idempotent,
        }
    }

    pub(crate) fn fail(&self, kind: ErrorKind) -> ApiError {
        ApiError::new(&self.action, kind)
    }
}

/// A connection that moved nothing for too long.
#[derive(Debug, thiserror::Error)]
#[error("no byte moved for {} s", .0.as_secs_f32())]
pub(crate) struct Stalled(Duration);

impl Api {
    /// Sends it, with retries; the answer's body has not been read.
    pub(crate) async fn send(&self, request: &Request) -> Result<Response, ApiError> {
        let mut retry = self.retry();
        loop {
            match self.exchange(request).await {
                Ok(response) => return Ok(response),
                Err(failure) => retry.pause(failure, request.idempotent).await?,
            }
        }
    }

    /// Sends it and reads its body, with retries; tells how many tries it took.
    pub(crate) async fn collect(
        &self,
        request: &Request,
        limit: u64,
    ) -> Result<(Collected, u32), ApiError> {
        let mut retry = self.retry();
        let collected = self.collect_with(request, limit, &mut retry).await?;
        Ok((collected, retry.tries()))
    }

    /// The same with the caller's own [`Retry`], which knows afterwards what the tries were like.
    pub(crate) async fn collect_with(
        &self,
        request: &Request,
        limit: u64,
        retry: &mut Retry,
    ) -> Result<Collected, ApiError> {
        loop {
            let collected = match self.exchange(request).await {
                Ok(response) => self.body(request, response, limit).await,
                Err(failure) => Err(failure),
            };
            match collected {
                Ok(collected) => return Ok(collected),
                Err(failure) => retry.pause(failure, request.idempotent).await?,
            }
        }
    }

    /// Reads a body of at most `limit` bytes, which is checked before it is read where its length is known.
    pub(crate) async fn body(
        &self,
        request: &Request,
        mut response: Response,
        limit: u64,
    ) -> Result<Collected, Failure> {
        let too_large = || Failure::new(request.fail(ErrorKind::TooLarge), Again::Never);
        let announced = response.content_length().unwrap_or(0);
        if announced > limit {
            return Err(too_large());
        }
        let mut body =
            BytesMut::with_capacity(usize::try_from(announced).unwrap_or(0).min(1 << 20));
        while let Some(chunk) = next_chunk(&mut response, self.idle())
            .await
            .map_err(|source| broken(request, source))?
        {
            if (body.len() + chunk.len()) as u64 > limit {
                return Err(too_large());
            }
            body.extend_from_slice(&chunk);
        }
        let headers = std::mem::take(response.headers_mut());
        Ok(Collected {
            headers,
            body: body.freeze(),
        })
    }

    /// One try: 2xx and 308 are success. A stale token and a refused quota project are replaced on the way.
    pub(crate) async fn exchange(&self, request: &Request) -> Result<Response, Failure> {
        let (mut renewed, mut with_quota_project) = (false, None);
        loop {
            let token = self.token(request).await?;
            let quota_project = self.quota_project(&request.url);
            let response = self.attempt(request, token.as_ref(), quota_project).await?;
            let status = response.status();
            if status.is_success() || status == StatusCode::PERMANENT_REDIRECT {
                return Ok(response);
            }
            if let Some(token) = token.filter(|_| status == StatusCode::UNAUTHORIZED && !renewed) {
                self.shared.tokens.reject(&token);
                renewed = true;
                continue;
            }
            let refusal = Refusal::read(response, self.idle()).await;
            let blame = refusal.blames_quota_project();
            if let (Some(_), Some(blame)) = (quota_project, blame) {
                self.deny_quota_project(&request.url, blame);
                with_quota_project = Some(refusal);
                continue;
            }
            // Without any it may be another project that is blamed: the user's own words are about the first.
            let refusal = with_quota_project
                .filter(|_| blame.is_some())
                .unwrap_or(refusal);
            return Err(refusal.into_failure(&request.action));
        }
    }

    async fn token(&self, request: &Request) -> Result<Option<Token>, Failure> {
        let token = self.shared.tokens.token_for(&request.url).await;
        token.map_err(|error| no_token(request, error))
    }

    fn quota_project(&self, url: &Url) -> Option<&HeaderValue> {
        let project = self.shared.quota_project.as_ref()?;
        let denied = self.quota_denied();
        let host = url.host_str().unwrap_or_default();
        let here = denied.everywhere || denied.hosts.iter().any(|denied| denied == host);
        (!here && self.shared.tokens.is_google(url)).then_some(project)
    }

    fn deny_quota_project(&self, url: &Url, blame: Blame) {
        let mut denied = self.quota_denied();
        match blame {
            Blame::Everywhere => denied.everywhere = true,
            Blame::Here => denied
                .hosts
                .push(url.host_str().unwrap_or_default().to_owned()),
        }
    }

    fn quota_denied(&self) -> MutexGuard<'_, Denied> {
        let denied = self.shared.quota_denied.lock();
        denied.unwrap_or_else(PoisonError::into_inner)
    }

    async fn attempt(
        &self,
        request: &Request,
        token: Option<&Token>,
        quota_project: Option<&HeaderValue>,
    ) -> Result<Response, Failure> {
        let mut headers = request.headers.clone();
        if let Some(token) = token {
            let value = bearer(token).map_err(|error| no_token(request, error))?;
            headers.insert(header::AUTHORIZATION, value);
        }
        if let Some(project) = quota_project {
            headers.insert(QUOTA_PROJECT, project.clone());
        }
        if request.method != Method::GET {
            headers.insert(header::CONTENT_LENGTH, request.body.len().into());
        }
        let sent = Arc::new(AtomicU64::new(0));
        let mut builder = self
            .shared
            .http
            .request(request.method.clone(), request.url.clone())
            .headers(headers);
        if request.body.len() > 0 {
            builder = builder.body(request.body.body(Arc::clone(&sent)));
        }
        watched(builder, &sent, self.idle())
            .await
            .map_err(|source| unsent_or_broken(request, source))
    }
}

fn bearer(token: &Token) -> Result<HeaderValue, TokenError> {
    let mut value = HeaderValue::try_from(format!("Bearer {}", token.secret()))
        .map_err(|_| TokenError::permanent("the token has characters that no header may have"))?;
    value.set_sensitive(true);
    Ok(value)
}

/// So often within an idle timeout it is looked whether bytes have moved: with a single look, one that moved in its
/// first moment would make it twice as long.
const LOOKS: u32 = 4;

/// Waits for the answer's head for as long as the body's bytes keep going out.
async fn watched(
    builder: reqwest::RequestBuilder,
    sent: &AtomicU64,
    idle: Duration,
) -> Result<Response, Broken> {
    let mut answer = pin!(builder.send());
    let (mut before, mut still) = (0, 0);
    while still < LOOKS {
        if let Ok(answer) = tokio::time::timeout(idle / LOOKS, answer.as_mut()).await {
            return answer.map_err(Broken::from);
        }
        let now = sent.load(Ordering::Relaxed);
        still = if now == before { still + 1 } else { 0 };
        before = now;
    }
    Err(Broken::Stalled(Stalled(idle)))
}

/// The next bytes of a body.
pub(crate) async fn next_chunk(
    response: &mut Response,
    idle: Duration,
) -> Result<Option<Bytes>, Broken> {
    match tokio::time::timeout(idle, response.chunk()).await {
        Ok(chunk) => chunk.map_err(Broken::from),
        Err(_) => Err(Broken::Stalled(Stalled(idle))),
    }
}

/// A connection that was not made, or did not last. Never shows a URL: it may be a session's, which is a secret.
#[derive(Debug)]
pub(crate) enum Broken {
    Http(reqwest::Error),
    Stalled(Stalled),
}

impl From<reqwest::Error> for Broken {
    fn from(error: reqwest::Error) -> Self {
        Self::Http(error.without_url())
    }
}

impl From<Broken> for Box<dyn std::error::Error + Send + Sync> {
    fn from(broken: Broken) -> Self {
        match broken {
            Broken::Http(error) => error.into(),
            Broken::Stalled(stalled) => stalled.into(),
        }
    }
}

/// A body that broke off: the server had acted.
pub(crate) fn broken(request: &Request, source: Broken) -> Failure {
    let error = request.fail(ErrorKind::Unavailable).with_source(source);
    Failure::new(error, Again::Unclear)
}

fn unsent_or_broken(request: &Request, source: Broken) -> Failure {
    let mut hint = None;
    let (kind, again) = match &source {
        Broken::Http(error) if error.is_builder() => (ErrorKind::Invalid, Again::Never),
        Broken::Http(error) if is_certificate_error(error) => {
            hint = Some(CERTIFICATE_HINT.to_owned());
            (ErrorKind::Protocol, Again::Never)
        }
        Broken::Http(error) if error.is_connect() => (ErrorKind::Unavailable, Again::Unacted),
        Broken::Http(_) | Broken::Stalled(_) => (ErrorKind::Unavailable, Again::Unclear),
    };
    let mut error = request.fail(kind).with_source(source);
    error.hint = hint;
    Failure::new(error, again)
}

fn no_token(request: &Request, error: TokenError) -> Failure {
    // A token server that is away is a network that is away, and no reason to log in again.
    let (again, kind) = if error.transient {
        (Again::Unacted, ErrorKind::Unavailable)
    } else {
        (Again::Never, ErrorKind::Unauthenticated)
    };
    let hint = error.hint.clone();
    let mut error = request.fail(kind).with_source(error);
    error.hint = hint;
    Failure::new(error, again)
}

/// Whether the peer is not whom it says: it will not be so at the next try.
fn is_certificate_error(error: &reqwest::Error) -> bool {
    let mut next: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = next {
        // An `io::Error` hides the error it holds from `source`.
        let held = error
            .downcast_ref::<io::Error>()
            .and_then(io::Error::get_ref);
        let tls = match held {
            Some(held) => held.downcast_ref::<rustls::Error>(),
            None => error.downcast_ref(),
        };
        if matches!(tls, Some(rustls::Error::InvalidCertificate(_))) {
            return true;
        }
        next = error.source();
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::{RetryConfig, http_client};
    use crate::token::{StaticToken, Tokens};

    #[test]
    fn an_api_that_is_off_in_the_quota_project_keeps_no_other_from_it() {
        let tokens = Tokens::google(Arc::new(StaticToken(Token::new("t", None))));
        let http = http_client().unwrap();
        let api = Api::new(http, tokens, Some("p".to_owned()), RetryConfig::default());
        let [run, storage] = ["run", "storage"].map(|name| {
            let url = format!("https://{name}.googleapis.com/");
            Url::parse(&url).unwrap()
        });
        let kept = || [&run, &storage].map(|url| api.quota_project(url).is_some());
        assert_eq!(kept(), [true, true]);
        api.deny_quota_project(&run, Blame::Here);
        assert_eq!(kept(), [false, true]);
        api.deny_quota_project(&run, Blame::Everywhere);
        assert_eq!(kept(), [false, false]);
    }
}
