use std::fmt;
use std::fs::File;
use std::io::Write;
use std::os::fd::OwnedFd;
use std::path::PathBuf;

use rustix::fs::{CWD, FileType, Mode, OFlags, fstat, openat};
use sha2::{Digest as _, Sha256};

use crate::blocks::{Blocks, Copied};
use crate::digest::{Address, Digest, hex};
use crate::error::Error;
use crate::handles::Handles;
use crate::record::{END, Kind};
use crate::stamp::{Stamp, type_of};
use crate::tree::{Entry, Node, Tree};

/// The entries of one pack.
#[derive(Clone, Copy)]
pub struct PackPlan<'a> {
    tree: &'a Tree,
    nodes: &'a [Node],
}

impl fmt::Debug for PackPlan<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("PackPlan")
            .field("entries", &self.nodes.len())
            .finish_non_exhaustive()
    }
}

impl<'a> PackPlan<'a> {
    pub(crate) fn new(tree: &'a Tree, nodes: &'a [Node]) -> Self {
        Self { tree, nodes }
    }

    /// In the order of the tar.
    pub fn entries(&self) -> impl ExactSizeIterator<Item = Entry<'a>> + use<'a> {
        let tree = self.tree;
        self.nodes.iter().map(move |node| tree.entry(node))
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
        self.tree.largest_of(self.nodes, count)
    }

    /// SHA-256 in lowercase hex over all that the scan saw of the pack's entries, stamps included: if it is the same as
    /// before, so is the pack, as far as stamps can be trusted ([`PackPlan::youngest`]).
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
            hash.update(stamp.inode.to_le_bytes());
        }
        hex(&hash.finalize())
    }

    /// The latest modification or change of a file, nanoseconds since the epoch. A file that is as young as the moment
    /// it was remembered at may have changed again within the same tick of the clock.
    pub fn youngest(&self) -> Option<i64> {
        let files = self.entries().filter(|entry| entry.kind == Kind::File);
        files
            .map(|entry| entry.stamp.mtime.max(entry.stamp.ctime))
            .max()
    }

    /// Writes the uncompressed tar, in large writes. A file that changed since the scan or while being read is
    /// [`Error::Changed`]: scan again.
    pub fn write_tar<W: Write>(&self, out: W) -> Result<Digest, Error> {
        let mut blocks = Blocks::<W, Address>::new(out);
        let mut source = Source::open(self.tree)?;
        for entry in self.entries() {
            blocks.header(&entry.record())?;
            if entry.kind == Kind::File {
                source.copy(&entry, &mut blocks)?;
                blocks.pad(entry.stamp.size)?;
            }
        }
        blocks.finish()
    }
}

/// Where the files' data comes from.
struct Source<'a> {
    tree: &'a Tree,
    handles: Option<Handles<OwnedFd>>,
}

const READ: OFlags = OFlags::RDONLY
    .union(OFlags::CLOEXEC)
    .union(OFlags::NOCTTY)
    .union(OFlags::NONBLOCK);

impl<'a> Source<'a> {
    fn open(tree: &'a Tree) -> Result<Self, Error> {
        let handles = if tree.is_directory() {
            let root = openat(
                CWD,
                &tree.place.root,
                READ | OFlags::DIRECTORY,
                Mode::empty(),
            );
            Some(Handles::new(
                root.map_err(|error| Error::gone_or(&tree.place.root, error))?,
            ))
        } else {
            None
        };
        Ok(Self { tree, handles })
    }

    fn copy<W: Write>(
        &mut self,
        entry: &Entry<'_>,
        blocks: &mut Blocks<W, Address>,
    ) -> Result<(), Error> {
        let on_disk = || self.tree.place.on_disk(entry.path);
        let opened = match &mut self.handles {
            None => openat(CWD, &self.tree.place.root, READ, Mode::empty()),
            Some(handles) => {
                handles
                    .parent(self.tree.place.below(entry.path))
                    .and_then(|(parent, name)| {
                        openat(parent, name, READ | OFlags::NOFOLLOW, Mode::empty())
                    })
            }
        };
        let mut file = File::from(opened.map_err(|error| Error::gone_or(on_disk(), error))?);
        let is_same = |file: &File| -> Result<bool, Error> {
            let stat = fstat(file).map_err(|error| Error::read(on_disk(), error))?;
            Ok(type_of(&stat) == FileType::RegularFile && Stamp::of(&stat) == entry.stamp)
        };
        let whole = is_same(&file)?
            && match blocks.copy(&mut file, entry.stamp.size)? {
                Copied::Whole => is_same(&file)?,
                Copied::Short(_) => false,
                Copied::Failed(_, error) => return Err(Error::read(on_disk(), error)),
            };
        if whole {
            Ok(())
        } else {
            Err(Error::Changed { path: on_disk() })
        }
    }
}
