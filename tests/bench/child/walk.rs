//! The least that packing can cost: each file read and hashed, or looked at, on all processors.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex};
use std::thread;

use md5::{Digest, Md5};

fn threads() -> usize {
    thread::available_parallelism().map_or(1, usize::from)
}

/// The files of a directory, by name.
pub(super) fn sorted(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).unwrap();
    let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
}

/// Reads and hashes every file.
pub(super) fn read(tree: &Path) {
    let files = stat(tree);
    let next = AtomicUsize::new(0);
    let work = || {
        let mut buffer = vec![0; 256 << 10];
        while let Some(path) = files.get(next.fetch_add(1, Ordering::Relaxed)) {
            let mut file = fs::File::open(path).unwrap();
            let mut hash = Md5::new();
            loop {
                match file.read(&mut buffer).unwrap() {
                    0 => break,
                    count => hash.update(&buffer[..count]),
                }
            }
            std::hint::black_box(hash.finalize());
        }
    };
    thread::scope(|scope| {
        for _ in 0..threads() {
            scope.spawn(work);
        }
    });
}

/// Directories to be looked into, and how many threads are at it.
#[derive(Default)]
struct Open {
    waiting: Vec<PathBuf>,
    busy: usize,
}

/// Looks at every entry; returns the regular files.
pub(super) fn stat(tree: &Path) -> Vec<PathBuf> {
    let open = Mutex::new(Open {
        waiting: vec![tree.to_owned()],
        busy: 0,
    });
    let (changed, files) = (Condvar::new(), Mutex::new(Vec::new()));
    let work = || {
        let mut found = Vec::new();
        while let Some(directory) = take(&open, &changed) {
            let mut below = Vec::new();
            for entry in fs::read_dir(directory).unwrap() {
                let entry = entry.unwrap();
                let metadata = entry.metadata().unwrap();
                if metadata.is_dir() {
                    below.push(entry.path());
                } else if metadata.is_file() {
                    found.push(entry.path());
                }
            }
            let mut open = open.lock().unwrap();
            open.waiting.append(&mut below);
            open.busy -= 1;
            changed.notify_all();
        }
        files.lock().unwrap().append(&mut found);
    };
    thread::scope(|scope| {
        for _ in 0..threads() {
            scope.spawn(work);
        }
    });
    files.into_inner().unwrap()
}

/// The next directory; `None` when there will be no more.
fn take(open: &Mutex<Open>, changed: &Condvar) -> Option<PathBuf> {
    let mut open = open.lock().unwrap();
    loop {
        if let Some(directory) = open.waiting.pop() {
            open.busy += 1;
            return Some(directory);
        }
        if open.busy == 0 {
            return None;
        }
        open = changed.wait(open).unwrap();
    }
}
