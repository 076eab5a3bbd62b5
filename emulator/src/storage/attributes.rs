//! What a client may say of an object, beside its bytes.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::call::parse_json;
use crate::refusal::{Outcome, Refusal};
use crate::schema::{self, Field, Kind};

/// Most bytes of all keys and values of an object's custom metadata.
const METADATA_LIMIT: usize = 8 * 1024;

pub(crate) const OBJECT: &[Field] = &[
    ("acl", Kind::Any),
    ("bucket", Kind::Text),
    ("cacheControl", Kind::Text),
    ("componentCount", Kind::Output),
    ("contentDisposition", Kind::Text),
    ("contentEncoding", Kind::Text),
    ("contentLanguage", Kind::Text),
    ("contentType", Kind::Text),
    ("contexts", Kind::Any),
    ("crc32c", Kind::Text),
    ("customTime", Kind::Time),
    ("customerEncryption", Kind::Output),
    ("etag", Kind::Output),
    ("eventBasedHold", Kind::Bool),
    ("generation", Kind::Output),
    ("hardDeleteTime", Kind::Output),
    ("id", Kind::Output),
    ("kind", Kind::Output),
    ("kmsKeyName", Kind::Output),
    ("md5Hash", Kind::Text),
    ("mediaLink", Kind::Output),
    // Checked here and not by its kind: in a patch a null deletes a key.
    ("metadata", Kind::Any),
    ("metageneration", Kind::Output),
    ("name", Kind::Text),
    ("owner", Kind::Output),
    ("restoreToken", Kind::Output),
    ("retention", Kind::Any),
    ("retentionExpirationTime", Kind::Output),
    ("selfLink", Kind::Output),
    ("size", Kind::Output),
    ("softDeleteTime", Kind::Output),
    ("storageClass", Kind::Text),
    ("temporaryHold", Kind::Bool),
    ("timeCreated", Kind::Output),
    ("timeDeleted", Kind::Output),
    ("timeFinalized", Kind::Output),
    ("timeStorageClassUpdated", Kind::Output),
    ("updated", Kind::Output),
];

/// Hashes that a client claims for the bytes it sends, in base64.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Claims {
    pub(crate) md5: Option<String>,
    pub(crate) crc32c: Option<String>,
}

impl Claims {
    /// Adds what `X-Goog-Hash` and `Content-MD5` claim.
    pub(crate) fn add_headers(&mut self, headers: &http::HeaderMap) {
        let text = |value: &http::HeaderValue| value.to_str().map(str::to_owned).ok();
        for value in headers.get_all("x-goog-hash").iter().filter_map(text) {
            for claim in value.split(',') {
                match claim.trim().split_once('=') {
                    Some(("md5", digest)) => self.md5 = Some(digest.to_owned()),
                    Some(("crc32c", digest)) => self.crc32c = Some(digest.to_owned()),
                    _ => {}
                }
            }
        }
        if let Some(digest) = headers.get("content-md5").and_then(text) {
            self.md5 = Some(digest);
        }
    }
}

/// The attributes of an object that its owner sets.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct Attributes {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) content_type: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) cache_control: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) content_disposition: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) content_encoding: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) content_language: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) custom_time: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) storage_class: Option<String>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) temporary_hold: bool,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) event_based_hold: bool,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) metadata: BTreeMap<String, String>,
}

/// An object resource as a client sends it.
pub(crate) struct Draft {
    pub(crate) name: Option<String>,
    pub(crate) attributes: Attributes,
    pub(crate) claims: Claims,
}

impl Draft {
    pub(crate) fn parse(bytes: &[u8], bucket: &str) -> Outcome<Self> {
        Self::from_json(parse_json(bytes)?, bucket)
    }

