//! The bytes that decide addresses.

use archive::{Policy, Tree, Unpacker};

use crate::tree::{TestTree, gzip, look, tar_of};

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
fn unpacking_gives_the_same_tree() {
    let tree = small();
    let (tar, digest) = tar_of(&Tree::scan(b"name", &tree.join("name")).unwrap());
    let target = tempfile::tempdir().unwrap();
    let unpacker = Unpacker::new(target.path(), Policy::input(None)).unwrap();
    let checksum = unpacker.unpack(&gzip(&tar)[..]).unwrap();
    let unpacked = unpacker.finish().unwrap();
    assert_eq!(
        (checksum.sha256, checksum.size),
        (digest.sha256, digest.size)
    );
    assert_eq!(look(target.path()), look(tree.path()));
    assert_eq!(unpacked.entries as usize, look(tree.path()).len());
}
