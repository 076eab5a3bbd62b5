//! An object as it is stored and shown.

use jiff::Timestamp;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::attributes::Attributes;
use super::precondition::Version;
use crate::clock;

/// What is not escaped in a path segment.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~');

/// One generation of an object. This is also the record on disk.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Object {
    pub(crate) name: String,
    pub(crate) generation: i64,
    pub(crate) metageneration: i64,
    pub(crate) size: u64,
    pub(crate) md5: Option<String>,
    pub(crate) crc32c: String,
    pub(crate) components: Option<u32>,
    pub(crate) created: Timestamp,
    pub(crate) updated: Timestamp,
    /// Whether the bytes follow the record in its own file.
    pub(crate) inline: bool,
    pub(crate) attributes: Attributes,
}

impl Object {
    pub(crate) fn version(&self) -> Version {
        Version {
            generation: self.generation,
            metageneration: self.metageneration,
        }
    }

    /// Opaque to clients.
    pub(crate) fn etag(&self) -> String {
        use base64::prelude::{BASE64_STANDARD, Engine as _};
        let mut bytes = self.generation.to_be_bytes().to_vec();
        bytes.extend_from_slice(&self.metageneration.to_be_bytes());
        BASE64_STANDARD.encode(bytes)
    }

    /// The resource, with links that lead back to `base`.
    pub(crate) fn to_json(&self, bucket: &str, base: &str) -> Value {
        let Self {
            name,
            generation,
            attributes,
            ..
        } = self;
        let path = format!("b/{bucket}/o/{}", escape(name));
        let mut json = json!({
            "kind": "storage#object",
            "id": format!("{bucket}/{name}/{generation}"),
            "selfLink": format!("{base}/storage/v1/{path}"),
            "mediaLink": format!("{base}/download/storage/v1/{path}?generation={generation}&alt=media"),
            "name": name,
            "bucket": bucket,
            "generation": generation.to_string(),
            "metageneration": self.metageneration.to_string(),
            "storageClass": attributes.storage_class.as_deref().unwrap_or("STANDARD"),
            "size": self.size.to_string(),
            "crc32c": self.crc32c,
            "etag": self.etag(),
            "timeCreated": clock::millis(self.created),
            "updated": clock::millis(self.updated),
            "timeStorageClassUpdated": clock::millis(self.created),
            "timeFinalized": clock::millis(self.created),
        });
        if let Some(fields) = json.as_object_mut() {
            self.add_optional(fields);
        }
        json
    }

    fn add_optional(&self, fields: &mut Map<String, Value>) {
        let attributes = &self.attributes;
        let mut set = |key: &str, value: Option<Value>| {
            if let Some(value) = value {
                fields.insert(key.to_owned(), value);
            }
        };
        let text = |value: &Option<String>| value.clone().map(Value::String);
        set("md5Hash", text(&self.md5));
        set("componentCount", self.components.map(Value::from));
        set("contentType", text(&attributes.content_type));
        set("cacheControl", text(&attributes.cache_control));
        set("contentDisposition", text(&attributes.content_disposition));
        set("contentEncoding", text(&attributes.content_encoding));
        set("contentLanguage", text(&attributes.content_language));
        set(
            "customTime",
            attributes
                .custom_time
                .map(|time| clock::millis(time).into()),
        );
        set(
            "temporaryHold",
            attributes.temporary_hold.then_some(true.into()),
        );
        set(
            "eventBasedHold",
            attributes.event_based_hold.then_some(true.into()),
        );
        set(
            "metadata",
            (!attributes.metadata.is_empty()).then(|| json!(attributes.metadata)),
        );
    }
}

pub(crate) fn escape(segment: &str) -> String {
    utf8_percent_encode(segment, SEGMENT).to_string()
}
