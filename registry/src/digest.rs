use std::fmt;
use std::str::FromStr;

use sha2::{Digest as _, Sha256};

use crate::RegistryError;

/// The SHA-256 of a blob or manifest: `sha256:` and 64 hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest(String);

impl Digest {
    /// Of these bytes.
    pub fn of(bytes: &[u8]) -> Self {
        let mut hasher = Hasher::default();
        hasher.update(bytes);
        hasher.finish()
    }

    /// As it is written in manifests and addresses.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl FromStr for Digest {
    type Err = RegistryError;

    /// Other algorithms are refused: nobody uses them, and what cannot be verified must not be trusted.
    fn from_str(text: &str) -> Result<Self, RegistryError> {
        let hex = text.strip_prefix("sha256:").unwrap_or_default();
        let is_hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        if hex.len() == 64 && hex.bytes().all(is_hex) {
            Ok(Self(text.to_owned()))
        } else {
            Err(RegistryError::NoDigest {
                given: crate::error::printable(text),
            })
        }
    }
}

/// Takes a digest of a stream.
#[derive(Debug, Default)]
pub(crate) struct Hasher(Sha256);

impl Hasher {
    pub(crate) fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    pub(crate) fn finish(self) -> Digest {
        let mut text = String::from("sha256:");
        for byte in self.0.finalize() {
            text.push(char::from(HEX[usize::from(byte >> 4)]));
            text.push(char::from(HEX[usize::from(byte & 15)]));
        }
        Digest(text)
    }
}

const HEX: &[u8; 16] = b"0123456789abcdef";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_digest_of_nothing_is_known() {
        let empty = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(Digest::of(b"").as_str(), empty);
        assert_eq!(empty.parse::<Digest>().unwrap(), Digest::of(b""));
    }

    #[test]
    fn what_cannot_be_verified_is_no_digest() {
        let upper = Digest::of(b"").as_str().to_uppercase();
        for bad in ["", "sha256:", "sha256:00", "md5:00", &upper, "sha512:00"] {
            assert!(bad.parse::<Digest>().is_err(), "{bad}");
        }
        let slash = format!("sha256:{}/", "0".repeat(63));
        assert!(slash.parse::<Digest>().is_err());
    }
}