    pub(crate) fn from_json(value: Value, bucket: &str) -> Outcome<Self> {
        let mut given = schema::message(OBJECT, value, "")?;
        if given.get("bucket").is_some_and(|named| named != bucket) {
            return Err(Refusal::invalid(
                "Value for field 'bucket' does not match the bucket of the request.",
            ));
        }
        let text = |given: &mut Map<String, Value>, key| match given.remove(key) {
            Some(Value::String(text)) => Some(text),
            _ => None,
        };
        let name = text(&mut given, "name");
        let claims = Claims {
            md5: text(&mut given, "md5Hash"),
            crc32c: text(&mut given, "crc32c"),
        };
        let mut attributes = Attributes::default();
        attributes.merge(given)?;
        Ok(Self {
            name,
            attributes,
            claims,
        })
    }
}

impl Attributes {
    /// Applies a patch: a null removes, and within `metadata` key by key.
    pub(crate) fn patch(&mut self, value: Value) -> Outcome<()> {
        let Value::Object(entries) = &value else {
            return Err(Refusal::invalid("Invalid JSON payload received."));
        };
        for (key, _) in entries.iter().filter(|(_, value)| value.is_null()) {
            self.clear(key)?;
        }
        self.merge(schema::message(OBJECT, value, "")?)
    }

    fn clear(&mut self, key: &str) -> Outcome<()> {
        match key {
            "contentType" => self.content_type = None,
            "cacheControl" => self.cache_control = None,
            "contentDisposition" => self.content_disposition = None,
            "contentEncoding" => self.content_encoding = None,
            "contentLanguage" => self.content_language = None,
            "temporaryHold" => self.temporary_hold = false,
            "eventBasedHold" => self.event_based_hold = false,
            "metadata" => self.metadata.clear(),
            "customTime" if self.custom_time.is_some() => {
                return Err(Refusal::invalid(
                    "Custom time cannot be removed once it has been set.",
                ));
            }
            _ => {}
        }
        Ok(())
    }

    fn merge(&mut self, given: Map<String, Value>) -> Outcome<()> {
        for (key, value) in given {
            let text = value.as_str().map(str::to_owned);
            match key.as_str() {
                "contentType" => self.content_type = text,
                "cacheControl" => self.cache_control = text,
                "contentDisposition" => self.content_disposition = text,
                "contentEncoding" => self.content_encoding = text,
                "contentLanguage" => self.content_language = text,
                "storageClass" => self.storage_class = text,
                "temporaryHold" => self.temporary_hold = value == true,
                "eventBasedHold" => self.event_based_hold = value == true,
                "customTime" => self.advance(text.and_then(|text| text.parse().ok()))?,
                "metadata" => self.merge_metadata(value)?,
                _ => {}
            }
        }
        self.check_size()
    }

    /// A custom time moves forward only.
    fn advance(&mut self, time: Option<Timestamp>) -> Outcome<()> {
        if time < self.custom_time {
            return Err(Refusal::invalid(
                "Custom time cannot be set to a time in the past of the current value.",
            ));
        }
        self.custom_time = time;
        Ok(())
    }

    fn merge_metadata(&mut self, value: Value) -> Outcome<()> {
        let Value::Object(entries) = value else {
            return Err(Refusal::invalid("Invalid value at 'metadata' (Map)."));
        };
        for (key, value) in entries {
            match value {
                Value::Null => drop(self.metadata.remove(&key)),
                Value::String(text) => drop(self.metadata.insert(key, text)),
                other => {
                    let message =
                        format!("Invalid value at 'metadata['{key}']' (TYPE_STRING), {other}");
                    return Err(Refusal::invalid(message));
                }
            }
        }
        Ok(())
    }

    fn check_size(&self) -> Outcome<()> {
        let size: usize = self
            .metadata
            .iter()
            .map(|(key, value)| key.len() + value.len())
            .sum();
        if size > METADATA_LIMIT {
            return Err(Refusal::invalid(format!(
                "The total size of object metadata exceeds {METADATA_LIMIT} bytes."
            )));
        }
        Ok(())
    }
}
