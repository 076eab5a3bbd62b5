//! Packing without a bucket, for who measures it.

use std::path::Path;

use crate::error::Error;
use crate::stage;

/// What a packing went through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Measured {
    /// Files, links and directories.
    pub entries: u64,
    /// Bytes of the files.
    pub bytes: u64,
    /// Packs.
    pub packs: u32,
    /// Packs that were compressed.
    pub sent: u32,
    /// Bytes of these afterwards.
    pub sent_bytes: u64,
}

/// Packs a directory as a run does, to nowhere: nothing is known, nothing is there.
pub async fn pack_cold(root: &Path) -> Result<Measured, Error> {
    stage::measure(root, None).await
}

/// The same with an index kept in a directory: what it knows counts as being there, and all is remembered.
pub async fn pack_again(root: &Path, index: &Path) -> Result<Measured, Error> {
    stage::measure(root, Some(index)).await
}
