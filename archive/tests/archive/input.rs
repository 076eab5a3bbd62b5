//! What a scan takes, refuses and warns of.

use std::fs;
use std::io::Write;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;

use archive::{Error, Kind, Tree, Warning};

use crate::tree::{TestTree, tar_of};

fn paths(tree: &Tree) -> Vec<String> {
    let path = |entry: archive::Entry<'_>| String::from_utf8(entry.path.to_vec()).unwrap();
    tree.packs()
        .iter()
        .flat_map(archive::PackPlan::entries)
        .map(path)
        .collect()
}

#[test]
fn counts_and_sizes() {
    let tree = TestTree::new()
        .file("in/large", 0o644, [0; 3000])
        .file("in/small", 0o644, [0; 10])
        .link("in/link", "small");
    let scanned = Tree::scan(b"x", &tree.join("in")).unwrap();
    assert!(scanned.is_directory());
    assert_eq!((scanned.entries(), scanned.bytes()), (4, 3010));
    let largest = (tree.join("in/large"), 3000);
    assert_eq!(scanned.largest(1), std::slice::from_ref(&largest));
    assert_eq!(
        scanned.packs()[0].largest(5),
        [largest, (tree.join("in/small"), 10)]
    );
    assert_eq!(scanned.packs()[0].tar_size(), 4 * 512 + 3072 + 512 + 1024);
    let kinds: Vec<Kind> = scanned.packs()[0]
        .entries()
        .map(|entry| entry.kind)
        .collect();
    assert_eq!(kinds, [Kind::Directory, Kind::File, Kind::Link, Kind::File]);
}

#[test]
fn ignored_paths_stay_behind() {
    let tree = TestTree::new()
        .file(
            "in/.sortieignore",
            0o644,
            "*.log\n/build/\n!keep.log\n# a comment\nsub/only-here\n",
        )
        .file("in/a.log", 0o644, "")
        .file("in/keep.log", 0o644, "")
        .file("in/build/x/y", 0o644, "")
        .file("in/sub/build/z", 0o644, "")
        .file("in/sub/only-here", 0o644, "")
        .file("in/sub/.sortieignore", 0o644, "z\n")
        .file("in/sub/b.log", 0o644, "")
        .file("in/.gitignore", 0o644, "keep.log\n");
    let scanned = Tree::scan(b"x", &tree.join("in")).unwrap();
    assert_eq!(
        paths(&scanned),
        [
            "x",
            "x/.gitignore",
            "x/.sortieignore",
            "x/keep.log",
            "x/sub",
            "x/sub/.sortieignore",
            "x/sub/build",
            "x/sub/build/z"
        ]
    );
}

#[test]
fn an_ignore_file_that_is_no_pattern_is_an_error() {
    let tree = TestTree::new().file("in/.sortieignore", 0o644, "{a\n");
    let error = Tree::scan(b"x", &tree.join("in")).unwrap_err();
    assert!(
        matches!(error, Error::IgnoreFile { path, .. } if path == tree.join("in/.sortieignore"))
    );
}

#[test]
fn ignored_special_files_do_no_harm() {
    let tree = TestTree::new().file("in/.sortieignore", 0o644, "sock\n");
    let _socket = UnixListener::bind(tree.join("in/sock")).unwrap();
    assert_eq!(
        paths(&Tree::scan(b"x", &tree.join("in")).unwrap()),
        ["x", "x/.sortieignore"]
    );
}

#[test]
fn special_files_are_errors_that_name_them() {
    let tree = TestTree::new().dir("in/sub", 0o755);
    let socket = tree.join("in/sub/sock");
    let listener = UnixListener::bind(&socket).unwrap();
    let error = Tree::scan(b"x", &tree.join("in")).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("`{}` is a socket, which cannot be packed", socket.display())
    );
    drop(listener);
    fs::remove_file(&socket).unwrap();
    crate::tree::fifo(&tree.join("in/fifo"));
    let error = Tree::scan(b"x", &tree.join("in")).unwrap_err();
    assert!(matches!(error, Error::Special { path, kind: "fifo" } if path == tree.join("in/fifo")));
    let error = Tree::scan(b"x", "/dev/null".as_ref()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "`/dev/null` is a device, which cannot be packed"
    );
}

