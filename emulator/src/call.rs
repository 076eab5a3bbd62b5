//! One request, taken apart.

use http::{HeaderMap, Method, request};
use percent_encoding::percent_decode_str;
use serde_json::Value;

use crate::body::Source;
use crate::refusal::{Outcome, Refusal};

/// The largest JSON body read; Google's own limits on its contents are far lower.
const JSON_LIMIT: usize = 8 * 1024 * 1024;

/// One request: its path in decoded segments, so that an object's name is one of them whatever it holds.
pub(crate) struct Call {
    pub(crate) method: Method,
    /// Path and query as they came.
    pub(crate) target: String,
    pub(crate) segments: Vec<String>,
    pub(crate) query: Query,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Source,
}

impl Call {
    pub(crate) fn new(head: request::Parts, body: Source) -> Outcome<Self> {
        let path = head.uri.path();
        let segments = path
            .strip_prefix('/')
            .unwrap_or(path)
            .split('/')
            .map(decode)
            .collect::<Outcome<_>>()?;
        let query = Query::parse(head.uri.query().unwrap_or_default())?;
        Ok(Self {
            target: head
                .uri
                .path_and_query()
                .map_or_else(String::new, ToString::to_string),
            method: head.method,
            segments,
            query,
            headers: head.headers,
            body,
        })
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// The body as JSON; an empty one is `{}`.
    pub(crate) async fn json(&mut self) -> Outcome<Value> {
        let bytes = self.body.collect(JSON_LIMIT).await?;
        parse_json(&bytes)
    }
}

pub(crate) fn parse_json(bytes: &[u8]) -> Outcome<Value> {
    if bytes.iter().all(u8::is_ascii_whitespace) {
        return Ok(Value::Object(serde_json::Map::new()));
    }
    serde_json::from_slice(bytes).map_err(|reason| {
        Refusal::invalid(format!("Invalid JSON payload received. {reason}")).at("body", "body")
    })
}

fn decode(text: &str) -> Outcome<String> {
    let decoded = percent_decode_str(text).decode_utf8();
    decoded
        .map(Into::into)
        .map_err(|_| Refusal::invalid("The request path or query is not UTF-8."))
}

/// The query's keys and values, decoded.
#[derive(Debug, Default)]
pub(crate) struct Query(Vec<(String, String)>);

impl Query {
    fn parse(text: &str) -> Outcome<Self> {
        let pairs = text.split('&').filter(|pair| !pair.is_empty());
        let decoded = pairs.map(|pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            Ok((
                decode(&key.replace('+', " "))?,
                decode(&value.replace('+', " "))?,
            ))
        });
        decoded.collect::<Outcome<_>>().map(Self)
    }

    /// The value of a key. An empty one counts as absent, as Google's front end has it.
    pub(crate) fn get(&self, key: &str) -> Option<&str> {
        self.any(key).filter(|value| !value.is_empty())
    }

    /// The value of a key, empty or not.
    pub(crate) fn any(&self, key: &str) -> Option<&str> {
        self.0
            .iter()
            .find(|(name, _)| name == key)
            .map(|(_, value)| value.as_str())
    }

    /// Every value of a key that may be given several times.
    pub(crate) fn all(&self, key: &str) -> impl Iterator<Item = &str> {
        self.0
            .iter()
            .filter(move |(name, _)| name == key)
            .map(|(_, value)| value.as_str())
    }

    pub(crate) fn flag(&self, key: &str) -> bool {
        self.get(key) == Some("true")
    }

    pub(crate) fn number(&self, key: &str) -> Outcome<Option<i64>> {
        self.get(key)
            .map(|text| {
                text.parse().map_err(|_| {
                    Refusal::invalid(format!("Invalid value '{text}' for parameter '{key}'."))
                })
            })
            .transpose()
    }
}
