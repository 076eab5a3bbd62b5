use std::collections::BTreeMap;

use http::{HeaderMap, HeaderName, HeaderValue, Method, header};

use super::checksum::Checksums;
use super::{Bucket, ObjectMeta};
use crate::api::{ApiError, Request};

const GENERATION: HeaderName = HeaderName::from_static("x-goog-generation");
const METAGENERATION: HeaderName = HeaderName::from_static("x-goog-metageneration");
const STORED_LENGTH: HeaderName = HeaderName::from_static("x-goog-stored-content-length");
const CUSTOM: &str = "x-goog-meta-";

impl Bucket {
    /// A GET of an object's bytes.
    pub(super) fn media_request(
        &self,
        name: &str,
        generation: Option<u64>,
    ) -> Result<Request, ApiError> {
        let mut request = self.request("read", name, Method::GET, true)?;
        {
            let mut query = request.url.query_pairs_mut();
            query.append_pair("alt", "media");
            if let Some(generation) = generation {
                query.append_pair("generation", &generation.to_string());
            }
        }
        // Without it the server would unpack what is stored with `Content-Encoding: gzip`, and its checksums would
        // be of other bytes than it sends.
        let gzip = HeaderValue::from_static("gzip");
        request.headers.insert(header::ACCEPT_ENCODING, gzip);
        Ok(request)
    }
}

/// What the headers of a media answer tell.
pub(super) struct MediaHead {
    pub(super) generation: Option<u64>,
    metageneration: Option<u64>,
    pub(super) checksums: Checksums,
    stored_length: Option<u64>,
    length: Option<u64>,
    content_type: Option<String>,
    metadata: BTreeMap<String, String>,
}

impl MediaHead {
    pub(super) fn parse(headers: &HeaderMap) -> Self {
        Self {
            generation: number(headers, &GENERATION),
            metageneration: number(headers, &METAGENERATION),
            checksums: Checksums::from_headers(headers),
            stored_length: number(headers, &STORED_LENGTH),
            length: number(headers, &header::CONTENT_LENGTH),
            content_type: text(headers, &header::CONTENT_TYPE).map(str::to_owned),
            metadata: custom_metadata(headers),
        }
    }

    /// Of the whole object, if this is an answer to a request for all of it.
    pub(super) fn size(&self) -> Option<u64> {
        self.stored_length.or(self.length)
    }

    pub(super) fn into_meta(self, name: &str, generation: u64, size: u64) -> ObjectMeta {
        ObjectMeta {
            name: name.to_owned(),
            generation,
            metageneration: self.metageneration.unwrap_or(1),
            size,
            md5: self.checksums.md5,
            crc32c: self.checksums.crc32c,
            content_type: self.content_type,
            custom_time: None,
            created: None,
            metadata: self.metadata,
        }
    }
}

/// `Content-Range: bytes <first>-<last>/<size>`; the size may be `*`.
pub(super) fn content_range(headers: &HeaderMap) -> Option<(u64, Option<u64>)> {
    let range = text(headers, &header::CONTENT_RANGE)?.strip_prefix("bytes ")?;
    let (range, size) = range.split_once('/')?;
    let (first, _) = range.split_once('-')?;
    Some((first.parse().ok()?, size.parse().ok()))
}

fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

fn number(headers: &HeaderMap, name: &HeaderName) -> Option<u64> {
    text(headers, name)?.parse().ok()
}

fn custom_metadata(headers: &HeaderMap) -> BTreeMap<String, String> {
    let pairs = headers.iter().filter_map(|(name, value)| {
        let key = name.as_str().strip_prefix(CUSTOM)?;
        Some((key.to_owned(), value.to_str().ok()?.to_owned()))
    });
    pairs.collect()
}
