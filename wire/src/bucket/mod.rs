//! The client of Cloud Storage's JSON API.

mod checksum;
mod download;
mod insert;
mod media;
mod metadata;
mod object;
mod read;
mod reader;
mod session;
mod upload;
mod writer;

pub use checksum::{Digest, Hasher};
pub use download::Download;
pub use object::{List, NewObject, ObjectMeta, Page, Patch, Precondition};
pub use reader::DownloadReader;
pub use upload::Upload;
pub use writer::UploadWriter;

use std::sync::Arc;

use http::Method;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use url::Url;

use crate::api::{Api, ApiError, ErrorKind, Request, RetryConfig};

/// What may stand in one path segment as it is.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// A resumable upload's chunks are multiples of this.
const CHUNK_UNIT: usize = 256 * 1024;

/// One bucket.
#[derive(Debug, Clone)]
pub struct Bucket {
    api: Api,
    place: Arc<Place>,
    chunk_size: usize,
}

#[derive(Debug)]
struct Place {
    endpoint: Url,
    name: String,
}

impl Bucket {
    /// `endpoint`: `https://storage.googleapis.com`, or an emulator's.
    pub fn new(api: Api, endpoint: &Url, name: &str) -> Self {
        let place = Place {
            endpoint: endpoint.clone(),
            name: name.to_owned(),
        };
        Self {
            api,
            place: Arc::new(place),
            chunk_size: 32 * CHUNK_UNIT,
        }
    }

    /// The same bucket with other retry rules.
    #[must_use]
    pub fn with_retry(mut self, retry: RetryConfig) -> Self {
        self.api = self.api.with_retry(retry);
        self
    }

    /// How many bytes a resumable upload holds and sends at once: 8 MiB unless set; rounded up to 256 KiB.
    #[must_use]
    pub fn with_chunk_size(mut self, bytes: usize) -> Self {
        self.chunk_size = bytes.max(1).next_multiple_of(CHUNK_UNIT);
        self
    }

    /// Without `gs://`.
    pub fn name(&self) -> &str {
        &self.place.name
    }

    /// ``cannot read `gs://b/o` ``.
    fn action(&self, verb: &str, object: &str) -> String {
        format!("cannot {verb} `gs://{}/{object}`", self.place.name)
    }

    /// `/storage/v1/b/<bucket>/o`, or the upload's variant of it.
    fn collection(&self, root: &str) -> Url {
        let mut url = self.place.endpoint.clone();
        let base = url.path().trim_end_matches('/').to_owned();
        let bucket = utf8_percent_encode(&self.place.name, SEGMENT);
        url.set_path(&format!("{base}{root}/b/{bucket}/o"));
        url.set_query(None);
        url.set_fragment(None);
        url
    }

    fn request(
        &self,
        verb: &str,
        name: &str,
        method: Method,
        idempotent: bool,
    ) -> Result<Request, ApiError> {
        let action = self.action(verb, name);
        check_name(&action, name)?;
        let mut url = self.collection("/storage/v1");
        let path = format!("{}/{}", url.path(), utf8_percent_encode(name, SEGMENT));
        url.set_path(&path);
        Ok(Request::new(&action, method, url, idempotent))
    }

    fn upload_request(
        &self,
        verb: &str,
        name: &str,
        kind: &str,
        precondition: Precondition,
    ) -> Result<Request, ApiError> {
        let action = self.action(verb, name);
        check_name(&action, name)?;
        let mut url = self.collection("/upload/storage/v1");
        url.query_pairs_mut()
            .append_pair("uploadType", kind)
            .append_pair("ifGenerationMatch", &precondition.generation().to_string());
        Ok(Request::new(&action, Method::POST, url, true))
    }
}

/// `.` and `..` would name something else once a URL is made of them.
fn check_name(action: &str, name: &str) -> Result<(), ApiError> {
    let why = match name {
        "" => "an object's name is not empty",
        "." | ".." => "no object can have this name",
        _ if name.len() > 1024 => "an object's name has at most 1,024 bytes",
        _ if name.contains(['\r', '\n']) => "an object's name has no line breaks",
        _ => return Ok(()),
    };
    Err(ApiError::new(action, ErrorKind::Invalid).with_source(why))
}
