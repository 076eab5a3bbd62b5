//! Removing what strangers have made, however deep, and whatever its permissions.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{
    AtFlags, CWD, FileType, Mode, OFlags, chmodat, fchmod, fstat, openat, statat, unlinkat,
};
use rustix::io::Errno;

use crate::listing::Listing;
use crate::stamp::type_of;

const LIST: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC);

/// Removes a directory and all that is in it, or whatever else is there; what is not there is no error.
///
/// No link is followed. Two directories are open at a time, where the standard library holds one for each level: a
/// tree of some thousand levels would meet the limit of open files. Directories of the user's own that may not be
/// written, listed or entered are opened up first.
pub fn remove_tree(path: &Path) -> io::Result<()> {
    // A final slash would make the system follow a link.
    let root: PathBuf = path.components().collect();
    let kind = match statat(CWD, &root, AtFlags::SYMLINK_NOFOLLOW) {
        Err(Errno::NOENT) => return Ok(()),
        found => type_of(&found?),
    };
    if kind != FileType::Directory {
        return Ok(unlinkat(CWD, &root, AtFlags::empty())?);
    }
    empty(open(CWD, &root)?)?;
    Ok(unlinkat(CWD, &root, AtFlags::REMOVEDIR)?)
}

/// A directory whose entries are being removed.
struct Level {
    name: Vec<u8>,
    listing: Listing,
    identity: (i128, i128),
}

impl Level {
    fn read(name: &[u8], directory: &OwnedFd) -> Result<Self, Errno> {
        Ok(Self {
            name: name.to_vec(),
            listing: Listing::read(openat(directory, c".", LIST, Mode::empty())?)?,
            identity: identity(directory)?,
        })
    }
}

fn empty(root: OwnedFd) -> Result<(), Errno> {
    let mut levels = vec![Level::read(b"", &root)?];
    let mut here = root;
    while let Some(level) = levels.last_mut() {
        if let Some((name, kind)) = level.listing.next() {
            let kind = match kind {
                FileType::Unknown => type_of(&statat(&here, name, AtFlags::SYMLINK_NOFOLLOW)?),
                known => known,
            };
            if kind == FileType::Directory {
                let below = open(&here, name)?;
                let level = Level::read(name, &below)?;
                levels.push(level);
                here = below;
            } else {
                unlinkat(&here, name, AtFlags::empty())?;
            }
        } else {
            let done = levels.pop();
            if let (Some(done), Some(above)) = (done, levels.last()) {
                here = parent_of(&here, above.identity)?;
                unlinkat(&here, &done.name[..], AtFlags::REMOVEDIR)?;
            }
        }
    }
    Ok(())
}

/// The way up, if it leads where the way down came from: a directory that was moved meanwhile has another parent.
fn parent_of(directory: &OwnedFd, expected: (i128, i128)) -> Result<OwnedFd, Errno> {
    let parent = openat(directory, c"..", LIST, Mode::empty())?;
    if identity(&parent)? == expected {
        Ok(parent)
    } else {
        Err(Errno::STALE)
    }
}

fn identity(directory: &OwnedFd) -> Result<(i128, i128), Errno> {
    let stat = fstat(directory)?;
    // Their types differ between systems.
    Ok((i128::from(stat.st_dev), i128::from(stat.st_ino)))
}

/// A directory that can be listed and written, if it is the user's own.
fn open(parent: impl AsFd, name: impl rustix::path::Arg + Copy) -> Result<OwnedFd, Errno> {
    let handle = match openat(&parent, name, LIST, Mode::empty()) {
        Err(Errno::ACCESS) => {
            chmodat(&parent, name, Mode::RWXU, AtFlags::empty())?;
            openat(&parent, name, LIST, Mode::empty())?
        }
        opened => opened?,
    };
    let mode = Mode::from_raw_mode(fstat(&handle)?.st_mode);
    if !mode.contains(Mode::RWXU) {
        // Somebody else's may still let itself be emptied by its group.
        let _ = fchmod(&handle, mode | Mode::RWXU);
    }
    Ok(handle)
}
