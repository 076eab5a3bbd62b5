//! Everything the command starts, and that it all ends.

use std::ffi::OsStr;
use std::process::Command;

use rustix::process::{Pid, Signal, test_kill_process};
use wire::contract::Outcome;

use crate::shell;
use crate::site::Site;
use crate::task::{Task, until};

fn lives(pid: &str) -> bool {
    test_kill_process(Pid::from_raw(pid.trim().parse().unwrap()).unwrap()).is_ok()
}

#[test]
fn what_the_command_leaves_behind_is_ended() {
    let site = Site::start();
    // One ignores SIGTERM, one is in a session of its own; both hold the pipes.
    let text = "(trap '' TERM; while :; do sleep 1; done) & echo $! >output/stubborn; \
                setsid sh -c 'echo $$ >output/away; sleep 60' & \
                until [ -s output/away ]; do sleep 0.05; done; echo bye";
    let ran = Task::new(&site, shell(text)).finish();
    assert_eq!(ran.code(), 0);
    assert_eq!(ran.stdout(), "bye\n");
    for name in ["stubborn", "away"] {
        let pid = std::fs::read_to_string(ran.workspace().join("output").join(name)).unwrap();
        assert!(!lives(&pid), "{name}");
    }
}

#[test]
fn a_kill_at_the_deadline_reaches_grandchildren_too() {
    let site = Site::start();
    let text = "trap '' TERM; setsid sh -c 'trap \"\" TERM; echo $$ >output/away; while :; do sleep 1; done' & \
                echo $$ >output/self; while :; do sleep 1; done";
    let mut spec = shell(text);
    (spec.timeout_ms, spec.grace_ms) = (Some(1_000), 100);
    let ran = Task::new(&site, spec).finish();
    assert_eq!(ran.report().outcome, Outcome::Deadline);
    for name in ["self", "away"] {
        let pid = std::fs::read_to_string(ran.workspace().join("output").join(name)).unwrap();
        assert!(!lives(&pid), "{name}");
    }
}

#[test]
fn orphans_are_reaped_while_the_command_runs() {
    let site = Site::start();
    // The orphan's parent ends first; a zombie would keep its number in /proc.
    let text = "sh -c 'sh -c \"echo \\$\\$ >output/orphan; sleep 0.2\" & until [ -s output/orphan ]; do sleep 0.05; done'; \
                pid=$(cat output/orphan); while [ -e /proc/$pid ]; do sleep 0.05; done; echo reaped";
    let mut spec = shell(text);
    spec.timeout_ms = Some(30_000);
    let ran = Task::new(&site, spec).finish();
    assert_eq!(ran.stdout(), "reaped\n");
}

#[test]
fn a_command_that_closes_its_streams_runs_on() {
    let site = Site::start();
    let ran = Task::new(
        &site,
        shell("echo said; exec >&- 2>&-; sleep 0.3; touch output/end"),
    )
    .finish();
    assert_eq!(ran.code(), 0);
    assert_eq!(ran.stdout(), "said\n");
    assert!(ran.outputs().path().join("end").exists());
}

#[test]
fn our_death_takes_the_command_with_us() {
    let site = Site::start();
    let task = Task::new(&site, shell("echo $$ >output/pid; exec sleep 60")).start();
    let file = task.until("output/pid");
    until(
        || std::fs::read_to_string(&file).unwrap().ends_with('\n'),
        "the pid",
    );
    let pid = std::fs::read_to_string(&file).unwrap();
    task.signal(Signal::KILL);
    until(|| !lives(&pid), "the command's end");
}

#[test]
fn the_command_cannot_read_our_environment_or_memory() {
    let site = Site::start();
    let text = "cat /proc/$PPID/environ >/dev/null 2>&1; echo environ $?; cat /proc/$PPID/maps >/dev/null 2>&1; echo maps $?";
    let mut spec = shell(text);
    if rustix::process::geteuid().is_root() {
        spec.user = Some("4242".to_owned());
    }
    let task = Task::new(&site, spec);
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(task.directory.path(), open).unwrap();
    assert_eq!(task.finish().stdout(), "environ 1\nmaps 1\n");
}

/// Runs the entrypoint as PID 1 of a namespace of its own, where this machine lets us.
fn as_init(site: &Site, spec: wire::contract::Spec) -> Option<Task<'_>> {
    let unshare = [
        "unshare",
        "--user",
        "--map-root-user",
        "--pid",
        "--fork",
        "--mount-proc",
        "--kill-child",
    ];
    let allowed = Command::new(unshare[0])
        .args(&unshare[1..])
        .arg("true")
        .output();
    if !allowed.is_ok_and(|output| output.status.success()) {
        println!("not tested: `unshare` or its namespaces are not to be had here");
        return None;
    }
    let mut argv: Vec<&OsStr> = unshare.iter().map(OsStr::new).collect();
    argv.push(OsStr::new(env!("CARGO_BIN_EXE_sortie-entrypoint")));
    let run = site.run(spec);
    Some(Task::under(site, run, &argv))
}

#[test]
fn as_pid_1_it_reaps_and_ends_everything() {
    let site = Site::start();
    let text = "echo $PPID; sh -c 'sleep 0.1 &'; (trap '' TERM; setsid sleep 60) & \
                sleep 0.5; grep -l '^State:.Z' /proc/[0-9]*/status; exit 9";
    let Some(task) = as_init(&site, shell(text)) else {
        return;
    };
    let ran = task.finish();
    assert_eq!(ran.code(), 9, "{:?}", ran.output);
    assert_eq!(ran.stdout(), "1\n", "PID 1 has no zombies");
}

#[test]
fn as_pid_1_it_hears_sigterm() {
    let site = Site::start();
    // `unshare` passes no signals on, so the command sends it: to PID 1, as the platform does.
    let text = "echo saved >output/result; kill -TERM 1; sleep 60";
    let Some(task) = as_init(&site, shell(text)) else {
        return;
    };
    let ran = task.finish();
    assert_eq!(ran.code(), 143, "{:?}", ran.output);
    assert_eq!(ran.report().outcome, Outcome::Cancelled);
    assert!(ran.outputs().path().join("result").exists());
}
