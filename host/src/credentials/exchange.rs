//! One question to a token server, and what its refusal means.

use std::time::{Duration, SystemTime};

use reqwest::{RequestBuilder, StatusCode};
use serde_json::Value;
use wire::token::{Token, TokenError};

use super::failure;

/// For one request, its connection included.
const TIMEOUT: Duration = Duration::from_secs(20);

/// No honest answer has more bytes.
const LARGEST: usize = 256 * 1024;

/// A server's words are worth no more.
const WORDS: usize = 300;

/// Why there is no answer.
pub(super) enum Refusal {
    /// The server said no: its status, its word for the reason, its sentence.
    Said {
        status: u16,
        reason: String,
        sentence: String,
    },
    /// It will do so by itself, or the network will.
    Away(TokenError),
}

/// Asks; no secret of the question is repeated in what comes back.
pub(super) async fn ask(request: RequestBuilder, secrets: &[&str]) -> Result<Value, Refusal> {
    let sent = request.timeout(TIMEOUT).send().await;
    let mut response = sent.map_err(unreachable)?;
    let status = response.status();
    let mut body = Vec::new();
    while body.len() < LARGEST
        && let Some(chunk) = response.chunk().await.map_err(unreachable)?
    {
        body.extend_from_slice(&chunk);
    }
    // No cause is kept: a parser's error may quote what it could not read.
    let json: Value = serde_json::from_slice(&body).unwrap_or_default();
    if status.is_success() {
        return Ok(json);
    }
    if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS {
        let mut error = failure(format!("the token server answered {status}"));
        error.transient = true;
        return Err(Refusal::Away(error));
    }
    let clean = |text: &Value| {
        let text = text.as_str().unwrap_or_default();
        let leaks = secrets.iter().any(|secret| text.contains(secret));
        if leaks {
            String::new()
        } else {
            text.chars().take(WORDS).collect()
        }
    };
    // OAuth's shape is `error` and `error_description`, an API's an object.
    let error = &json["error"];
    let (reason, sentence) = if error.is_object() {
        let details = error["details"].as_array().into_iter().flatten();
        let reason = details
            .map(|detail| &detail["reason"])
            .find(|r| r.is_string());
        (
            clean(reason.unwrap_or(&error["status"])),
            clean(&error["message"]),
        )
    } else {
        (clean(error), clean(&json["error_description"]))
    };
    Err(Refusal::Said {
        status: status.as_u16(),
        reason,
        sentence,
    })
}

fn unreachable(error: reqwest::Error) -> Refusal {
    Refusal::Away(TokenError {
        transient: true,
        source: Some(error.without_url().into()),
        ..failure("cannot reach Google's token server")
    })
}

/// `{"access_token": …, "expires_in": seconds}`.
pub(super) fn token(answer: &Value, asked_at: SystemTime) -> Result<Token, TokenError> {
    let secret = answer["access_token"].as_str();
    let lasts = answer["expires_in"].as_u64();
    let (Some(secret), Some(seconds)) = (secret, lasts) else {
        return Err(failure("the token server answered with no token"));
    };
    let end = asked_at.checked_add(Duration::from_secs(seconds));
    Ok(Token::new(secret, end))
}

impl Refusal {
    /// As an error, unless a word of the server's says more.
    pub(super) fn or(
        self,
        told: impl FnOnce(u16, &str, &str) -> (String, Option<String>),
    ) -> TokenError {
        match self {
            Self::Away(error) => error,
            Self::Said {
                status,
                reason,
                sentence,
            } => {
                let (message, hint) = told(status, &reason, &sentence);
                let words = [reason, sentence].map(|word| word.trim().to_owned());
                let words: Vec<String> = words.into_iter().filter(|w| !w.is_empty()).collect();
                let mut answer = format!("the token server answered {status}");
                if !words.is_empty() {
                    answer = format!("{answer}: {}", words.join(": "));
                }
                TokenError {
                    hint,
                    source: Some(answer.into()),
                    ..failure(message)
                }
            }
        }
    }
}
