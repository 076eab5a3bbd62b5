use std::fmt;

use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use reqwest::Response;
use url::Url;

use super::checksum::Digest;
use super::object::Resource;
use super::{Bucket, ObjectMeta};
use crate::api::{Again, Api, ApiError, ErrorKind, Failure, Payload, Request, parse_json};
use crate::token::is_google;

/// No description of an object is longer.
const ANSWER_LIMIT: u64 = 1 << 20;

/// A resumable upload's session on the server.
///
/// Its URI lets anybody write the object, so it is shown to nobody.
pub(super) struct Session {
    api: Api,
    uri: Url,
    action: String,
}

/// How far the server is.
pub(super) enum Stored {
    /// It has the bytes before this one.
    Until(u64),
    /// It has made the object.
    Object(Box<ObjectMeta>),
}

/// What a PUT says of the bytes it brings.
pub(super) struct Part<'a> {
    pub(super) first: u64,
    pub(super) bytes: Payload,
    /// Of the whole object, with its last part.
    pub(super) whole: Option<&'a Digest>,
}

impl Part<'_> {
    fn content_range(&self) -> String {
        let length = self.bytes.len();
        let total = self
            .whole
            .map_or_else(|| "*".to_owned(), |whole| whole.size.to_string());
        match length {
            0 => format!("bytes */{total}"),
            _ => format!("bytes {}-{}/{total}", self.first, self.first + length - 1),
        }
    }
}

impl Session {
    /// From the answer to the request that begins an upload.
    pub(super) fn open(bucket: &Bucket, action: &str, answer: &Response) -> Result<Self, ApiError> {
        let refuse =
            |why: &'static str| ApiError::new(action, ErrorKind::Protocol).with_source(why);
        let location = answer
            .headers()
            .get(header::LOCATION)
            .and_then(|value| value.to_str().ok());
        let location = location.ok_or_else(|| refuse("the server began no upload session"))?;
        let endpoint = &bucket.place.endpoint;
        let uri = endpoint
            .join(location)
            .map_err(|_| refuse("the upload session has no valid address"))?;
        // It is both told the bytes and believed.
        if uri.origin() != endpoint.origin() && !(is_google(endpoint) && is_google(&uri)) {
            return Err(refuse("the upload session lies at another server"));
        }
        Ok(Self {
            api: bucket.api.clone(),
            uri,
            action: action.to_owned(),
        })
    }

    /// Sends a part; what came of it is for the server to say.
    pub(super) async fn put(&self, part: Part<'_>) -> Result<Stored, Failure> {
        let mut headers = HeaderMap::new();
        if let Ok(range) = HeaderValue::try_from(part.content_range()) {
            headers.insert(header::CONTENT_RANGE, range);
        }
        if let Some(whole) = part.whole {
            whole.insert_into(&mut headers);
        }
        self.exchange(headers, part.bytes).await
    }

    /// Asks how far the server is.
    pub(super) async fn status(&self) -> Result<Stored, Failure> {
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_RANGE, HeaderValue::from_static("bytes */*"));
        self.exchange(headers, Payload::default()).await
    }

    /// Tells the server to forget it; 499 is how it says yes.
    pub(super) async fn cancel(&self) -> Result<(), ApiError> {
        let request = self.request(Method::DELETE, HeaderMap::new(), Payload::default());
        match self.api.exchange(&request).await {
            Ok(_) => Ok(()),
            Err(failure) => match failure.error.status {
                Some(404 | 410 | 499) => Ok(()),
                _ => Err(*failure.error),
            },
        }
    }

    async fn exchange(&self, headers: HeaderMap, bytes: Payload) -> Result<Stored, Failure> {
        let request = self.request(Method::PUT, headers, bytes);
        let response = self.api.exchange(&request).await.map_err(session_lost)?;
        if response.status() == StatusCode::PERMANENT_REDIRECT {
            return self.stored_until(response.headers());
        }
        let body = self.api.body(&request, response, ANSWER_LIMIT).await?.body;
        let resource: Resource =
            parse_json(&self.action, &body).map_err(|error| Failure::new(error, Again::Never))?;
        Ok(Stored::Object(Box::new(resource.into())))
    }

    fn request(&self, method: Method, headers: HeaderMap, body: Payload) -> Request {
        let mut request = Request::new(&self.action, method, self.uri.clone(), true);
        request.headers = headers;
        request.body = body;
        request
    }

    /// `Range: bytes=0-<last>`; no such header = nothing stored.
    fn stored_until(&self, headers: &HeaderMap) -> Result<Stored, Failure> {
        let Some(range) = headers.get(header::RANGE) else {
            return Ok(Stored::Until(0));
        };
        let last = range
            .to_str()
            .ok()
            .and_then(|text| text.strip_prefix("bytes=0-"));
        let last: Option<u64> = last.and_then(|last| last.parse().ok());
        let until = last.and_then(|last| last.checked_add(1)).ok_or_else(|| {
            let error = ApiError::new(&self.action, ErrorKind::Protocol);
            let error = error.with_source("the server does not say how much it has stored");
            Failure::new(error, Again::Never)
        })?;
        Ok(Stored::Until(until))
    }
}

/// 404 and 410 speak of the session here, not of the object; and damaged bytes lie in it for good.
fn session_lost(mut failure: Failure) -> Failure {
    if failure.again == Again::Damaged {
        failure.again = Again::Never;
    }
    if matches!(failure.error.status, Some(404 | 410)) {
        failure.error.kind = ErrorKind::SessionLost;
    }
    failure
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("action", &self.action)
            .finish_non_exhaustive()
    }
}
