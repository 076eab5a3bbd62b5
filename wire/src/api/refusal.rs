use std::time::Duration;

use http::{HeaderMap, StatusCode, header};
use serde_json::Value;

use super::{Again, ApiError, ErrorKind, Failure, next_chunk};

/// An error's body is worth no more.
const BODY_LIMIT: usize = 64 * 1024;

/// A message is worth no more on a terminal.
const MESSAGE_LIMIT: usize = 600;

/// The API is off, in the new errors and in the old.
const DISABLED: &[&str] = &["SERVICE_DISABLED", "accessNotConfigured"];

/// Where the calls of a login by gcloud are counted that names no project: nobody can enable an API there.
const GCLOUDS_OWN: &str = "764086051850";

/// For what a quota project is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Blame {
    /// It may not be used at all.
    Everywhere,
    /// The API that was asked is off in it.
    Here,
}

/// What the server says of a call it did not carry out.
#[derive(Debug)]
pub(super) struct Refusal {
    status: StatusCode,
    after: Option<Duration>,
    reasons: Vec<String>,
    message: String,
    /// The API to be enabled, such as `run.googleapis.com`.
    service: Option<String>,
    /// In which project, by name or number.
    project: Option<String>,
}

/// The server's words, as the cause of an [`ApiError`].
#[derive(Debug, thiserror::Error)]
#[error("the server answered {status}: {message}")]
struct Answered {
    status: u16,
    message: String,
}

impl Refusal {
    /// Reads what there is of the body; a body that breaks off is as good as none.
    pub(super) async fn read(mut response: reqwest::Response, idle: Duration) -> Self {
        let mut body = Vec::new();
        while body.len() < BODY_LIMIT {
            match next_chunk(&mut response, idle).await {
                Ok(Some(chunk)) => body.extend_from_slice(&chunk),
                Ok(None) | Err(_) => break,
            }
        }
        Self::parse(response.status(), response.headers(), &body)
    }

