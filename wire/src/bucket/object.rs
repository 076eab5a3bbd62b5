use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde::{Deserialize, Deserializer};

/// What the server says of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectMeta {
    /// Its name.
    pub name: String,
    /// Which write made it.
    pub generation: u64,
    /// Which change of its metadata.
    pub metageneration: u64,
    /// Bytes.
    pub size: u64,
    /// Absent on composite objects.
    pub md5: Option<[u8; 16]>,
    /// Castagnoli.
    pub crc32c: Option<u32>,
    /// As given at upload.
    pub content_type: Option<String>,
    /// What `daysSinceCustomTime` counts from.
    pub custom_time: Option<Timestamp>,
    /// When it was written, as listings tell.
    pub created: Option<Timestamp>,
    /// Ours.
    pub metadata: BTreeMap<String, String>,
}

/// When a write may happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Precondition {
    /// Only if no object has the name.
    Absent,
    /// Only over this generation.
    Generation(u64),
}

impl Precondition {
    pub(super) fn generation(self) -> u64 {
        match self {
            Self::Absent => 0,
            Self::Generation(generation) => generation,
        }
    }
}

/// What an object is made with.
#[derive(Debug, Clone)]
pub struct NewObject {
    /// `application/gzip`, `application/json`, `application/octet-stream`.
    pub content_type: &'static str,
    /// Custom metadata.
    pub metadata: BTreeMap<String, String>,
    /// For the lifecycle rule.
    pub custom_time: Option<Timestamp>,
    /// Always one: a write without it could not be retried.
    pub precondition: Precondition,
}

/// A page of a listing.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(from = "Answer")]
pub struct Page {
    /// In the order of their names.
    pub objects: Vec<ObjectMeta>,
    /// Common prefixes, if a delimiter was asked for.
    pub prefixes: Vec<String>,
    /// For the next page; absent on the last.
    pub next: Option<String>,
}

/// What to list.
#[derive(Debug, Clone, Default)]
pub struct List<'a> {
    /// Names that begin so.
    pub prefix: &'a str,
    /// `/`, or none.
    pub delimiter: Option<&'a str>,
    /// Names from this on.
    pub start_offset: Option<&'a str>,
    /// At the most 1,000.
    pub max_results: Option<u32>,
    /// From the page before.
    pub page: Option<&'a str>,
}

/// A change of metadata.
#[derive(Debug, Clone, Default)]
pub struct Patch {
    /// Moves forward only.
    pub custom_time: Option<Timestamp>,
    /// Keys to set.
    pub metadata: BTreeMap<String, String>,
}

/// An object as JSON has it; numbers are strings.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Resource {
    name: String,
    #[serde(deserialize_with = "number")]
    generation: u64,
    // Some fakes leave out what has never changed.
    #[serde(default = "first", deserialize_with = "number")]
    metageneration: u64,
    #[serde(default, deserialize_with = "number")]
    size: u64,
    #[serde(default)]
    md5_hash: Option<String>,
    #[serde(default)]
    crc32c: Option<String>,
    #[serde(default)]
    content_type: Option<String>,
    #[serde(default)]
    custom_time: Option<String>,
    #[serde(default)]
    time_created: Option<String>,
    #[serde(default)]
    metadata: Option<BTreeMap<String, String>>,
}

/// A page as JSON has it.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    #[serde(default)]
    items: Vec<Resource>,
    #[serde(default)]
    prefixes: Vec<String>,
    next_page_token: Option<String>,
}

impl From<Answer> for Page {
    fn from(answer: Answer) -> Self {
        Self {
            objects: answer.items.into_iter().map(ObjectMeta::from).collect(),
            prefixes: answer.prefixes,
            next: answer.next_page_token.filter(|token| !token.is_empty()),
        }
    }
}

impl From<Resource> for ObjectMeta {
    fn from(resource: Resource) -> Self {
        Self {
            md5: resource.md5_hash.as_deref().and_then(decode),
            crc32c: resource
                .crc32c
                .as_deref()
                .and_then(decode)
                .map(u32::from_be_bytes),
            custom_time: resource.custom_time.and_then(|text| text.parse().ok()),
            created: resource.time_created.and_then(|text| text.parse().ok()),
            metadata: resource.metadata.unwrap_or_default(),
            name: resource.name,
            generation: resource.generation,
            metageneration: resource.metageneration,
            size: resource.size,
            content_type: resource.content_type,
        }
    }
}

/// Base64 of so many bytes.
pub(super) fn decode<const N: usize>(text: &str) -> Option<[u8; N]> {
    STANDARD.decode(text).ok()?.try_into().ok()
}

fn first() -> u64 {
    1
}

fn number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Number {
        Text(String),
        Plain(u64),
    }
    match Number::deserialize(deserializer)? {
        Number::Text(text) => text.parse().map_err(serde::de::Error::custom),
        Number::Plain(number) => Ok(number),
    }
}
