//! Output directories, with the trouble that commands leave in them.

use std::fs;
use std::io::Write;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use archive::{PackWriter, PackedOutputs, Policy, Unpacker, pack_outputs};

use crate::tree::{Node, TestTree, look};

/// Packs, unpacks, and returns what the packer said and where it landed.
fn home(root: &Path, limit: Option<u64>) -> (PackedOutputs, TestTree) {
    let mut gzip = PackWriter::new(Vec::new());
    let packed = pack_outputs(root, &mut gzip, limit).unwrap();
    let target = TestTree::new();
    let unpacker = Unpacker::new(target.path(), Policy::output(u64::MAX)).unwrap();
    let checksum = unpacker.unpack(&gzip.finish().unwrap()[..]).unwrap();
    assert_eq!(checksum, packed.digest);
    let done = unpacker.finish().unwrap();
    assert_eq!(
        (done.entries, done.bytes, done.left_out_total),
        (packed.entries, packed.bytes, 0)
    );
    (packed, target)
}

fn reasons(packed: &PackedOutputs) -> Vec<(&str, &str)> {
    let named = packed.left_out.iter();
    named
        .map(|entry| (std::str::from_utf8(&entry.path).unwrap(), &entry.reason[..]))
        .collect()
}

#[test]
fn a_tree_comes_home_as_it_was() {
    let tree = TestTree::new()
        .file("out/result.txt", 0o640, "42")
        .file(&b"out/odd\n\xff/x"[..], 0o755, "y")
        .file("out/a/z", 0o600, "")
        .file("out/a.txt", 0o644, "")
        .link("out/link", "a/z")
        .dir("out/empty", 0o700);
    let old = SystemTime::UNIX_EPOCH + Duration::new(1_234_567_890, 500);
    fs::File::open(tree.join("out/a/z"))
        .unwrap()
        .set_modified(old)
        .unwrap();
    fs::File::open(tree.join("out/a"))
        .unwrap()
        .set_modified(old)
        .unwrap();
    let (packed, target) = home(&tree.join("out"), None);
    assert_eq!(look(target.path()), look(&tree.join("out")));
    assert_eq!(
        (packed.entries, packed.bytes, packed.left_out_total),
        (8, 3, 0)
    );
    for path in ["a", "a/z"] {
        let modified = fs::metadata(target.join(path)).unwrap().modified().unwrap();
        assert_eq!(
            modified,
            SystemTime::UNIX_EPOCH + Duration::from_secs(1_234_567_890)
        );
    }
    let (again, _) = home(&tree.join("out"), None);
    assert_eq!(again.digest, packed.digest);
}

#[test]
fn a_directory_that_is_none_is_empty() {
    let tree = TestTree::new()
        .file("real/f", 0o644, "x")
        .file("file", 0o644, "x")
        .link("link", "real");
    for name in ["missing", "file", "link", "link/", "missing/out"] {
        let (packed, target) = home(&tree.join(name), None);
        assert_eq!(
            (packed.entries, packed.left_out_total, packed.digest.size),
            (0, 0, 1024),
            "{name}"
        );
        assert!(look(target.path()).is_empty());
    }
}

#[test]
fn special_files_and_escaping_links() {
    let tree = TestTree::new()
        .file("out/f", 0o644, "x")
        .link("out/absolute", "/etc/passwd");
    let _socket = UnixListener::bind(tree.join("out/socket")).unwrap();
    crate::tree::fifo(&tree.join("out/fifo"));
    let mut tar = Vec::new();
    let packed = pack_outputs(&tree.join("out"), &mut tar, None).unwrap();
    assert_eq!(
        reasons(&packed),
        [("fifo", "is a fifo"), ("socket", "is a socket")]
    );
    assert_eq!((packed.entries, packed.bytes), (2, 1));
    let links: Vec<_> = tar::Archive::new(&tar[..])
        .entries()
        .unwrap()
        .filter_map(|entry| {
            entry
                .unwrap()
                .link_name_bytes()
                .map(std::borrow::Cow::into_owned)
        })
        .filter(|target| !target.is_empty())
        .collect();
    assert_eq!(
        links,
        [b"/etc/passwd".to_vec()],
        "a link is packed as one, and judged where it lands"
    );
}

