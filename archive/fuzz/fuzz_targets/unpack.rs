//! Any bytes as a tar: no panic, and nothing beside the target.

#![no_main]

use std::io::Write;

use archive::{PackWriter, Policy, Unpacker};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|tar: &[u8]| {
    let outside = tempfile::tempdir().expect("a directory");
    let target = outside.path().join("target");
    std::fs::create_dir(&target).expect("a target");
    let mut gzip = PackWriter::new(Vec::new());
    gzip.write_all(tar).expect("memory");
    let gzip = gzip.finish().expect("memory");
    let policy = Policy {
        max_entries: 1000,
        ..Policy::output(1 << 20)
    };
    let unpacker = Unpacker::new(&target, policy).expect("an unpacker");
    let _ = unpacker.unpack(&gzip[..]);
    unpacker.finish().expect("permissions can be set");
    let beside = std::fs::read_dir(outside.path()).expect("a listing").count();
    assert_eq!(beside, 1);
    for entry in walk(&target) {
        if let Ok(link) = std::fs::canonicalize(&entry) {
            assert!(link.starts_with(std::fs::canonicalize(&target).expect("a path")));
        }
    }
});

fn walk(directory: &std::path::Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    let Ok(entries) = std::fs::read_dir(directory) else {
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
