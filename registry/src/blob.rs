use http::HeaderMap;

use crate::digest::Hasher;
use crate::retry::Failure;
use crate::{Digest, RegistryError};

/// A layer or config, by its digest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Blob {
    pub(crate) digest: Digest,
    pub(crate) size: u64,
}

/// Holds a stream against what was announced.
pub(crate) struct Check<'a> {
    pub(crate) blob: &'a Blob,
    pub(crate) taken: u64,
    hasher: Hasher,
}

impl<'a> Check<'a> {
    pub(crate) fn new(blob: &'a Blob) -> Self {
        Self {
            blob,
            taken: 0,
            hasher: Hasher::default(),
        }
    }

    pub(crate) fn take(&mut self, bytes: &[u8]) -> Result<(), RegistryError> {
        self.taken += bytes.len() as u64;
        if self.taken > self.blob.size {
            return Err(self.size());
        }
        self.hasher.update(bytes);
        Ok(())
    }

    pub(crate) fn finish(&mut self) -> Result<(), Failure> {
        if self.taken < self.blob.size {
            return Err(Failure::again(self.size()));
        }
        let actual = std::mem::take(&mut self.hasher).finish();
        if actual == self.blob.digest {
            return Ok(());
        }
        Err(Failure::last(RegistryError::Digest {
            what: "a blob of the base".to_owned(),
            expected: self.blob.digest.to_string(),
            actual: actual.to_string(),
        }))
    }

    fn size(&self) -> RegistryError {
        RegistryError::Size {
            what: format!("blob `{}` of the base", self.blob.digest),
            expected: self.blob.size,
            actual: self.taken,
        }
    }
}

/// The registry's opinion of the bytes, if it has one.
pub(crate) fn check_header(
    what: &str,
    headers: &HeaderMap,
    expected: &Digest,
) -> Result<(), RegistryError> {
    let Some(value) = headers.get("docker-content-digest") else {
        return Ok(());
    };
    let actual = String::from_utf8_lossy(value.as_bytes());
    if actual == expected.as_str() || !actual.starts_with("sha256:") {
        return Ok(());
    }
    Err(RegistryError::Digest {
        what: what.to_owned(),
        expected: expected.to_string(),
        actual: crate::error::printable(&actual),
    })
}
