//! Lists, newest first, page by page.

use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine as _};
use jiff::Timestamp;
use serde_json::{Map, Value};

use crate::answer::{self, Answer};
use crate::call::Call;
use crate::refusal::{Outcome, Refusal};

const DEFAULT: usize = 100;
const MOST: usize = 1000;

/// Where an entry stands in its list: when it was made, and what tells it from others of that moment.
pub(crate) type Place = (i64, String);

pub(crate) fn place(created: Timestamp, id: &str) -> Place {
    (created.as_microsecond(), id.to_owned())
}

/// Which part of a list is asked for.
pub(crate) struct Page {
    size: usize,
    after: Option<Place>,
}

impl Page {
    pub(crate) fn of(call: &Call) -> Outcome<Self> {
        let size = match call.query.number("pageSize")? {
            Some(size) if size < 0 => {
                return Err(Refusal::invalid("page_size must not be negative."));
            }
            Some(0) | None => DEFAULT,
            Some(size) => usize::try_from(size).unwrap_or(MOST).min(MOST),
        };
        let after = call.query.get("pageToken").map(parse).transpose()?;
        Ok(Self { size, after })
    }

    /// The answer of a list called `key`. Entries come in any order with their places; only those shown are rendered.
    pub(crate) fn answer<T>(
        &self,
        key: &str,
        entries: Vec<(Place, T)>,
        render: impl Fn(T) -> Value,
    ) -> Answer {
        let mut entries = entries;
        entries.retain(|(place, _)| self.after.as_ref().is_none_or(|after| place < after));
        entries.sort_unstable_by(|(a, _), (b, _)| b.cmp(a));
        let more = entries.len() > self.size;
        entries.truncate(self.size);
        let mut page = Map::new();
        if let (true, Some(((time, id), _))) = (more, entries.last()) {
            let token = BASE64_URL_SAFE_NO_PAD.encode(format!("{time}/{id}"));
            page.insert("nextPageToken".into(), token.into());
        }
        if !entries.is_empty() {
            let shown = entries
                .into_iter()
                .map(|(_, entry)| render(entry))
                .collect();
            page.insert(key.to_owned(), Value::Array(shown));
        }
        answer::json(&Value::Object(page))
    }
}

fn parse(token: &str) -> Outcome<Place> {
    let bytes = BASE64_URL_SAFE_NO_PAD.decode(token).ok();
    let text = bytes
        .and_then(|bytes| String::from_utf8(bytes).ok())
        .unwrap_or_default();
    let place = text
        .split_once('/')
        .and_then(|(time, id)| Some((time.parse().ok()?, id.to_owned())));
    place.ok_or_else(|| Refusal::invalid("The page token is invalid."))
}
