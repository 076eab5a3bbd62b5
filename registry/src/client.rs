use std::sync::atomic::AtomicU64;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use reqwest::Response;
use tokio::sync::Mutex;
use url::Url;
use wire::api::{ApiError, ErrorKind, RetryConfig};
use wire::token::Tokens;

use crate::auth::{self, is_google};
use crate::challenge::Challenge;
use crate::connection::{broken, read, watched};
use crate::refusal::refusal;
use crate::retry::{Failure, Retry};
use crate::{Options, Reference, RegistryError};

/// A registry sends a blob's reader to its storage, which may send on; no further.
const REDIRECTS: usize = 5;

/// An error's body is worth no more.
const REFUSAL_LIMIT: u64 = 64 * 1024;

/// One repository of a registry.
#[derive(Debug)]
pub(crate) struct Registry {
    pub(crate) http: reqwest::Client,
    pub(crate) image: Reference,
    /// What a token is asked for.
    pub(crate) scopes: Vec<String>,
    /// Whether there are `tokens`.
    knows_us: bool,
    /// For this registry's origin, if it may have any.
    pub(crate) tokens: Tokens,
    /// What the last challenge was met with.
    pub(crate) authorization: Mutex<Option<HeaderValue>>,
    retry: RetryConfig,
}

/// A call that can be sent any number of times.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    /// A fragment for the error.
    pub(crate) action: String,
    pub(crate) method: Method,
    pub(crate) url: Url,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Call {
    pub(crate) fn new(action: String, method: Method, url: Url) -> Self {
        Self {
            action,
            method,
            url,
            headers: HeaderMap::new(),
            body: Bytes::new(),
        }
    }

    pub(crate) fn fail(&self, kind: ErrorKind) -> ApiError {
        ApiError::new(&self.action, kind)
    }
}

impl Registry {
    /// `scopes`: what shall be done, as token servers write it.
    pub(crate) fn new(
        http: reqwest::Client,
        image: &Reference,
        scopes: Vec<String>,
        options: &Options,
    ) -> Self {
        let tokens = auth::tokens(image.root(), options);
        Self {
            http,
            image: image.clone(),
            scopes,
            knows_us: tokens.is_some(),
            tokens: tokens.unwrap_or_else(Tokens::anonymous),
            authorization: Mutex::default(),
            retry: options.retry,
        }
    }

    pub(crate) fn retry(&self) -> Retry {
        Retry::new(self.retry)
    }

    /// Registry and repository, for errors.
    pub(crate) fn place(&self) -> String {
        format!("{}/{}", self.image.host(), self.image.repository())
    }

    /// A call below `/v2/REPOSITORY/`.
    pub(crate) fn call(&self, action: String, method: Method, path: &str) -> Call {
        let mut url = self.image.root().clone();
        url.set_path(&format!("/v2/{}/{path}", self.image.repository()));
        Call::new(action, method, url)
    }

    /// Sends it, with retries; the answer's body has not been read.
    pub(crate) async fn send(&self, call: &Call) -> Result<Response, RegistryError> {
        let mut retry = self.retry();
        loop {
            match self.exchange(call).await {
                Ok(response) => return Ok(response),
                Err(failure) => retry.pause(failure).await?,
            }
        }
    }

    /// Sends it and reads a body of at most `limit` bytes, with retries.
    pub(crate) async fn fetch(
        &self,
        call: &Call,
        limit: u64,
    ) -> Result<(HeaderMap, Bytes), RegistryError> {
        let mut retry = self.retry();
        loop {
            let fetched = match self.exchange(call).await {
                Ok(mut response) => {
                    let headers = std::mem::take(response.headers_mut());
                    let body = read(call, response, limit).await;
                    body.map(|body| (headers, body))
                }
                Err(failure) => Err(failure),
            };
            match fetched {
                Ok(fetched) => return Ok(fetched),
                Err(failure) => retry.pause(failure).await?,
            }
        }
    }

    /// One try. Redirects are followed and a challenge is met on the way.
    pub(crate) async fn exchange(&self, call: &Call) -> Result<Response, Failure> {
        let mut asked = false;
        loop {
            let response = self.follow(call).await?;
            let status = response.status();
            if status.is_success() {
                return Ok(response);
            }
            let ours = response.url().origin() == self.image.root().origin();
            if status == StatusCode::UNAUTHORIZED
                && ours
                && !asked
                && let Some(challenge) = Challenge::of(response.headers())
            {
                asked = true;
                self.meet(call, challenge).await?;
                continue;
            }
            return Err(self.refused(call, response).await);
        }
    }

