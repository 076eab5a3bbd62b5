//! Answers in HTTP.

use http::{HeaderValue, StatusCode, header};
use serde_json::Value;

use crate::body::{self, Body};
use crate::call::Call;
use crate::fields;
use crate::refusal::{Outcome, Refusal};

pub(crate) type Answer = http::Response<Body>;

pub(crate) fn json(value: &Value) -> Answer {
    json_status(StatusCode::OK, value)
}

/// A resource, cut down to the fields asked for.
pub(crate) fn selected(call: &Call, value: Value) -> Outcome<Answer> {
    let value = match call.query.get("fields") {
        Some(mask) => fields::select(mask, &value)?,
        None => value,
    };
    Ok(json(&value))
}

fn json_status(status: StatusCode, value: &Value) -> Answer {
    let mut answer = Answer::new(body::full(value.to_string()));
    *answer.status_mut() = status;
    set_type(&mut answer, "application/json; charset=UTF-8");
    answer
}

pub(crate) fn text(status: StatusCode, content: impl Into<String>) -> Answer {
    typed(status, "text/html; charset=UTF-8", content)
}

pub(crate) fn typed(status: StatusCode, kind: &'static str, content: impl Into<String>) -> Answer {
    let mut answer = Answer::new(body::full(content.into()));
    *answer.status_mut() = status;
    set_type(&mut answer, kind);
    answer
}

pub(crate) fn no_content() -> Answer {
    status_only(StatusCode::NO_CONTENT)
}

pub(crate) fn status_only(status: StatusCode) -> Answer {
    let mut answer = Answer::new(body::empty());
    *answer.status_mut() = status;
    answer
}

fn set_type(answer: &mut Answer, kind: &'static str) {
    let kind = HeaderValue::from_static(kind);
    answer.headers_mut().insert(header::CONTENT_TYPE, kind);
}

/// Which API's shape an error is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    /// `errors[]` with reasons, as the storage JSON API.
    Errors,
    /// `status` and `details`, as Cloud Run and Secret Manager.
    Status,
    /// Plain text, as storage's media paths and the metadata server.
    Text,
    /// XML, as storage's XML API.
    Xml,
}

pub(crate) fn refused(refusal: &Refusal, shape: Shape) -> Answer {
    if let Some(source) = refusal.source() {
        tracing::error!(%source, "a request failed here");
    }
    let status = StatusCode::from_u16(refusal.code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    if status == StatusCode::NOT_MODIFIED {
        return status_only(status);
    }
    match shape {
        Shape::Errors => json_status(status, &refusal.as_errors()),
        Shape::Status => json_status(status, &refusal.as_status()),
        Shape::Text => text(status, refusal.message.clone()),
        Shape::Xml => typed(status, "application/xml; charset=UTF-8", refusal.as_xml()),
    }
}
