//! The least that unpacking can cost: gunzip on a thread where there is one to spare, and for each file three system
//! calls in the open directory. Nothing is verified, no permission set, nothing refused: it is only good for archives
//! of our own.

use std::collections::HashMap;
use std::fs;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use archive::Gunzip;
use rustix::fs::{CWD, Mode, OFlags, mkdir, openat, symlink};
use tar::{Archive, EntryType};

/// Of decompressed bytes, handed over at once.
const CHUNK: usize = 256 << 10;

/// Makes the files of archives.
pub(super) fn create(archives: &Path, target: &Path) {
    let mut maker = Maker {
        target,
        directories: HashMap::new(),
        data: Vec::new(),
    };
    for path in super::walk::sorted(archives) {
        let gzip = Gunzip::new(fs::File::open(path).unwrap());
        if thread::available_parallelism().map_or(1, usize::from) == 1 {
            maker.make(io::BufReader::with_capacity(CHUNK, gzip));
            continue;
        }
        thread::scope(|scope| {
            let (full, next) = sync_channel(4);
            scope.spawn(move || feed(gzip, &full));
            maker.make(io::BufReader::with_capacity(CHUNK, Chunks::of(next)));
        });
    }
}

fn feed(mut gzip: impl Read, full: &SyncSender<Vec<u8>>) {
    loop {
        let mut chunk = Vec::with_capacity(CHUNK);
        (&mut gzip)
            .take(CHUNK as u64)
            .read_to_end(&mut chunk)
            .unwrap();
        if chunk.is_empty() || full.send(chunk).is_err() {
            return;
        }
    }
}

/// What the other thread has decompressed.
struct Chunks {
    next: Receiver<Vec<u8>>,
    chunk: io::Cursor<Vec<u8>>,
}

impl Chunks {
    fn of(next: Receiver<Vec<u8>>) -> Self {
        let chunk = io::Cursor::default();
        Self { next, chunk }
    }
}

impl Read for Chunks {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.chunk.read(buffer)?;
        if count > 0 {
            return Ok(count);
        }
        self.chunk = io::Cursor::new(self.next.recv().unwrap_or_default());
        self.chunk.read(buffer)
    }
}

struct Maker<'a> {
    target: &'a Path,
    directories: HashMap<PathBuf, OwnedFd>,
    data: Vec<u8>,
}

impl Maker<'_> {
    fn make(&mut self, tar: impl Read) {
        for entry in Archive::new(tar).entries().unwrap() {
            let mut entry = entry.unwrap();
            let path = self.target.join(entry.path().unwrap());
            match entry.header().entry_type() {
                EntryType::Directory => drop(mkdir(&path, Mode::from_raw_mode(0o755))),
                EntryType::Symlink => {
                    symlink(entry.link_name().unwrap().unwrap().as_ref(), &path).unwrap();
                }
                _ => {
                    let file = self.file(&path);
                    while read_some(&mut entry, &mut self.data) {
                        write_all(&file, &self.data);
                    }
                }
            }
        }
    }

    fn file(&mut self, path: &Path) -> OwnedFd {
        let parent = path.parent().unwrap();
        if !self.directories.contains_key(parent) {
            fs::create_dir_all(parent).unwrap();
            let flags = OFlags::RDONLY | OFlags::DIRECTORY;
            let handle = openat(CWD, parent, flags, Mode::empty()).unwrap();
            self.directories.insert(parent.to_owned(), handle);
        }
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL;
        let (directory, name) = (&self.directories[parent], path.file_name().unwrap());
        openat(directory, name, flags, Mode::from_raw_mode(0o644)).unwrap()
    }
}

/// Up to a chunk; whether there was any.
fn read_some(entry: &mut impl Read, data: &mut Vec<u8>) -> bool {
    data.clear();
    entry.take(CHUNK as u64).read_to_end(data).unwrap() > 0
}

fn write_all(file: &OwnedFd, mut data: &[u8]) {
    while !data.is_empty() {
        let count = rustix::io::write(file, data).unwrap();
        data = &data[count..];
    }
}