#[test]
fn what_is_missing_or_unreadable_is_named() {
    let tree = TestTree::new()
        .file("in/sub/secret", 0o000, "x")
        .dir("in/sub", 0o755);
    let error = Tree::scan(b"x", &tree.join("nothing")).unwrap_err();
    assert!(matches!(error, Error::Read { path, .. } if path == tree.join("nothing")));
    if rustix::process::geteuid().is_root() {
        // Root may read anything.
        return;
    }
    let scanned = Tree::scan(b"x", &tree.join("in")).unwrap();
    let error = scanned.packs()[0].write_tar(Vec::new()).unwrap_err();
    assert!(matches!(error, Error::Read { path, .. } if path == tree.join("in/sub/secret")));
    let tree = tree.dir("in/sub", 0o000);
    let error = Tree::scan(b"x", &tree.join("in")).unwrap_err();
    assert!(matches!(error, Error::Read { path, .. } if path == tree.join("in/sub")));
    let _tree = tree.dir("in/sub", 0o755);
}

#[test]
fn links_that_lead_out_are_kept_and_warned_of() {
    let tree = TestTree::new()
        .link("in/absolute", "/etc/passwd")
        .link("in/up", "../x")
        .link("in/sub/up", "../../x")
        .link("in/sub/inside", "../up")
        .link("in/dangling", "nowhere")
        .link("in/here", ".");
    let scanned = Tree::scan(b"x", &tree.join("in")).unwrap();
    let warned =
        ["in/absolute", "in/sub/up", "in/up"].map(|path| Warning::EscapingLink(tree.join(path)));
    assert_eq!(scanned.warnings(), warned);
    assert_eq!(scanned.entries(), 8);
}

#[test]
fn secrets_are_warned_of_and_packed() {
    let key = "-----BEGIN OPENSSH PRIVATE KEY-----\n";
    let tree = TestTree::new()
        .file("in/.env", 0o644, "")
        .file("in/.env.example", 0o644, "")
        .file("in/.env.local", 0o644, "")
        .file("in/.aws/credentials", 0o644, "")
        .file("in/.claude/.credentials.json", 0o644, "")
        .file("in/ca.pem", 0o644, "-----BEGIN CERTIFICATE-----\n")
        .file("in/server.pem", 0o644, key)
        .file("in/keys/id_ed25519", 0o600, "")
        .file("in/keys/id_ed25519.pub", 0o644, "")
        .file("in/credentials", 0o644, "")
        .file("in/environment", 0o644, "");
    let scanned = Tree::scan(b"x", &tree.join("in")).unwrap();
    let secret = [
        "in/.aws/credentials",
        "in/.claude/.credentials.json",
        "in/.env",
        "in/.env.local",
        "in/keys/id_ed25519",
        "in/server.pem",
    ]
    .map(|path| Warning::Secret(tree.join(path)));
    assert_eq!(scanned.warnings(), secret);
    assert_eq!(scanned.entries(), 11 + 4);
}

#[test]
fn a_changed_file_is_named() {
    type Change = fn(&PathBuf);
    let changes: [Change; 5] = [
        |path| fs::write(path, "longer than before").unwrap(),
        |path| fs::write(path, "").unwrap(),
        |path| fs::remove_file(path).unwrap(),
        |path| {
            fs::remove_file(path).unwrap();
            std::os::unix::fs::symlink("/etc/passwd", path).unwrap();
        },
        |path| {
            fs::remove_file(path).unwrap();
            crate::tree::fifo(path);
        },
    ];
    for change in changes {
        let tree = TestTree::new().file("in/sub/f", 0o644, "content");
        let path = tree.join("in/sub/f");
        let scanned = Tree::scan(b"x", &tree.join("in")).unwrap();
        change(&path);
        let error = scanned.packs()[0].write_tar(Vec::new()).unwrap_err();
        assert!(
            matches!(&error, Error::Changed { path: named } if *named == path),
            "{error}"
        );
        let alone = Tree::scan(b"x", &tree.join("in"));
        assert!(alone.is_ok() || path.exists());
    }
}

