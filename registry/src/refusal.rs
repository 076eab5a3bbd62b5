use std::time::Duration;

use http::{HeaderMap, StatusCode, header};
use serde_json::Value;
use wire::api::{ApiError, ErrorKind};

use crate::error::printable;
use crate::retry::Failure;

/// The registry's words, as the cause of an error.
#[derive(Debug, thiserror::Error)]
#[error("the registry answered {status}: {message}")]
struct Answered {
    status: u16,
    message: String,
}

/// What an answer that is no success means.
pub(crate) fn refusal(
    action: &str,
    hint: Option<String>,
    status: StatusCode,
    headers: &HeaderMap,
    body: &[u8],
) -> Failure {
    let again = matches!(status.as_u16(), 408 | 429 | 500 | 502 | 503 | 504);
    let kind = match status.as_u16() {
        401 => ErrorKind::Unauthenticated,
        403 => ErrorKind::Forbidden,
        404 => ErrorKind::NotFound,
        408 | 429 | 500..=599 => ErrorKind::Unavailable,
        413 => ErrorKind::TooLarge,
        400..=499 => ErrorKind::Invalid,
        _ => ErrorKind::Protocol,
    };
    let (code, message) = words(body);
    let unnamed = || status.canonical_reason().unwrap_or("no reason given");
    let message = message.unwrap_or_else(|| unnamed().to_owned());
    let cause = Answered {
        status: status.as_u16(),
        message,
    };
    let mut error = ApiError::new(action, kind).with_source(cause);
    (error.status, error.reason) = (Some(status.as_u16()), code);
    error.hint = hint.filter(|_| matches!(status.as_u16(), 401 | 403));
    Failure {
        error: error.into(),
        again,
        after: retry_after(headers),
    }
}

/// `{"errors":[{"code":"DENIED","message":"…"}]}`; a token server may answer otherwise.
fn words(body: &[u8]) -> (Option<String>, Option<String>) {
    let Ok(json) = serde_json::from_slice::<Value>(body) else {
        let text = String::from_utf8_lossy(body);
        let text = text.trim();
        // A page of markup says less than the status does.
        let useful = !text.is_empty() && !text.starts_with('<');
        return (None, useful.then(|| printable(text)));
    };
    let first = &json["errors"][0];
    let message = [
        &first["message"],
        &json["details"],
        &json["message"],
        &first["code"],
    ];
    let message = message.iter().find_map(|value| value.as_str());
    (
        first["code"].as_str().map(printable),
        message.filter(|text| !text.is_empty()).map(printable),
    )
}

/// Seconds only: dates are not worth a parser.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(header::RETRY_AFTER)?.to_str().ok()?;
    seconds.trim().parse().ok().map(Duration::from_secs)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::RegistryError;

    fn said(status: u16, body: &str) -> (ErrorKind, String) {
        let status = StatusCode::from_u16(status).unwrap();
        let failure = refusal(
            "cannot do it",
            None,
            status,
            &HeaderMap::new(),
            body.as_bytes(),
        );
        let RegistryError::Call(call) = failure.error else {
            panic!("{failure:?}")
        };
        (call.kind, call.source.unwrap().to_string())
    }

    #[test]
    fn the_registrys_words_are_kept() {
        let denied = r#"{"errors":[{"code":"DENIED","message":"no push for you"}]}"#;
        let expected = "the registry answered 403: no push for you".to_owned();
        assert_eq!(said(403, denied), (ErrorKind::Forbidden, expected));
        let code = said(404, r#"{"errors":[{"code":"NAME_UNKNOWN"}]}"#);
        assert_eq!(code.1, "the registry answered 404: NAME_UNKNOWN");
        assert_eq!(said(500, "plain\n").1, "the registry answered 500: plain");
        assert_eq!(
            said(502, "<html>").1,
            "the registry answered 502: Bad Gateway"
        );
        let escape = said(400, "\u{1b}[31mred").1;
        assert!(!escape.contains('\u{1b}'), "{escape:?}");
    }
}
