use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, HeaderValue};
use md5::{Digest as _, Md5};

use super::ObjectMeta;
use super::object::decode;

const HEADER: &str = "x-goog-hash";

/// What a server says of an object's bytes; either may be missing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Checksums {
    pub(super) crc32c: Option<u32>,
    pub(super) md5: Option<[u8; 16]>,
}

impl Checksums {
    /// From `X-Goog-Hash: crc32c=…,md5=…`, in one header or two.
    pub(super) fn from_headers(headers: &HeaderMap) -> Self {
        let values = headers.get_all(HEADER).into_iter();
        let mut sums = Self::default();
        for pair in values
            .filter_map(|value| value.to_str().ok())
            .flat_map(|text| text.split(','))
        {
            match pair.trim().split_once('=') {
                Some(("crc32c", text)) => sums.crc32c = decode(text).map(u32::from_be_bytes),
                Some(("md5", text)) => sums.md5 = decode(text),
                _ => {}
            }
        }
        sums
    }

    pub(super) fn of(meta: &ObjectMeta) -> Self {
        Self {
            crc32c: meta.crc32c,
            md5: meta.md5,
        }
    }

    /// Whether there is one, and none that differs.
    pub(super) fn vouch_for(&self, digest: &Digest) -> bool {
        (self.crc32c.is_some() || self.md5.is_some())
            && self.crc32c.is_none_or(|crc32c| crc32c == digest.crc32c)
            && self.md5.is_none_or(|md5| md5 == digest.md5)
    }
}

/// Size and checksums of an object's bytes, for [`Bucket::holds`](super::Bucket::holds).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Digest {
    pub(super) size: u64,
    crc32c: u32,
    md5: [u8; 16],
}

impl Digest {
    /// Of bytes at hand.
    pub fn of(bytes: &[u8]) -> Self {
        Self::of_all(&[bytes])
    }

    /// Of bytes that lie in several places.
    pub(super) fn of_all(slices: &[impl AsRef<[u8]>]) -> Self {
        let mut hasher = Hasher::default();
        for slice in slices {
            hasher.update(slice.as_ref());
        }
        hasher.finish()
    }

    pub(super) fn crc32c_base64(&self) -> String {
        STANDARD.encode(self.crc32c.to_be_bytes())
    }

    pub(super) fn md5_base64(&self) -> String {
        STANDARD.encode(self.md5)
    }

    /// Adds `X-Goog-Hash`.
    pub(super) fn insert_into(&self, headers: &mut HeaderMap) {
        let text = format!("crc32c={},md5={}", self.crc32c_base64(), self.md5_base64());
        if let Ok(value) = HeaderValue::try_from(text) {
            headers.insert(HEADER, value);
        }
    }

    /// Whether the object is of these bytes.
    pub(super) fn matches(&self, meta: &ObjectMeta) -> bool {
        meta.size == self.size && Checksums::of(meta).vouch_for(self)
    }
}

/// The [`Digest`] of a stream.
#[derive(Clone, Default)]
pub struct Hasher {
    size: u64,
    crc32c: u32,
    md5: Md5,
}

impl Hasher {
    /// Takes the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.size += bytes.len() as u64;
        self.crc32c = crc32c::crc32c_append(self.crc32c, bytes);
        self.md5.update(bytes);
    }

    pub(super) fn size(&self) -> u64 {
        self.size
    }

    /// Of all that was taken.
    pub fn finish(self) -> Digest {
        Digest {
            size: self.size,
            crc32c: self.crc32c,
            md5: self.md5.finalize().into(),
        }
    }
}

impl std::fmt::Debug for Hasher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Hasher")
            .field("size", &self.size)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As published: CRC-32C of `123456789` is e3069283; MD5 of it is 25f9e794….
    #[test]
    fn the_header_is_as_google_writes_it() {
        let mut headers = HeaderMap::new();
        Digest::of(b"123456789").insert_into(&mut headers);
        assert_eq!(
            headers[HEADER],
            "crc32c=4waSgw==,md5=JfnnlDI7RTiF9RgfG2JNCw=="
        );
    }

    #[test]
    fn one_header_or_two_read_the_same() {
        let mut one = HeaderMap::new();
        Digest::of(b"x").insert_into(&mut one);
        let mut two = HeaderMap::new();
        for part in one[HEADER].to_str().unwrap().split(',') {
            two.append(HEADER, part.parse().unwrap());
        }
        let sums = Checksums::from_headers(&two);
        assert_eq!(sums, Checksums::from_headers(&one));
        assert!(sums.vouch_for(&Digest::of(b"x")));
        assert!(!sums.vouch_for(&Digest::of(b"y")));
    }

    #[test]
    fn no_checksum_vouches_for_nothing() {
        assert!(!Checksums::default().vouch_for(&Digest::of(b"")));
    }
}
