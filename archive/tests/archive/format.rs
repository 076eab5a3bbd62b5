//! The bytes that decide addresses.

use std::fs;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;

use archive::{PackWriter, Tree};

use crate::tree::{TestTree, tar_of};

fn small() -> TestTree {
    TestTree::new()
        .dir("name", 0o755)
        .file("name/run.sh", 0o750, "#!/bin/sh\n")
        .file("name/data/größe.txt", 0o644, "x".repeat(513))
        .file(&b"name/data/odd\n\xff"[..], 0o400, "")
        .file(
            ["name/", &"d".repeat(120), "/", &"f".repeat(120)].concat(),
            0o644,
            "long",
        )
        .link("name/data/link", "../run.sh")
        .link("name/longlink", "t".repeat(150))
        .dir("name/empty", 0o700)
        .dir("name/data", 0o775)
        .dir(["name/", &"d".repeat(120)].concat(), 0o755)
}

#[test]
fn a_small_tree_has_these_bytes() {
    let tree = small();
    let (tar, digest) = tar_of(&Tree::scan(b"name", &tree.join("name")).unwrap());
    assert_eq!(digest.md5, "4cdd90ee4fdc1bb0ed35e12f2eeda634");
    assert_eq!(
        digest.sha256,
        "896cb80ace2aeee15b7b32b38aa46008febd72623b59812b1ca0bcc4132a5da0"
    );
    assert_eq!(tar.len(), 11_264);
}

#[test]
fn the_smallest_inputs_have_these_addresses() {
    let tree = TestTree::new()
        .dir("empty", 0o755)
        .file("file", 0o644, "hello\n")
        .link("dangling", "nowhere");
    let address = |name: &str| {
        tar_of(&Tree::scan(b"name", &tree.join(name)).unwrap())
            .1
            .md5
    };
    assert_eq!(address("empty"), "fbc0848277f28470b59e5eaac3cffc96");
    assert_eq!(address("file"), "1fe2f986beca9dc0f520bf7fe988fc83");
    assert_eq!(address("dangling"), "6a6fc8ea217b8bfca8668c3357f007b0");
}

#[test]
fn entries_stand_in_the_order_of_their_bytes() {
    let tree = TestTree::new()
        .file("name/a/x", 0o644, "")
        .file("name/a.txt", 0o644, "")
        .file("name/B", 0o644, "")
        .file(&b"name/\xff"[..], 0o644, "");
    let scanned = Tree::scan(b"name", &tree.join("name")).unwrap();
    let paths: Vec<&[u8]> = scanned.packs()[0]
        .entries()
        .map(|entry| entry.path)
        .collect();
    let expected: [&[u8]; 6] = [
        b"name",
        b"name/B",
        b"name/a",
        b"name/a.txt",
        b"name/a/x",
        b"name/\xff",
    ];
    assert_eq!(paths, expected);
    let (tar, _) = tar_of(&scanned);
    let mut archive = tar::Archive::new(&tar[..]);
    let in_tar: Vec<_> = archive
        .entries()
        .unwrap()
        .map(|entry| entry.unwrap().path_bytes().into_owned())
        .collect();
    let expected: [&[u8]; 6] = [
        b"name/",
        b"name/B",
        b"name/a/",
        b"name/a.txt",
        b"name/a/x",
        b"name/\xff",
    ];
    assert_eq!(in_tar, expected);
}

#[test]
fn time_place_and_owner_do_not_change_the_address() {
    let (one, other) = (small(), small());
    for entry in walkdir::WalkDir::new(other.path()) {
        let entry = entry.unwrap();
        if rustix::process::geteuid().is_root() {
            std::os::unix::fs::lchown(entry.path(), Some(4321), Some(1234)).unwrap();
        }
        if entry.file_type().is_file() {
            let file = fs::File::open(entry.path()).unwrap();
            file.set_modified(std::time::SystemTime::UNIX_EPOCH)
                .unwrap();
        }
    }
    let digest = |tree: &TestTree| tar_of(&Tree::scan(b"name", &tree.join("name")).unwrap()).1;
    assert_eq!(digest(&one), digest(&other));
}

#[test]
fn names_contents_and_permissions_change_the_address() {
    let base = || {
        TestTree::new()
            .dir("name", 0o755)
            .file("name/f", 0o644, "one")
    };
    let address =
        |tree: &TestTree, name: &[u8]| tar_of(&Tree::scan(name, &tree.join("name")).unwrap()).1.md5;
    let tree = base();
    let all = std::collections::HashSet::from([
        address(&tree, b"name"),
        address(&tree, b"other"),
        address(&base().file("name/f", 0o644, "two"), b"name"),
        address(&base().file("name/f", 0o664, "one"), b"name"),
        address(&base().dir("name", 0o700), b"name"),
        address(&base().dir("name/sub", 0o755), b"name"),
    ]);
    assert_eq!(all.len(), 6);
}

