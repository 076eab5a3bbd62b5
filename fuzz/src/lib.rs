//! Where archives are unpacked, and what must stay as it is around there.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};

use archive::{Checksum, Error, PackWriter, Policy, Unpacker};
use tempfile::TempDir;

/// A target between things that are none of the archive's business.
pub struct Scene {
    directory: TempDir,
    before: BTreeMap<PathBuf, Seen>,
}

/// All that a stat tells which an archive could change, and what is in a file.
#[derive(Debug, PartialEq, Eq)]
struct Seen {
    mode: u32,
    owner: (u32, u32),
    links: u64,
    mtime: (i64, i64),
    ctime: (i64, i64),
    data: Option<Vec<u8>>,
}

impl Default for Scene {
    fn default() -> Self {
        // In memory, where there is one.
        let memory = Path::new("/dev/shm");
        let directory = if memory.is_dir() {
            tempfile::tempdir_in(memory)
        } else {
            tempfile::tempdir()
        };
        let directory = directory.expect("a directory");
        let outside = directory.path().join("outside");
        fs::create_dir(&outside).expect("a directory");
        fs::write(outside.join("a"), "canary").expect("a file");
        symlink("a", outside.join("b")).expect("a link");
        fs::create_dir(directory.path().join("target")).expect("a target");
        let before = look(&outside);
        Self { directory, before }
    }
}

impl Scene {
    pub fn target(&self) -> PathBuf {
        self.directory.path().join("target")
    }

    /// Unpacks, and looks whether anything outside has changed, or is to be reached through what was made.
    pub fn unpack(&self, policy: Policy, gzip: &[u8]) -> Result<Checksum, Error> {
        let follows = policy.links == archive::Links::Keep;
        let unpacker = Unpacker::new(&self.target(), policy).expect("an unpacker");
        let result = unpacker.unpack(gzip);
        unpacker.finish().expect("permissions can be set");
        assert_eq!(look(&self.directory.path().join("outside")), self.before);
        let beside = fs::read_dir(self.directory.path()).expect("a listing");
        assert_eq!(beside.count(), 2, "something lies beside the target");
        let target = fs::canonicalize(self.target()).expect("a path");
        for path in walk(&target) {
            let made = fs::symlink_metadata(&path).expect("it is there");
            assert_eq!(made.mode() & 0o7000, 0, "{path:?}");
            assert!(made.is_dir() || made.is_file() || made.is_symlink());
            assert!(made.is_dir() || made.nlink() == 1, "{path:?}");
            if let Ok(real) = fs::canonicalize(&path) {
                assert!(follows || real.starts_with(&target), "{path:?}: {real:?}");
            }
        }
        result
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        archive::remove_tree(&self.target()).expect("it can be removed");
    }
}

/// A stranger's archive: little is let in, so that bombs end soon.
pub fn stranger() -> Policy {
    Policy {
        max_entries: 2000,
        max_directory_names: 1 << 16,
        ..Policy::output(1 << 20)
    }
}

pub fn gzip(tar: &[u8]) -> Vec<u8> {
    let mut gzip = PackWriter::new(Vec::new());
    gzip.write_all(tar).expect("memory");
    gzip.finish().expect("memory")
}

fn look(root: &Path) -> BTreeMap<PathBuf, Seen> {
    let seen = |path: PathBuf| {
        let stat = fs::symlink_metadata(&path).expect("it is there");
        let data = stat.is_file().then(|| fs::read(&path).expect("a file"));
        let seen = Seen {
            mode: stat.mode(),
            owner: (stat.uid(), stat.gid()),
            links: stat.nlink(),
            mtime: (stat.mtime(), stat.mtime_nsec()),
            ctime: (stat.ctime(), stat.ctime_nsec()),
            data,
        };
        (path, seen)
    };
    let below = walk(root).into_iter();
    below.chain([root.to_path_buf()]).map(seen).collect()
}

fn walk(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let Ok(entries) = fs::read_dir(directory) else {
        return found;
    };
    for entry in entries.flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            found.extend(walk(&entry.path()));
        }
        found.push(entry.path());
    }
    found
}
