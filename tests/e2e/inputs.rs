//! What is sent is what was there.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

use crate::harness::Machine;

/// Runs a shell text over an input, and returns what it printed.
fn print(machine: &Machine, input: &str, script: &str) -> String {
    let words = ["run", "-q", "--input", input, "--", "sh", "-c", script];
    String::from_utf8(machine.sortie(words).enter().code(0).stdout).unwrap()
}

#[test]
fn a_second_run_sends_nothing() {
    let machine = Machine::new();
    machine.write("repo/a.txt", "a");
    let words = ["run", "--input", "repo", "--", "cat", "input/repo/a.txt"];
    machine
        .sortie(words)
        .enter()
        .code(0)
        .prints("a")
        .says("input `repo`: 2 entries, 1 B: sent");
    machine
        .sortie(words)
        .enter()
        .code(0)
        .prints("a")
        .says("already in the bucket");
}

#[test]
fn an_edited_file_is_never_stale() {
    let machine = Machine::new();
    for content in ["A", "B", "C"] {
        machine.write("repo/a.txt", content);
        assert_eq!(print(&machine, "repo", "cat input/repo/a.txt"), content);
    }
}

#[test]
fn permission_bits_are_exact() {
    let machine = Machine::new();
    let modes = [0o755, 0o700, 0o750, 0o644, 0o444];
    for mode in modes {
        let path = machine.write(&format!("tree/f{mode:o}"), "x");
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }
    fs::create_dir(machine.path("tree/d555")).unwrap();
    machine.write("tree/d555/inside", "x");
    fs::set_permissions(machine.path("tree/d555"), fs::Permissions::from_mode(0o555)).unwrap();
    let there = print(&machine, "tree", "cd input/tree && stat -c '%a %n' *");
    assert_eq!(
        there,
        "555 d555\n444 f444\n644 f644\n700 f700\n750 f750\n755 f755\n"
    );
}

#[test]
fn and_so_are_they_on_the_way_home() {
    let machine = Machine::new();
    let script = "cd output && umask 077 && for m in 755 700 750 644 444; do echo > f$m; chmod $m f$m; done; mkdir d; echo > d/f; chmod 555 d";
    machine
        .sortie(["run", "--out", "o", "--", "sh", "-c", script])
        .enter()
        .code(0);
    for mode in [0o755, 0o700, 0o750, 0o644, 0o444] {
        let meta = fs::metadata(machine.path(&format!("o/output/f{mode:o}"))).unwrap();
        assert_eq!(meta.permissions().mode() & 0o7777, mode);
    }
    let meta = fs::metadata(machine.path("o/output/d")).unwrap();
    assert_eq!(meta.permissions().mode() & 0o7777, 0o555);
}

#[test]
fn an_empty_directory_a_file_and_a_dangling_link_are_inputs() {
    let machine = Machine::new();
    fs::create_dir(machine.path("empty")).unwrap();
    machine.write("file.txt", "content");
    symlink("nowhere", machine.path("dangling")).unwrap();
    let words = [
        "run", "-q", "-i", "empty", "-i", "file.txt", "-i", "dangling", "--", "sh", "-c",
    ];
    let script = "ls -A input/empty | wc -l; cat input/file.txt; echo; readlink input/dangling";
    let done = machine.sortie(words.into_iter().chain([script])).enter();
    done.code(0).prints("0\ncontent\nnowhere\n");
}

#[test]
fn twenty_thousand_files_arrive() {
    let machine = Machine::new();
    for dir in 0..200 {
        let path = machine.path(&format!("wide/{dir:03}"));
        fs::create_dir_all(&path).unwrap();
        for file in 0..100 {
            fs::write(
                path.join(format!("{file:02}.txt")),
                format!("{dir} {file}\n"),
            )
            .unwrap();
        }
    }
    let script = "find input/wide -type f | wc -l; find input/wide -type f -print0 | sort -z | xargs -0 cat | cksum";
    let there = print(&machine, "wide", script);
    let here = std::process::Command::new("sh")
        .args(["-c", &script.replace("input/wide", "wide")])
        .current_dir(machine.work())
        .env("LC_ALL", "C")
        .output()
        .unwrap();
    assert_eq!(there, String::from_utf8(here.stdout).unwrap());
    assert!(there.starts_with("20000\n"), "{there}");
}

#[test]
fn a_large_file_streams_through() {
    let machine = Machine::new();
    let mut state = 1_u64;
    let bytes: Vec<u8> = (0..40_000_000_u32)
        .map(|_| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            state.to_le_bytes()[4]
        })
        .collect();
    machine.write("big.bin", &bytes);
    let words = [
        "run",
        "-q",
        "-i",
        "big.bin",
        "--out",
        "o",
        "--",
        "cp",
        "input/big.bin",
        "output/",
    ];
    machine.sortie(words).enter().code(0);
    assert!(machine.read("o/output/big.bin") == bytes);
}

#[test]
fn what_is_not_wanted_and_what_looks_secret_is_told() {
    let machine = Machine::new();
    machine.write("repo/.sortieignore", "*.tmp\n");
    machine.write("repo/a.tmp", "x");
    machine.write("repo/a.txt", "x");
    machine.write("repo/.env", "KEY=1");
    symlink("/etc/passwd", machine.path("repo/out")).unwrap();
    let words = ["run", "-i", "repo", "--", "sh", "-c", "ls -A input/repo"];
    let done = machine.sortie(words).enter().code(0);
    let done = done
        .says(".env` looks like a secret")
        .says("/out` links out of the input `repo`");
    assert_eq!(
        String::from_utf8(done.stdout).unwrap(),
        ".env\n.sortieignore\na.txt\nout\n"
    );
}
