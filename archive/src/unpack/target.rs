//! Making entries below the target, in open directories only.

use std::collections::HashMap;
use std::fs::File;
use std::io::Write;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;
use std::sync::atomic::Ordering;

use rustix::fs::{
    AtFlags, FileType, Gid, Mode, OFlags, Timespec, Timestamps, UTIME_OMIT, Uid, chownat, fchmod,
    fchown, futimens, mkdirat, openat, statat, symlinkat, utimensat,
};
use rustix::io::Errno;

use super::members::{Member, Members, What};
use super::{Links, Policy, Unpacker};
use crate::error::Error;
use crate::handles::Handles;
use crate::name::{as_path, checked, leads_out, split};
use crate::stamp::type_of;

/// While unpacking; the final permissions come last, because they may forbid writing.
const WORKING: Mode = Mode::RWXU;
/// Of a directory that has no entry of its own.
const IMPLIED: u32 = 0o755;
/// The end of the year 9999: beyond it, system calls may refuse a time.
const LAST_TIME: u64 = 253_402_300_799;

/// Why an entry was not made.
pub(super) enum Fate {
    /// It may not be.
    Refused(&'static str),
    /// The system did not let it be.
    Failed(Errno),
    /// Nothing more can be made.
    Stopped(Error),
}

impl From<Errno> for Fate {
    fn from(errno: Errno) -> Self {
        Self::Failed(errno)
    }
}

/// What a directory gets at the end. Without a mode it has had no entry yet.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Mark {
    mode: Option<u32>,
    mtime: Option<u64>,
}

pub(super) struct Target<'a> {
    unpacker: &'a Unpacker,
    handles: Handles<BorrowedFd<'a>>,
}

impl<'a> Target<'a> {
    pub(super) fn new(unpacker: &'a Unpacker) -> Self {
        Self {
            unpacker,
            handles: Handles::new(unpacker.target.as_fd()),
        }
    }

    pub(super) fn place(&mut self, member: &Member, members: &mut Members<'_>) -> Result<(), Fate> {
        if let What::Refused(reason) = member.what {
            return Err(Fate::Refused(reason));
        }
        let path = checked(&member.path).map_err(Fate::Refused)?;
        match &member.what {
            // The target itself, as `tar -C dir .` packs it: it is there.
            What::Directory if path.is_empty() => return Ok(()),
            _ if path.is_empty() => return Err(Fate::Refused("has no name")),
            What::File if member.path.ends_with(b"/") => {
                return Err(Fate::Refused("is a file named as a directory"));
            }
            What::File => self.file(&path, member, members)?,
            What::Directory => self.directory(&path, member)?,
            What::Link(target) => self.link(&path, target, member)?,
            What::Refused(_) => {}
        }
        self.unpacker.totals.made.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    fn file(
        &mut self,
        path: &[u8],
        member: &Member,
        members: &mut Members<'_>,
    ) -> Result<(), Fate> {
        let (parent, name) = self.parent(path)?;
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut file = File::from(openat(parent, name, flags, Mode::RUSR | Mode::WUSR)?);
        let stopped = |source: std::io::Error| {
            Fate::Stopped(Error::write(self.unpacker.path.join(as_path(path)), source))
        };
        loop {
            let bytes = members.data().map_err(Fate::Stopped)?;
            if bytes.is_empty() {
                break;
            }
            file.write_all(bytes).map_err(stopped)?;
            let count = bytes.len();
            members.took(count);
        }
        let policy = &self.unpacker.policy;
        settle_one(&file, policy, member.mode, Some(member.mtime))
            .map_err(|errno| stopped(errno.into()))?;
        self.unpacker
            .totals
            .bytes
            .fetch_add(member.size, Ordering::Relaxed);
        Ok(())
    }

    fn directory(&mut self, path: &[u8], member: &Member) -> Result<(), Fate> {
        let unpacker = self.unpacker;
        let (parent, name) = self.parent(path)?;
        unpacker.claim_directory(path).map_err(Fate::Stopped)?;
        // Held while making it, so that another thread that needs it cannot come between.
        let mut marks = unpacker.directories();
        match mkdirat(parent, name, WORKING) {
            Err(Errno::EXIST) => {
                let is_taken = match marks.get(path) {
                    Some(mark) => mark.mode.is_some(),
                    None => {
                        type_of(&statat(parent, name, AtFlags::SYMLINK_NOFOLLOW)?)
                            != FileType::Directory
                    }
                };
                if is_taken {
                    return Err(Errno::EXIST.into());
                }
            }
            made => made?,
        }
        let mark = Mark {
            mode: Some(member.mode),
            mtime: Some(member.mtime),
        };
        marks.insert(path.to_vec(), mark);
        Ok(())
    }

    fn link(&mut self, path: &[u8], target: &[u8], member: &Member) -> Result<(), Fate> {
        let (policy, top) = (&self.unpacker.policy, &self.unpacker.path);
        let refused = match policy.links {
            Links::InsideOnly => leads_out(path, target),
            Links::Keep if target.is_empty() => Some("is a link to nothing"),
            Links::Keep => None,
        };
        if let Some(reason) = refused {
            return Err(Fate::Refused(reason));
        }
        let (parent, name) = self.parent(path)?;
        symlinkat(target, parent, name)?;
        settle_link(parent, name, policy, member.mtime)
            .map_err(|errno| Fate::Stopped(Error::write(top.join(as_path(path)), errno)))
    }

    /// The directory that `path` goes into, made if it is missing.
    fn parent<'p>(&mut self, path: &'p [u8]) -> Result<(BorrowedFd<'_>, &'p [u8]), Fate> {
        let (parent, name) = split(path);
        let unpacker = self.unpacker;
        let made = self.handles.directory_or(parent, |above, name, path| {
            unpacker.claim_entries(1).map_err(Fate::Stopped)?;
            unpacker.claim_directory(path).map_err(Fate::Stopped)?;
            let mut marks = unpacker.directories();
            match mkdirat(above, name, WORKING) {
                Ok(()) => drop(marks.insert(path.to_vec(), Mark::default())),
                // Another thread was faster.
                Err(Errno::EXIST) => {}
                Err(errno) => return Err(errno.into()),
            }
            Ok(())
        });
        match made {
            Err(Fate::Failed(Errno::NOTDIR | Errno::LOOP)) => {
                Err(Fate::Refused("lies below what is no directory"))
            }
            made => Ok((made?, name)),
        }
    }
}

