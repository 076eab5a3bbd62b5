//! Ctrl-C, SIGTERM, kill -9: what is saved comes home, and nothing is left running unasked.

use std::fs;

use rustix::process::Signal;

use crate::harness::{Machine, is_alive, wait_until};

/// Waits for a file that its task's outputs will hold, so that a signal meets a command at work.
const WORKING: &str = "echo saved > output/saved; echo working; sleep 300";

fn start(machine: &Machine) -> crate::harness::Running {
    let words = ["run", "--json", "--out", "o", "--", "sh", "-c", WORKING];
    let mut running = machine.sortie(words).start();
    running.event("started");
    wait_until("the command works", || !sleepers(machine).is_empty());
    running
}

/// Processes that run the command of this machine's tasks.
fn sleepers(machine: &Machine) -> Vec<u32> {
    let Some(emulator) = machine.emulator_pid() else {
        return Vec::new();
    };
    descendants(emulator)
        .into_iter()
        .filter(|pid| {
            fs::read(format!("/proc/{pid}/cmdline"))
                .is_ok_and(|line| line.starts_with(b"sleep\x00300"))
        })
        .collect()
}

pub(crate) fn descendants(pid: u32) -> Vec<u32> {
    let mut all = Vec::new();
    for task in fs::read_dir(format!("/proc/{pid}/task"))
        .into_iter()
        .flatten()
        .flatten()
    {
        let children = fs::read_to_string(task.path().join("children")).unwrap_or_default();
        for child in children
            .split_whitespace()
            .filter_map(|word| word.parse().ok())
        {
            all.push(child);
            all.extend(descendants(child));
        }
    }
    all
}

#[test]
fn ctrl_c_once_cancels_and_collects() {
    let machine = Machine::new();
    let running = start(&machine);
    let sleeping = sleepers(&machine);
    running.signal(Signal::INT);
    let done = running.end().code(130);
    assert!(
        done.lines()
            .iter()
            .any(|line| line["event"] == "cancelling")
    );
    assert_eq!(done.result()["tasks"][0]["outcome"], "cancelled");
    assert_eq!(machine.text("o/output/saved"), "saved\n");
    assert!(
        sleeping.iter().all(|&pid| !is_alive(pid)),
        "something is left running"
    );
}

#[test]
fn sigterm_does_the_same() {
    let machine = Machine::new();
    let running = start(&machine);
    running.signal(Signal::TERM);
    running.end().code(130);
    assert_eq!(machine.text("o/output/saved"), "saved\n");
    assert_eq!(machine.text("o/stdout"), "working\n");
}

#[test]
fn ctrl_c_twice_leaves_it_and_tells_the_way_back() {
    let machine = Machine::new();
    let script =
        "trap 'sleep 2; exit 9' TERM; echo saved > output/saved; sleep 300 & wait; sleep 300";
    let words = ["run", "--json", "--out", "o", "--", "sh", "-c", script];
    let mut running = machine.sortie(words).start();
    let run = running.event("started")["run"].as_str().unwrap().to_owned();
    wait_until("the command works", || !sleepers(&machine).is_empty());
    running.signal(Signal::INT);
    running.event("cancelling");
    running.signal(Signal::INT);
    running
        .end()
        .code(130)
        .says(&format!("hint: `sortie wait {run}`"));
    assert!(
        fs::symlink_metadata(machine.path("o")).is_err(),
        "no half result"
    );
    machine.sortie(["wait", &run]).enter().code(130);
    assert_eq!(machine.text("o/output/saved"), "saved\n");
}

#[test]
fn a_killed_sortie_is_come_back_to() {
    let machine = Machine::new();
    let script = "echo before; while [ ! -e input/../go ] && [ $((i+=1)) -lt 20 ]; do sleep 0.1; done; echo after; echo x > output/x; exit 4";
    let words = ["run", "--json", "--out", "o", "--", "sh", "-c", script];
    let mut running = machine.sortie(words).start();
    let run = running.event("started")["run"].as_str().unwrap().to_owned();
    running.signal(Signal::KILL);
    assert_eq!(running.end().code, None);
    assert!(
        fs::symlink_metadata(machine.path("o")).is_err(),
        "no half result"
    );
    let tail = &run[run.len() - 8..];
    machine
        .sortie(["wait", tail])
        .enter()
        .code(4)
        .prints("before\nafter\n");
    assert_eq!(machine.text("o/output/x"), "x\n");
    let left: Vec<_> = fs::read_dir(machine.work())
        .unwrap()
        .map(|e| e.unwrap().file_name())
        .collect();
    assert_eq!(left, ["o"], "what the killed one left is gone");
}

#[test]
fn a_run_that_nobody_knows_is_said_to_be() {
    let machine = Machine::new();
    machine
        .sortie(["wait", "01ABC"])
        .enter()
        .code(125)
        .says("no run `01ABC` is known");
}

#[test]
fn what_ran_when_the_emulator_died_is_told_as_failed() {
    let machine = Machine::new();
    let mut running = machine
        .sortie(["run", "--json", "--out", "o", "--", "sh", "-c", WORKING])
        .start();
    let run = running.event("started")["run"].as_str().unwrap().to_owned();
    wait_until("the command works", || !sleepers(&machine).is_empty());
    let sleeping = sleepers(&machine);
    running.signal(Signal::KILL);
    running.end();
    machine.kill_emulator();
    let done = machine.sortie(["wait", &run, "--json"]).enter().code(125);
    assert_eq!(done.result()["tasks"][0]["outcome"], "lost");
    wait_until("its task is gone too", || {
        sleeping.iter().all(|&pid| !is_alive(pid))
    });
}

#[test]
fn a_run_is_waited_for_twice_with_the_same_result() {
    let machine = Machine::new();
    let script = "head -c 500000 /dev/urandom > output/big; echo said; exit 6";
    let words = ["run", "--json", "--out", "o", "--", "sh", "-c", script];
    let run = machine.sortie(words).enter().code(6).result()["run"]
        .as_str()
        .unwrap()
        .to_owned();
    let big = machine.read("o/output/big");
    machine.sortie(["wait", &run]).enter().code(6);
    assert!(
        machine.read("o/output/big") == big,
        "what has landed is left alone"
    );
    assert_eq!(machine.text("o/stdout"), "said\n");
}

#[test]
fn a_run_is_waited_for_from_anywhere() {
    let machine = Machine::new();
    let words = [
        "run",
        "--json",
        "--",
        "sh",
        "-c",
        "sleep 1; echo x > output/f; exit 2",
    ];
    let mut running = machine.sortie(words).start();
    let run = running.event("started")["run"].as_str().unwrap().to_owned();
    running.signal(Signal::KILL);
    running.end();
    // A team's settings in that directory mean another place; the run knows its own.
    machine.write(
        "team/sortie.toml",
        "project = 'p'\nbucket = 'b'\n[environments.default]\njob = 'j'\n",
    );
    machine
        .sortie(["wait", &run, "--out", "here"])
        .directory("team")
        .enter()
        .code(2);
    assert_eq!(machine.text("team/here/output/f"), "x\n");
}
