//! Headers that say one thing to one reader and another to the next: whatever is understood, it stays inside.

use std::collections::BTreeMap;

use archive::{Error, Policy};
use tar::EntryType;

use crate::raw::RawTar;
use crate::scene::Scene;
use crate::tree::{Node, look};

#[test]
fn pax_values_are_taken_at_their_length() {
    let scene = Scene::new();
    let tar = RawTar::new()
        .pax(&[("path", b"new\nline"), ("mtime", b"1.5"), ("size", b"3")])
        .with("short", EntryType::Regular, "abc", |header| {
            header.set_size(0);
        })
        .pax(&[("linkpath", b"new\nline")])
        .link("l", "x")
        .pax(&[("GNU.sparse.major", b"1")])
        .file("sparse", "x")
        .finish();
    let done = scene.unpack(Policy::output(u64::MAX), &tar).unwrap();
    let found = look(&scene.target());
    assert!(matches!(&found[&b"new\nline"[..]], Node::File { data, .. } if data == b"abc"));
    assert!(matches!(&found[&b"l"[..]], Node::Link { target } if target == b"new\nline"));
    assert_eq!(done.left_out[0].reason, "is a sparse file");
    assert_eq!(found.len(), 2);
}

fn names(found: &BTreeMap<Vec<u8>, Node>) -> Vec<&str> {
    found
        .keys()
        .map(|name| std::str::from_utf8(name).unwrap())
        .collect()
}

fn long(tar: RawTar, kind: u8, value: &str) -> RawTar {
    tar.entry("././@LongLink", EntryType::new(kind), "", value)
}

#[test]
fn a_better_name_is_checked_as_the_first_was() {
    let evil = "../outside/evil";
    let plain = || RawTar::new().pax(&[("path", evil.as_bytes())]);
    let tars = [
        plain().file("good", "evil"),
        long(RawTar::new(), b'L', evil).file("good", "evil"),
        long(plain(), b'L', evil).file("good", "evil"),
        RawTar::new()
            .pax(&[("path", b"good"), ("path", evil.as_bytes())])
            .file("good", "evil"),
        plain().dir("good/", 0o777),
        plain().link("good", "x"),
        plain().entry("good", EntryType::Continuous, "", "evil"),
    ];
    for tar in tars {
        let (found, reasons) = Scene::landed(tar);
        assert_eq!(names(&found), [] as [&str; 0]);
        assert_eq!(reasons, ["has `..` in its name"]);
    }
}

/// GNU's and pax' words for the same entry: the last one holds.
#[test]
fn of_two_names_the_later_one_is_taken() {
    let pax = |tar: RawTar| tar.pax(&[("path", b"by-pax"), ("linkpath", b"to-pax")]);
    let gnu = |tar| long(long(tar, b'L', "by-gnu"), b'K', "to-gnu");
    for (tar, name, target) in [
        (pax(gnu(RawTar::new())), "by-pax", "to-pax"),
        (gnu(pax(RawTar::new())), "by-gnu", "to-gnu"),
    ] {
        let (found, _) = Scene::landed(tar.link("short", "short"));
        let expected = Node::Link {
            target: target.into(),
        };
        assert_eq!(found, BTreeMap::from([(name.into(), expected)]));
    }
}

#[test]
fn a_better_target_is_checked_as_the_first_was() {
    for target in ["/etc/passwd", "../outside", "a/../../outside", ""] {
        for tar in [
            RawTar::new().pax(&[("linkpath", target.as_bytes())]),
            long(RawTar::new(), b'K', target),
        ] {
            let (found, reasons) = Scene::landed(tar.link("l", "good"));
            assert!(found.is_empty(), "{found:?}");
            assert_eq!(reasons.len(), 1);
        }
    }
}

