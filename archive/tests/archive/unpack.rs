//! Packs of inputs becoming files again.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::time::{Duration, SystemTime};

use archive::{Policy, Tree, Unpacker};

use crate::raw::RawTar;
use crate::tree::{Node, TestTree, gzip, look, tar_of, tar_of_pack};

#[test]
fn permissions_are_exact() {
    let modes = [0o755, 0o700, 0o750, 0o644, 0o444, 0o666, 0o777, 0o600];
    let mut tree = TestTree::new();
    for mode in modes {
        tree = tree
            .file(format!("in/f{mode:o}"), mode, "x")
            .dir(format!("in/d{mode:o}"), mode | 0o500);
    }
    let tree = tree
        .file("in/read-only/below/f", 0o444, "x")
        .dir("in/read-only/below", 0o555)
        .dir("in/read-only", 0o555);
    let (tar, digest) = tar_of(&Tree::scan(b"in", &tree.join("in")).unwrap());
    let target = tempfile::tempdir().unwrap();
    let unpacker = Unpacker::new(target.path(), Policy::input(None)).unwrap();
    let checksum = unpacker.unpack(&gzip(&tar)[..]).unwrap();
    let done = unpacker.finish().unwrap();
    let found = look(target.path());
    assert_eq!(found, look(tree.path()));
    assert_eq!(
        (checksum.sha256, checksum.size),
        (digest.sha256, digest.size)
    );
    assert_eq!((done.entries, done.bytes), (found.len() as u64, 9));
    for root in [target.path(), tree.path()] {
        for path in ["in/read-only", "in/read-only/below"] {
            fs::set_permissions(root.join(path), fs::Permissions::from_mode(0o755)).unwrap();
        }
    }
}

/// Some 30 MB in several packs, each from its own thread, the last first.
#[test]
fn packs_may_come_in_any_order_and_at_once() {
    let mut tree = TestTree::new();
    for directory in 0..6 {
        for file in 0..50 {
            let data = vec![file; 100_000];
            tree = tree.file(format!("in/d{directory}/sub/f{file:02}"), 0o640, data);
        }
        tree = tree
            .dir(format!("in/d{directory}/sub"), 0o555)
            .dir(format!("in/d{directory}"), 0o711);
    }
    let scanned = Tree::scan(b"in", &tree.join("in")).unwrap();
    let packs: Vec<_> = scanned
        .packs()
        .iter()
        .rev()
        .map(|pack| tar_of_pack(pack))
        .collect();
    assert!(packs.len() >= 3, "{} packs", packs.len());
    let target = tempfile::tempdir().unwrap();
    let unpacker = Unpacker::new(target.path(), Policy::input(None)).unwrap();
    std::thread::scope(|scope| {
        for (tar, digest) in &packs {
            let unpacker = &unpacker;
            scope.spawn(move || {
                let checksum = unpacker.unpack(&gzip(tar)[..]).unwrap();
                assert_eq!(checksum.sha256, digest.sha256);
            });
        }
    });
    let done = unpacker.finish().unwrap();
    assert_eq!(
        (done.entries, done.bytes),
        (scanned.entries() as u64, scanned.bytes())
    );
    assert!(look(target.path()) == look(tree.path()));
    for directory in 0..6 {
        for root in [target.path(), tree.path()] {
            let path = root.join(format!("in/d{directory}/sub"));
            fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
        }
    }
}

#[test]
fn inputs_get_the_present_time_and_outputs_keep_theirs() {
    let tar = RawTar::new()
        .file("f", "x")
        .dir("d/", 0o755)
        .file("d/g", "x")
        .link("l", "f")
        .finish();
    for (policy, keeps) in [(Policy::input(None), false), (Policy::output(1000), true)] {
        let target = tempfile::tempdir().unwrap();
        let unpacker = Unpacker::new(target.path(), policy).unwrap();
        unpacker.unpack(&gzip(&tar)[..]).unwrap();
        unpacker.finish().unwrap();
        for name in ["f", "d", "d/g", "l"] {
            let mtime = fs::symlink_metadata(target.path().join(name))
                .unwrap()
                .modified()
                .unwrap();
            let kept = mtime == SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
            assert_eq!(kept, keeps, "{name}");
        }
    }
}

#[test]
fn implied_directories_can_be_entered() {
    let target = tempfile::tempdir().unwrap();
    let unpacker = Unpacker::new(target.path(), Policy::output(1000)).unwrap();
    unpacker
        .unpack(&gzip(&RawTar::new().file("a/b/f", "x").finish())[..])
        .unwrap();
    unpacker
        .unpack(&gzip(&RawTar::new().dir("a/", 0o700).finish())[..])
        .unwrap();
    let done = unpacker.finish().unwrap();
    assert_eq!((done.entries, done.left_out_total), (2, 0));
    let found = look(target.path());
    assert_eq!(found[&b"a"[..]], Node::Directory { mode: 0o700 });
    assert_eq!(found[&b"a/b"[..]], Node::Directory { mode: 0o755 });
}

#[test]
fn a_directory_that_was_there_is_taken_over() {
    let target = TestTree::new().dir("a", 0o777);
    let unpacker = Unpacker::new(target.path(), Policy::input(None)).unwrap();
    unpacker
        .unpack(&gzip(&RawTar::new().dir("a/", 0o750).file("a/f", "x").finish())[..])
        .unwrap();
    unpacker.finish().unwrap();
    assert_eq!(
        look(target.path())[&b"a"[..]],
        Node::Directory { mode: 0o750 }
    );
}

/// As `tar -C dir .` and `tar dir/*` write it.
#[test]
fn archives_of_other_writers() {
    let target = tempfile::tempdir().unwrap();
    let unpacker = Unpacker::new(target.path(), Policy::output(1000)).unwrap();
    let tar = RawTar::new()
        .dir("./", 0o700)
        .dir("./a/", 0o755)
        .file("./a/f", "x")
        .dir("b", 0o755);
    unpacker
        .unpack(&gzip(&[tar.finish(), vec![0; 8192]].concat())[..])
        .unwrap();
    let done = unpacker.finish().unwrap();
    assert_eq!((done.entries, done.left_out_total), (3, 0));
    assert_eq!(look(target.path()).len(), 3);
}

#[test]
fn root_gives_what_it_unpacks_to_another_user() {
    if !rustix::process::geteuid().is_root() {
        let owner = (
            rustix::process::geteuid().as_raw(),
            rustix::process::getegid().as_raw(),
        );
        assert_owner(owner);
        return;
    }
    assert_owner((4321, 1234));
}

fn assert_owner(owner: (u32, u32)) {
    let target = tempfile::tempdir().unwrap();
    let unpacker = Unpacker::new(target.path(), Policy::input(Some(owner))).unwrap();
    let tar = RawTar::new()
        .dir("d/", 0o555)
        .file("d/f", "x")
        .link("d/l", "nowhere")
        .file("e/f", "x")
        .finish();
    unpacker.unpack(&gzip(&tar)[..]).unwrap();
    unpacker.finish().unwrap();
    for name in ["d", "d/f", "d/l", "e", "e/f"] {
        let metadata = fs::symlink_metadata(target.path().join(name)).unwrap();
        assert_eq!((metadata.uid(), metadata.gid()), owner, "{name}");
    }
    fs::set_permissions(target.path().join("d"), fs::Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn a_missing_target_is_an_error() {
    let target = tempfile::tempdir().unwrap();
    let error = Unpacker::new(&target.path().join("missing"), Policy::input(None)).unwrap_err();
    assert!(error.to_string().starts_with("cannot write `"));
}
