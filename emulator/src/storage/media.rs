//! An object's bytes, whole or in part.

use std::io::{self, Read, Seek, SeekFrom};
use std::sync::Arc;

use flate2::read::MultiGzDecoder;
use http::{HeaderName, HeaderValue, StatusCode, header};

use super::Scope;
use super::content::blocking;
use super::edit::{check_read, find};
use super::holdings::{self, Bucket};
use super::object::Object;
use crate::answer::Answer;
use crate::body;
use crate::call::Call;
use crate::config::Permission;
use crate::refusal::{Outcome, Refusal};
use crate::server::Site;

/// How often to look again when an object is replaced between look-up and opening.
const ATTEMPTS: usize = 5;

pub(crate) async fn get(
    site: &Site,
    call: &Call,
    scope: &Scope<'_>,
    name: &str,
) -> Outcome<Answer> {
    scope.rights.require(Permission::Get, Some(name))?;
    let bucket = scope.bucket(site)?;
    let (object, bytes) = open(call, scope, &bucket, name).await?;
    if is_to_unpack(call, &object) {
        return Ok(unpacked(&object, bytes));
    }
    let range = call
        .header("range")
        .map_or(Range::All, |text| Range::parse(text, object.size));
    send(&object, bytes, range)
}

async fn open(
    call: &Call,
    scope: &Scope<'_>,
    bucket: &Arc<Bucket>,
    name: &str,
) -> Outcome<(Arc<Object>, holdings::Bytes)> {
    let generation = call.query.number("generation")?;
    for _ in 0..ATTEMPTS {
        let object = find(scope, bucket, name, generation)?;
        check_read(call, &object)?;
        let (bucket, wanted) = (Arc::clone(bucket), Arc::clone(&object));
        let opened = blocking(move || match bucket.read(&wanted) {
            Err(failure) if failure.kind() == io::ErrorKind::NotFound => Ok(None),
            bytes => bytes.map(Some),
        });
        if let Some(bytes) = opened.await? {
            return Ok((object, bytes));
        }
    }
    Err(Refusal::unavailable(
        "The object is being replaced; try again.",
    ))
}

/// Objects stored as gzip are unpacked for who does not accept gzip.
fn is_to_unpack(call: &Call, object: &Object) -> bool {
    let accepts = call
        .header("accept-encoding")
        .is_some_and(|codings| codings.contains("gzip"));
    let keeps = object
        .attributes
        .cache_control
        .as_deref()
        .is_some_and(|control| control.contains("no-transform"));
    object.attributes.content_encoding.as_deref() == Some("gzip") && !accepts && !keeps
}

/// What part of an object is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Range {
    All,
    /// From the first byte up to but not including the second.
    Part(u64, u64),
    Nothing,
}

impl Range {
    /// What is no single range of bytes is ignored, as HTTP has it.
    fn parse(text: &str, size: u64) -> Self {
        let Some((first, last)) = text
            .strip_prefix("bytes=")
            .and_then(|range| range.split_once('-'))
        else {
            return Self::All;
        };
        let (first, last) = (first.trim(), last.trim());
        let (start, end) = if first.is_empty() {
            let Ok(count) = last.parse::<u64>() else {
                return Self::All;
            };
            (size.saturating_sub(count), size)
        } else {
            let Ok(start) = first.parse::<u64>() else {
                return Self::All;
            };
            let last = if last.is_empty() {
                Ok(u64::MAX)
            } else {
                last.parse::<u64>()
            };
            let Ok(last) = last else { return Self::All };
            if last < start {
                return Self::All;
            }
            (start, last.saturating_add(1).min(size))
        };
        if start < end {
            Self::Part(start, end)
        } else {
            Self::Nothing
        }
    }
}

