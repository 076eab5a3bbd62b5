//! `--image` on this machine, with a docker that is a shell script.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use rustix::process::Signal;

use crate::harness::{Machine, SORTIE, Typed, signal, wait_until};

/// Says that an image of any name is here, writes down how it is called, and runs sortie's entrypoint as a process.
const TOOL: &str = r#"#!/bin/sh
printf '%s\n' "$*" >> "$HOME/calls"
case $1 in
    image) echo 'sha256:abc null' ;;
    run) SORTIE_WORKSPACE=$(mktemp -d) exec SORTIE_HERE entrypoint ;;
esac
"#;

fn tool(machine: &Machine) -> PathBuf {
    let path = machine.home().join("docker");
    fs::write(&path, TOOL.replace("SORTIE_HERE", SORTIE)).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path
}

fn calls(machine: &Machine) -> String {
    fs::read_to_string(machine.home().join("calls")).unwrap_or_default()
}

fn contained(machine: &Machine, tool: &Path, words: &[&str]) -> Typed {
    let words = [&["run", "-q", "--image", "app"], words].concat();
    machine.sortie(words).env("SORTIE_CONTAINER_TOOL", tool)
}

#[test]
fn values_reach_the_container_and_no_command_line() {
    let machine = Machine::new();
    let tool = tool(&machine);
    contained(
        &machine,
        &tool,
        &["--secret", "KEY", "--", "printenv", "KEY"],
    )
    .env("KEY", "two\nlines")
    .enter()
    .code(0)
    .prints("two\nlines\n");
    let calls = calls(&machine);
    let run = calls.lines().find(|call| call.starts_with("run ")).unwrap();
    assert!(
        run.contains("--env KEY ") && run.contains("--env SORTIE_RUN "),
        "{run}"
    );
    assert!(run.contains("--rm") && run.contains("sha256:abc"), "{run}");
    assert!(!calls.contains("lines"), "{calls}");
    assert!(!run.contains("--cpus"), "{run}");
    contained(
        &machine,
        &tool,
        &["--cpu", "2", "--memory", "4Gi", "--", "true"],
    )
    .enter()
    .code(0);
    let last = self::calls(&machine);
    assert!(last.contains("--cpus 2 --memory 4294967296b"), "{last}");
}

#[test]
fn what_a_killed_runner_left_is_removed_by_the_next() {
    let machine = Machine::new();
    let tool = tool(&machine);
    let words = ["--", "sh", "-c", "echo ready > $READY; sleep 60"];
    let ready = machine.path("ready");
    let env = format!("READY={}", ready.display());
    let running = contained(&machine, &tool, &[&["--env", &env], &words[..]].concat()).start();
    wait_until("it runs", || ready.exists());
    signal(runner(&machine), Signal::KILL);
    assert_ne!(running.end().code, Some(0));
    contained(&machine, &tool, &["--", "true"]).enter().code(0);
    assert_first_is_removed(&machine);
}

#[test]
fn what_a_killed_emulator_left_is_removed_by_the_next() {
    let machine = Machine::new();
    let tool = tool(&machine);
    let ready = machine.path("ready");
    let env = format!("READY={}", ready.display());
    let words = [
        "--env",
        &env,
        "--",
        "sh",
        "-c",
        "echo ready > $READY; sleep 60",
    ];
    let running = contained(&machine, &tool, &words).start();
    wait_until("it runs", || ready.exists());
    // Its runner lives on, and holds its container's note.
    let runner = runner(&machine);
    running.signal(Signal::KILL);
    running.end();
    machine.kill_emulator();
    contained(&machine, &tool, &["--", "true"]).enter().code(0);
    assert!(!crate::harness::is_alive(runner));
    assert_first_is_removed(&machine);
}

/// The container that was made first is removed, and no directory is left.
fn assert_first_is_removed(machine: &Machine) {
    let calls = calls(machine);
    let name = calls.split("--name ").nth(1).unwrap();
    let name = name.split(' ').next().unwrap();
    assert!(calls.contains(&format!("rm --force {name}\n")), "{calls}");
    let left = fs::read_dir(machine.data().join("scratch")).unwrap();
    assert_eq!(left.count(), 0);
}

/// The process that plays the container, of this machine's emulator.
fn runner(machine: &Machine) -> u32 {
    let scratch = format!(
        "SORTIE_SCRATCH={}",
        machine.data().join("scratch").display()
    );
    let is_runner = |pid: &u32| {
        let read = |what| fs::read(format!("/proc/{pid}/{what}")).unwrap_or_default();
        let words = read("cmdline");
        words.split(|&byte| byte == 0).nth(1) == Some(b"container")
            && read("environ")
                .split(|&byte| byte == 0)
                .any(|word| word == scratch.as_bytes())
    };
    let processes = fs::read_dir("/proc").unwrap().flatten();
    processes
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .find(is_runner)
        .unwrap()
}

#[test]
fn what_this_machine_cannot_do_is_said_with_the_way_out() {
    let machine = Machine::new();
    let empty = machine.path("empty");
    fs::create_dir(&empty).unwrap();
    machine
        .sortie(["run", "--image", "app", "--", "true"])
        .env("PATH", &empty)
        .enter()
        .code(125)
        .says("needs docker or podman");
    for (flags, says) in [
        (&["--cpu", "2"][..], "go with `--image`"),
        (&["--gpu", "--image", "app"], "no GPU"),
        (&["--image", "app", "--memory", "4Gi"], "give both"),
        (
            &["--image", "app", "--cpu", "1", "--memory", "8Gi"],
            "512Mi to 4Gi",
        ),
    ] {
        let words = [&["run"], flags, &["--", "true"]].concat();
        machine.sortie(words).enter().code(125).says(says);
    }
    let tool = machine.home().join("nowhere");
    contained(&machine, &tool, &["--", "true"])
        .enter()
        .code(125)
        .says("SORTIE_CONTAINER_TOOL");
}