#[test]
fn hard_links_are_files() {
    let (linked, copied) = (
        TestTree::new().file("name/a", 0o644, "same"),
        TestTree::new()
            .file("name/a", 0o644, "same")
            .file("name/b", 0o644, "same"),
    );
    fs::hard_link(linked.join("name/a"), linked.join("name/b")).unwrap();
    let address = |tree: &TestTree| {
        tar_of(&Tree::scan(b"name", &tree.join("name")).unwrap())
            .1
            .md5
    };
    assert_eq!(address(&linked), address(&copied));
}

/// What the `tar` crate makes of a pack is a second opinion on the dialect.
#[test]
fn another_reader_unpacks_it() {
    let tree = small();
    let (tar, _) = tar_of(&Tree::scan(b"name", &tree.join("name")).unwrap());
    let target = tempfile::tempdir().unwrap();
    let mut archive = tar::Archive::new(&tar[..]);
    archive.set_preserve_permissions(true);
    archive.unpack(target.path()).unwrap();
    assert_eq!(
        crate::tree::look(target.path()),
        crate::tree::look(tree.path())
    );
}

#[test]
fn nothing_of_an_owner_or_a_time_is_in_a_header() {
    let (tar, _) = tar_of(&Tree::scan(b"name", &small().join("name")).unwrap());
    for entry in tar::Archive::new(&tar[..]).entries().unwrap() {
        let entry = entry.unwrap();
        let header = entry.header();
        assert_eq!(
            (
                header.uid().unwrap(),
                header.gid().unwrap(),
                header.mtime().unwrap()
            ),
            (0, 0, 0)
        );
        assert_eq!(header.username_bytes(), Some(&b""[..]));
        assert_eq!(header.groupname_bytes(), Some(&b""[..]));
    }
}

#[test]
fn packed_text_is_small_and_packed_noise_hardly_grows() {
    let text = b"the quick brown fox jumps over the lazy dog\n".repeat(100_000);
    let noise = noise(3 << 20);
    let (small, stored) = (crate::tree::gzip(&text), crate::tree::gzip(&noise));
    assert!(small.len() < text.len() / 50, "{}", small.len());
    assert!(
        stored.len() < noise.len() + noise.len() / 1000,
        "{}",
        stored.len()
    );
    for (gzip, data) in [(small, text), (stored, noise)] {
        let mut back = Vec::new();
        flate2::read::MultiGzDecoder::new(&gzip[..])
            .read_to_end(&mut back)
            .unwrap();
        assert!(back == data);
    }
}

#[test]
fn where_data_turns_members_turn() {
    let mut data = b"text ".repeat(300_000);
    data.extend(noise(1 << 20));
    data.extend(b"text ".repeat(300_000));
    let gzip = crate::tree::gzip(&data);
    assert!(gzip.len() < (2 << 20), "{}", gzip.len());
    let mut back = Vec::new();
    flate2::read::MultiGzDecoder::new(&gzip[..])
        .read_to_end(&mut back)
        .unwrap();
    assert!(back == data);
    assert_eq!(&gzip[..10], &crate::tree::gzip(&data)[..10]);
    assert_eq!(&gzip[4..8], &[0; 4], "no time in the header");
}

#[test]
fn an_empty_stream_is_a_gzip_too() {
    let gzip = PackWriter::new(Vec::new()).finish().unwrap();
    let mut back = Vec::new();
    flate2::read::GzDecoder::new(&gzip[..])
        .read_to_end(&mut back)
        .unwrap();
    assert!(back.is_empty() && !gzip.is_empty());
}

/// Bytes that do not compress, the same every time.
fn noise(len: usize) -> Vec<u8> {
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.wrapping_mul(0x2545_F491_4F6C_DD1D).to_be_bytes());
    }
    bytes.truncate(len);
    bytes
}

#[test]
fn the_root_may_be_a_link() {
    let tree = TestTree::new()
        .file("real/f", 0o644, "x")
        .link("link", "real")
        .link("to-file", "real/f");
    let scan = |name: &str| Tree::scan(b"name", &tree.join(name)).unwrap();
    assert_eq!(tar_of(&scan("link")), tar_of(&scan("real")));
    assert_eq!(tar_of(&scan("to-file")), tar_of(&scan("real/f")));
    assert!(scan("link").is_directory() && !scan("to-file").is_directory());
    assert_eq!(
        scan("real").packs()[0].entries().next().unwrap().path.len(),
        4
    );
    assert!(tree.path().as_os_str().as_bytes().starts_with(b"/"));
}
