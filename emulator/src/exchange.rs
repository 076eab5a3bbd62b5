//! What clients and this emulator say to each other, line by line, for a judge to read.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Mutex;

use http::{HeaderMap, header};
use http_body_util::BodyExt;
use serde_json::{Map, Value, json};

use crate::answer::Answer;
use crate::body::{self, Heard};
use crate::call::Call;
use crate::lock::lock;
use crate::storage::multipart;

const REQUEST_HEADERS: [&str; 6] = [
    "content-type",
    "content-range",
    "content-length",
    "range",
    "x-goog-hash",
    "user-agent",
];
const ANSWER_HEADERS: [&str; 4] = ["content-type", "location", "range", "content-range"];
/// Stands where a secret was; it is what base64 makes of `hidden`.
const HIDDEN: &str = "aGlkZGVu";

/// The file.
pub(crate) struct Exchanges(Mutex<File>);

/// A request whose answer is still to come.
pub(crate) struct Listening<'a> {
    exchanges: &'a Exchanges,
    method: String,
    target: String,
    headers: HeaderMap,
    heard: Option<Heard>,
    gives_media: bool,
}

impl Exchanges {
    /// For its owner alone: bodies hold what nobody else need know. In a directory it is a file of our own, since several
    /// users cannot share one.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let own = format!("{}.jsonl", uuid::Uuid::new_v4());
        let path = if path.is_dir() {
            path.join(own)
        } else {
            path.to_owned()
        };
        let mut options = OpenOptions::new();
        let file = options.append(true).create(true).mode(0o600).open(path)?;
        Ok(Self(Mutex::new(file)))
    }

    /// Begins with a call that nobody has read yet. A batch is not heard itself, but each call in it.
    pub(crate) fn listen(&self, call: &mut Call) -> Option<Listening<'_>> {
        if call.segments.first().is_some_and(|first| first == "batch") {
            return None;
        }
        let kind = kind(&call.headers);
        let media =
            call.query.get("uploadType") == Some("media") || call.query.get("upload_id").is_some();
        let words = !media && (kind == "application/json" || kind == "multipart/related");
        Some(Listening {
            exchanges: self,
            method: call.method.to_string(),
            gives_media: call.query.get("alt") == Some("media")
                || call
                    .segments
                    .first()
                    .is_some_and(|first| first == "download"),
            target: hide(&call.target),
            headers: call.headers.clone(),
            heard: words.then(|| call.body.listen()),
        })
    }
}

impl Listening<'_> {
    /// Writes both down, and gives the answer back.
    pub(crate) async fn note(self, answer: Answer) -> Answer {
        let (head, content) = answer.into_parts();
        let words = !self.gives_media && kind(&head.headers) == "application/json";
        let (said, content) = if words {
            // Such answers are in memory already.
            let bytes = content.collect().await;
            let bytes = bytes
                .map(http_body_util::Collected::to_bytes)
                .unwrap_or_default();
            (parsed(&bytes), body::full(bytes))
        } else {
            (Value::Null, content)
        };
        let exchange = json!({
            "side": side(&self.headers),
            "method": self.method,
            "url": self.target,
            "request_headers": kept(&self.headers, &REQUEST_HEADERS),
            "request_body": self.spoken(),
            "status": head.status.as_u16(),
            "response_headers": kept(&head.headers, &ANSWER_HEADERS),
            "response_body": without_secrets(&self.target, said),
        });
        if let Err(failure) = lock(&self.exchanges.0).write_all(format!("{exchange}\n").as_bytes())
        {
            tracing::warn!(%failure, "cannot write an exchange down");
        }
        Answer::from_parts(head, content)
    }

    /// The JSON of the request: its body, or the first part of an upload.
    fn spoken(&self) -> Value {
        let Some(heard) = &self.heard else {
            return Value::Null;
        };
        let heard = lock(heard);
        if kind(&self.headers) != "multipart/related" {
            return without_secrets(&self.target, parsed(&heard));
        }
        let content_type = self.headers.get(header::CONTENT_TYPE);
        let content_type = content_type.and_then(|value| value.to_str().ok());
        let boundary = multipart::boundary(content_type.unwrap_or_default());
        boundary.map_or(Value::Null, |boundary| {
            parsed(first_part(&heard, &boundary))
        })
    }
}

