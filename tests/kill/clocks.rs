//! Clocks that are wrong, and clocks that jump.

use std::path::PathBuf;
use std::process::Command;

use crate::audit;
use crate::harness::Machine;
use crate::scenario::{CODE, Scenario};
use crate::site::Site;

/// What tells the time here, off by as many seconds as a file says.
const SHIM: &str = r#"
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>
#include <sys/syscall.h>

int clock_gettime(clockid_t clock, struct timespec *now) {
    int done = syscall(SYS_clock_gettime, clock, now);
    const char *path = getenv("CLOCK_FILE");
    FILE *file = clock == CLOCK_REALTIME && path ? fopen(path, "re") : NULL;
    if (file) {
        long off = 0;
        if (fscanf(file, "%ld", &off) == 1) now->tv_sec += off;
        fclose(file);
    }
    return done;
}
"#;

fn shim(machine: &Machine) -> PathBuf {
    let source = machine.home().join("clock.c");
    let library = machine.home().join("clock.so");
    std::fs::write(&source, SHIM).unwrap();
    let mut compiler = Command::new("cc");
    compiler
        .args(["-shared", "-fPIC", "-o"])
        .arg(&library)
        .arg(&source);
    assert!(compiler.status().unwrap().success());
    set(machine, DAY);
    let mut date = Command::new("date");
    date.arg("+%s").env("LD_PRELOAD", &library);
    let told = date
        .env("CLOCK_FILE", machine.home().join("clock"))
        .output();
    let told = String::from_utf8(told.unwrap().stdout).unwrap();
    let off = told.trim().parse::<i64>().unwrap() - jiff::Timestamp::now().as_second();
    assert!((off - DAY).abs() < 60, "the clock is off by {off} s");
    library
}

/// Sets the clock, whole.
fn set(machine: &Machine, seconds: i64) {
    let (beside, file) = (machine.home().join("new"), machine.home().join("clock"));
    std::fs::write(&beside, seconds.to_string()).unwrap();
    std::fs::rename(beside, file).unwrap();
}

const DAY: i64 = 86_400;

#[test]
#[ignore = "slow: `make test-kill`"]
fn a_wrong_clock_here_changes_no_result() {
    for off in [-400 * DAY, -2 * DAY, 2 * DAY, 400 * DAY] {
        let (site, scenario) = (Site::start(), Scenario::new(5));
        let machine = &scenario.machine;
        let shim = shim(machine);
        set(machine, off);
        let clock = machine.home().join("clock");
        let typed = |words: &[&str]| {
            let typed = site.straight(machine, words);
            typed.env("LD_PRELOAD", &shim).env("CLOCK_FILE", &clock)
        };
        let words = Scenario::words("o", &[], "");
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        typed(&words).enter().code(CODE);
        scenario.check("o");
        // The same inputs are found again, and the run by another shell.
        let words = Scenario::words("p", &[], "");
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        typed(&words).enter().code(CODE);
        let run = audit::machine(machine)[0];
        let begun = run.created_at().as_second() - jiff::Timestamp::now().as_second();
        assert!((begun - off).abs() < 600, "{begun} instead of {off}");
        let run = run.to_string();
        typed(&["wait", &run]).enter().code(CODE);
        let ps = typed(&["ps"]).enter().code(0);
        assert!(
            String::from_utf8(ps.stdout).unwrap().contains(&run),
            "{off}"
        );
        audit::bucket(&site);
    }
}

#[test]
#[ignore = "slow: `make test-kill`"]
fn a_clock_that_jumps_under_a_run_changes_no_result_here_or_there() {
    for jumps in [[3 * DAY, 0], [-3 * DAY, 3 * DAY]] {
        let scenario = Scenario::new(6);
        let machine = &scenario.machine;
        let shim = shim(machine);
        set(machine, 0);
        let clock = machine.home().join("clock");
        let prelude = format!(
            "export LD_PRELOAD='{}' CLOCK_FILE='{}'; exec",
            shim.display(),
            clock.display()
        );
        let site = Site::with(&prelude);
        let words = Scenario::words("o", &["--checkpoint", "1s"], "sleep 3;");
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let typed = site.straight(machine, &words);
        let running = typed
            .env("LD_PRELOAD", &shim)
            .env("CLOCK_FILE", &clock)
            .start();
        site.task_pid();
        for jump in jumps {
            std::thread::sleep(std::time::Duration::from_millis(900));
            set(machine, jump);
        }
        let done = running.end().code(CODE);
        scenario.check("o");
        // Time that has not passed is not billed.
        let lived = done.result()["tasks"][0]["lived_ms"].as_i64().unwrap();
        assert!((3000..DAY * 1000).contains(&lived), "{lived} ms");
        audit::bucket(&site);
    }
}
