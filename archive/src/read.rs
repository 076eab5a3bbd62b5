//! A pack's tar, made while it is read: straight into the reader's own buffer, hashed as it passes.

use std::fmt;
use std::fs::File;
use std::io::{ErrorKind, Read};
use std::ops::{Deref, Range};
use std::os::fd::OwnedFd;

use rustix::fs::{CWD, FileType, Mode, OFlags, fstat, openat};

use crate::digest::{Address, HASHED, Hash};
use crate::error::Error;
use crate::handles::Handles;
use crate::record::{BLOCK, END, Kind};
use crate::stamp::{Stamp, type_of};
use crate::tree::{Entry, Tree};

/// Few system calls, and still in the second-level cache when it is hashed.
const STEP: usize = 256 * 1024;

/// A pack's tar, piece by piece ([`PackReader::fill`]); [`PackReader::finish`] tells its digest.
pub struct PackReader<T, H = Address> {
    tree: T,
    left: Range<usize>,
    handles: Option<Handles<OwnedFd>>,
    /// Headers that are on their way, and how far they are.
    header: Vec<u8>,
    passed: usize,
    /// Padding, or the end.
    zeros: u64,
    file: Option<Open>,
    ended: bool,
    hash: H,
}

/// The file that is being read.
struct Open {
    file: File,
    node: usize,
    missing: u64,
}

impl<T, H> fmt::Debug for PackReader<T, H> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("PackReader")
            .field("left", &self.left)
            .finish_non_exhaustive()
    }
}

const READ: OFlags = OFlags::RDONLY
    .union(OFlags::CLOEXEC)
    .union(OFlags::NOCTTY)
    .union(OFlags::NONBLOCK);

impl<T: Deref<Target = Tree>, H: Hash> PackReader<T, H> {
    /// Of the entries that [`PackPlan::range`](crate::PackPlan::range) names.
    pub fn open(tree: T, pack: Range<usize>) -> Result<Self, Error> {
        let handles = if tree.is_directory() {
            let root = &tree.place.root;
            let flags = READ | OFlags::DIRECTORY;
            let handle = openat(CWD, root, flags, Mode::empty());
            Some(Handles::new(
                handle.map_err(|error| Error::gone_or(root, error))?,
            ))
        } else {
            None
        };
        Ok(Self {
            tree,
            left: pack,
            handles,
            header: Vec::new(),
            passed: 0,
            zeros: 0,
            file: None,
            ended: false,
            hash: H::default(),
        })
    }

    /// The next bytes; fewer than the buffer holds only at the end. A file that changed since the scan or while being
    /// read is [`Error::Changed`]: scan again.
    pub fn fill(&mut self, buffer: &mut [u8]) -> Result<usize, Error> {
        let (mut used, mut hashed) = (0, 0);
        while used < buffer.len() {
            let end = buffer.len().min(used + STEP);
            let Some(count) = self.some(&mut buffer[used..end])? else {
                break;
            };
            used += count;
            if used - hashed >= STEP {
                let whole = used - used % HASHED;
                self.hash.update(&buffer[hashed..whole]);
                hashed = whole;
            }
        }
        self.hash.update(&buffer[hashed..used]);
        Ok(used)
    }

    /// The digest of all that was read: of the whole tar once [`PackReader::fill`] came to its end.
    pub fn finish(self) -> H::Output {
        self.hash.finish()
    }

    /// At least something, but at the end; zero only where a file turned out to be empty.
    fn some(&mut self, buffer: &mut [u8]) -> Result<Option<usize>, Error> {
        if self.passed < self.header.len() {
            let count = buffer.len().min(self.header.len() - self.passed);
            buffer[..count].copy_from_slice(&self.header[self.passed..self.passed + count]);
            self.passed += count;
            return Ok(Some(count));
        }
        if self.file.is_some() {
            return self.data(buffer).map(Some);
        }
        if self.zeros > 0 {
            let count = usize::try_from(self.zeros).map_or(buffer.len(), |n| n.min(buffer.len()));
            buffer[..count].fill(0);
            self.zeros -= count as u64;
            return Ok(Some(count));
        }
        if let Some(node) = self.left.next() {
            self.begin(node)?;
            return Ok(Some(0));
        }
        if self.ended {
            return Ok(None);
        }
        self.ended = true;
        self.zeros = END;
        Ok(Some(0))
    }

    fn begin(&mut self, node: usize) -> Result<(), Error> {
        let entry = self.tree.entry(&self.tree.nodes[node]);
        self.header.clear();
        self.passed = 0;
        entry.record().append_to(&mut self.header);
        if entry.kind == Kind::File {
            let file = open(&self.tree, &mut self.handles, &entry)?;
            let missing = entry.stamp.size;
            self.file = Some(Open {
                file,
                node,
                missing,
            });
        }
        Ok(())
    }

    fn data(&mut self, buffer: &mut [u8]) -> Result<usize, Error> {
        let Some(open) = &mut self.file else {
            return Ok(0);
        };
        let entry = self.tree.entry(&self.tree.nodes[open.node]);
        let on_disk = || self.tree.place.on_disk(entry.path);
        let room = usize::try_from(open.missing).map_or(buffer.len(), |n| n.min(buffer.len()));
        let count = loop {
            match open.file.read(&mut buffer[..room]) {
                Ok(count) => break count,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => {
                    // Something else may lie in its place.
                    check(&self.tree, &open.file, &entry)?;
                    return Err(Error::read(on_disk(), error));
                }
            }
        };
        open.missing -= count as u64;
        if count == 0 && open.missing > 0 {
            return Err(Error::Changed { path: on_disk() });
        }
        if open.missing == 0 {
            check(&self.tree, &open.file, &entry)?;
            self.file = None;
            self.zeros = entry.stamp.size.next_multiple_of(BLOCK) - entry.stamp.size;
        }
        Ok(count)
    }
}

fn open(
    tree: &Tree,
    handles: &mut Option<Handles<OwnedFd>>,
    entry: &Entry<'_>,
) -> Result<File, Error> {
    let opened = match handles {
        None => openat(CWD, &tree.place.root, READ, Mode::empty()),
        Some(handles) => handles
            .parent(tree.place.below(entry.path))
            .and_then(|(parent, name)| {
                openat(parent, name, READ | OFlags::NOFOLLOW, Mode::empty())
            }),
    };
    let opened = opened.map_err(|error| Error::gone_or(tree.place.on_disk(entry.path), error))?;
    let file = File::from(opened);
    // It is checked when it was read; before, only where that comes late.
    if entry.stamp.size > STEP as u64 {
        check(tree, &file, entry)?;
    }
    Ok(file)
}

/// That it is still what the scan saw.
fn check(tree: &Tree, file: &File, entry: &Entry<'_>) -> Result<(), Error> {
    let stat = fstat(file).map_err(|error| Error::read(tree.place.on_disk(entry.path), error))?;
    if type_of(&stat) == FileType::RegularFile && Stamp::of(&stat) == entry.stamp {
        return Ok(());
    }
    Err(Error::Changed {
        path: tree.place.on_disk(entry.path),
    })
}