fn first_part<'a>(body: &'a [u8], boundary: &str) -> &'a [u8] {
    let marker = format!("--{boundary}");
    let Some(start) = memchr::memmem::find(body, marker.as_bytes()) else {
        return &[];
    };
    let part = &body[start + marker.len()..];
    let part = &part[..memchr::memmem::find(part, marker.as_bytes()).unwrap_or(part.len())];
    let ends = ["\r\n\r\n", "\n\n"]
        .map(|end| memchr::memmem::find(part, end.as_bytes()).map(|at| at + end.len()));
    ends.into_iter()
        .flatten()
        .min()
        .map_or(&[], |at| &part[at..])
}

/// The media type alone.
fn kind(headers: &HeaderMap) -> &str {
    let value = headers.get(header::CONTENT_TYPE);
    let text = value
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    text.split(';').next().unwrap_or_default().trim()
}

/// Who speaks: the first product of its user agent.
fn side(headers: &HeaderMap) -> &str {
    let agent = headers.get(header::USER_AGENT);
    let text = agent.and_then(|value| value.to_str().ok()).unwrap_or("?");
    text.split(['/', ' ']).next().unwrap_or("?")
}

fn kept(headers: &HeaderMap, names: &[&str]) -> Map<String, Value> {
    let found = names.iter().filter_map(|name| {
        let value = headers.get(*name)?.to_str().ok()?;
        Some(((*name).to_owned(), hide(value).into()))
    });
    found.collect()
}

/// What is no JSON stays text, for the judge to see.
fn parsed(bytes: &[u8]) -> Value {
    if bytes.iter().all(u8::is_ascii_whitespace) {
        return Value::Null;
    }
    serde_json::from_slice(bytes).unwrap_or_else(|_| String::from_utf8_lossy(bytes).into())
}

/// Hides the identity of an upload session, which is its key.
fn hide(text: &str) -> String {
    const KEY: &str = "upload_id=";
    let Some(start) = text.find(KEY).map(|at| at + KEY.len()) else {
        return text.to_owned();
    };
    let end = text[start..].find('&').map_or(text.len(), |at| start + at);
    format!("{}hidden{}", &text[..start], &text[end..])
}

fn without_secrets(target: &str, mut body: Value) -> Value {
    if target.contains("/secrets/")
        && let Some(payload) = body.get_mut("payload")
    {
        *payload = json!({ "data": HIDDEN });
    }
    body
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_uploads_metadata_is_its_first_part() {
        for (end, quote) in [("\r\n", ""), ("\n", "'")] {
            let lines = [
                "--=x",
                "Content-Type: application/json",
                "",
                "{\"a\": 1}",
                "--=x",
                "",
                "\0media",
                "--=x--",
            ];
            let body = lines.join(end);
            let boundary =
                multipart::boundary(&format!("multipart/related; boundary={quote}=x{quote}"));
            let part = first_part(body.as_bytes(), &boundary.unwrap());
            assert_eq!(parsed(part), json!({"a": 1}));
        }
        assert_eq!(first_part(b"", "x"), b"");
    }

    #[test]
    fn what_opens_doors_is_hidden() {
        assert_eq!(
            hide("/u?a=1&upload_id=secret&b=2"),
            "/u?a=1&upload_id=hidden&b=2"
        );
        assert_eq!(
            hide("http://h/u?upload_id=secret"),
            "http://h/u?upload_id=hidden"
        );
        let body = json!({"payload": {"data": "c2VjcmV0", "dataCrc32c": "1"}});
        let hidden = without_secrets("/v1/projects/p/secrets/s:addVersion", body);
        assert_eq!(hidden, json!({"payload": {"data": HIDDEN}}));
    }
}
