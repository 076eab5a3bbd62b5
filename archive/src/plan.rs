use std::fmt;
use std::io::Write;
use std::ops::Range;
use std::path::PathBuf;

use sha2::{Digest as _, Sha256};

use crate::digest::{Address, Digest, hex};
use crate::error::Error;
use crate::read::PackReader;
use crate::record::{END, Kind};
use crate::tree::{Entry, Node, Tree};

/// What [`PackPlan::write_tar`] writes at once.
const BUFFER: usize = 256 * 1024;
/// A change within this time of the last one may leave the same stamps: clocks tick, and a file server has its own.
const TICK: i64 = 1_000_000_000;
/// The same where a filesystem seems to keep whole seconds, or every other.
const COARSE_TICK: i64 = 10 * TICK;

/// The entries of one pack.
#[derive(Clone)]
pub struct PackPlan<'a> {
    tree: &'a Tree,
    range: Range<usize>,
}

impl fmt::Debug for PackPlan<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("PackPlan")
            .field("range", &self.range)
            .finish_non_exhaustive()
    }
}

impl<'a> PackPlan<'a> {
    pub(crate) fn new(tree: &'a Tree, range: Range<usize>) -> Self {
        Self { tree, range }
    }

    fn nodes(&self) -> &'a [Node] {
        &self.tree.nodes[self.range.clone()]
    }

    /// Which of the tree's entries: with it a [`PackReader`] needs no plan.
    pub fn range(&self) -> Range<usize> {
        self.range.clone()
    }

    /// In the order of the tar.
    pub fn entries(&self) -> impl ExactSizeIterator<Item = Entry<'a>> + use<'a> {
        let tree = self.tree;
        self.nodes().iter().map(move |node| tree.entry(node))
    }

    /// Exact bytes of the uncompressed tar, from the sizes seen by the scan.
    pub fn tar_size(&self) -> u64 {
        self.entries()
            .map(|entry| entry.record().weight())
            .sum::<u64>()
            + END
    }

    /// The largest files and their sizes, the largest first. Paths are those on disk.
    pub fn largest(&self, count: usize) -> Vec<(PathBuf, u64)> {
        self.tree.largest_of(self.nodes(), count)
    }

    /// SHA-256 in lowercase hex over all that the scan saw of the pack's entries, stamps included: if it is the same as
    /// before, so is the pack, as far as stamps can be trusted ([`PackPlan::settled`]).
    pub fn fingerprint(&self) -> String {
        let mut hash = Sha256::new();
        for Entry {
            path,
            kind,
            mode,
            link,
            stamp,
        } in self.entries()
        {
            hash.update((path.len() as u64).to_le_bytes());
            hash.update(path);
            hash.update((link.len() as u64).to_le_bytes());
            hash.update(link);
            hash.update([kind as u8]);
            hash.update(mode.to_le_bytes());
            hash.update(stamp.size.to_le_bytes());
            hash.update(stamp.mtime.to_le_bytes());
            hash.update(stamp.ctime.to_le_bytes());
            hash.update(stamp.identity.to_le_bytes());
        }
        hex(&hash.finalize())
    }

    /// From when on, in nanoseconds since the epoch, the stamps of a scan can be trusted: a file that is read earlier
    /// may change once more and still look the same. Stamps in the future are never trusted before they have come.
    pub fn settled(&self) -> Option<i64> {
        let files = self.entries().filter(|entry| entry.kind == Kind::File);
        files
            .map(|Entry { stamp, .. }| {
                // Nobody sets a ctime: one without a fraction comes from a filesystem that keeps none.
                let whole = stamp.ctime % TICK == 0;
                let tick = if whole { COARSE_TICK } else { TICK };
                stamp.mtime.max(stamp.ctime).saturating_add(tick)
            })
            .max()
    }

    /// Writes the uncompressed tar, in large writes. A file that changed since the scan or while being read is
    /// [`Error::Changed`]: scan again.
    pub fn write_tar<W: Write>(&self, mut out: W) -> Result<Digest, Error> {
        let mut reader = PackReader::<_, Address>::open(self.tree, self.range())?;
        let mut buffer = vec![0; BUFFER];
        loop {
            let count = reader.fill(&mut buffer)?;
            out.write_all(&buffer[..count]).map_err(Error::Output)?;
            if count < BUFFER {
                out.flush().map_err(Error::Output)?;
                return Ok(reader.finish());
            }
        }
    }
}
