//! Any tree comes back as it was, for what the format promises to keep.

use std::ffi::OsStr;
use std::io::{Read, Write};
use std::os::unix::ffi::OsStrExt;

use archive::{Error, Links, PackWriter, Policy, Tree, Unpacker, pack_outputs};
use proptest::collection::vec;
use proptest::prelude::*;
use tar::EntryType;

use crate::borders::made_again;
use crate::raw::RawTar;
use crate::tree::{TestTree, gzip, look, tar_of};

#[derive(Debug, Clone)]
enum Item {
    File(u32, Vec<u8>),
    Directory(u32),
    Link(Vec<u8>),
}

fn name() -> impl Strategy<Value = Vec<u8>> {
    let byte = any::<u8>().prop_filter("no part of a name", |byte| !matches!(byte, 0 | b'/'));
    let plain = |name: &Vec<u8>| !matches!(&name[..], b"." | b"..");
    prop_oneof![
        4 => "[a-c]{1,2}".prop_map(String::into_bytes),
        2 => vec(byte, 1..12),
        1 => (1_usize..=255).prop_map(|len| vec![b'n'; len]),
    ]
    .prop_filter("means a directory", plain)
}

fn item() -> impl Strategy<Value = Item> {
    let mode = prop::sample::select(vec![0o644, 0o755, 0o600, 0o444, 0o777, 0o640]);
    let directory_mode = prop::sample::select(vec![0o755, 0o700, 0o750, 0o777]);
    let target = vec(1..=255_u8, 1..180);
    prop_oneof![
        5 => (mode, vec(any::<u8>(), 0..2000)).prop_map(|(mode, data)| Item::File(mode, data)),
        2 => directory_mode.prop_map(Item::Directory),
        2 => target.prop_map(Item::Link),
    ]
}

fn entries() -> impl Strategy<Value = Vec<(Vec<Vec<u8>>, Item)>> {
    vec((vec(name(), 1..5), item()), 0..20)
}

/// Entries whose place is taken by an earlier one are skipped.
fn build(entries: &[(Vec<Vec<u8>>, Item)]) -> TestTree {
    let mut tree = TestTree::new().dir("in", 0o755);
    for (path, item) in entries {
        let path = [&b"in/"[..], &path.join(&b'/')].concat();
        let parent = tree.join(&path).parent().unwrap().to_path_buf();
        let is_taken =
            tree.join(&path).symlink_metadata().is_ok() || std::fs::create_dir_all(parent).is_err();
        if is_taken {
            continue;
        }
        tree = match item {
            Item::File(mode, data) => tree.file(path, *mode, data),
            Item::Directory(mode) => tree.dir(path, *mode),
            Item::Link(target) => tree.link(path, target),
        };
    }
    tree
}

/// Names and targets in which hostile archives would be written.
fn hostile_path() -> impl Strategy<Value = String> {
    let component = prop::sample::select(vec!["a", "b", "c", "a", "b", "..", ".", "", "outside"]);
    (any::<bool>(), vec(component, 1..5)).prop_map(|(absolute, path)| {
        let path = path.join("/");
        if absolute && path.len() % 5 == 0 {
            format!("/{path}")
        } else {
            path
        }
    })
}

