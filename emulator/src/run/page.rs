//! Lists, newest first, page by page.

use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine as _};
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use crate::answer::{self, Answer};
use crate::call::Call;
use crate::fields;
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
    fields: Option<String>,
}

impl Page {
    pub(crate) fn of(call: &Call) -> Outcome<Self> {
        Self::named(call, "pageSize", "pageToken")
    }

    /// As version 1 asks for it.
    pub(crate) fn of_v1(call: &Call) -> Outcome<Self> {
        Self::named(call, "limit", "continue")
    }

    fn named(call: &Call, size: &str, token: &str) -> Outcome<Self> {
        let size = match call.query.number(size)? {
            Some(size) if size < 0 => {
                return Err(Refusal::invalid("page_size must not be negative."));
            }
            Some(0) | None => DEFAULT,
            Some(size) => usize::try_from(size).unwrap_or(MOST).min(MOST),
        };
        let after = call.query.get(token).map(parse).transpose()?;
        let fields = call.query.get("fields").map(str::to_owned);
        Ok(Self {
            size,
            after,
            fields,
        })
    }

    /// The answer of a list called `key`. Entries come in any order with their places; only those shown are rendered.
    pub(crate) fn answer<T>(
        &self,
        key: &str,
        entries: Vec<(Place, T)>,
        render: impl Fn(T) -> Value,
    ) -> Outcome<Answer> {
        self.sorted(key, newest_first(entries), render)
    }

    /// The same of entries that come in order, newest first.
    pub(crate) fn sorted<T>(
        &self,
        key: &str,
        entries: impl Iterator<Item = (Place, T)>,
        render: impl Fn(T) -> Value,
    ) -> Outcome<Answer> {
        let (shown, next) = self.cut(entries, render);
        let mut page = Map::new();
        if let Some(token) = next {
            page.insert("nextPageToken".into(), token.into());
        }
        if !shown.is_empty() {
            page.insert(key.to_owned(), Value::Array(shown));
        }
        self.finish(Value::Object(page))
    }

    /// A list as version 1 has it.
    pub(crate) fn answer_v1<T>(
        &self,
        kind: &str,
        entries: Vec<(Place, T)>,
        render: impl Fn(T) -> Value,
    ) -> Outcome<Answer> {
        self.sorted_v1(kind, newest_first(entries), render)
    }

    /// The same of entries that come in order, newest first.
    pub(crate) fn sorted_v1<T>(
        &self,
        kind: &str,
        entries: impl Iterator<Item = (Place, T)>,
        render: impl Fn(T) -> Value,
    ) -> Outcome<Answer> {
        let (shown, next) = self.cut(entries, render);
        let mut page = json!({"apiVersion": "run.googleapis.com/v1", "kind": kind, "metadata": {}});
        if let Some(token) = next {
            page["metadata"]["continue"] = token.into();
        }
        if !shown.is_empty() {
            page["items"] = shown.into();
        }
        self.finish(page)
    }

    fn cut<T>(
        &self,
        entries: impl Iterator<Item = (Place, T)>,
        render: impl Fn(T) -> Value,
    ) -> (Vec<Value>, Option<String>) {
        let is_later =
            |(place, _): &(Place, T)| self.after.as_ref().is_none_or(|after| place < after);
        let mut entries = entries.skip_while(|entry| !is_later(entry));
        let mut shown = Vec::new();
        let mut last = None;
        for (place, entry) in entries.by_ref().take(self.size) {
            shown.push(render(entry));
            last = Some(place);
        }
        let last = last.filter(|_| entries.next().is_some());
        let token = last.map(|(time, id)| BASE64_URL_SAFE_NO_PAD.encode(format!("{time}/{id}")));
        (shown, token)
    }

    fn finish(&self, page: Value) -> Outcome<Answer> {
        let page = match &self.fields {
            Some(mask) => fields::select(mask, &page)?,
            None => page,
        };
        Ok(answer::json(&page))
    }
}

fn newest_first<T>(mut entries: Vec<(Place, T)>) -> impl Iterator<Item = (Place, T)> {
    entries.sort_unstable_by(|(a, _), (b, _)| b.cmp(a));
    entries.into_iter()
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
