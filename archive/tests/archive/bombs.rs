//! Little that becomes much.

use std::io::{Read, Write};

use archive::{Error, Policy};
use flate2::Compression;
use flate2::write::GzEncoder;
use tar::EntryType;

use crate::raw::RawTar;
use crate::scene::Scene;
use crate::tree::{Node, gzip, look};

#[test]
fn bombs_stop_in_both_modes() {
    let bytes = RawTar::new()
        .file("a", [0; 600])
        .file("b", [0; 600])
        .finish();
    let entries = RawTar::new()
        .file("a", "")
        .file("b", "")
        .file("c", "")
        .finish();
    let implied = RawTar::new().file("a/b/c/d/e", "").finish();
    let headers = (0..5).fold(RawTar::new(), |tar, _| {
        tar.entry("././@LongLink", EntryType::GNULongName, "", "x")
    });
    let huge = RawTar::new().with("huge", EntryType::Regular, "", |header| {
        header.set_size(u64::MAX);
    });
    for policy in [Policy::input(None), Policy::output(u64::MAX)] {
        let small = Policy {
            max_bytes: 1000,
            max_entries: 2,
            ..policy
        };
        let limit = |tar: &[u8]| match Scene::new().unpack(small.clone(), tar) {
            Err(Error::Limit { what, max }) => (what, max),
            other => panic!("{other:?}"),
        };
        assert_eq!(limit(&bytes), ("bytes", 1000));
        assert_eq!(limit(&entries), ("entries", 2));
        assert_eq!(limit(&implied), ("entries", 2));
        assert_eq!(
            limit(&RawTar::new().data(headers.bytes()).finish()),
            ("entries", 2)
        );
        assert_eq!(
            limit(&RawTar::new().data(huge.bytes()).finish()),
            ("bytes", 1000)
        );
    }
}

/// A gigabyte of zeros in a megabyte: nothing of it is written, nor read to its end.
#[test]
fn a_file_that_is_too_large_is_not_begun() {
    struct Zeros(u64);
    impl Read for Zeros {
        fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
            let count = buffer.len().min(usize::try_from(self.0).unwrap());
            buffer[..count].fill(0);
            self.0 -= count as u64;
            Ok(count)
        }
    }
    let header = RawTar::new().with("bomb", EntryType::Regular, "", |header| {
        header.set_size(1 << 30);
    });
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(header.bytes()).unwrap();
    std::io::copy(&mut Zeros(1 << 28), &mut encoder).unwrap();
    let bomb = encoder.finish().unwrap();
    assert!(bomb.len() < 1 << 19, "{} bytes", bomb.len());
    let scene = Scene::new();
    let error = scene.unpack_gzip(Policy::output(1 << 20), &bomb);
    assert!(matches!(error, Err(Error::Limit { what: "bytes", .. })));
    assert!(look(&scene.target()).is_empty());
}

/// What is in an archive is not looked into.
#[test]
fn an_archive_in_an_archive_is_a_file() {
    let mut nested = gzip(&vec![0; 1 << 20]);
    for _ in 0..5 {
        nested = gzip(&RawTar::new().file("nested.tar.gz", &nested).finish());
    }
    let scene = Scene::new();
    let done = scene.unpack_gzip(Policy::output(1 << 20), &nested).unwrap();
    assert_eq!((done.entries, done.left_out_total), (1, 0));
    assert!(matches!(
        look(&scene.target())[&b"nested.tar.gz"[..]],
        Node::File { .. }
    ));
}

#[test]
fn many_empty_members_are_nothing() {
    let empty = GzEncoder::new(Vec::new(), Compression::fast()).finish();
    let mut gzip_bytes = empty.unwrap().repeat(100_000);
    gzip_bytes.extend(gzip(&RawTar::new().file("f", "x").finish()));
    let done = Scene::new().unpack_gzip(Policy::output(1), &gzip_bytes);
    assert_eq!(done.unwrap().entries, 1);
}

/// The name of what was compressed may have any length, by the format.
#[test]
fn a_gzip_header_without_an_end_is_not_kept_in_memory() {
    let mut bytes = b"\x1f\x8b\x08\x08\0\0\0\0\0\x03".to_vec();
    bytes.resize(10 << 20, b'n');
    let error = Scene::new().unpack_gzip(Policy::output(1), &bytes);
    assert!(matches!(error, Err(Error::Stream(_))), "{error:?}");
}

#[test]
fn a_sparse_map_without_an_end_is_a_bomb() {
    let mut map = [0; 512];
    map[504] = 1;
    let mut tar = RawTar::new().with("sparse", EntryType::GNUSparse, "", |header| {
        let bytes = header.as_mut_bytes();
        bytes[257..265].copy_from_slice(b"ustar  \0");
        bytes[482] = 1;
    });
    for _ in 0..100 {
        tar = tar.data(map);
    }
    let error = Scene::new().unpack(Policy::output(10_000), &tar.finish());
    assert!(matches!(error, Err(Error::Limit { what: "bytes", .. })));
}

#[test]
fn long_names_count_as_what_they_weigh() {
    let name = vec![b'n'; 60_000];
    let tar = (0..10).fold(RawTar::new(), |tar, _| {
        tar.entry("././@LongLink", EntryType::GNULongName, "", &name)
    });
    let policy = Policy {
        max_entries: 1000,
        ..Policy::output(0)
    };
    let error = Scene::new().unpack(policy, &tar.finish());
    assert!(matches!(
        error,
        Err(Error::Limit {
            what: "entries",
            ..
        })
    ));
}
