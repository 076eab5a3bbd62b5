//! Archives made to do harm. Whatever is in them, nothing outside the target changes.

use std::fs;

use archive::Policy;
use tar::EntryType;

use crate::raw::RawTar;
use crate::scene::{Scene, assert_left_out};
use crate::tree::{Node, look};

#[test]
fn names_that_lead_elsewhere() {
    let tar = RawTar::new()
        .file("/outside/file", "evil")
        .file("../outside/file", "evil")
        .file("a/../../outside/file", "evil")
        .file("..", "evil")
        .file("a//b", "evil")
        .file("", "evil")
        .file("./", "evil")
        .dir("../outside/dir/", 0o777)
        .link("../outside/link", "x");
    assert_left_out(
        tar,
        &[
            ("/outside/file", "has an absolute name"),
            ("../outside/file", "has `..` in its name"),
            ("a/../../outside/file", "has `..` in its name"),
            ("..", "has `..` in its name"),
            ("a//b", "has an empty component in its name"),
            ("", "has no name"),
            ("./", "has no name"),
            ("../outside/dir/", "has `..` in its name"),
            ("../outside/link", "has `..` in its name"),
        ],
    );
}

#[test]
fn links_that_lead_out() {
    let tar = RawTar::new()
        .link("up", "..")
        .link("absolute", "/etc/passwd")
        .link("sub/up", "../../outside")
        .link("sub/here", "..")
        .link("sub/tricky", "here/../outside")
        .link("empty", "")
        .link("fine", "sub/here");
    assert_left_out(
        tar,
        &[
            ("up", "is a link that leads out of the directory"),
            ("absolute", "is a link to an absolute path"),
            ("sub/up", "is a link that leads out of the directory"),
            ("sub/tricky", "is a link that goes down and up again"),
            ("empty", "is a link to nothing"),
        ],
    );
}

#[test]
fn writing_through_links_of_the_archive() {
    let tar = RawTar::new()
        .dir("real/", 0o755)
        .link("link", "real")
        .file("link/file", "evil")
        .dir("link/dir/", 0o755)
        .dir("link/", 0o777)
        .file("link", "evil")
        .link("self", "self")
        .file("self/file", "evil")
        .file("plain", "x")
        .file("plain/below", "evil");
    assert_left_out(
        tar,
        &[
            ("link/file", "lies below what is no directory"),
            ("link/dir/", "lies below what is no directory"),
            ("link/", "is there already"),
            ("link", "is there already"),
            ("self/file", "lies below what is no directory"),
            ("plain/below", "lies below what is no directory"),
        ],
    );
}

/// In an input any link is kept, and still none is followed.
#[test]
fn an_inputs_absolute_link_is_made_but_not_followed() {
    let scene = Scene::new();
    let outside = scene.tree.join("outside");
    let tar = RawTar::new().link("link", outside.to_str().unwrap());
    let tar = tar.file("link/file", "evil").finish();
    let error = scene.unpack(Policy::input(None), &tar).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the archive's entry `link/file` lies below what is no directory"
    );
    assert_eq!(fs::read_link(scene.target().join("link")).unwrap(), outside);
}

#[test]
fn writing_through_links_that_were_there_before() {
    let scene = Scene::new();
    std::os::unix::fs::symlink("../outside", scene.target().join("link")).unwrap();
    std::os::unix::fs::symlink("../outside/new", scene.target().join("dangling")).unwrap();
    let tar = RawTar::new()
        .file("link/file", "evil")
        .file("dangling", "evil")
        .dir("link/", 0o777)
        .dir("dangling/", 0o777)
        .finish();
    let done = scene.unpack(Policy::output(u64::MAX), &tar).unwrap();
    assert_eq!((done.entries, done.left_out_total), (0, 4));
}

