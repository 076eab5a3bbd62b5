//! Cancels and deadlines, where time is short and the network slow.

use std::fs;
use std::time::Duration;

use rustix::process::Signal;

use crate::audit;
use crate::harness::{Machine, is_alive, wait_until};
use crate::points::number;
use crate::site::{JOB, Site};

/// A task that has made outputs and sends them, slowly.
fn sending(site: &Site, machine: &Machine, bytes: &str) -> crate::harness::Running {
    let script = format!("head -c {bytes} /dev/urandom > output/large; echo said; exit 5");
    let words = ["run", "--json", "--out", "o", "--", "sh", "-c", &script];
    site.task.slow_down(1_000_000);
    let running = site.sortie(machine, JOB, &words).start();
    let sends = |line: &String| line.contains("upload_id=");
    wait_until("it sends", || site.task.seen().iter().any(sends));
    running
}

#[test]
#[ignore = "slow: `make test-kill`"]
fn a_cancel_leaves_outputs_that_are_being_sent_their_time() {
    let (site, machine) = (Site::start(), Machine::new());
    let running = sending(&site, &machine, "4000000");
    running.signal(Signal::TERM);
    // It was over before the cancel, and nothing is lost.
    running.end().code(5);
    assert_eq!(machine.read("o/output/large").len(), 4_000_000);
    assert_eq!(machine.text("o/stdout"), "said\n");
}

#[test]
#[ignore = "slow: `make test-kill`"]
fn a_cancel_that_cuts_the_outputs_says_so_and_keeps_the_rest() {
    let (site, machine) = (Site::start(), Machine::new());
    let running = sending(&site, &machine, "40000000");
    running.signal(Signal::TERM);
    let done = running.end().code(130);
    let task = done.result()["tasks"][0].clone();
    assert_eq!(task["outcome"], "cancelled");
    let problem = task["problem"].as_str().unwrap();
    assert!(problem.contains("between SIGTERM and SIGKILL"), "{problem}");
    assert_eq!(machine.text("o/stdout"), "said\n");
    assert_eq!(fs::read_dir(machine.path("o/output")).unwrap().count(), 0);
    // The command's own end stands beside.
    let report: serde_json::Value = serde_json::from_slice(&machine.read("o/report.json")).unwrap();
    assert_eq!(report["command"]["outcome"], "exited", "{report}");
    assert_eq!(report["command"]["code"], 5);
    audit::bucket(&site);
}

/// Two that start each other anew, in sessions of their own, deaf to SIGTERM, known by nothing they inherited.
const HYDRA: &str = r#"trap '' TERM HUP INT
echo $$ >> "$1/heads"
while :; do
    [ -e "/proc/$2" ] || { env -i setsid /bin/sh "$0" "$1" $$ < /dev/null > /dev/null 2>&1 & set -- "$1" $!; }
    sleep 0.02
done
"#;

fn heads(machine: &Machine) -> Vec<u32> {
    let text = fs::read_to_string(machine.path("heads")).unwrap_or_default();
    text.lines().map(|line| line.parse().unwrap()).collect()
}