    /// Understands JSON of the old and the new shape, plain text, and pages that some proxy made.
    fn parse(status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Self {
        let mut refusal = Self {
            status,
            after: retry_after(headers),
            reasons: Vec::new(),
            message: String::new(),
            service: None,
            project: None,
        };
        match serde_json::from_slice::<Value>(body) {
            Ok(json) => refusal.take_json(&json),
            Err(_) => refusal.message = plain_text(body),
        }
        if refusal.message.is_empty() {
            let words = status.canonical_reason();
            words
                .unwrap_or("no reason given")
                .clone_into(&mut refusal.message);
        }
        refusal
    }

    fn take_json(&mut self, json: &Value) {
        let error = &json["error"];
        // The token endpoints answer `{"error":"invalid_grant","error_description":"…"}`.
        let message = error["message"]
            .as_str()
            .or(json["error_description"].as_str())
            .or(error.as_str());
        self.message = shorten(message.unwrap_or_default());
        let old = error["errors"].as_array().into_iter().flatten();
        let new = error["details"].as_array().into_iter().flatten();
        for item in new.chain(old) {
            self.reasons
                .extend(item["reason"].as_str().map(str::to_owned));
            let service = item["metadata"]["service"].as_str();
            self.service = self.service.take().or(service.map(str::to_owned));
            let consumer = item["metadata"]["consumer"].as_str();
            let project = consumer.and_then(|name| name.strip_prefix("projects/"));
            self.project = self.project.take().or(project.map(str::to_owned));
        }
        self.reasons
            .extend(error["status"].as_str().map(str::to_owned));
    }

    /// Whether the quota project, which we need not name, is what is refused.
    pub(super) fn blames_quota_project(&self) -> Option<Blame> {
        if self.status != StatusCode::FORBIDDEN {
            return None;
        }
        if self.has_reason(&["USER_PROJECT_DENIED", "CONSUMER_INVALID"])
            || self.message.contains("serviceusage.services.use")
        {
            return Some(Blame::Everywhere);
        }
        self.has_reason(DISABLED).then_some(Blame::Here)
    }

    pub(super) fn into_failure(self, action: &str) -> Failure {
        let again = self.again();
        let after = self.after;
        let hint = self.hint();
        let kind = self.kind();
        let status = self.status.as_u16();
        let reason = self.reasons.into_iter().next();
        let message = self.message;
        let mut error = ApiError::new(action, kind).with_source(Answered { status, message });
        (error.status, error.reason, error.hint) = (Some(status), reason, hint);
        Failure {
            error: Box::new(error),
            again,
            after,
        }
    }

    fn kind(&self) -> ErrorKind {
        match self.status.as_u16() {
            400 if self.is_hash_mismatch() => ErrorKind::Corrupt,
            401 => ErrorKind::Unauthenticated,
            403 if self.again() == Again::Never => ErrorKind::Forbidden,
            403 | 408 | 429 | 500..=599 => ErrorKind::Unavailable,
            404 => ErrorKind::NotFound,
            409 => ErrorKind::Exists,
            412 => ErrorKind::Precondition,
            400..=499 => ErrorKind::Invalid,
            _ => ErrorKind::Protocol,
        }
    }

    fn again(&self) -> Again {
        match self.status.as_u16() {
            429 => Again::Unacted,
            403 if self.has_reason(&[
                "rateLimitExceeded",
                "userRateLimitExceeded",
                "quotaExceeded",
            ]) =>
            {
                Again::Unacted
            }
            408 | 500 | 502 | 503 | 504 => Again::Unclear,
            400 if self.is_hash_mismatch() => Again::Damaged,
            _ => Again::Never,
        }
    }

    fn hint(&self) -> Option<String> {
        let project = self.project.as_deref();
        if self.message.contains("requires a quota project") || project == Some(GCLOUDS_OWN) {
            return Some(
                "a person's login needs a project for its quota: `gcloud auth application-default set-quota-project PROJECT`"
                    .to_owned(),
            );
        }
        if !self.has_reason(DISABLED) {
            return None;
        }
        let service = self.service.as_deref()?;
        let project = project.map(|project| format!(" --project={project}"));
        Some(format!(
            "enable the API: `gcloud services enable {service}{}`",
            project.unwrap_or_default()
        ))
    }

    /// `Provided MD5 hash "…" doesn't match calculated MD5 hash "…".`
    fn is_hash_mismatch(&self) -> bool {
        self.message.contains("doesn't match calculated")
    }

    fn has_reason(&self, known: &[&str]) -> bool {
        self.reasons
            .iter()
            .any(|reason| known.contains(&reason.as_str()))
    }
}

/// Seconds only: Google sends no dates.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(header::RETRY_AFTER)?.to_str().ok()?;
    seconds.trim().parse().ok().map(Duration::from_secs)
}

fn plain_text(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body);
    // A page of markup says less than the status does.
    if text.trim_start().starts_with('<') {
        String::new()
    } else {
        shorten(text.trim())
    }
}

