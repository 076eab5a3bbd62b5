//! An output directory on its way home, while hostile hands may still be in it.

use std::fs::File;
use std::io::Write;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, Stat, fstat, openat, readlinkat, statat};
use rustix::io::Errno;

use crate::blocks::{Blocks, Copied};
use crate::digest::{Checksum, Proof};
use crate::error::Error;
use crate::handles::Handles;
use crate::left_out::{LeftOut, LeftOuts};
use crate::listing::Listing;
use crate::name::MAX_PATH;
use crate::record::{Kind, Record};
use crate::stamp::{permissions_of, seconds_of, size_of, special_name, type_of};

/// What an output directory was packed into.
#[derive(Debug, Clone)]
pub struct PackedOutputs {
    /// Entries packed.
    pub entries: u64,
    /// Bytes of files packed.
    pub bytes: u64,
    /// The first hundred of special files, unreadable ones and those beyond the limit; and of files that were packed,
    /// but shrank or failed while being read, whose missing bytes are zeros.
    pub left_out: Vec<LeftOut>,
    /// How many.
    pub left_out_total: u64,
    /// Of the tar.
    pub digest: Checksum,
}

/// Packs an output directory as a stream: paths relative to it, modification times kept, a writer in the
/// background tolerated (a file is cut, or filled with zeros, to the size it had when its header was written).
///
/// A directory that is missing, or is no directory (a link included), packs as empty. `out` gets an uncompressed tar
/// in large writes; give a [`PackWriter`](crate::PackWriter) to have it compressed, and finish it afterwards.
///
/// `limit` is for the files' bytes: one that does not fit is left out, and smaller ones after it may still fit.
/// Directories come before what is in them, siblings in the order of their bytes. No link is followed, and no path is
/// looked up from the top, so that swapping directories for links meanwhile leads nowhere. Only an error of `out`
/// ends the packing. Memory grows with the entries of the directories on the way down, not with all of them.
pub fn pack_outputs<W: Write>(
    root: &Path,
    out: W,
    limit: Option<u64>,
) -> Result<PackedOutputs, Error> {
    let mut packer = Packer {
        blocks: Blocks::new(out),
        left: limit,
        entries: 0,
        bytes: 0,
        left_out: LeftOuts::default(),
    };
    // A final slash would make the system follow a link.
    let root: std::path::PathBuf = root.components().collect();
    match openat(CWD, &root, LIST, Mode::empty()) {
        Ok(handle) => packer.walk(handle)?,
        Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => {}
        Err(errno) => packer.left_out.add(b".", reason(errno)),
    }
    Ok(PackedOutputs {
        entries: packer.entries,
        bytes: packer.bytes,
        left_out: packer.left_out.named,
        left_out_total: packer.left_out.total,
        digest: packer.blocks.finish()?,
    })
}

const LIST: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC);
/// Opening must neither wait for a fifo's other end nor take a terminal.
const READ: OFlags = OFlags::RDONLY
    .union(OFlags::NOFOLLOW)
    .union(OFlags::NONBLOCK)
    .union(OFlags::NOCTTY)
    .union(OFlags::CLOEXEC);

struct Packer<W> {
    blocks: Blocks<W, Proof>,
    /// Bytes that still fit, if there is a limit.
    left: Option<u64>,
    entries: u64,
    bytes: u64,
    left_out: LeftOuts,
}

/// A directory whose entries are being packed.
struct Level {
    listing: Listing,
    /// How long its path is.
    len: usize,
}

impl<W: Write> Packer<W> {
    fn walk(&mut self, root: OwnedFd) -> Result<(), Error> {
        let mut handles = Handles::new(root);
        let mut path = Vec::new();
        let mut levels = Vec::new();
        levels.extend(self.level(&mut handles, &path));
        while let Some(level) = levels.last_mut() {
            path.truncate(level.len);
            let Some((name, kind)) = level.listing.next() else {
                levels.pop();
                continue;
            };
            if !path.is_empty() {
                path.push(b'/');
            }
            path.extend_from_slice(name);
            if path.len() > MAX_PATH {
                self.left_out.add(&path, "has a path that is too long");
            } else if self.entry(&mut handles, &path, kind)? {
                levels.extend(self.level(&mut handles, &path));
            }
        }
        Ok(())
    }

