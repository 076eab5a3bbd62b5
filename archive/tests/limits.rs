//! Alone in its process, because limits are the whole process's: what is deep, wide or long takes few descriptors and
//! little memory.

#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::fs;
use std::io::Write;
use std::os::fd::OwnedFd;
use std::path::Path;

use archive::{Error, PackWriter, Policy, Unpacker, pack_outputs, remove_tree};
use rustix::fs::{CWD, Mode, OFlags, mkdirat, openat};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tar::{EntryType, Header};

/// Far fewer than a path has components.
const FILES: u64 = 64;
/// What one policy's memory may grow by, beside what it allows to be remembered.
const MEMORY: u64 = 64 << 20;

#[test]
fn neither_depth_nor_number_takes_much() {
    let hard = getrlimit(Resource::Nofile).maximum;
    let limit = Rlimit {
        current: Some(FILES),
        maximum: hard,
    };
    setrlimit(Resource::Nofile, limit).unwrap();
    a_tree_of_ten_thousand_levels_is_packed_and_removed();
    the_deepest_paths_are_unpacked();
    directories_that_are_only_implied_do_not_fill_the_memory();
    long_names_do_not_fill_the_memory();
}

fn a_tree_of_ten_thousand_levels_is_packed_and_removed() {
    let top = directory();
    let deep = top.path().join("deep");
    fs::create_dir(&deep).unwrap();
    let mut at = open(&deep);
    for _ in 0..10_000 {
        mkdirat(&at, "d", Mode::RWXU).unwrap();
        at = openat(&at, "d", FLAGS, Mode::empty()).unwrap();
    }
    drop(at);
    let packed = pack_outputs(&deep, std::io::sink(), None).unwrap();
    assert_eq!((packed.entries, packed.left_out_total), (2048, 1));
    assert_eq!(packed.left_out[0].reason, "has a path that is too long");
    remove_tree(&deep).unwrap();
    assert_eq!(fs::read_dir(top.path()).unwrap().count(), 0);
}

fn the_deepest_paths_are_unpacked() {
    let mut tar = Vec::new();
    for top in ["a", "b", "a", "c"] {
        let file = format!("{top}/{}f{}", "d/".repeat(2045), tar.len() % 7);
        long_name(&mut tar, file.as_bytes());
        header(&mut tar, b"short", EntryType::Regular, 0);
    }
    let target = directory();
    let done = unpack(target.path(), Policy::output(0), &tar).unwrap();
    assert_eq!(done, 4);
    remove_tree(target.path()).unwrap();
}

/// Each path of four kilobytes implies two thousand directories, whose names are four megabytes.
fn directories_that_are_only_implied_do_not_fill_the_memory() {
    let mut tar = Vec::new();
    for number in 0..500 {
        let path = format!("{number}/{}f", "d/".repeat(2040));
        long_name(&mut tar, path.as_bytes());
        header(&mut tar, b"short", EntryType::Regular, 0);
    }
    let max = 16 << 20;
    let policy = Policy {
        max_directory_names: max,
        ..Policy::output(0)
    };
    let target = directory();
    let before = peak();
    let error = unpack(target.path(), policy, &tar).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the archive holds more than 16777216 bytes of directories' names"
    );
    let grown = peak() - before;
    assert!(grown < max + MEMORY, "{grown} bytes");
    remove_tree(target.path()).unwrap();
}

/// A gigabyte of names, in a megabyte of gzip.
fn long_names_do_not_fill_the_memory() {
    let mut names = Vec::new();
    for _ in 0..16 {
        long_name(&mut names, &vec![b'n'; 60_000]);
    }
    let policy = Policy {
        max_entries: 1_000_000,
        ..Policy::output(u64::MAX)
    };
    let target = directory();
    let mut gzip = PackWriter::new(Vec::new());
    for _ in 0..1000 {
        gzip.write_all(&names).unwrap();
    }
    let gzip = gzip.finish().unwrap();
    assert!(gzip.len() < 8 << 20, "{} bytes", gzip.len());
    let before = peak();
    let unpacker = Unpacker::new(target.path(), policy).unwrap();
    let error = unpacker.unpack(&gzip[..]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the archive holds more than 1000000 entries"
    );
    let grown = peak() - before;
    assert!(grown < MEMORY, "{grown} bytes");
}

/// In memory where there is one: a disk takes a minute for the directories.
fn directory() -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() {
        tempfile::tempdir_in(memory).unwrap()
    } else {
        tempfile::tempdir().unwrap()
    }
}

const FLAGS: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::CLOEXEC);

fn open(path: &Path) -> OwnedFd {
    openat(CWD, path, FLAGS, Mode::empty()).unwrap()
}

fn unpack(target: &Path, policy: Policy, tar: &[u8]) -> Result<u64, Error> {
    let mut gzip = PackWriter::new(Vec::new());
    let tail = [0; 1024];
    gzip.write_all(tar)
        .and_then(|()| gzip.write_all(&tail))
        .unwrap();
    let unpacker = Unpacker::new(target, policy)?;
    unpacker.unpack(&gzip.finish().unwrap()[..])?;
    Ok(unpacker.finish()?.entries)
}

fn long_name(tar: &mut Vec<u8>, name: &[u8]) {
    header(tar, b"././@LongLink", EntryType::GNULongName, name.len());
    tar.extend_from_slice(name);
    tar.resize(tar.len().next_multiple_of(512), 0);
}

fn header(tar: &mut Vec<u8>, name: &[u8], kind: EntryType, size: usize) {
    let mut header = Header::new_gnu();
    header.as_old_mut().name[..name.len()].copy_from_slice(name);
    header.set_entry_type(kind);
    header.set_mode(0o644);
    header.set_mtime(0);
    header.set_size(size as u64);
    header.set_cksum();
    tar.extend_from_slice(header.as_bytes());
}

/// The most memory this process has had so far.
fn peak() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kilobytes = line.unwrap().trim().trim_end_matches(" kB");
    kilobytes.parse::<u64>().unwrap() * 1024
}
