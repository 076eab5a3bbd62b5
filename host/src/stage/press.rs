//! Blocks of a tar made into members of a gzip, each by itself and so on any core.

use std::fmt;
use std::io;

use libdeflater::{CompressionLvl, Compressor};

use super::machine::{BLOCK, Block, FRAME};

/// What is tried of a block: its beginning, and if that does not compress its middle and end.
const SAMPLE: usize = 16 * 1024;

/// A compressor and what it works in. Nothing of the time or the machine is in its bytes.
pub(super) struct Press {
    quick: Compressor,
    store: Compressor,
    scratch: Vec<u8>,
}

impl fmt::Debug for Press {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Press").finish_non_exhaustive()
    }
}

/// As small as zlib's third, in less time than its first.
fn level(level: i32) -> CompressionLvl {
    CompressionLvl::new(level).unwrap_or_default()
}

impl Default for Press {
    fn default() -> Self {
        Self {
            quick: Compressor::new(level(1)),
            store: Compressor::new(level(0)),
            scratch: vec![0; BLOCK + FRAME],
        }
    }
}

impl Press {
    /// Makes a gzip member of what the block holds: stored if samples of it do not compress.
    pub(super) fn press(&mut self, block: &mut Block) -> io::Result<()> {
        let compressor = if self.compresses(block.bytes()) {
            &mut self.quick
        } else {
            &mut self.store
        };
        let made = compressor.gzip_compress(block.bytes(), &mut self.scratch);
        let length = made.map_err(|error| io::Error::other(format!("{error:?}")))?;
        block.exchange(&mut self.scratch, length);
        Ok(())
    }

    fn compresses(&mut self, bytes: &[u8]) -> bool {
        let last = bytes.len().saturating_sub(SAMPLE);
        let mut starts = vec![0, last / 2, last];
        starts.dedup();
        starts.into_iter().any(|start| {
            let sample = &bytes[start..(start + SAMPLE).min(bytes.len())];
            let worth = sample.len() - sample.len() / 32;
            let room = &mut self.scratch[..worth];
            self.quick.deflate_compress(sample, room).is_ok()
        })
    }
}
