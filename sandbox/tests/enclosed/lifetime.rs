//! Start, signals, end.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::enclosure::Enclosure;

#[test]
fn the_program_is_the_first_process_and_sees_no_other() {
    assert_eq!(
        Enclosure::new().printed(
            "echo $$; ls /proc | grep -c '^[0-9]'; readlink /proc/1/exe | grep -c enclose; true"
        ),
        "1\n3\n0"
    );
}

#[test]
fn the_exit_code_is_the_programs() {
    let enclosure = Enclosure::new();
    for code in [0, 1, 42, 255] {
        assert_eq!(
            enclosure.shell(&format!("exit {code}")).status.code(),
            Some(code)
        );
    }
}

#[test]
fn an_end_by_a_signal_is_128_and_its_number() {
    let enclosure = Enclosure::new();
    let mut child = started(&enclosure, "echo ready; exec sleep 60");
    let inner = only_child_of(&child);
    kill(inner, Signal::SIGKILL).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(128 + 9));
}

/// As for what a shell starts in the background.
#[test]
fn signals_that_our_starter_ignores_are_passed_on_too() {
    let enclosure = Enclosure::new();
    let script = "trap 'exit 7' INT; echo ready; while :; do sleep 0.05; done";
    let plain = enclosure.command(&["/bin/sh", "-c", script]);
    let mut ignoring = Command::new("/bin/sh");
    ignoring.args(["-c", "trap '' INT QUIT HUP; exec \"$0\" \"$@\""]);
    ignoring.arg(plain.get_program()).args(plain.get_args());
    ignoring.envs(
        plain
            .get_envs()
            .filter_map(|(name, value)| Some((name, value?))),
    );
    let mut child = ready(ignoring);
    kill(pid(&child), Signal::SIGINT).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(7));
}

#[test]
fn signals_are_passed_on() {
    for signal in [
        Signal::SIGTERM,
        Signal::SIGINT,
        Signal::SIGHUP,
        Signal::SIGUSR1,
        Signal::SIGCONT,
    ] {
        let name = signal.as_str().trim_start_matches("SIG");
        let enclosure = Enclosure::new();
        let mut child = started(
            &enclosure,
            &format!("trap 'exit 7' {name}; echo ready; while :; do sleep 0.05; done"),
        );
        kill(pid(&child), signal).unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(7), "{name}");
    }
}

#[test]
fn everything_inside_ends_with_the_program() {
    let enclosure = Enclosure::new();
    // Holds the pipe to us until it ends: output() returns only then.
    assert_eq!(
        enclosure.printed("setsid sleep 60 & echo started"),
        "started"
    );
}

#[test]
fn killing_the_outer_process_kills_everything_inside() {
    for enclosure in [Enclosure::new(), Enclosure::new().unprivileged()] {
        let mut child = started(&enclosure, "setsid sleep 60 & echo ready; sleep 60");
        let inner = only_child_of(&child);
        let mut out = child.stdout.take().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(ends(inner), "{inner} is still there");
        // Each of them holds the other end: this ends when the last of them does.
        std::io::copy(&mut out, &mut std::io::sink()).unwrap();
    }
}

#[test]
fn a_program_that_is_not_there_is_an_error_of_ours() {
    let output = Enclosure::new()
        .command(&["/no/such/program"])
        .output()
        .unwrap();
    let errors = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(99));
    assert!(
        errors
            .starts_with("cannot start `/no/such/program` in the sandbox\ncaused by: No such file"),
        "{errors}"
    );
}

#[test]
fn a_missing_workspace_is_named() {
    let enclosure = Enclosure::new();
    fs::remove_dir(enclosure.path("workspace")).unwrap();
    let output = enclosure.shell("true");
    assert!(
        String::from_utf8(output.stderr)
            .unwrap()
            .contains("workspace`"),
        "it must name the directory"
    );
}

/// Starts a script and waits until it has said one line.
fn started(enclosure: &Enclosure, script: &str) -> Child {
    ready(enclosure.command(&["/bin/sh", "-c", script]))
}

fn ready(mut command: Command) -> Child {
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut reader = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    reader.read_line(&mut line).unwrap();
    assert_eq!(line, "ready\n");
    child.stdout = Some(reader.into_inner());
    child
}

fn pid(child: &Child) -> Pid {
    Pid::from_raw(child.id().try_into().unwrap())
}

/// The process that the outer one started, by its number outside.
fn only_child_of(outer: &Child) -> Pid {
    let id = outer.id();
    let children = fs::read_to_string(format!("/proc/{id}/task/{id}/children")).unwrap();
    Pid::from_raw(children.trim().parse().unwrap())
}

/// Whether a process ends, given time. One that waits to be reaped by a busy init has ended, too.
fn ends(pid: Pid) -> bool {
    let stat = format!("/proc/{pid}/stat");
    (0..200).any(|_| {
        sleep(Duration::from_millis(50));
        fs::read_to_string(&stat).map_or(true, |stat| stat.contains(") Z"))
    })
}