#[test]
#[ignore = "slow: `make test-kill`"]
fn nothing_outlives_a_deadline_or_a_cancel_however_it_was_started() {
    for how in ["deadline", "cancel", "exit"] {
        let (site, machine) = (Site::start(), Machine::new());
        machine.write("hydra", HYDRA);
        let place = machine.work().display().to_string();
        let wait = if how == "exit" { "" } else { "sleep 300" };
        let script = format!(
            "(env -i setsid /bin/sh input/hydra '{place}' 0 < /dev/null > /dev/null 2>&1 &); \
             echo x > output/f; while [ $(grep -c . '{place}/heads' || echo 0) -lt 2 ]; do sleep 0.05; done; \
             touch '{place}/up'; {wait}"
        );
        let timeout = if how == "deadline" { "3s" } else { "300s" };
        let words = [
            "run",
            "--json",
            "--timeout",
            timeout,
            "--grace",
            "1s",
            "-i",
            "hydra",
            "--out",
            "o",
            "--",
            "sh",
            "-c",
            &script,
        ];
        let running = site.sortie(&machine, JOB, &words).start();
        wait_until("it is up", || machine.path("up").exists());
        if how == "cancel" {
            running.signal(Signal::TERM);
        }
        let code = [("deadline", 124), ("cancel", 130), ("exit", 0)];
        let code = code.iter().find(|(name, _)| *name == how).unwrap().1;
        running.end().code(code);
        assert_eq!(machine.text("o/output/f"), "x\n", "{how}");
        let heads = heads(&machine);
        assert!(heads.len() > 1, "{heads:?}");
        wait_until("all heads are off", || {
            !heads.iter().any(|&pid| is_alive(pid))
        });
        assert_eq!(self::heads(&machine), heads, "{how}: one grew again");
    }
}

/// The most memory a process has held, in bytes, until it is gone.
pub(crate) fn peak(pid: u32) -> u64 {
    let mut peak = 0;
    while is_alive(pid) {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kibibytes = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok());
        peak = peak.max(kibibytes.unwrap_or(0) << 10);
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(peak > 1 << 20, "measured nothing");
    peak
}

/// Of the entrypoint, unoptimised and as a part of `sortie`; the container's own binary stays well below.
const MOST: u64 = 64 << 20;

#[test]
#[ignore = "slow: `make test-kill`"]
fn a_flood_over_a_slow_network_takes_little_memory_and_loses_nothing() {
    let (site, machine) = (Site::start(), Machine::new());
    let seconds = format!("{}s", number("SORTIE_KILL_FLOOD_SECONDS", 6));
    site.task.slow_down(8_000_000);
    let words = [
        "run",
        "-q",
        "--timeout",
        &seconds,
        "--out",
        "o",
        "--",
        "yes",
    ];
    let running = site.sortie(&machine, JOB, &words).start();
    let peak = peak(site.task_pid());
    let done = running.end().code(124);
    println!("at the most {peak} bytes");
    assert!(peak < MOST, "{peak} bytes");
    done.says_nothing_of("lost");
    let report: serde_json::Value = serde_json::from_slice(&machine.read("o/report.json")).unwrap();
    let stdout = machine.read("o/stdout");
    assert_eq!(report["stdout"]["bytes"], stdout.len());
    println!(
        "{} bytes in {} chunks",
        stdout.len(),
        report["stdout"]["chunks"]
    );
    assert!(stdout.len() > 4 << 20, "no flood");
    assert!(stdout.chunks(2).all(|line| line == b"y\n" || line == b"y"));
}

#[test]
#[ignore = "slow: `make test-kill`"]
fn what_of_a_flood_cannot_be_saved_after_a_cancel_is_counted() {
    let (site, machine) = (Site::start(), Machine::new());
    site.task.slow_down(40_000);
    let words = ["run", "--json", "--out", "o", "--", "yes"];
    let running = site.sortie(&machine, JOB, &words).start();
    // The start, the claim, and the first of the log.
    wait_until("its log is sent", || site.task.count() > 2);
    running.signal(Signal::TERM);
    let done = running.end().code(130);
    let task = done.result()["tasks"][0].clone();
    assert_eq!(task["outcome"], "cancelled");
    let report: serde_json::Value = serde_json::from_slice(&machine.read("o/report.json")).unwrap();
    let (bytes, here) = (
        report["stdout"]["bytes"].as_u64().unwrap(),
        machine.read("o/stdout"),
    );
    let missing = bytes - here.len() as u64;
    assert!(missing > 0, "{report}");
    let said = format!("{missing} bytes of `stdout` were lost");
    assert!(task["left_out"].to_string().contains(&said), "{task}");
}
