//! Sizes and lengths at which the format or the packs change, and what an address must not depend on.

use std::fs::File;
use std::time::{Duration, SystemTime};

use archive::{PackWriter, Policy, Tree, Unpacker, pack_outputs};

use crate::tree::{Node, TestTree, gzip, look, tar_of_pack};

const MIB: usize = 1 << 20;

/// Around a block, the buffers of packer and unpacker, and the least, the aim and the most of a pack.
fn sizes() -> Vec<usize> {
    let borders = [
        512,
        64 << 10,
        256 << 10,
        512 << 10,
        4 * MIB,
        8 * MIB,
        16 * MIB,
    ];
    let around = |border: usize| [border - 1, border, border + 1];
    [0, 1]
        .into_iter()
        .chain(borders.into_iter().flat_map(around))
        .collect()
}

fn tree_of_all_sizes() -> TestTree {
    sizes().into_iter().fold(TestTree::new(), |tree, size| {
        let data: Vec<u8> = (0..size)
            .map(|at| u8::try_from(at / 7 % 251).unwrap())
            .collect();
        tree.file(format!("in/{size:08}"), 0o640, data)
    })
}

#[test]
fn packs_of_all_sizes_come_back_whatever_their_order() {
    let tree = tree_of_all_sizes();
    let scanned = Tree::scan(b"in", &tree.join("in")).unwrap();
    let packs = scanned.packs();
    assert!(packs.len() > 5, "{} packs", packs.len());
    let target = TestTree::new();
    let unpacker = Unpacker::new(target.path(), Policy::input(None)).unwrap();
    std::thread::scope(|scope| {
        for first in [0, 1] {
            let half: Vec<_> = packs.iter().rev().skip(first).step_by(2).collect();
            let unpacker = &unpacker;
            scope.spawn(move || {
                for pack in half {
                    let (tar, digest) = tar_of_pack(pack);
                    let checksum = unpacker.unpack(&gzip(&tar)[..]).unwrap();
                    assert_eq!(
                        (checksum.sha256, checksum.size),
                        (digest.sha256, digest.size)
                    );
                }
            });
        }
    });
    let done = unpacker.finish().unwrap();
    assert_eq!(
        (done.entries, done.bytes),
        (scanned.entries() as u64, scanned.bytes())
    );
    assert!(look(target.path()) == look(tree.path()));
}

#[test]
fn outputs_of_all_sizes_come_back_within_their_own_bytes() {
    let tree = tree_of_all_sizes();
    let mut gzip = PackWriter::new(Vec::new());
    let packed = pack_outputs(&tree.join("in"), &mut gzip, None).unwrap();
    let target = TestTree::new();
    let unpacker = Unpacker::new(target.path(), Policy::output(packed.bytes)).unwrap();
    assert_eq!(
        unpacker.unpack(&gzip.finish().unwrap()[..]).unwrap(),
        packed.digest
    );
    assert_eq!(unpacker.finish().unwrap().left_out_total, 0);
    assert!(look(target.path()) == look(&tree.join("in")));
}

/// Of names of one component, and of two that fit two fields or do not.
#[test]
fn names_of_every_length_come_back() {
    let mut tree = TestTree::new();
    for len in [1, 98, 99, 100, 101, 154, 155, 156, 254, 255] {
        tree = tree
            .file(format!("in/{}", "f".repeat(len)), 0o644, "")
            .dir(format!("in/d/{}", "d".repeat(len)), 0o700)
            .link(format!("in/l/{}", "l".repeat(len)), "t".repeat(len));
        for below in [1, 99, 100, 101, 155] {
            let path = format!("in/{}/{}", "p".repeat(len), "n".repeat(below));
            tree = tree.file(path, 0o600, "");
        }
    }
    let scanned = Tree::scan(b"in", &tree.join("in")).unwrap();
    let target = TestTree::new();
    let unpacker = Unpacker::new(target.path(), Policy::input(None)).unwrap();
    for pack in scanned.packs() {
        unpacker.unpack(&gzip(&tar_of_pack(&pack).0)[..]).unwrap();
    }
    unpacker.finish().unwrap();
    assert_eq!(look(target.path()), look(tree.path()));
    let mut gzip = PackWriter::new(Vec::new());
    let packed = pack_outputs(&tree.join("in"), &mut gzip, None).unwrap();
    assert_eq!(packed.bytes, 0);
    let target = TestTree::new();
    let unpacker = Unpacker::new(target.path(), Policy::output(0)).unwrap();
    unpacker.unpack(&gzip.finish().unwrap()[..]).unwrap();
    assert_eq!(unpacker.finish().unwrap().left_out_total, 0);
    assert_eq!(look(target.path()), look(&tree.join("in")));
}

/// The same tree, made in the opposite order and at other times.
pub(crate) fn made_again(tree: &TestTree) -> TestTree {
    let nodes = look(tree.path());
    let mut again = TestTree::new();
    for (path, node) in nodes.iter().rev() {
        again = match node {
            Node::File { mode, data } => again.file(path, *mode, data),
            Node::Directory { mode } => again.dir(path, *mode),
            Node::Link { target } => again.link(path, target),
            Node::Other => again,
        };
    }
    for (path, node) in &nodes {
        if matches!(node, Node::Link { .. }) {
            continue;
        }
        let file = File::open(again.join(path)).unwrap();
        let long_ago = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
        file.set_modified(long_ago).unwrap();
    }
    again
}
