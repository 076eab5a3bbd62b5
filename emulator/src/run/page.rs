//! Lists, newest first, page by page.

use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine as _};
use jiff::Timestamp;
use serde_json::{Map, Value};

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
        let size = match call.query.number("pageSize")? {
            Some(size) if size < 0 => {
                return Err(Refusal::invalid("page_size must not be negative."));
            }
            Some(0) | None => DEFAULT,
            Some(size) => usize::try_from(size).unwrap_or(MOST).min(MOST),
        };
        let after = call.query.get("pageToken").map(parse).transpose()?;
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
        mut entries: Vec<(Place, T)>,
        render: impl Fn(T) -> Value,
    ) -> Outcome<Answer> {
        entries.sort_unstable_by(|(a, _), (b, _)| b.cmp(a));
        self.sorted(key, entries.into_iter(), render)
    }

    /// The same of entries that come in order, newest first.
    pub(crate) fn sorted<T>(
        &self,
        key: &str,
        entries: impl Iterator<Item = (Place, T)>,
        render: impl Fn(T) -> Value,
    ) -> Outcome<Answer> {
        let is_later =
            |(place, _): &(Place, T)| self.after.as_ref().is_none_or(|after| place < after);
        let mut entries = entries.skip_while(|entry| !is_later(entry));
        let mut page = Map::new();
        let mut shown = Vec::new();
        let mut last = None;
        for (place, entry) in entries.by_ref().take(self.size) {
            shown.push(render(entry));
            last = Some(place);
        }
        if let (Some((time, id)), Some(_)) = (last, entries.next()) {
            let token = BASE64_URL_SAFE_NO_PAD.encode(format!("{time}/{id}"));
            page.insert("nextPageToken".into(), token.into());
        }
        if !shown.is_empty() {
            page.insert(key.to_owned(), Value::Array(shown));
        }
        let page = Value::Object(page);
        let page = match &self.fields {
            Some(mask) => fields::select(mask, &page)?,
            None => page,
        };
        Ok(answer::json(&page))
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