#[test]
fn kinds_that_are_no_files() {
    let entries = [
        (EntryType::Link, "is a hard link"),
        (EntryType::Char, "is a device"),
        (EntryType::Block, "is a device"),
        (EntryType::Fifo, "is a fifo"),
        (EntryType::GNUSparse, "is a sparse file"),
        (EntryType::XGlobalHeader, "is a global pax header"),
        (EntryType::new(b'Z'), "is of an unknown kind"),
    ];
    let tar = entries.iter().fold(RawTar::new(), |tar, (kind, _)| {
        tar.entry("odd", *kind, "../outside/file", "")
    });
    assert_left_out(tar, &entries.map(|(_, reason)| ("odd", reason)));
}

#[test]
fn data_behind_what_is_refused_is_skipped() {
    let evil = RawTar::new().file("evil", "evil").unfinished();
    let tar = RawTar::new()
        .entry("hard", EntryType::Link, "last", &evil)
        .entry("dir/", EntryType::Directory, "", &evil)
        .entry("link", EntryType::Symlink, "last", &evil)
        .entry("global", EntryType::XGlobalHeader, "", &evil)
        .file("../x", &evil);
    let left_out = Scene::left_out(&tar.file("last", "lands").finish());
    assert_eq!(left_out.len(), 5);
    assert!(left_out.iter().all(|(path, _)| path != "evil"));
}

#[test]
fn an_old_sparse_files_longer_map_is_skipped() {
    let mut map = [0; 512];
    map[504] = 1;
    let tar = RawTar::new()
        .with("sparse", EntryType::GNUSparse, "", |header| {
            let bytes = header.as_mut_bytes();
            bytes[257..265].copy_from_slice(b"ustar  \0");
            bytes[482] = 1;
        })
        .data(map)
        .data([0; 512]);
    assert_left_out(tar, &[("sparse", "is a sparse file")]);
}

#[test]
fn a_name_is_taken_once() {
    let tar = RawTar::new()
        .file("f", "first")
        .file("f", "second")
        .dir("d/", 0o755)
        .dir("d/", 0o700)
        .file("d", "file")
        .link("l", "f")
        .link("l", "d")
        .file("l", "through")
        .dir("implied/x/", 0o755)
        .file("implied", "file");
    assert_left_out(
        tar,
        &[
            ("f", "is there already"),
            ("d/", "is there already"),
            ("d", "is there already"),
            ("l", "is there already"),
            ("l", "is there already"),
            ("implied", "is there already"),
        ],
    );
}

#[test]
fn names_beyond_all_measure() {
    let deep = "d/".repeat(10_000);
    let tar = RawTar::new()
        .entry("././@LongLink", EntryType::GNULongName, "", &deep)
        .file("short", "evil")
        .entry(
            "././@LongLink",
            EntryType::GNULongName,
            "",
            vec![b'x'; 100_000],
        )
        .file("short", "evil")
        .pax(&[("path", &[b'y'; 256])])
        .file("short", "evil")
        .pax(&[("path", b"nul\0byte")])
        .file("short", "evil")
        .pax(&[("linkpath", &b"z/".repeat(4000))])
        .link("long-link", "x");
    let left_out = Scene::left_out(&tar.file("last", "lands").finish());
    let reasons: Vec<&str> = left_out.iter().map(|(_, reason)| &reason[..]).collect();
    assert_eq!(
        reasons,
        [
            "has a path that is too long",
            "has a name that is too long",
            "has a name that is too long",
            "has a NUL byte in its name",
            "is a link whose target is too long"
        ]
    );
}

#[test]
fn the_deepest_path_that_may_be_is_made() {
    let scene = Scene::new();
    let deep = "d/".repeat(2047);
    let tar = RawTar::new()
        .entry(
            "././@LongLink",
            EntryType::GNULongName,
            "",
            format!("{deep}f"),
        )
        .file("short", "deep")
        .finish();
    let done = scene.unpack(Policy::output(u64::MAX), &tar).unwrap();
    assert_eq!((done.entries, done.left_out_total), (1, 0));
}

#[test]
fn set_id_and_sticky_bits_are_dropped() {
    let scene = Scene::new();
    let tar = RawTar::new()
        .with("f", EntryType::Regular, "x", |header| {
            header.set_mode(0o6755);
        })
        .dir("d/", 0o7755)
        .finish();
    scene.unpack(Policy::output(u64::MAX), &tar).unwrap();
    let found = look(&scene.target());
    assert!(matches!(found[&b"f"[..]], Node::File { mode: 0o755, .. }));
    assert_eq!(found[&b"d"[..]], Node::Directory { mode: 0o755 });
}