#[test]
fn set_id_bits_stay_behind() {
    let tree = TestTree::new()
        .file("out/f", 0o755, "x")
        .dir("out/d", 0o755);
    for (path, mode) in [("out/f", 0o6755), ("out/d", 0o1777)] {
        fs::set_permissions(tree.join(path), fs::Permissions::from_mode(mode)).unwrap();
    }
    let mut tar = Vec::new();
    pack_outputs(&tree.join("out"), &mut tar, None).unwrap();
    let mut archive = tar::Archive::new(&tar[..]);
    let modes: Vec<u32> = archive
        .entries()
        .unwrap()
        .map(|entry| entry.unwrap().header().mode().unwrap())
        .collect();
    assert_eq!(modes, [0o777, 0o755]);
}

#[test]
fn what_does_not_fit_is_left_out_and_the_rest_lands() {
    let tree = TestTree::new()
        .file("out/a", 0o644, [1; 600])
        .file("out/b", 0o644, [1; 600])
        .file("out/c/d", 0o644, [1; 400])
        .file("out/c/e", 0o644, "");
    let (packed, target) = home(&tree.join("out"), Some(1000));
    assert_eq!(reasons(&packed), [("b", "is beyond the output limit")]);
    assert_eq!((packed.bytes, packed.entries), (1000, 4));
    assert_eq!(look(target.path()).len(), 4);
    let (packed, _) = home(&tree.join("out"), Some(0));
    assert_eq!(
        (packed.bytes, packed.entries, packed.left_out_total),
        (0, 2, 3)
    );
}

#[test]
fn what_cannot_be_read_is_left_out() {
    let tree = TestTree::new()
        .file("out/readable", 0o644, "x")
        .file("out/unreadable", 0o000, "x")
        .file("out/shut/f", 0o644, "x")
        .dir("out/shut", 0o000);
    let (packed, target) = home(&tree.join("out"), None);
    if rustix::process::geteuid().is_root() {
        assert_eq!((packed.entries, packed.left_out_total), (4, 0));
    } else {
        assert_eq!(
            reasons(&packed),
            [
                ("shut", "cannot be listed: may not be read"),
                ("unreadable", "may not be read")
            ]
        );
        assert_eq!((packed.entries, packed.bytes), (2, 1));
    }
    for tree in [&tree.join("out"), target.path()] {
        fs::set_permissions(tree.join("shut"), fs::Permissions::from_mode(0o755)).unwrap();
    }
}

/// Does something to the tree when the first bytes pass.
struct Meddler<F: FnMut()>(Option<F>, Vec<u8>);

impl<F: FnMut()> Write for Meddler<F> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        if let Some(mut meddle) = self.0.take() {
            meddle();
        }
        self.1.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn meddled(root: &Path, meddle: impl FnMut()) -> (PackedOutputs, TestTree) {
    let mut out = Meddler(Some(meddle), Vec::new());
    let packed = pack_outputs(root, &mut out, None).unwrap();
    let target = TestTree::new();
    let unpacker = Unpacker::new(target.path(), Policy::output(u64::MAX)).unwrap();
    let checksum = unpacker.unpack(&crate::tree::gzip(&out.1)[..]).unwrap();
    assert_eq!(checksum, packed.digest);
    unpacker.finish().unwrap();
    (packed, target)
}

/// Packing has begun, and the packer is in the middle of `out/a`.
fn with_a_large_file() -> (TestTree, PathBuf) {
    let tree = TestTree::new()
        .file("out/a", 0o644, vec![7; 1 << 20])
        .file("out/dir/f", 0o644, "f")
        .file("out/z", 0o644, "z");
    let root = tree.join("out");
    (tree, root)
}

#[test]
fn a_file_that_shrinks_is_filled_with_zeros() {
    let (tree, root) = with_a_large_file();
    let (packed, target) = meddled(&root, || {
        fs::OpenOptions::new()
            .write(true)
            .open(tree.join("out/a"))
            .unwrap()
            .set_len(300_000)
            .unwrap();
    });
    let data = fs::read(target.join("a")).unwrap();
    assert_eq!(data.len(), 1 << 20);
    assert!(data[..262_144 - 512].iter().all(|&byte| byte == 7));
    assert!(data[300_000..].iter().all(|&byte| byte == 0));
    assert_eq!(packed.left_out_total, 1);
    assert!(
        reasons(&packed)[0]
            .1
            .starts_with("shrank while being packed")
    );
    assert_eq!(look(target.path()).len(), 4);
}