fn shorten(text: &str) -> String {
    let mut short: String = text.chars().take(MESSAGE_LIMIT).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(status: u16, body: &str) -> Failure {
        let status = StatusCode::from_u16(status).unwrap();
        Refusal::parse(status, &HeaderMap::new(), body.as_bytes()).into_failure("cannot do it")
    }

    fn cause(failure: &Failure) -> String {
        failure.error.source.as_ref().unwrap().to_string()
    }

    #[test]
    fn both_shapes_of_json_are_understood() {
        let old = failure(
            404,
            r#"{"error":{"code":404,"message":"No such object: b/o","errors":[{"reason":"notFound"}]}}"#,
        );
        assert_eq!(old.error.kind, ErrorKind::NotFound);
        assert_eq!(old.error.reason.as_deref(), Some("notFound"));
        assert_eq!(cause(&old), "the server answered 404: No such object: b/o");
        let new = failure(
            409,
            r#"{"error":{"code":409,"message":"m","status":"ALREADY_EXISTS"}}"#,
        );
        assert_eq!(new.error.kind, ErrorKind::Exists);
        assert_eq!(new.error.reason.as_deref(), Some("ALREADY_EXISTS"));
    }

    #[test]
    fn a_quota_project_is_blamed_where_it_is_refused() {
        let off = |consumer: &str, message: &str| {
            let body = serde_json::json!({ "error": { "code": 403, "message": message, "details": [{
                "reason": "SERVICE_DISABLED",
                "metadata": { "service": "run.googleapis.com", "consumer": consumer },
            }]}});
            let body = body.to_string();
            Refusal::parse(StatusCode::FORBIDDEN, &HeaderMap::new(), body.as_bytes())
        };
        let theirs = off("projects/p", "it is disabled");
        assert_eq!(theirs.blames_quota_project(), Some(Blame::Here));
        let hint = theirs.hint().unwrap();
        assert!(hint.contains("gcloud services enable run.googleapis.com --project=p"));
        for none in [
            off("projects/764086051850", "it is disabled"),
            off(
                "projects/q",
                "it requires a quota project, which is not set",
            ),
        ] {
            let hint = none.hint().unwrap();
            assert!(hint.contains("set-quota-project"), "{hint}");
        }
        let denied =
            r#"{"error":{"code":403,"message":"m","details":[{"reason":"USER_PROJECT_DENIED"}]}}"#;
        let denied = Refusal::parse(StatusCode::FORBIDDEN, &HeaderMap::new(), denied.as_bytes());
        assert_eq!(denied.blames_quota_project(), Some(Blame::Everywhere));
    }

    #[test]
    fn text_is_kept_and_markup_is_not() {
        assert_eq!(
            cause(&failure(404, "No such object: b/o\n")),
            "the server answered 404: No such object: b/o"
        );
        let page = failure(502, "<!DOCTYPE html><title>Error 502</title>");
        assert_eq!(cause(&page), "the server answered 502: Bad Gateway");
        let junk = failure(400, "\u{0}\u{1}[1,");
        assert_eq!(junk.error.kind, ErrorKind::Invalid);
        assert!(cause(&failure(400, &"x".repeat(100_000))).len() < 1_000);
    }

    #[test]
    fn only_rates_and_quotas_are_worth_another_403() {
        for reason in [
            "rateLimitExceeded",
            "userRateLimitExceeded",
            "quotaExceeded",
        ] {
            let body = format!(r#"{{"error":{{"errors":[{{"reason":"{reason}"}}]}}}}"#);
            assert_eq!(failure(403, &body).again, Again::Unacted, "{reason}");
        }
        let forbidden = failure(403, r#"{"error":{"errors":[{"reason":"forbidden"}]}}"#);
        assert_eq!(forbidden.again, Again::Never);
        assert_eq!(forbidden.error.kind, ErrorKind::Forbidden);
    }

    #[test]
    fn a_disabled_api_says_how_to_enable_it() {
        let body = r#"{"error":{"code":403,"status":"PERMISSION_DENIED","details":[
            {"reason":"SERVICE_DISABLED","metadata":{"service":"run.googleapis.com"}}]}}"#;
        let error = failure(403, body).error;
        assert_eq!(error.reason.as_deref(), Some("SERVICE_DISABLED"));
        assert_eq!(
            error.hint.as_deref(),
            Some("enable the API: `gcloud services enable run.googleapis.com`")
        );
    }

    #[test]
    fn a_wrong_hash_is_corruption() {
        let body = r#"{"error":{"code":400,"message":"Provided MD5 hash \"a\" doesn't match calculated MD5 hash \"b\"."}}"#;
        assert_eq!(failure(400, body).error.kind, ErrorKind::Corrupt);
    }
}
