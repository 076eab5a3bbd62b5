//! Going down into directories, on several threads once there are enough of them.

use std::ffi::CStr;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, ScopedJoinHandle};

use ignore::gitignore::Gitignore;
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, openat, statat};
use rustix::io::Errno;

use crate::error::Error;
use crate::handles::Handles;
use crate::name::as_path;
use crate::record::Kind;
use crate::scan::Found;
use crate::stamp::type_of;
use crate::tree::Place;

/// So many directories must wait before other threads are worth starting.
const WAITING: usize = 8;
/// More threads than that wait for each other in the kernel.
const MAX_THREADS: usize = 4;

/// All below the root, whose handle and path are given; a part from each thread.
pub(crate) fn walk(
    place: &Place,
    ignore: &Gitignore,
    root: BorrowedFd<'_>,
    path: &[u8],
) -> Result<Vec<Found>, Error> {
    let queue = Queue {
        waiting: vec![path.to_vec()],
        ..Queue::default()
    };
    let walk = Walk {
        place,
        ignore,
        root,
        queue: Mutex::new(queue),
        changed: Condvar::new(),
    };
    let parts = thread::scope(|scope| {
        let mut helpers = Vec::new();
        let mine = walk.work(|waiting| {
            if helpers.is_empty() && waiting >= WAITING {
                let threads = thread::available_parallelism()
                    .map_or(1, usize::from)
                    .min(MAX_THREADS);
                // Where no thread is to be had, those that are there do it all.
                helpers.extend((1..threads).map_while(|_| {
                    let builder = thread::Builder::new().name("walk".to_owned());
                    builder.spawn_scoped(scope, || walk.work(|_| {})).ok()
                }));
            }
        });
        let theirs = helpers.into_iter().map(joined);
        theirs.chain([mine]).collect()
    });
    match walk
        .queue
        .into_inner()
        .unwrap_or_else(PoisonError::into_inner)
        .error
    {
        Some(error) => Err(error),
        None => Ok(parts),
    }
}

fn joined(helper: ScopedJoinHandle<'_, Found>) -> Found {
    helper
        .join()
        .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

struct Walk<'a> {
    place: &'a Place,
    ignore: &'a Gitignore,
    root: BorrowedFd<'a>,
    queue: Mutex<Queue>,
    changed: Condvar,
}

/// Dropped by a panic: then nobody waits for a directory that will never be listed.
struct Alarm<'a>(&'a Walk<'a>);

impl Drop for Alarm<'_> {
    fn drop(&mut self) {
        let mut queue = self.0.queue();
        queue.busy -= 1;
        queue.waiting.clear();
        self.0.changed.notify_all();
    }
}

#[derive(Default)]
struct Queue {
    /// Paths of directories that nobody has listed yet.
    waiting: Vec<Vec<u8>>,
    /// How many are being listed.
    busy: usize,
    /// The first, which ends the walk.
    error: Option<Error>,
}

impl Walk<'_> {
    /// Lists directories until none is left, telling `listed` after each how many wait.
    fn work(&self, mut listed: impl FnMut(usize)) -> Found {
        let mut found = Found::default();
        let mut handles = Handles::new(self.root);
        while let Some(path) = self.take() {
            let mut below = Vec::new();
            let alarm = Alarm(self);
            let result = self.list(&mut handles, path, &mut found, &mut below);
            std::mem::forget(alarm);
            listed(self.give(below, result.err()));
        }
        found
    }

    fn take(&self) -> Option<Vec<u8>> {
        let mut queue = self.queue();
        loop {
            if queue.error.is_some() {
                return None;
            }
            if let Some(path) = queue.waiting.pop() {
                queue.busy += 1;
                return Some(path);
            }
            if queue.busy == 0 {
                return None;
            }
            queue = self
                .changed
                .wait(queue)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn give(&self, below: Vec<Vec<u8>>, error: Option<Error>) -> usize {
        let mut queue = self.queue();
        queue.busy -= 1;
        queue.waiting.extend(below);
        if queue.error.is_none() {
            queue.error = error;
        }
        self.changed.notify_all();
        queue.waiting.len()
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn list(
        &self,
        handles: &mut Handles<BorrowedFd<'_>>,
        mut path: Vec<u8>,
        found: &mut Found,
        below: &mut Vec<Vec<u8>>,
    ) -> Result<(), Error> {
        let read = |path: &[u8], error: Errno| Error::read(self.place.on_disk(path), error);
        let handle = open(handles, self.place.below(&path))
            .map_err(|error| Error::gone_or(self.place.on_disk(&path), error))?;
        let mut directory = Dir::new(handle).map_err(|error| read(&path, error))?;
        path.push(b'/');
        let len = path.len();
        while let Some(entry) = directory.read() {
            path.truncate(len);
            let entry = entry.map_err(|error| read(&path, error))?;
            let name = entry.file_name();
            if matches!(name.to_bytes(), b"." | b"..") {
                continue;
            }
            path.extend_from_slice(name.to_bytes());
            let parent = directory.fd().map_err(|error| read(&path, error))?;
            if self.see(parent, name, &path, found)? == Some(Kind::Directory) {
                below.push(path.clone());
            }
        }
        Ok(())
    }

    /// What it is, unless it is to be ignored.
    fn see(
        &self,
        parent: BorrowedFd<'_>,
        name: &CStr,
        path: &[u8],
        found: &mut Found,
    ) -> Result<Option<Kind>, Error> {
        let stat = match statat(parent, name, AtFlags::SYMLINK_NOFOLLOW) {
            // It went away between the listing and now: it is not there.
            Err(Errno::NOENT) => return Ok(None),
            other => other.map_err(|error| Error::read(self.place.on_disk(path), error))?,
        };
        let is_directory = type_of(&stat) == FileType::Directory;
        let below = as_path(self.place.below(path));
        if self.ignore.matched(below, is_directory).is_ignore() {
            return Ok(None);
        }
        found.add(self.place, parent, name, path, &stat).map(Some)
    }
}

/// A handle of its own, which listing uses up.
fn open(handles: &mut Handles<BorrowedFd<'_>>, path: &[u8]) -> Result<OwnedFd, Errno> {
    let (parent, name) = handles.parent(path)?;
    let name = if name.is_empty() { b"." } else { name };
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    openat(parent, name, flags, Mode::empty())
}