#[test]
fn a_file_that_grows_is_cut() {
    let (tree, root) = with_a_large_file();
    let (packed, target) = meddled(&root, || {
        let mut file = fs::OpenOptions::new()
            .append(true)
            .open(tree.join("out/a"))
            .unwrap();
        file.write_all(&vec![9; 100_000]).unwrap();
    });
    assert!(fs::read(target.join("a")).unwrap() == vec![7; 1 << 20]);
    assert_eq!(packed.left_out_total, 0);
}

#[test]
fn what_vanishes_is_left_out() {
    let (tree, root) = with_a_large_file();
    let (packed, target) = meddled(&root, || fs::remove_dir_all(tree.join("out")).unwrap());
    assert_eq!(
        reasons(&packed),
        [
            ("dir", "vanished while being packed"),
            ("z", "vanished while being packed")
        ]
    );
    assert_eq!(look(target.path()).len(), 1);
}

#[test]
fn a_directory_swapped_for_a_link_is_not_entered() {
    let (tree, root) = with_a_large_file();
    let tree = tree.file("secret/f", 0o644, "secret");
    let (packed, target) = meddled(&root, || {
        fs::remove_dir_all(tree.join("out/dir")).unwrap();
        symlink("../secret", tree.join("out/dir")).unwrap();
        fs::remove_file(tree.join("out/z")).unwrap();
        symlink("../secret/f", tree.join("out/z")).unwrap();
    });
    assert_eq!(packed.entries, 2, "the file, and the link as a link");
    assert_eq!(reasons(&packed), [("z", "was replaced while being packed")]);
    assert_eq!(
        look(target.path()).len(),
        1,
        "an escaping link does not land"
    );
}

#[test]
fn a_file_swapped_for_a_fifo_is_not_waited_for() {
    let (tree, root) = with_a_large_file();
    let (packed, _) = meddled(&root, || {
        fs::remove_file(tree.join("out/z")).unwrap();
        crate::tree::fifo(&tree.join("out/z"));
    });
    assert_eq!(reasons(&packed), [("z", "was replaced while being packed")]);
}

#[test]
fn a_background_writer_breaks_nothing() {
    let tree = TestTree::new().file("out/keep", 0o644, "kept");
    let (root, stop) = (tree.join("out"), AtomicBool::new(false));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for round in 0.. {
                if stop.load(Ordering::Relaxed) {
                    return;
                }
                let path = root.join(format!("churn{}", round % 7));
                let _ = match round % 5 {
                    0 => fs::write(&path, vec![1; round % 50_000]),
                    1 => fs::create_dir(&path),
                    2 => fs::remove_file(&path),
                    3 => fs::remove_dir(&path),
                    _ => symlink("/etc/passwd", &path),
                };
            }
        });
        for _ in 0..50 {
            let mut gzip = PackWriter::new(Vec::new());
            let packed = pack_outputs(&root, &mut gzip, None).unwrap();
            let target = TestTree::new();
            let unpacker = Unpacker::new(target.path(), Policy::output(u64::MAX)).unwrap();
            assert_eq!(
                unpacker.unpack(&gzip.finish().unwrap()[..]).unwrap(),
                packed.digest
            );
            unpacker.finish().unwrap();
            assert!(
                matches!(&look(target.path())[&b"keep"[..]], Node::File { data, .. } if data == b"kept")
            );
        }
        stop.store(true, Ordering::Relaxed);
    });
}

#[test]
fn paths_too_long_for_a_system_call_are_left_out() {
    let tree = TestTree::new().dir("out", 0o755);
    let mut handle = fs::File::open(tree.join("out")).unwrap();
    let name = "d".repeat(200);
    for _ in 0..25 {
        rustix::fs::mkdirat(&handle, &name, rustix::fs::Mode::RWXU).unwrap();
        let flags = rustix::fs::OFlags::DIRECTORY | rustix::fs::OFlags::RDONLY;
        handle = rustix::fs::openat(&handle, &name, flags, rustix::fs::Mode::empty())
            .unwrap()
            .into();
    }
    let packed = pack_outputs(&tree.join("out"), Vec::new(), None).unwrap();
    assert_eq!((packed.entries, packed.left_out_total), (20, 1));
    assert_eq!(packed.left_out[0].reason, "has a path that is too long");
}

#[test]
fn a_reader_that_hangs_up_is_an_error() {
    struct Closed;
    impl Write for Closed {
        fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
            Err(std::io::ErrorKind::BrokenPipe.into())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let tree = TestTree::new().file("out/f", 0o644, "x");
    let error = pack_outputs(&tree.join("out"), Closed, None).unwrap_err();
    assert!(matches!(error, archive::Error::Output(_)));
}