    /// What is in a directory, if it can be read.
    fn level(&mut self, handles: &mut Handles<OwnedFd>, path: &[u8]) -> Option<Level> {
        let listing = handles
            .directory(path)
            .and_then(|directory| openat(directory, c".", LIST, Mode::empty()))
            .and_then(Listing::read);
        match listing {
            Ok(listing) => Some(Level {
                listing,
                len: path.len(),
            }),
            Err(errno) => {
                let shown = if path.is_empty() { b"." } else { path };
                self.left_out
                    .add(shown, format!("cannot be listed: {}", reason(errno)));
                None
            }
        }
    }

    /// Says whether it is a directory to go down into.
    fn entry(
        &mut self,
        handles: &mut Handles<OwnedFd>,
        path: &[u8],
        kind: FileType,
    ) -> Result<bool, Error> {
        let (parent, name) = match handles.parent(path) {
            Ok(found) => found,
            Err(errno) => return Ok(self.refuse(path, reason(errno))),
        };
        if kind == FileType::RegularFile {
            return self.file(parent, name, path);
        }
        let stat = match statat(parent, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => stat,
            Err(errno) => return Ok(self.refuse(path, reason(errno))),
        };
        match type_of(&stat) {
            FileType::RegularFile => self.file(parent, name, path),
            FileType::Directory => {
                self.header(&record(path, Kind::Directory, &stat, b""))?;
                Ok(true)
            }
            FileType::Symlink => match readlinkat(parent, name, Vec::new()) {
                Ok(target) => {
                    self.header(&record(path, Kind::Link, &stat, target.as_bytes()))?;
                    Ok(false)
                }
                Err(errno) => Ok(self.refuse(path, reason(errno))),
            },
            special => Ok(self.refuse(path, format!("is a {}", special_name(special)))),
        }
    }

    fn file(&mut self, parent: impl AsFd, name: &[u8], path: &[u8]) -> Result<bool, Error> {
        let opened = openat(parent, name, READ, Mode::empty())
            .and_then(|handle| Ok((fstat(&handle)?, File::from(handle))));
        let (stat, mut file) = match opened {
            Ok(opened) => opened,
            Err(errno) => return Ok(self.refuse(path, reason(errno))),
        };
        if type_of(&stat) != FileType::RegularFile {
            return Ok(self.refuse(path, "was replaced while being packed"));
        }
        let size = size_of(&stat);
        if self.left.is_some_and(|left| size > left) {
            return Ok(self.refuse(path, "is beyond the output limit"));
        }
        self.left = self.left.map(|left| left - size);
        self.header(&record(path, Kind::File, &stat, b""))?;
        let missing = match self.blocks.copy(&mut file, size)? {
            Copied::Whole => 0,
            Copied::Short(missing) => {
                self.left_out.add(
                    path,
                    format!("shrank while being packed: its last {missing} bytes are zeros"),
                );
                missing
            }
            Copied::Failed(missing, error) => {
                self.left_out.add(
                    path,
                    format!(
                        "cannot be read to its end ({error}): its last {missing} bytes are zeros"
                    ),
                );
                missing
            }
        };
        self.blocks.zeros(missing)?;
        self.blocks.pad(size)?;
        self.bytes += size;
        Ok(false)
    }

    fn header(&mut self, record: &Record<'_>) -> Result<(), Error> {
        self.entries += 1;
        self.blocks.header(record)
    }

    /// Nothing to go down into.
    fn refuse(&mut self, path: &[u8], reason: impl Into<String>) -> bool {
        self.left_out.add(path, reason);
        false
    }
}

fn record<'a>(path: &'a [u8], kind: Kind, stat: &Stat, link: &'a [u8]) -> Record<'a> {
    Record {
        path,
        kind,
        mode: permissions_of(stat),
        size: if kind == Kind::File { size_of(stat) } else { 0 },
        mtime: seconds_of(stat),
        link,
    }
}

fn reason(errno: Errno) -> String {
    match errno {
        Errno::NOENT => "vanished while being packed".to_owned(),
        Errno::NOTDIR | Errno::LOOP => "was replaced while being packed".to_owned(),
        Errno::ACCESS | Errno::PERM => "may not be read".to_owned(),
        // Opening a socket that took a file's place.
        Errno::NXIO => "is a special file".to_owned(),
        errno => format!("cannot be read: {}", std::io::Error::from(errno)),
    }
}