fn send(object: &Object, mut bytes: holdings::Bytes, range: Range) -> Outcome<Answer> {
    let (start, end) = match range {
        Range::All => (0, object.size),
        Range::Part(start, end) => (start, end),
        Range::Nothing => return Err(Refusal::range_not_satisfiable()),
    };
    let length = end - start;
    bytes.seek(SeekFrom::Start(start))?;
    let mut answer = Answer::new(body::streamed(bytes.take(length), Some(length)));
    describe(&mut answer, object);
    set(&mut answer, header::CONTENT_LENGTH, &length.to_string());
    if range != Range::All {
        *answer.status_mut() = StatusCode::PARTIAL_CONTENT;
        set(
            &mut answer,
            header::CONTENT_RANGE,
            &format!("bytes {start}-{}/{}", end - 1, object.size),
        );
    }
    if let Some(encoding) = &object.attributes.content_encoding {
        set(&mut answer, header::CONTENT_ENCODING, encoding);
    }
    Ok(answer)
}

fn unpacked(object: &Object, bytes: holdings::Bytes) -> Answer {
    let mut answer = Answer::new(body::streamed(MultiGzDecoder::new(bytes), None));
    describe(&mut answer, object);
    set(&mut answer, header::WARNING, "214 UploadServer gunzipped");
    answer
}

fn describe(answer: &mut Answer, object: &Object) {
    let attributes = &object.attributes;
    let encoding = attributes.content_encoding.as_deref().unwrap_or("identity");
    let hashes = match &object.md5 {
        Some(md5) => format!("crc32c={},md5={md5}", object.crc32c),
        None => format!("crc32c={}", object.crc32c),
    };
    let kind = attributes
        .content_type
        .as_deref()
        .unwrap_or("application/octet-stream");
    let modified = object
        .updated
        .strftime("%a, %d %b %Y %H:%M:%S GMT")
        .to_string();
    set(answer, header::CONTENT_TYPE, kind);
    set(answer, header::ETAG, &object.etag());
    set(answer, header::LAST_MODIFIED, &modified);
    set(answer, header::ACCEPT_RANGES, "bytes");
    set(answer, HeaderName::from_static("x-goog-hash"), &hashes);
    set(
        answer,
        HeaderName::from_static("x-goog-generation"),
        &object.generation.to_string(),
    );
    set(
        answer,
        HeaderName::from_static("x-goog-metageneration"),
        &object.metageneration.to_string(),
    );
    set(
        answer,
        HeaderName::from_static("x-goog-stored-content-encoding"),
        encoding,
    );
    set(
        answer,
        HeaderName::from_static("x-goog-stored-content-length"),
        &object.size.to_string(),
    );
    set(
        answer,
        HeaderName::from_static("x-goog-storage-class"),
        attributes.storage_class.as_deref().unwrap_or("STANDARD"),
    );
    let optional = [
        (header::CACHE_CONTROL, &attributes.cache_control),
        (header::CONTENT_DISPOSITION, &attributes.content_disposition),
        (header::CONTENT_LANGUAGE, &attributes.content_language),
    ];
    for (name, value) in optional {
        if let Some(value) = value {
            set(answer, name, value);
        }
    }
}

/// A stored attribute that cannot be a header's value is left out.
fn set(answer: &mut Answer, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        answer.headers_mut().insert(name, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges() {
        let parse = |text| Range::parse(text, 10);
        assert_eq!(parse("bytes=0-3"), Range::Part(0, 4));
        assert_eq!(parse("bytes=4-"), Range::Part(4, 10));
        assert_eq!(parse("bytes=4-99"), Range::Part(4, 10));
        assert_eq!(parse("bytes=-3"), Range::Part(7, 10));
        assert_eq!(parse("bytes=-30"), Range::Part(0, 10));
        assert_eq!(parse("bytes=0-18446744073709551615"), Range::Part(0, 10));
        for none in ["bytes=10-", "bytes=10-12", "bytes=-0"] {
            assert_eq!(parse(none), Range::Nothing, "{none}");
        }
        for ignored in [
            "bytes=3-2",
            "bytes=a-b",
            "lines=1-2",
            "bytes=1-2,4-5",
            "bytes=-",
        ] {
            assert_eq!(parse(ignored), Range::All, "{ignored}");
        }
        assert_eq!(Range::parse("bytes=0-0", 0), Range::Nothing);
    }
}
