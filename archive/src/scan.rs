//! The walk over an input: one stat an entry, no reads.

use std::ffi::CStr;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use ignore::gitignore::{Gitignore, GitignoreBuilder};
use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, Stat, openat, readlinkat, statat};
use rustix::io::Errno;

use crate::error::Error;
use crate::handles::Handles;
use crate::name::{MAX_PATH, as_path};
use crate::record::Kind;
use crate::stamp::{Stamp, permissions_of, special_name, type_of};
use crate::tree::{Node, Tree};

/// The only filter, at an input's root.
const IGNORE_FILE: &str = ".sortieignore";

pub(crate) fn scan(name: &[u8], root: &Path) -> Result<Tree, Error> {
    let stat = match statat(CWD, root, AtFlags::empty()) {
        // A link to nothing, or to itself.
        Err(Errno::NOENT | Errno::LOOP) => statat(CWD, root, AtFlags::SYMLINK_NOFOLLOW),
        other => other,
    }
    .map_err(|error| Error::read(root, error))?;
    let mut walk = Walk {
        tree: Tree {
            root: root.to_path_buf(),
            top: name.len() + 1,
            nodes: Vec::new(),
            names: Vec::new(),
            warnings: Vec::new(),
        },
        ignore: Gitignore::empty(),
        pending: Vec::new(),
    };
    walk.add(CWD, root, name, &stat)?;
    if walk.tree.is_directory() {
        walk.ignore = ignore_file(root)?;
        walk.descend()?;
    }
    Ok(walk.sorted())
}

struct Walk {
    tree: Tree,
    ignore: Gitignore,
    /// Directories to list, by index.
    pending: Vec<usize>,
}

impl Walk {
    fn descend(&mut self) -> Result<(), Error> {
        let root = &self.tree.root;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let handle =
            openat(CWD, root, flags, Mode::empty()).map_err(|error| Error::read(root, error))?;
        let mut handles = Handles::new(handle);
        while let Some(index) = self.pending.pop() {
            let path = self.tree.path(&self.tree.nodes[index]).to_vec();
            let on_disk = |error| Error::read(self.tree.on_disk(&path), error);
            let handle = open_directory(&mut handles, self.tree.below(&path)).map_err(on_disk)?;
            self.list(handle, path)?;
        }
        Ok(())
    }

    fn list(&mut self, handle: OwnedFd, mut path: Vec<u8>) -> Result<(), Error> {
        let read = |tree: &Tree, path: &[u8], error: Errno| Error::read(tree.on_disk(path), error);
        let mut dir = Dir::new(handle).map_err(|error| read(&self.tree, &path, error))?;
        path.push(b'/');
        let len = path.len();
        while let Some(entry) = dir.read() {
            path.truncate(len);
            let entry = entry.map_err(|error| read(&self.tree, &path, error))?;
            let name = entry.file_name();
            if matches!(name.to_bytes(), b"." | b"..") {
                continue;
            }
            path.extend_from_slice(name.to_bytes());
            let handle = dir.fd().map_err(|error| read(&self.tree, &path, error))?;
            self.see(handle, name, &path)?;
        }
        Ok(())
    }

    fn see(&mut self, parent: impl AsFd, name: &CStr, path: &[u8]) -> Result<(), Error> {
        let stat = match statat(&parent, name, AtFlags::SYMLINK_NOFOLLOW) {
            // It went away between the listing and now: it is not there.
            Err(Errno::NOENT) => return Ok(()),
            other => other.map_err(|error| Error::read(self.tree.on_disk(path), error))?,
        };
        let is_directory = type_of(&stat) == FileType::Directory;
        if self
            .ignore
            .matched(as_path(self.tree.below(path)), is_directory)
            .is_ignore()
        {
            return Ok(());
        }
        self.add(parent, name, path, &stat)
    }

    fn add(
        &mut self,
        parent: impl AsFd,
        name: impl rustix::path::Arg,
        path: &[u8],
        stat: &Stat,
    ) -> Result<(), Error> {
        let begin = self.tree.names.len();
        let too_long = |tree: &Tree| Error::LongPath {
            path: tree.on_disk(path),
            max: MAX_PATH,
        };
        if path.len() > MAX_PATH {
            return Err(too_long(&self.tree));
        }
        let (kind, stamp, link) = match type_of(stat) {
            FileType::RegularFile => (Kind::File, Stamp::of(stat), Vec::new()),
            FileType::Directory => (Kind::Directory, Stamp::default(), Vec::new()),
            FileType::Symlink => {
                let target = readlinkat(parent, name, Vec::new())
                    .map_err(|error| Error::read(self.tree.on_disk(path), error))?;
                (Kind::Link, Stamp::default(), target.into_bytes())
            }
            special => {
                return Err(Error::Special {
                    path: self.tree.on_disk(path),
                    kind: special_name(special),
                });
            }
        };
        if kind == Kind::Directory {
            self.pending.push(self.tree.nodes.len());
        }
        let short = |len: usize| u16::try_from(len).map_err(|_| too_long(&self.tree));
        let node = Node {
            start: begin,
            path_len: short(path.len())?,
            link_len: short(link.len())?,
            mode: u16::try_from(permissions_of(stat)).unwrap_or(0),
            kind,
            stamp,
        };
        self.tree.nodes.push(node);
        self.tree.names.extend_from_slice(path);
        self.tree.names.extend_from_slice(&link);
        Ok(())
    }

    fn sorted(self) -> Tree {
        let mut tree = self.tree;
        let mut nodes = std::mem::take(&mut tree.nodes);
        nodes.sort_unstable_by(|one, other| tree.path(one).cmp(tree.path(other)));
        tree.nodes = nodes;
        tree
    }
}

/// A handle of its own, which listing uses up.
fn open_directory(handles: &mut Handles<OwnedFd>, path: &[u8]) -> Result<OwnedFd, Errno> {
    let (parent, name) = handles.parent(path)?;
    let name = if name.is_empty() { b"." } else { name };
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    openat(parent, name, flags, Mode::empty())
}

fn ignore_file(root: &Path) -> Result<Gitignore, Error> {
    let path = root.join(IGNORE_FILE);
    match statat(CWD, &path, AtFlags::empty()) {
        Err(Errno::NOENT) => return Ok(Gitignore::empty()),
        other => other.map_err(|error| Error::read(&path, error))?,
    };
    let mut builder = GitignoreBuilder::new("");
    let built = match builder.add(&path) {
        None => builder.build(),
        Some(error) => Err(error),
    };
    built.map_err(|source| Error::IgnoreFile { path, source })
}
