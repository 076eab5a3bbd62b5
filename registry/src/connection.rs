use std::error::Error;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use reqwest::Response;
use wire::api::ErrorKind;

use crate::client::Call;
use crate::retry::Failure;

/// Finishing a large upload takes a registry some time, in which no byte moves.
pub(crate) const IDLE: Duration = Duration::from_mins(2);

/// Reads a body of at most `limit` bytes, which is checked before it is read where its length is known.
pub(crate) async fn read(
    call: &Call,
    mut response: Response,
    limit: u64,
) -> Result<Bytes, Failure> {
    let too_large = || {
        let error = call.fail(ErrorKind::TooLarge);
        Failure::last(error.with_source(format!("the answer has more than {limit} bytes")))
    };
    if response
        .content_length()
        .is_some_and(|length| length > limit)
    {
        return Err(too_large());
    }
    let mut body = BytesMut::new();
    while let Some(chunk) = next_chunk(&mut response)
        .await
        .map_err(|cause| broken(call, cause))?
    {
        if (body.len() + chunk.len()) as u64 > limit {
            return Err(too_large());
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body.freeze())
}

/// Why a connection was not made, or did not last.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Broken {
    /// Never shows a URL: that of a session or a storage may be a secret.
    #[error(transparent)]
    Http(reqwest::Error),
    #[error("no byte moved for {} s", IDLE.as_secs())]
    Stalled,
}

impl From<reqwest::Error> for Broken {
    fn from(error: reqwest::Error) -> Self {
        Self::Http(error.without_url())
    }
}

/// The next bytes of a body.
pub(crate) async fn next_chunk(response: &mut Response) -> Result<Option<Bytes>, Broken> {
    match tokio::time::timeout(IDLE, response.chunk()).await {
        Ok(chunk) => chunk.map_err(Broken::from),
        Err(_) => Err(Broken::Stalled),
    }
}

/// Waits for the answer's head for as long as the body's bytes keep going out.
pub(crate) async fn watched(
    builder: reqwest::RequestBuilder,
    sent: Option<&AtomicU64>,
) -> Result<Response, Broken> {
    let mut answer = pin!(builder.send());
    let mut before = 0;
    loop {
        if let Ok(answer) = tokio::time::timeout(IDLE, answer.as_mut()).await {
            return answer.map_err(Broken::from);
        }
        let now = sent.map_or(0, |sent| sent.load(Ordering::Relaxed));
        if now == before {
            return Err(Broken::Stalled);
        }
        before = now;
    }
}

pub(crate) fn broken(call: &Call, cause: Broken) -> Failure {
    let hopeless = match &cause {
        Broken::Http(error) => error.is_builder() || is_certificate_error(error),
        Broken::Stalled => false,
    };
    let kind = if hopeless {
        ErrorKind::Protocol
    } else {
        ErrorKind::Unavailable
    };
    let error = call.fail(kind).with_source(cause);
    Failure {
        again: !hopeless,
        ..Failure::last(error)
    }
}

/// Whether the peer is not whom it says: it will not be so at the next try.
fn is_certificate_error(error: &reqwest::Error) -> bool {
    let mut next: Option<&(dyn Error + 'static)> = Some(error);
    while let Some(error) = next {
        // By its text: rustls is no dependency of ours. Unrecognised, it would be tried again in vain.
        if error.to_string().contains("invalid peer certificate") {
            return true;
        }
        next = error.source();
    }
    false
}
