//! Open directories below a root, found by their path's bytes and never through a link.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{Mode, OFlags, openat};
use rustix::io::Errno;

use crate::name::split;

/// Enough for the directories that a sorted list goes to and fro between; few enough for many threads under `ulimit -n 1024`.
const MAX_OPEN: usize = 24;

/// Keeps the directories used last open, so that an entry costs one short lookup, whatever its depth.
#[derive(Debug)]
pub(crate) struct Handles<F> {
    root: F,
    /// The one used last comes last.
    open: Vec<(Vec<u8>, OwnedFd)>,
}

impl<F: AsFd> Handles<F> {
    pub(crate) fn new(root: F) -> Self {
        Self {
            root,
            open: Vec::new(),
        }
    }

    /// The directory at `path` (empty for the root). Links and what is no directory are `ELOOP` or `ENOTDIR`.
    pub(crate) fn directory(&mut self, path: &[u8]) -> Result<BorrowedFd<'_>, Errno> {
        self.directory_or(path, |_, _, _| Err(Errno::NOENT))
    }

    /// As [`Handles::directory`], but `make(parent, name, path)` is called for each one that is missing.
    pub(crate) fn directory_or<E: From<Errno>>(
        &mut self,
        path: &[u8],
        mut make: impl FnMut(BorrowedFd<'_>, &[u8], &[u8]) -> Result<(), E>,
    ) -> Result<BorrowedFd<'_>, E> {
        let mut done = self.nearest(path);
        while done < path.len() {
            let start = if done == 0 { 0 } else { done + 1 };
            let end = path[start..]
                .iter()
                .position(|&byte| byte == b'/')
                .map_or(path.len(), |len| start + len);
            let (parent, name) = (self.get(&path[..done]), &path[start..end]);
            let handle = match open(parent, name) {
                Err(Errno::NOENT) => {
                    make(parent, name, &path[..end])?;
                    open(parent, name)?
                }
                other => other?,
            };
            self.keep(&path[..end], handle);
            done = end;
        }
        Ok(self.get(path))
    }

    /// The open directory that holds `path`, and its name in there.
    pub(crate) fn parent<'p>(
        &mut self,
        path: &'p [u8],
    ) -> Result<(BorrowedFd<'_>, &'p [u8]), Errno> {
        let (parent, name) = split(path);
        Ok((self.directory(parent)?, name))
    }

    /// Moves the deepest open directory on the way to `path` to the end, and says how long its path is.
    fn nearest(&mut self, path: &[u8]) -> usize {
        let on_the_way = |open: &[u8]| {
            path.starts_with(open) && matches!(path.get(open.len()), None | Some(b'/'))
        };
        let found = self
            .open
            .iter()
            .enumerate()
            .rev()
            .filter(|(_, (open, _))| on_the_way(open))
            .max_by_key(|(_, (open, _))| open.len())
            .map(|(index, _)| index);
        let Some(index) = found else { return 0 };
        let entry = self.open.remove(index);
        let len = entry.0.len();
        self.open.push(entry);
        len
    }

    fn keep(&mut self, path: &[u8], handle: OwnedFd) {
        if self.open.len() == MAX_OPEN {
            self.open.remove(0);
        }
        self.open.push((path.to_vec(), handle));
    }

    /// The one used last, which is the one at `path`; the root for the empty path.
    fn get(&self, path: &[u8]) -> BorrowedFd<'_> {
        match self.open.last() {
            Some((_, handle)) if !path.is_empty() => handle.as_fd(),
            _ => self.root.as_fd(),
        }
    }
}

fn open(parent: BorrowedFd<'_>, name: &[u8]) -> Result<OwnedFd, Errno> {
    openat(
        parent,
        name,
        OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC,
        Mode::empty(),
    )
}
