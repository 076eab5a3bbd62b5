use std::fmt::Write;

use md5::Md5;
use sha2::{Digest as _, Sha256};

/// What MD5 and SHA-256 work on at a time, in bytes.
pub(crate) const HASHED: usize = 64;

/// Digests of an uncompressed tar.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Digest {
    /// MD5, lowercase hex: a pack's address.
    pub md5: String,
    /// SHA-256, lowercase hex.
    pub sha256: String,
    /// Bytes of the tar.
    pub size: u64,
}

/// What proves that a tar is the one that was meant. No MD5: it costs a fifth of packing, and proves nothing against an attacker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checksum {
    /// SHA-256, lowercase hex.
    pub sha256: String,
    /// Bytes of the tar.
    pub size: u64,
}

/// What is computed over the bytes that pass.
pub trait Hash: Default {
    /// What it tells in the end.
    type Output;
    /// Takes the next bytes.
    fn update(&mut self, bytes: &[u8]);
    /// Of all that was taken.
    fn finish(self) -> Self::Output;
}

/// For an address: MD5 and SHA-256.
#[derive(Debug, Default)]
pub struct Address {
    md5: Md5,
    proof: Proof,
}

/// SHA-256 alone.
#[derive(Debug, Default)]
pub struct Proof {
    sha256: Sha256,
    size: u64,
}

impl Hash for Address {
    type Output = Digest;

    /// MD5 waits for its own last step nearly all the time, and SHA-256 has units of its own: taken in turns, one block of
    /// each, a core does the second meanwhile. That saves a sixth of both.
    fn update(&mut self, bytes: &[u8]) {
        for block in bytes.chunks(HASHED) {
            self.md5.update(block);
            self.proof.sha256.update(block);
        }
        self.proof.size += bytes.len() as u64;
    }

    fn finish(self) -> Digest {
        let Checksum { sha256, size } = self.proof.finish();
        Digest {
            md5: hex(&self.md5.finalize()),
            sha256,
            size,
        }
    }
}

impl Hash for Proof {
    type Output = Checksum;

    fn update(&mut self, bytes: &[u8]) {
        self.sha256.update(bytes);
        self.size += bytes.len() as u64;
    }

    fn finish(self) -> Checksum {
        Checksum {
            sha256: hex(&self.sha256.finalize()),
            size: self.size,
        }
    }
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes
        .iter()
        .fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
            // Writing to a string cannot fail.
            let _ = write!(text, "{byte:02x}");
            text
        })
}
