//! A local task sees its workspace and the machine's tools, and nothing else of the user's.

use std::fs;

use crate::harness::{Machine, project};

fn isolated(machine: &Machine, script: &str) -> crate::harness::Done {
    let words = [
        "run",
        "-q",
        "--sandbox",
        "namespaces",
        "--out",
        "o",
        "--",
        "sh",
        "-c",
        script,
    ];
    machine.sortie(words).enter()
}

#[test]
fn the_users_files_are_not_there_and_the_tools_are_read_only() {
    let machine = Machine::new();
    let diary = machine.home().join("diary");
    fs::write(&diary, "private").unwrap();
    let script = format!(
        "cat {} 2>&1; pwd; ls -d /workspace/input /workspace/output; touch /usr/mark 2>/dev/null || echo read-only; id -u; tr '\\0' ' ' < /proc/1/cmdline",
        diary.display()
    );
    let done = isolated(&machine, &script).code(0);
    let said = String::from_utf8(done.stdout).unwrap();
    assert!(!said.contains("private"), "{said}");
    let rest: Vec<&str> = said.lines().skip(1).collect();
    assert_eq!(
        rest[..5],
        [
            "/workspace",
            "/workspace/input",
            "/workspace/output",
            "read-only",
            "1000"
        ]
    );
    assert_eq!(
        rest[5], "/.sortie/program entrypoint ",
        "PID 1 of its own namespace"
    );
    assert!(!std::path::Path::new("/usr/mark").exists());
}

#[test]
fn a_directory_that_is_mounted_can_be_read() {
    let machine = Machine::new();
    machine.write("extra/file", "shared");
    let extra = machine.path("extra");
    let words = [
        "run",
        "-q",
        "--sandbox",
        "namespaces",
        "--mount",
        "extra",
        "--",
        "cat",
    ];
    let file = extra.join("file");
    let done = machine.sortie(
        words
            .map(std::ffi::OsStr::new)
            .into_iter()
            .chain([file.as_os_str()]),
    );
    done.enter().code(0).prints("shared");
}

#[test]
fn without_a_sandbox_a_task_has_a_private_directory() {
    let machine = Machine::new();
    machine.write("data", "x");
    let script = "cat input/data; echo home > output/f; pwd";
    let words = [
        "run",
        "-q",
        "--sandbox",
        "none",
        "-i",
        "data",
        "--out",
        "o",
        "--",
        "sh",
        "-c",
        script,
    ];
    let done = machine.sortie(words).enter().code(0);
    let said = String::from_utf8(done.stdout).unwrap();
    let place = said.strip_prefix('x').unwrap().trim_end();
    assert!(
        place.starts_with(machine.data().to_str().unwrap()),
        "{said}"
    );
    assert!(
        fs::symlink_metadata(place).is_err(),
        "it is removed when the task is over"
    );
    assert_eq!(machine.text("o/output/f"), "home\n");
}

#[test]
fn an_unprivileged_user_has_it_too() {
    let machine = Machine::of_nobody();
    machine.write("data", "x");
    let words = [
        "run",
        "-q",
        "--sandbox",
        "namespaces",
        "-i",
        "data",
        "--out",
        "o",
        "--",
    ];
    let script = ["sh", "-c", "cat input/data > output/copy; id -u"];
    machine
        .sortie(words.iter().chain(&script))
        .enter()
        .code(0)
        .prints("1000\n");
    assert_eq!(machine.text("o/output/copy"), "x");
}

/// `sortie` where no user namespace may be made, as in a container of Docker's.
fn without_namespaces(machine: &Machine, words: &str) -> crate::harness::Done {
    let script = format!(
        "echo 0 > /proc/sys/user/max_user_namespaces && exec \"$0\" run {words} -- sh -c 'echo ran > output/f; pwd'"
    );
    machine
        .program(
            "unshare",
            ["-Ur", "sh", "-c", &script, crate::harness::SORTIE],
        )
        .enter()
}

#[test]
fn where_namespaces_are_forbidden_it_goes_on_without_and_says_so() {
    let machine = Machine::new();
    let done = without_namespaces(&machine, "--out o").code(0);
    let done = done.says("warning: the task is not isolated from this machine: ");
    assert!(
        done.stdout
            .starts_with(machine.data().to_str().unwrap().as_bytes()),
        "{done:?}"
    );
    assert_eq!(machine.text("o/output/f"), "ran\n");
}

#[test]
fn and_stops_where_they_were_asked_for() {
    let machine = Machine::new();
    let done = without_namespaces(&machine, "--sandbox namespaces --out o")
        .code(125)
        .prints("");
    done.says("error: cannot isolate the task: ")
        .says("max_user_namespaces")
        .says("`--sandbox none`");
}

#[test]
fn make_run_hands_everything_over_unharmed() {
    let machine = Machine::new();
    machine.write("in put/a", "x");
    machine.write("plain", "plain");
    let command = r#"printf '%s\n' "$HOME is \$HOME" '$(shell id)' "it's" `echo tick` $((1+1)); cat input/plain"#;
    let makefile = project("Makefile");
    let words = [
        "--no-print-directory".to_owned(),
        "-f".to_owned(),
        makefile.display().to_string(),
        "run".to_owned(),
        format!("SORTIE={}", crate::harness::SORTIE),
        "CARGO=true".to_owned(),
        format!("CMD={command}"),
        "INPUTS=plain".to_owned(),
    ];
    let done = machine.program("make", words).enter().code(0);
    let said = String::from_utf8(done.stdout).unwrap();
    let lines: Vec<&str> = said.lines().collect();
    assert!(lines[0].ends_with(" is $HOME"), "{said}");
    assert_eq!(
        lines[1..],
        ["$(shell id)", "it's", "tick", "2", "plain"],
        "{said}"
    );
}