    /// Where our own credentials may go, they are given from the start: a registry might answer a stranger's first
    /// call with a refusal instead of a challenge, which it gives everybody at this address.
    pub(crate) async fn greet(&self) -> Result<(), RegistryError> {
        if !self.knows_us {
            return Ok(());
        }
        let mut url = self.image.root().clone();
        url.set_path("/v2/");
        let action = format!("cannot reach `{}`", self.image.host());
        let call = Call::new(action, Method::GET, url);
        let mut retry = self.retry();
        while let Err(failure) = self.try_greet(&call).await {
            retry.pause(failure).await?;
        }
        Ok(())
    }

    async fn try_greet(&self, call: &Call) -> Result<(), Failure> {
        let response = self.follow(call).await?;
        let ours = response.url().origin() == self.image.root().origin();
        match Challenge::of(response.headers()) {
            Some(challenge) if ours => self.meet(call, challenge).await,
            _ => Ok(()),
        }
    }

    /// What an answer that is no success means.
    pub(crate) async fn refused(&self, call: &Call, mut response: Response) -> Failure {
        let status = response.status();
        let headers = std::mem::take(response.headers_mut());
        let body = read(call, response, REFUSAL_LIMIT).await;
        let body = body.unwrap_or_default();
        let hint = if is_google(self.image.root()) {
            let host = self.image.host();
            format!(
                "this account needs `roles/artifactregistry.reader` on a base at `{host}`, and \
                 `roles/artifactregistry.writer` where it pushes; `gcloud auth application-default login` signs in"
            )
        } else {
            "credentials of Docker's are not used: a base must be readable by everybody, or lie in Artifact Registry"
                .to_owned()
        };
        refusal(&call.action, Some(hint), status, &headers, &body)
    }

    async fn follow(&self, call: &Call) -> Result<Response, Failure> {
        let mut url = call.url.clone();
        for _ in 0..=REDIRECTS {
            let body = reqwest::Body::from(call.body.clone());
            let length = call.body.len() as u64;
            let response = self.attempt(call, &url, length, body, None).await?;
            let readable = matches!(call.method, Method::GET | Method::HEAD);
            if !response.status().is_redirection() || !readable {
                return Ok(response);
            }
            url = self.destination(call, &response)?;
        }
        let error = call.fail(ErrorKind::Protocol);
        Err(Failure::last(error.with_source("too many redirects")))
    }

    /// Where the answer points, if we may go there.
    pub(crate) fn destination(&self, call: &Call, response: &Response) -> Result<Url, Failure> {
        let location = response.headers().get(header::LOCATION);
        let location = location.and_then(|value| value.to_str().ok());
        let url = location.and_then(|text| response.url().join(text).ok());
        let url = url.ok_or_else(|| {
            let error = call.fail(ErrorKind::Protocol);
            Failure::last(error.with_source("the registry does not say where to go"))
        })?;
        self.check_destination(&url)?;
        Ok(url)
    }

    /// https anywhere; plain http and this machine only for a registry of this machine.
    pub(crate) fn check_destination(&self, url: &Url) -> Result<(), RegistryError> {
        let near = crate::reference::is_loopback(url);
        let home = crate::reference::is_loopback(self.image.root());
        let reason = match url.scheme() {
            _ if !url.username().is_empty() || url.password().is_some() => {
                "with a name or password in the address"
            }
            _ if near && !home => "which is this machine",
            "https" => return Ok(()),
            "http" if near => return Ok(()),
            _ => "which is not https",
        };
        Err(self.astray(url, reason))
    }

    pub(crate) fn astray(&self, url: &Url, reason: &'static str) -> RegistryError {
        let mut shown = url.clone();
        shown.set_query(None);
        shown.set_fragment(None);
        let _ = shown.set_username("");
        let _ = shown.set_password(None);
        RegistryError::Astray {
            host: self.image.host().to_owned(),
            to: crate::error::printable(shown.as_str()),
            reason,
        }
    }

    /// Sends it once to `url`. What meets a challenge is sent to the registry itself and nobody else.
    ///
    /// `sent` counts the bytes of a body that goes out piece by piece.
    pub(crate) async fn attempt(
        &self,
        call: &Call,
        url: &Url,
        length: u64,
        body: reqwest::Body,
        sent: Option<&AtomicU64>,
    ) -> Result<Response, Failure> {
        let mut headers = call.headers.clone();
        if url.origin() == self.image.root().origin() {
            let kept = self.authorization.lock().await.clone();
            headers.extend(kept.map(|value| (header::AUTHORIZATION, value)));
        }
        let mut builder = self.http.request(call.method.clone(), url.clone());
        if !matches!(call.method, Method::GET | Method::HEAD) {
            headers.insert(header::CONTENT_LENGTH, length.into());
            builder = builder.body(body);
        }
        watched(builder.headers(headers), sent)
            .await
            .map_err(|cause| broken(call, cause))
    }
}