/// Of two sizes pax' holds: what a reader of the other one would take for an entry is data, and the reverse.
#[test]
fn whoever_is_believed_about_a_size_nothing_gets_out() {
    let hidden = RawTar::new().file("../outside/evil", "evil").unfinished();
    let size = hidden.len().to_string();
    let larger = RawTar::new()
        .pax(&[("size", size.as_bytes())])
        .with("f", EntryType::Regular, "", |header| header.set_size(0))
        .data(&hidden)
        .file("last", "lands");
    let (found, reasons) = Scene::landed(larger);
    assert_eq!(names(&found), ["f", "last"]);
    assert!(matches!(&found[&b"f"[..]], Node::File { data, .. } if *data == hidden));
    assert!(reasons.is_empty());
    let smaller = RawTar::new()
        .pax(&[("size", b"0")])
        .file("f", &hidden)
        .file("last", "lands");
    let (found, reasons) = Scene::landed(smaller);
    assert_eq!(names(&found), ["f", "last"]);
    assert_eq!(reasons, ["has `..` in its name"]);
}

/// A size of pax is the next entry's, not that of another header before it.
#[test]
fn a_size_passes_over_names() {
    let tar = long(RawTar::new().pax(&[("size", b"3")]), b'L', "long");
    let (found, _) = Scene::landed(tar.with("short", EntryType::Regular, "abc", |header| {
        header.set_size(0);
    }));
    assert!(matches!(&found[&b"long"[..]], Node::File { data, .. } if data == b"abc"));
}

#[test]
fn a_global_header_changes_nothing() {
    let record = b"24 path=../outside/evil\n";
    let global = |tar: RawTar| tar.entry("g", EntryType::XGlobalHeader, "", record);
    let tar = global(RawTar::new().pax(&[("path", b"of-the-global-one")]));
    let (found, reasons) = Scene::landed(global(tar.file("a", "x")).file("b", "x"));
    assert_eq!(names(&found), ["a", "b"]);
    assert_eq!(reasons, ["is a global pax header"; 2]);
}

#[test]
fn sparse_files_in_all_dialects_are_refused_whatever_they_are_named() {
    for records in [
        &[("GNU.sparse.major", &b"1"[..]), ("GNU.sparse.minor", b"0")][..],
        &[("GNU.sparse.name", b"../outside/evil"), ("path", b"f")],
        &[("GNU.sparse.map", b"0,1000000000000"), ("size", b"1")],
        &[("GNU.sparse.realsize", b"18446744073709551615")],
    ] {
        let (found, reasons) = Scene::landed(RawTar::new().pax(records).file("f", "x"));
        assert!(found.is_empty(), "{found:?}");
        assert_eq!(reasons, ["is a sparse file"]);
    }
}

#[test]
fn attributes_and_owners_are_not_for_us() {
    let tar = RawTar::new()
        .pax(&[
            ("SCHILY.xattr.security.capability", b"\x01\0\0\x02"),
            ("SCHILY.acl.access", b"user::rwx"),
            ("uid", b"0"),
            ("uname", b"root"),
            ("mtime", b"-1e99"),
            ("hdrcharset", b"BINARY"),
        ])
        .file("f", "x");
    let (found, reasons) = Scene::landed(tar);
    assert_eq!((names(&found), reasons.len()), (vec!["f"], 0));
}

#[test]
fn pax_records_that_are_none_are_damage() {
    for record in [
        &b"path=evil\n"[..],
        b"9 path=a",
        b"99 path=a\n",
        b"0 path=a\n",
        b"7 patha\n",
        b"-9 path=a\n",
        b"18446744073709551616 path=a\n",
        b" 9 path=a\n",
        b"11 size=-1\n",
        b"9 size=x\n",
        b"8 size=\n",
        b"\n",
    ] {
        let tar = RawTar::new().entry("pax", EntryType::XHeader, "", record);
        let result = Scene::new().unpack(Policy::output(100), &tar.file("f", "x").finish());
        assert!(
            matches!(result, Err(Error::Damaged("a pax header is malformed"))),
            "{} {result:?}",
            archive::printable(record)
        );
    }
}

/// Words for an entry that never comes.
#[test]
fn names_before_the_end_are_nobodys() {
    let tar = long(RawTar::new().pax(&[("path", b"a")]), b'L', "b");
    let (found, reasons) = Scene::landed(tar);
    assert!(found.is_empty() && reasons.is_empty());
}