fn hostile_kind() -> impl Strategy<Value = EntryType> {
    prop::sample::select(b"00025552221346KLxgS".to_vec()).prop_map(EntryType::new)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn packing_and_unpacking_an_input_changes_nothing(entries in entries()) {
        let tree = build(&entries);
        let scanned = Tree::scan(b"in", &tree.join("in")).unwrap();
        let (tar, digest) = tar_of(&scanned);
        let target = TestTree::new();
        let unpacker = Unpacker::new(target.path(), Policy::input(None)).unwrap();
        let checksum = unpacker.unpack(&gzip(&tar)[..]).unwrap();
        let done = unpacker.finish().unwrap();
        prop_assert_eq!(checksum.sha256, digest.sha256);
        prop_assert_eq!(done.entries, scanned.entries() as u64);
        prop_assert_eq!(look(target.path()), look(tree.path()));
        let again = Tree::scan(b"in", &target.join("in")).unwrap();
        prop_assert_eq!(tar_of(&again).0, tar);
    }

    #[test]
    fn an_address_depends_on_the_tree_alone(entries in entries()) {
        let tree = build(&entries);
        let again = made_again(&tree);
        let scan = |tree: &TestTree| tar_of(&Tree::scan(b"in", &tree.join("in")).unwrap());
        prop_assert!(scan(&tree) == scan(&again));
    }

    #[test]
    fn another_reader_sees_the_same_entries(entries in entries()) {
        let tree = build(&entries);
        let scanned = Tree::scan(b"in", &tree.join("in")).unwrap();
        let (tar, _) = tar_of(&scanned);
        let mut archive = tar::Archive::new(&tar[..]);
        let seen: Vec<(Vec<u8>, Vec<u8>)> = archive.entries().unwrap().map(|entry| {
            let entry = entry.unwrap();
            let link = entry.link_name_bytes().unwrap_or_default().into_owned();
            let path = entry.path_bytes().into_owned();
            (path.strip_suffix(b"/").map_or(path.clone(), <[u8]>::to_vec), link)
        }).collect();
        let packs = scanned.packs();
        let expected: Vec<_> = packs[0].entries().map(|entry| (entry.path.to_vec(), entry.link.to_vec())).collect();
        prop_assert_eq!(seen, expected);
    }

    #[test]
    fn packing_and_unpacking_outputs_loses_hostile_links_only(entries in entries()) {
        let tree = build(&entries);
        let mut gzip = PackWriter::new(Vec::new());
        let packed = pack_outputs(&tree.join("in"), &mut gzip, None).unwrap();
        prop_assert_eq!(packed.left_out_total, 0);
        let target = TestTree::new();
        let unpacker = Unpacker::new(target.path(), Policy::output(packed.bytes)).unwrap();
        prop_assert_eq!(unpacker.unpack(&gzip.finish().unwrap()[..]).unwrap(), packed.digest);
        let done = unpacker.finish().unwrap();
        let mut expected = look(&tree.join("in"));
        for left_out in &done.left_out {
            prop_assert!(left_out.reason.starts_with("is a link"));
            expected.remove(&left_out.path);
        }
        prop_assert_eq!(look(target.path()), expected);
    }

    #[test]
    fn any_bytes_survive_the_writer(pieces in vec((any::<u8>(), any::<bool>(), 0..400_000_usize), 0..6)) {
        let mut data = Vec::new();
        for (seed, noisy, len) in pieces {
            let mut state = u64::from(seed) | 1 << 40;
            data.extend((0..len).map(|_| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                if noisy { state.to_be_bytes()[0] } else { seed }
            }));
        }
        let mut writer = PackWriter::new(Vec::new());
        for piece in data.chunks(77_777) {
            writer.write_all(piece).unwrap();
        }
        let mut back = Vec::new();
        flate2::read::MultiGzDecoder::new(&writer.finish().unwrap()[..]).read_to_end(&mut back).unwrap();
        prop_assert!(back == data);
    }

    #[test]
    fn no_archive_reaches_out_of_the_target(
        entries in vec((hostile_path(), hostile_kind(), hostile_path(), 0..600_usize), 0..25),
        keeps_links in any::<bool>(),
    ) {
        let tree = TestTree::new().file("outside/a", 0o644, "x").dir("outside/b", 0o755).dir("target", 0o755);
        let (outside, target) = (tree.join("outside"), tree.join("target"));
        let before = look(&outside);
        let mut tar = RawTar::new();
        for (name, kind, link, len) in entries {
            let data = if kind == EntryType::Regular { vec![1; len] } else { Vec::new() };
            let data = if kind.is_gnu_longname() || kind.is_gnu_longlink() { link.clone().into_bytes() } else { data };
            // Ordinary users look at the result, and need to enter what is made.
            tar = if kind == EntryType::Directory { tar.dir(name, 0o755) } else { tar.entry(name, kind, link, data) };
        }
        let links = if keeps_links { Links::Keep } else { Links::InsideOnly };
        let policy = Policy { links, ..Policy::output(u64::MAX) };
        let unpacker = Unpacker::new(&target, policy).unwrap();
        let result = unpacker.unpack(&gzip(&tar.finish())[..]);
        unpacker.finish().unwrap();
        prop_assert!(result.is_ok() || matches!(result, Err(Error::Damaged(_))));
        prop_assert_eq!(look(&outside), before);
        prop_assert_eq!(std::fs::read_dir(tree.path()).unwrap().count(), 2);
        let target = target.canonicalize().unwrap();
        for path in look(&target).keys().filter(|_| !keeps_links) {
            let real = target.join(OsStr::from_bytes(path)).canonicalize();
            prop_assert!(real.is_err() || real.is_ok_and(|real| real.starts_with(&target)));
        }
    }
}
