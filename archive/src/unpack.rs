//! The safe unpacking of strangers' archives.

mod gunzip;
mod members;
mod pipeline;
mod policy;
mod target;

use std::collections::HashMap;
use std::io::{BufRead, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::fs::{CWD, Mode, OFlags, openat};

use crate::digest::Checksum;
use crate::error::Error;
use crate::left_out::{LeftOut, LeftOuts};
use crate::name::as_path;
pub use gunzip::Gunzip;
use members::Members;
pub use policy::{Links, Policy, Refuse};
use target::{Fate, Mark, Target};

/// Unpacks one or several archives into one directory, from several threads if wished.
///
/// Nothing is ever reached by a path from the top: each entry is made in the open handle of its directory, and no
/// link is followed. An entry whose name is taken already is refused, whatever holds it. Regular files, directories
/// and symbolic links are made; GNU long names and pax' `path`, `linkpath` and `size` are understood; every other
/// kind, hard links included, is refused. Set-id and sticky bits are dropped.
///
/// Packs of one input may come in any order: a directory needed before its own entry is made first, and gets its
/// permissions in [`Unpacker::finish`]; one that never has an entry gets 755.
#[derive(Debug)]
pub struct Unpacker {
    path: PathBuf,
    target: OwnedFd,
    policy: Policy,
    directories: Mutex<HashMap<Vec<u8>, Mark>>,
    left_out: Mutex<LeftOuts>,
    totals: Totals,
}

/// Counted over all archives.
#[derive(Debug, Default)]
struct Totals {
    /// Headers met, blocks of long names, and directories made without a header.
    seen: AtomicU64,
    /// Bytes of the paths of directories that are remembered until the end.
    remembered: AtomicU64,
    /// Bytes of data announced.
    announced: AtomicU64,
    made: AtomicU64,
    bytes: AtomicU64,
}

/// What was unpacked.
#[derive(Debug, Clone, Default)]
pub struct Unpacked {
    /// Entries made.
    pub entries: u64,
    /// Bytes of files.
    pub bytes: u64,
    /// The first hundred left out.
    pub left_out: Vec<LeftOut>,
    /// How many were left out.
    pub left_out_total: u64,
}

impl Unpacker {
    /// `target` must exist; nothing outside it is ever touched, even through links inside it.
    pub fn new(target: &Path, policy: Policy) -> Result<Self, Error> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let handle = openat(CWD, target, flags, Mode::empty())
            .map_err(|error| Error::write(target, error))?;
        Ok(Self {
            path: target.to_path_buf(),
            target: handle,
            policy,
            directories: Mutex::default(),
            left_out: Mutex::default(),
            totals: Totals::default(),
        })
    }

    /// One archive (gzip, any number of members), to its very end. Returns the checksum of all bytes of its tar stream.
    ///
    /// With more than one core, and more than a little to unpack, this thread decompresses and another one writes.
    /// After an error what was made stays, so the same archive cannot be tried again in the same target: let `gzip`
    /// itself resume where its source broke.
    pub fn unpack<R: Read>(&self, gzip: R) -> Result<Checksum, Error> {
        pipeline::run(gzip, |tar| self.unpack_tar(tar))
    }

    /// Sets what must come last: permissions, times and owners of directories, the deepest first.
    pub fn finish(self) -> Result<Unpacked, Error> {
        let marks = self
            .directories
            .into_inner()
            .unwrap_or_else(PoisonError::into_inner);
        target::settle(&self.path, self.target.as_fd(), &self.policy, marks)?;
        let left_out = self
            .left_out
            .into_inner()
            .unwrap_or_else(PoisonError::into_inner);
        Ok(Unpacked {
            entries: self.totals.made.into_inner(),
            bytes: self.totals.bytes.into_inner(),
            left_out: left_out.named,
            left_out_total: left_out.total,
        })
    }

    fn unpack_tar(&self, tar: &mut dyn BufRead) -> Result<(), Error> {
        let mut members = Members::new(tar, self);
        let mut target = Target::new(self);
        while let Some(member) = members.next()? {
            match target.place(&member, &mut members) {
                Ok(()) => {}
                Err(Fate::Refused(reason)) => self.leave_out(&member.path, reason)?,
                Err(Fate::Stopped(error)) => return Err(error),
                Err(Fate::Failed(errno)) => match target::refusal(errno) {
                    Some(reason) => self.leave_out(&member.path, reason)?,
                    None => return Err(Error::write(self.path.join(as_path(&member.path)), errno)),
                },
            }
        }
        if members.has_rest() {
            self.leave_out(b"", "is data after the archive's end")?;
        }
        Ok(())
    }

    fn leave_out(&self, path: &[u8], reason: &'static str) -> Result<(), Error> {
        if self.policy.refuse == Refuse::Fail {
            return Err(Error::Refused {
                path: path.to_vec(),
                reason,
            });
        }
        let mut left_out = self.left_out.lock().unwrap_or_else(PoisonError::into_inner);
        left_out.add(path, reason);
        Ok(())
    }

    fn directories(&self) -> MutexGuard<'_, HashMap<Vec<u8>, Mark>> {
        self.directories
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn claim_entries(&self, count: u64) -> Result<(), Error> {
        claim(&self.totals.seen, count, "entries", self.policy.max_entries)
    }

    fn claim_directory(&self, path: &[u8]) -> Result<(), Error> {
        claim(
            &self.totals.remembered,
            path.len() as u64,
            "bytes of directories' names",
            self.policy.max_directory_names,
        )
    }

    fn claim_bytes(&self, bytes: u64) -> Result<(), Error> {
        claim(
            &self.totals.announced,
            bytes,
            "bytes",
            self.policy.max_bytes,
        )
    }
}

fn claim(total: &AtomicU64, more: u64, what: &'static str, max: u64) -> Result<(), Error> {
    let add = |now: u64| now.checked_add(more).filter(|&sum| sum <= max);
    match total.fetch_update(Ordering::Relaxed, Ordering::Relaxed, add) {
        Ok(_) => Ok(()),
        Err(_) => Err(Error::Limit { what, max }),
    }
}