#[test]
fn a_directory_swapped_for_a_link_is_not_followed() {
    let tree =
        TestTree::new()
            .file("in/sub/f", 0o644, "content")
            .file("elsewhere/f", 0o644, "content");
    let scanned = Tree::scan(b"x", &tree.join("in")).unwrap();
    fs::rename(tree.join("in/sub"), tree.join("in/moved")).unwrap();
    std::os::unix::fs::symlink("../elsewhere", tree.join("in/sub")).unwrap();
    let error = scanned.packs()[0].write_tar(Vec::new()).unwrap_err();
    assert!(matches!(error, Error::Changed { path } if path == tree.join("in/sub/f")));
}

/// Changes the file while its bytes pass.
struct Meddler(PathBuf, u64);

impl Write for Meddler {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        if self.1 == 0 {
            let mut file = fs::OpenOptions::new().append(true).open(&self.0)?;
            file.write_all(b"more")?;
        }
        self.1 += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_file_that_changes_while_being_read_is_named() {
    let tree = TestTree::new().file("in/f", 0o644, vec![7; 1 << 20]);
    let path = tree.join("in/f");
    let scanned = Tree::scan(b"x", &tree.join("in")).unwrap();
    let error = scanned.packs()[0]
        .write_tar(Meddler(path.clone(), 0))
        .unwrap_err();
    assert!(matches!(error, Error::Changed { path: named } if named == path));
}

#[test]
fn fingerprints_follow_what_a_scan_can_see() {
    let tree = TestTree::new().file("in/f", 0o644, "one").link("in/l", "f");
    let scan = || Tree::scan(b"x", &tree.join("in")).unwrap();
    let print = |tree: &Tree| tree.packs()[0].fingerprint();
    let (first, again) = (scan(), scan());
    assert_eq!(print(&first), print(&again));
    let stamp = first.packs()[0].entries().nth(1).unwrap().stamp;
    assert_eq!(
        first.packs()[0].settled(),
        Some(stamp.ctime.max(stamp.mtime) + 1_000_000_000)
    );
    fs::write(tree.join("in/f"), "three").unwrap();
    assert_ne!(print(&first), print(&scan()));
    assert_ne!(
        tar_of(&scan()).1,
        tar_of(&Tree::scan(b"y", &tree.join("in")).unwrap()).1
    );
}

/// Enough directories for several threads.
#[test]
fn a_wide_tree_is_seen_whole_and_sorted() {
    let mut tree = TestTree::new();
    for directory in 0..40 {
        for file in 0..5 {
            tree = tree.file(
                format!("in/d{directory}/s{}/f{file}", directory % 3),
                0o644,
                [1; 7],
            );
        }
    }
    let scanned = Tree::scan(b"x", &tree.join("in")).unwrap();
    let found = paths(&scanned);
    assert_eq!(
        (scanned.entries(), scanned.bytes()),
        (1 + 40 + 40 + 200, 1400)
    );
    assert_eq!(found.len(), 281);
    assert!(found.is_sorted());
    let again = Tree::scan(b"x", &tree.join("in")).unwrap();
    assert_eq!(tar_of(&again).1, tar_of(&scanned).1);
    let socket = tree.join("in/d17/s2/sock");
    let _listener = UnixListener::bind(&socket).unwrap();
    let error = Tree::scan(b"x", &tree.join("in")).unwrap_err();
    assert!(matches!(error, Error::Special { path, .. } if path == socket));
}
