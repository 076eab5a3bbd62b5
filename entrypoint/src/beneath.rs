//! Paths below the workspace, whatever its owner made of the way to them: no link is followed.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{AtFlags, CWD, Mode, OFlags, chownat, mkdirat, openat};
use rustix::io::Errno;
use rustix::process::{Gid, Uid};

use crate::user::User;

const DIRECTORY: OFlags = OFlags::PATH
    .union(OFlags::DIRECTORY)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC);

const CREATE: OFlags = OFlags::WRONLY
    .union(OFlags::CREATE)
    .union(OFlags::EXCL)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC);

/// A directory to be packed.
#[derive(Debug, Clone)]
pub(crate) enum Directory {
    /// Everything above it is ours.
    At(PathBuf),
    /// An open directory of the workspace, and a name in it.
    In(Arc<OwnedFd>, OsString),
}

impl Directory {
    /// A directory below the workspace; `None` where the way to it is not there, or leads through a link.
    pub(crate) fn find(workspace: &Path, path: &OsStr) -> io::Result<Option<Self>> {
        if !path.as_bytes().contains(&b'/') {
            return Ok(Some(Self::At(workspace.join(path))));
        }
        match open_parent(workspace, path, |_, _| Ok(())) {
            // Nothing else names an open directory's entry.
            Ok(_) if !Path::new("/proc/self/fd").exists() => Err(io::Error::new(
                io::ErrorKind::Unsupported,
                "there is no `/proc` to find it by",
            )),
            Ok((parent, name)) => Ok(Some(Self::In(Arc::new(parent), name))),
            Err(error) if is_not_there(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Names it as long as this value lives.
    pub(crate) fn path(&self) -> PathBuf {
        match self {
            Self::At(path) => path.clone(),
            Self::In(parent, name) => {
                Path::new(&format!("/proc/self/fd/{}", parent.as_raw_fd())).join(name)
            }
        }
    }
}

/// A link in a directory's place is no directory.
fn is_not_there(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
    )
}

/// Creates a file that was not there, readable for its owner alone, with the directories on the way.
pub(crate) fn create(
    workspace: &Path,
    path: &OsStr,
    content: &[u8],
    owner: Option<&User>,
) -> io::Result<()> {
    let (parent, name) = open_parent(workspace, path, |parent, name| {
        match mkdirat(parent, name, Mode::from_raw_mode(0o755)) {
            Ok(()) => own(parent, name, owner),
            Err(Errno::EXIST) => Ok(()),
            Err(error) => Err(error),
        }
    })?;
    let file = openat(&parent, &name, CREATE, Mode::from_raw_mode(0o600))?;
    File::from(file).write_all(content)?;
    Ok(own(&parent, &name, owner)?)
}

fn own(parent: &OwnedFd, name: &OsStr, owner: Option<&User>) -> Result<(), Errno> {
    let Some(user) = owner else {
        return Ok(());
    };
    let (uid, gid) = (Uid::from_raw(user.uid), Gid::from_raw(user.gid));
    chownat(
        parent,
        name,
        Some(uid),
        Some(gid),
        AtFlags::SYMLINK_NOFOLLOW,
    )
}

/// The directory that a path's last part lies in; `enter` is called before each directory on the way is opened.
fn open_parent(
    root: &Path,
    path: &OsStr,
    enter: impl Fn(&OwnedFd, &OsStr) -> Result<(), Errno>,
) -> io::Result<(OwnedFd, OsString)> {
    let mut parts: Vec<_> = path.as_bytes().split(|&byte| byte == b'/').collect();
    let name = OsStr::from_bytes(parts.pop().unwrap_or_default()).to_owned();
    let mut parent = openat(CWD, root, DIRECTORY, Mode::empty())?;
    for part in parts {
        let part = OsStr::from_bytes(part);
        enter(&parent, part)?;
        parent = openat(&parent, part, DIRECTORY, Mode::empty())?;
    }
    Ok((parent, name))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_file_is_made_with_its_directories_and_never_through_a_link() {
        let outside = tempfile::tempdir().unwrap();
        let root = tempfile::tempdir().unwrap();
        let make = |path: &str| create(root.path(), path.as_ref(), b"content", None);
        make("a/b/c").unwrap();
        assert_eq!(
            std::fs::read(root.path().join("a/b/c")).unwrap(),
            b"content"
        );
        assert_eq!(
            make("a/b/c").unwrap_err().kind(),
            io::ErrorKind::AlreadyExists
        );
        symlink(outside.path(), root.path().join("link")).unwrap();
        assert!(make("link/evil").is_err());
        symlink(outside.path().join("evil"), root.path().join("file")).unwrap();
        assert!(make("file").is_err());
        assert_eq!(std::fs::read_dir(outside.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_directory_is_found_and_never_through_a_link() {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(root.path().join("a/b")).unwrap();
        symlink("a", root.path().join("link")).unwrap();
        let find = |path: &str| Directory::find(root.path(), path.as_ref()).unwrap();
        assert!(find("a/b").unwrap().path().is_dir());
        assert!(find("a").unwrap().path().is_dir());
        for path in ["link/b", "none/b", "a/none/b"] {
            assert!(find(path).is_none(), "{path}");
        }
    }
}