/// Why an entry that the system did not let be is refused, if it is the entry's fault.
pub(super) fn refusal(errno: Errno) -> Option<&'static str> {
    match errno {
        Errno::EXIST => Some("is there already"),
        Errno::NAMETOOLONG => Some("has a name that is too long"),
        Errno::INVAL | Errno::ILSEQ => Some("has a name that this file system does not take"),
        _ => None,
    }
}

/// Gives directories what they get at the end, those below before those above.
pub(super) fn settle(
    top: &Path,
    target: BorrowedFd<'_>,
    policy: &Policy,
    marks: HashMap<Vec<u8>, Mark>,
) -> Result<(), Error> {
    let mut marks: Vec<_> = marks.into_iter().collect();
    marks.sort_unstable_by(|(one, _), (other, _)| other.cmp(one));
    let mut handles = Handles::new(target);
    for (path, mark) in marks {
        let mode = mark.mode.unwrap_or(IMPLIED);
        handles
            .directory(&path)
            .and_then(|directory| settle_one(directory, policy, mode, mark.mtime))
            .map_err(|errno| Error::write(top.join(as_path(&path)), errno))?;
    }
    Ok(())
}

/// Owner first: changing it may change the permissions.
fn settle_one(
    handle: impl AsFd,
    policy: &Policy,
    mode: u32,
    mtime: Option<u64>,
) -> Result<(), Errno> {
    if let Some((user, group)) = policy.owner {
        fchown(
            &handle,
            Some(Uid::from_raw(user)),
            Some(Gid::from_raw(group)),
        )?;
    }
    fchmod(&handle, Mode::from_bits_truncate(mode & 0o777))?;
    match mtime {
        Some(mtime) if policy.keep_mtimes => futimens(&handle, &times(mtime)),
        _ => Ok(()),
    }
}

fn settle_link(
    parent: BorrowedFd<'_>,
    name: &[u8],
    policy: &Policy,
    mtime: u64,
) -> Result<(), Errno> {
    if let Some((user, group)) = policy.owner {
        let (user, group) = (Uid::from_raw(user), Gid::from_raw(group));
        chownat(
            parent,
            name,
            Some(user),
            Some(group),
            AtFlags::SYMLINK_NOFOLLOW,
        )?;
    }
    if policy.keep_mtimes {
        utimensat(parent, name, &times(mtime), AtFlags::SYMLINK_NOFOLLOW)?;
    }
    Ok(())
}

fn times(mtime: u64) -> Timestamps {
    Timestamps {
        last_access: Timespec {
            tv_sec: 0,
            tv_nsec: UTIME_OMIT,
        },
        last_modification: Timespec {
            tv_sec: i64::try_from(mtime.min(LAST_TIME)).unwrap_or_default(),
            tv_nsec: 0,
        },
    }
}