#[test]
fn only_the_first_hundred_are_named() {
    let tar = (0..250).fold(RawTar::new(), |tar, number| {
        tar.file(format!("../{number}"), "")
    });
    let scene = Scene::new();
    let done = scene
        .unpack(Policy::output(u64::MAX), &tar.finish())
        .unwrap();
    assert_eq!((done.left_out.len(), done.left_out_total), (100, 250));
    assert_eq!(done.left_out[99].path, b"../99");
}

/// What other systems, shells or people would trip over is a name like any other here.
#[test]
fn odd_names_are_made_as_they_are() {
    let names: [&[u8]; 17] = [
        b"Case",
        b"case",
        b"CASE/f",
        b"...",
        b"a.",
        b"a ",
        b" ",
        b"-rf",
        b"~",
        b"*",
        b"C:\\f",
        b"a\\..\\b",
        b"new\nline",
        b"\x1b[2J",
        b"\xff\xfe",
        b"\x7f",
        b"nul",
    ];
    let tar = names
        .iter()
        .fold(RawTar::new(), |tar, name| tar.file(name, name));
    let scene = Scene::new();
    let done = scene
        .unpack(Policy::output(u64::MAX), &tar.finish())
        .unwrap();
    assert_eq!(done.left_out_total, 0);
    let found = look(&scene.target());
    for name in names {
        assert!(matches!(&found[name], Node::File { data, .. } if data == name));
    }
    assert_eq!(found.len(), names.len() + 1);
}

#[test]
fn a_slash_behind_a_name_makes_a_directory_of_nothing_else() {
    let tar = RawTar::new()
        .file("f/", "evil")
        .file("f/.", "made as `f`")
        .link("l/", "f")
        .file("d//", "evil");
    let left_out = Scene::left_out(&tar.file("last", "lands").finish());
    let named: Vec<&str> = left_out.iter().map(|(path, _)| &path[..]).collect();
    assert_eq!(named, ["f/", "d//"]);
}

/// Times of the sixties, of the year 200 billion, and none that a clock could show.
#[test]
fn times_beyond_all_clocks_are_harmless() {
    let times: [&[u8; 12]; 4] = [
        b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff",
        b"\x80\0\0\0\x7f\xff\xff\xff\xff\xff\xff\xff",
        b"\x80\0\0\0\xff\xff\xff\xff\xff\xff\xff\xff",
        b"77777777777\0",
    ];
    let mut tar = RawTar::new();
    for (number, time) in times.iter().enumerate() {
        for (name, kind) in [("f", b'0'), ("d", b'5'), ("l", b'2')] {
            tar = tar.with(
                format!("{name}{number}"),
                EntryType::new(kind),
                "",
                |header| {
                    header.as_old_mut().linkname[0] = b'x';
                    header.as_old_mut().mtime = **time;
                },
            );
        }
    }
    let scene = Scene::new();
    let done = scene
        .unpack(Policy::output(u64::MAX), &tar.finish())
        .unwrap();
    assert_eq!((done.entries, done.left_out_total), (12, 0));
}

#[test]
fn sizes_and_modes_that_are_no_numbers_are_damage() {
    let broken: [fn(&mut tar::Header); 4] = [
        |header| header.as_old_mut().size = *b"-0000000001\0",
        |header| header.as_old_mut().size = [0xff; 12],
        |header| header.as_old_mut().mode = *b"rwxr-xr-",
        |header| header.as_old_mut().mtime = *b"yesterday\0\0\0",
    ];
    for change in broken {
        let tar = RawTar::new().with("f", EntryType::Regular, "", change);
        let error = Scene::new().unpack(Policy::output(1000), &tar.finish());
        let error = error.unwrap_err();
        assert!(
            matches!(
                error,
                archive::Error::Damaged(_) | archive::Error::Limit { .. }
            ),
            "{error:?}"
        );
    }
}
