//! Blocks of a tar made into members of a gzip, each by itself and so on any core, and back.
//!
//! Every reader of gzip accepts several members. Ours say how long they are, in an extra field that others pass over, as
//! those of bgzip do: who knows that may take a member whole, which is twice as fast as a stream.

use std::fmt;
use std::io;

use libdeflater::{CompressionLvl, Compressor, DecompressionError, Decompressor, crc32};

/// So many bytes of a tar are compressed at once.
pub const BLOCK: usize = 1024 * 1024;
/// A block that does not compress grows by its member's frame.
pub const FRAME: usize = 4096;

/// What is tried of a block: its beginning, and if that does not compress its middle and end.
const SAMPLE: usize = 16 * 1024;

/// Deflate, with an extra field, of no time and no known system; the field's eight bytes; its name, and that it has four.
/// RFC 1952, 2.3.
const START: [u8; 16] = [
    0x1f, 0x8b, 8, 4, 0, 0, 0, 0, 0, 0xff, 8, 0, b's', b'o', 4, 0,
];
/// The beginning of a member: as above, and how many bytes it has.
pub(crate) const HEADER: usize = START.len() + 4;
/// The checksum of what is in it, and its length.
const TRAILER: usize = 8;

/// Makes members. Nothing of the time or the machine is in their bytes.
pub struct Press {
    quick: Compressor,
    store: Compressor,
}

impl fmt::Debug for Press {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Press").finish_non_exhaustive()
    }
}

/// The first is as small as zlib's third, in less time than its first; zero only stores.
fn level(level: i32) -> CompressionLvl {
    CompressionLvl::new(level).unwrap_or_default()
}

impl Default for Press {
    fn default() -> Self {
        Self {
            quick: Compressor::new(level(1)),
            store: Compressor::new(level(0)),
        }
    }
}

impl Press {
    /// Makes a member of at the most [`BLOCK`] bytes: stored if samples of them do not compress. `out` has room for
    /// [`FRAME`] bytes more than them; the answer is how many it holds.
    pub fn press(&mut self, bytes: &[u8], out: &mut [u8]) -> io::Result<usize> {
        let quick = self.compresses(bytes, out);
        let compressor = if quick {
            &mut self.quick
        } else {
            &mut self.store
        };
        let room = out.len().checked_sub(TRAILER);
        let room = room.filter(|_| bytes.len() <= BLOCK);
        let body = room.and_then(|end| out.get_mut(HEADER..end));
        let body = body.ok_or_else(|| io::Error::other("there is no room"))?;
        let made = compressor.deflate_compress(bytes, body);
        let end = HEADER + made.map_err(|error| io::Error::other(format!("{error:?}")))?;
        let length = end + TRAILER;
        out[..START.len()].copy_from_slice(&START);
        out[START.len()..HEADER].copy_from_slice(&count(length).to_le_bytes());
        out[end..length].copy_from_slice(&trailer(bytes));
        Ok(length)
    }

    fn compresses(&mut self, bytes: &[u8], scratch: &mut [u8]) -> bool {
        let last = bytes.len().saturating_sub(SAMPLE);
        let mut starts = vec![0, last / 2, last];
        starts.dedup();
        starts.into_iter().any(|start| {
            let sample = &bytes[start..(start + SAMPLE).min(bytes.len())];
            let worth = scratch.len().min(sample.len() - sample.len() / 32);
            let room = &mut scratch[..worth];
            self.quick.deflate_compress(sample, room).is_ok()
        })
    }
}

fn trailer(bytes: &[u8]) -> [u8; TRAILER] {
    let mut trailer = [0; TRAILER];
    trailer[..4].copy_from_slice(&crc32(bytes).to_le_bytes());
    trailer[4..].copy_from_slice(&count(bytes.len()).to_le_bytes());
    trailer
}

/// As the format counts; a block is far from the most.
fn count(bytes: usize) -> u32 {
    u32::try_from(bytes).unwrap_or(u32::MAX)
}

/// How long a member is that begins so, if it says so and is one of ours.
pub(crate) fn length(header: &[u8; HEADER]) -> Option<usize> {
    let (start, length) = header.split_at(START.len());
    let length = u32::from_le_bytes(length.try_into().ok()?) as usize;
    (start == START && (HEADER + TRAILER..=BLOCK + FRAME).contains(&length)).then_some(length)
}

/// Takes members apart.
pub(crate) struct Opener(Decompressor);

impl Default for Opener {
    fn default() -> Self {
        Self(Decompressor::new())
    }
}

impl Opener {
    /// What is in a whole member, at the beginning of `out`; how many bytes, at the most [`BLOCK`].
    ///
    /// `out` is made once, and not for each member: many of them may be empty.
    pub(crate) fn open(&mut self, member: &[u8], out: &mut Vec<u8>) -> io::Result<usize> {
        let damaged = |what: &'static str| io::Error::new(io::ErrorKind::InvalidData, what);
        out.resize(BLOCK, 0);
        let opened = self.0.gzip_decompress(member, out);
        let length = opened.map_err(|error| match error {
            DecompressionError::BadData => damaged("corrupt gzip stream"),
            DecompressionError::InsufficientSpace => damaged("a member of a gzip is too large"),
        })?;
        // What comes between its end and where it says that it ends is passed over, but not its trailer.
        if member.ends_with(&trailer(&out[..length])) {
            return Ok(length);
        }
        Err(damaged("a member of a gzip is shorter than it says"))
    }
}
