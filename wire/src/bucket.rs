//! The client of Cloud Storage's JSON API.

use std::collections::BTreeMap;

use bytes::Bytes;
use jiff::Timestamp;
use url::Url;

use crate::api::{Api, ApiError};

/// One bucket.
#[derive(Debug, Clone)]
pub struct Bucket {}

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
#[derive(Debug, Clone, Default)]
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

impl Bucket {
    /// `endpoint`: `https://storage.googleapis.com`, or an emulator's.
    pub fn new(_api: Api, _endpoint: &Url, _name: &str) -> Self {
        todo!()
    }

    /// Without `gs://`.
    pub fn name(&self) -> &str {
        todo!()
    }

    /// An object's metadata.
    pub async fn stat(&self, _name: &str) -> Result<ObjectMeta, ApiError> {
        todo!()
    }

    /// A whole object of at most `limit` bytes, checked.
    pub async fn read(&self, _name: &str, _limit: u64) -> Result<(ObjectMeta, Bytes), ApiError> {
        todo!()
    }

    /// Begins a download that resumes by itself and is checked at its end.
    pub async fn download(&self, _name: &str, _generation: Option<u64>) -> Result<Download, ApiError> {
        todo!()
    }

    /// A small object in one multipart request.
    pub async fn insert(&self, _name: &str, _object: &NewObject, _body: Bytes) -> Result<ObjectMeta, ApiError> {
        todo!()
    }

    /// Begins a resumable upload of unknown size.
    pub async fn upload(&self, _name: &str, _object: &NewObject) -> Result<Upload, ApiError> {
        todo!()
    }

    /// Changes metadata, of this generation only.
    pub async fn patch(&self, _name: &str, _generation: u64, _patch: &Patch) -> Result<ObjectMeta, ApiError> {
        todo!()
    }

    /// One page.
    pub async fn list(&self, _list: &List<'_>) -> Result<Page, ApiError> {
        todo!()
    }

    /// Deletes; an object already gone is no error.
    pub async fn delete(&self, _name: &str, _generation: Option<u64>) -> Result<(), ApiError> {
        todo!()
    }
}

/// A download under way.
#[derive(Debug)]
pub struct Download {}

impl Download {
    /// The whole object's size in bytes.
    pub fn size(&self) -> u64 {
        todo!()
    }

    /// The generation it is pinned to.
    pub fn generation(&self) -> u64 {
        todo!()
    }

    /// The next bytes; `None` at the end, which is reached only if the checksum matches.
    pub async fn next(&mut self) -> Result<Option<Bytes>, ApiError> {
        todo!()
    }
}

/// A resumable upload under way. Dropped = abandoned: no object appears.
#[derive(Debug)]
pub struct Upload {}

impl Upload {
    /// Takes bytes; sends a chunk when enough are there. Holds no more than the unacknowledged chunk.
    pub async fn write(&mut self, _bytes: Bytes) -> Result<(), ApiError> {
        todo!()
    }

    /// Sends the rest with the checksums of the whole.
    pub async fn finish(self) -> Result<ObjectMeta, ApiError> {
        todo!()
    }

    /// Tells the server to forget it.
    pub async fn abandon(self) {
        todo!()
    }
}
