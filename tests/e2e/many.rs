//! Any number of tasks as one run.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use emulator::Container;
use rustix::process::Signal;
use serde_json::json;

use crate::harness::{Machine, is_alive, wait_until};
use crate::platform::{Platform, begin, report, write_report};

fn index(container: &Container) -> u32 {
    container
        .variable("CLOUD_RUN_TASK_INDEX")
        .unwrap()
        .parse()
        .unwrap()
}

#[test]
fn tasks_of_a_file_run_as_one_execution_and_share_their_inputs() {
    let machine = Machine::new();
    machine.write("shared", "shared bytes");
    let line = |i: u32| {
        let script = format!("cat input/s; echo {i} > output/n; exit {}", i % 2);
        let argv = ["sh", "-c", &script];
        let task = json!({ "name": format!("t{i}"), "argv": argv, "inputs": { "s": "shared" } });
        task.to_string()
    };
    let lines: Vec<String> = (0..20).map(line).collect();
    machine.write("tasks.jsonl", lines.join("\n"));
    let done = machine
        .sortie(["run", "--json", "--tasks", "tasks.jsonl", "--out", "o"])
        .enter()
        .code(1);
    let events = done.lines();
    let count = |name: &str| events.iter().filter(|line| line["event"] == name).count();
    assert_eq!(
        (count("started"), count("staged"), count("landed")),
        (1, 1, 20)
    );
    for i in 0..20 {
        assert_eq!(machine.text(&format!("o/t{i}/stdout")), "shared bytes");
        assert_eq!(machine.text(&format!("o/t{i}/output/n")), format!("{i}\n"));
    }
    let tasks = done.result()["tasks"].as_array().unwrap().clone();
    let codes: Vec<_> = tasks
        .iter()
        .map(|task| task["exit_code"].as_i64().unwrap())
        .collect();
    assert_eq!(
        codes,
        (0..20).map(|i| i % 2).collect::<Vec<_>>(),
        "in order"
    );
}

#[test]
fn results_land_as_they_end_and_one_failure_stops_nothing() {
    let machine = Machine::new();
    let script = "case $CLOUD_RUN_TASK_INDEX in 0) exit 3;; 1) echo quick;; *) while [ ! -e input/go ] && [ $((i+=1)) -lt 600 ]; do sleep 0.1; done;; esac";
    let words = [
        "run", "--json", "-n", "3", "--out", "o", "--", "sh", "-c", script,
    ];
    let mut running = machine.sortie(words).start();
    running.event("landed");
    running.event("landed");
    wait_until("two are here", || machine.path("o/0/report.json").exists());
    assert_eq!(machine.text("o/1/stdout"), "quick\n");
    assert!(!machine.path("o/2").exists(), "the third is at work");
    running.signal(Signal::INT);
    let done = running.end().code(130);
    assert_eq!(done.result()["tasks"][2]["outcome"], "cancelled");
    assert_eq!(done.result()["tasks"][0]["exit_code"], 3);
}

#[test]
fn the_first_failure_ends_the_others_where_that_is_wished() {
    let machine = Machine::new();
    let script = "[ $CLOUD_RUN_TASK_INDEX = 1 ] && exit 9; sleep 300";
    let words = [
        "run",
        "--json",
        "-n",
        "3",
        "--fail-fast",
        "--out",
        "o",
        "--",
        "sh",
        "-c",
        script,
    ];
    let done = machine.sortie(words).enter().code(1);
    let tasks = done.result()["tasks"].clone();
    assert_eq!(tasks[1]["exit_code"], 9);
    assert_eq!(tasks[0]["outcome"], "cancelled");
    assert_eq!(tasks[2]["outcome"], "cancelled");
}

#[test]
fn no_more_run_at_once_than_were_asked_for() {
    let machine = Machine::new();
    let state = tempfile::tempdir().unwrap();
    let (now, most) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)));
    let seen = most.clone();
    let platform = Platform::start(state.path(), move |container| {
        let (now, most) = (now.clone(), most.clone());
        async move {
            let running = now.fetch_add(1, Ordering::SeqCst) + 1;
            most.fetch_max(running, Ordering::SeqCst);
            tokio::time::sleep(Duration::from_millis(30)).await;
            let code = report(container, 0).await;
            now.fetch_sub(1, Ordering::SeqCst);
            code
        }
    });
    let words = [
        "run",
        "--json",
        "-n",
        "9",
        "--parallel",
        "2",
        "--out",
        "o",
        "--",
        "true",
    ];
    let done = platform.sortie(&machine, words).enter().code(0);
    assert_eq!(done.result()["tasks"].as_array().unwrap().len(), 9);
    assert!(seen.load(Ordering::SeqCst) <= 2, "{seen:?}");
    assert!(platform.executions().len() >= 5, "a rolling window");
    assert!(machine.path("o/8/report.json").exists());
}

#[test]
fn only_what_the_platform_failed_is_tried_again() {
    let machine = Machine::new();
    let state = tempfile::tempdir().unwrap();
    let platform = Platform::start(state.path(), |container| async move {
        let (objects, bucket) = begin(&container).await;
        let first = objects.attempt.start == 0;
        assert!(
            !(first && objects.attempt.task == 1),
            "the platform's own failure"
        );
        if first && objects.attempt.task == 2 {
            return 7;
        }
        let code = i32::from(objects.attempt.task == 3) * 5;
        write_report(&objects, &bucket, code).await
    });
    let words = [
        "run",
        "--json",
        "-n",
        "4",
        "--retries",
        "2",
        "--out",
        "o",
        "--",
        "true",
    ];
    let done = platform.sortie(&machine, words).enter().code(1);
    let tasks = done.result()["tasks"].clone();
    assert_eq!(tasks[1]["exit_code"], 0, "{tasks}");
    assert_eq!(tasks[1]["retries"], 1);
    assert_eq!(
        tasks[2]["outcome"], "lost",
        "its container's own exit is not tried again"
    );
    assert!(
        tasks[2]["problem"]
            .as_str()
            .unwrap()
            .contains("exited with 7"),
        "{tasks}"
    );
    let sizes: Vec<_> = platform
        .executions()
        .iter()
        .map(|e| e["taskCount"].clone())
        .collect();
    assert_eq!(sizes, [1, 4], "newest first: the one that failed, alone");
}

#[test]
fn each_that_the_platform_failed_is_tried_again_while_the_others_run() {
    let machine = Machine::new();
    let state = tempfile::tempdir().unwrap();
    let done = Arc::new(AtomicU32::new(0));
    let platform = Platform::start(state.path(), move |container| {
        let done = done.clone();
        async move {
            let (objects, bucket) = begin(&container).await;
            let task = objects.attempt.task;
            if task == 0 {
                // It runs until both of the others were tried again.
                while done.load(Ordering::SeqCst) < 2 {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            } else if objects.attempt.start == 0 {
                tokio::time::sleep(Duration::from_secs(u64::from(task) * 3)).await;
                panic!("the platform's own failure");
            }
            done.fetch_add(1, Ordering::SeqCst);
            write_report(&objects, &bucket, 0).await
        }
    });
    let words = [
        "run",
        "--json",
        "-n",
        "3",
        "--retries",
        "1",
        "--out",
        "o",
        "--",
        "true",
    ];
    let result = platform.sortie(&machine, words).enter().code(0).result();
    assert_eq!(result["tasks"][1]["retries"], 1);
    assert_eq!(result["tasks"][2]["retries"], 1);
}

#[test]
fn without_retries_a_failure_of_the_platform_is_told_with_what_helps() {
    let machine = Machine::new();
    let state = tempfile::tempdir().unwrap();
    let platform = Platform::start(state.path(), |container| async move {
        assert!(index(&container) > 0, "the platform's own failure");
        report(container, 0).await
    });
    let words = ["run", "-n", "2", "--out", "o", "--", "true"];
    platform
        .sortie(&machine, words)
        .enter()
        .code(1)
        .says("`--retries 2` tries again what the platform has failed");
}

#[test]
fn a_run_that_must_cost_too_much_is_refused() {
    let machine = Machine::new();
    let state = tempfile::tempdir().unwrap();
    let platform = Platform::start(state.path(), |container| report(container, 0));
    // 2 vCPU and 4 GiB: $0.00264 for the minute that is billed at the least.
    let words = [
        "run",
        "-n",
        "3",
        "--max-cost",
        "0.007",
        "--out",
        "o",
        "--",
        "true",
    ];
    platform
        .sortie(&machine, words)
        .enter()
        .code(125)
        .says("costs $0.0079 at the least");
    assert!(platform.executions().is_empty(), "nothing was started");
}

#[test]
fn a_teams_own_prices_beat_the_list() {
    let machine = Machine::new();
    let state = tempfile::tempdir().unwrap();
    let platform = Platform::start(state.path(), |container| report(container, 0));
    machine.write(
        "sortie.toml",
        "[prices]\nvcpu_second = 1.0\ngib_second = 0.5\n",
    );
    let words = ["run", "--json", "-n", "2", "--out", "o", "--", "true"];
    let result = platform.sortie(&machine, words).enter().code(0).result();
    // A minute of 2 vCPU and 4 GiB, twice.
    assert_eq!(result["tasks"][0]["cost"].as_f64(), Some(240.0));
    assert_eq!(result["cost"].as_f64(), Some(480.0));
}

/// By `make test-many`: a container is billed for a minute before it costs more.
#[test]
#[ignore = "takes a minute: `make test-many`"]
fn a_run_that_costs_too_much_is_stopped() {
    let machine = Machine::new();
    let state = tempfile::tempdir().unwrap();
    let platform = Platform::start(state.path(), |mut container: Container| async move {
        if index(&container) == 0 {
            return report(container, 0).await;
        }
        container.terminated().await;
        143
    });
    let words = [
        "run",
        "--json",
        "-n",
        "2",
        "--max-cost",
        "0.0052801",
        "--out",
        "o",
        "--",
        "true",
    ];
    let done = platform.sortie(&machine, words).enter().code(1);
    assert_eq!(done.result()["tasks"][0]["exit_code"], 0);
    assert_eq!(done.result()["tasks"][1]["outcome"], "cancelled");
    let cost = done.result()["tasks"][0]["cost"].as_f64().unwrap();
    assert!((cost - 0.00264).abs() < 1e-9, "{cost}");
}

#[test]
fn a_dry_run_tells_and_sends_nothing() {
    let machine = Machine::new();
    let state = tempfile::tempdir().unwrap();
    let platform = Platform::start(state.path(), |container| report(container, 0));
    machine.write("data", "x".repeat(5000));
    let words = [
        "run",
        "--dry-run",
        "-i",
        "data",
        "-n",
        "20000",
        "--timeout",
        "1h",
        "--",
        "true",
    ];
    let said = platform.sortie(&machine, words).enter().code(0);
    let text = String::from_utf8(said.stdout).unwrap();
    for words in [
        "input `data`: 5.0 kB in 1 pack: 1 to be sent",
        "20000 tasks in 2 executions of `a-job`",
        "$52.8000 at the least, $3168.00 if every task meets its timeout",
    ] {
        assert!(text.contains(words), "no `{words}` in:\n{text}");
    }
    assert!(platform.executions().is_empty());
    assert!(!machine.path("sortie-results").exists());
}

#[test]
fn tasks_may_run_in_environments_of_their_own() {
    let machine = Machine::new();
    let state = tempfile::tempdir().unwrap();
    let platform = Platform::start(state.path(), |container| {
        let code = i32::from(container.variable("CLOUD_RUN_JOB") == Some("big-job")) * 4;
        report(container, code)
    });
    platform.make_job("big-job");
    machine.write(
        "sortie.toml",
        "project = 'a-project'\nbucket = 'a-bucket'\n[environments.default]\njob = 'a-job'\n[environments.big]\njob = 'big-job'\n",
    );
    let tasks = "[[task]]\ncommand = 'true'\nenvironment = 'big'\n[[task]]\ncommand = 'true'\n";
    machine.write("tasks.toml", tasks);
    let words = ["run", "--json", "--out", "o", "tasks.toml"];
    let done = platform.sortie(&machine, words).enter().code(1);
    assert_eq!(done.result()["tasks"][0]["exit_code"], 4);
    assert_eq!(done.result()["tasks"][1]["exit_code"], 0);
    let missing = "[[task]]\ncommand = 'true'\nenvironment = 'huge'\n";
    machine.write("tasks.toml", missing);
    platform
        .sortie(&machine, ["run", "tasks.toml"])
        .enter()
        .code(125)
        .says("no environment is named `huge`")
        .says("`big`");
}

#[test]
fn names_and_keys_are_checked_before_anything_is_sent() {
    let machine = Machine::new();
    machine.write(
        "t.jsonl",
        "{\"name\":\"a\",\"command\":\"true\"}\n{\"name\":\"a\",\"command\":\"true\"}\n",
    );
    let words = ["run", "t.jsonl"];
    machine
        .sortie(words)
        .enter()
        .code(125)
        .says("two tasks are named `a`");
    machine.write("t.jsonl", "{\"comand\":\"true\"}\n");
    machine
        .sortie(words)
        .enter()
        .code(125)
        .says("is `command` meant?");
    assert!(machine.emulator_pid().is_none(), "nothing was started");
}

#[test]
fn two_hundred_are_cancelled_in_the_middle_and_nothing_is_left_running() {
    let machine = Machine::new();
    let script = "[ $CLOUD_RUN_TASK_INDEX -lt 20 ] && exit 0; echo saved > output/f; sleep 300";
    let words = [
        "run", "--json", "-n", "200", "--out", "o", "--", "sh", "-c", script,
    ];
    let mut running = machine.sortie(words).start();
    for _ in 0..20 {
        running.event("landed");
    }
    running.signal(Signal::INT);
    let done = running.end().code(130);
    let tasks = done.result()["tasks"].as_array().unwrap().clone();
    assert_eq!(tasks.len(), 200);
    let outcome = |name: &str| tasks.iter().filter(|task| task["outcome"] == name).count();
    assert_eq!(outcome("exited"), 20);
    assert_eq!(outcome("cancelled"), 180);
    let emulator = machine.emulator_pid().unwrap();
    wait_until("nothing is left running", || {
        let left = crate::coming_back::descendants(emulator);
        !left.into_iter().any(is_alive)
    });
}

#[test]
fn two_hundred_are_come_back_to_after_a_kill_and_none_lands_twice() {
    let machine = Machine::new();
    let script = "echo $CLOUD_RUN_TASK_INDEX > output/f; sleep 0.05";
    let words = [
        "run", "--json", "-n", "200", "--out", "o", "--", "sh", "-c", script,
    ];
    let mut running = machine.sortie(words).start();
    let run = running.event("started")["run"].as_str().unwrap().to_owned();
    for _ in 0..10 {
        running.event("landed");
    }
    running.signal(Signal::KILL);
    running.end();
    let here = std::fs::read_dir(machine.path("o")).unwrap().count();
    assert!(here >= 10, "{here}");
    let done = machine.sortie(["wait", "--json", &run]).enter().code(0);
    let landed: Vec<_> = done
        .lines()
        .iter()
        .filter(|line| line["event"] == "landed")
        .map(|line| line["index"].as_u64().unwrap())
        .collect();
    assert_eq!(landed.len(), 200);
    assert_eq!(landed.iter().collect::<BTreeSet<_>>().len(), 200);
    for i in 0..200 {
        assert_eq!(machine.text(&format!("o/{i}/output/f")), format!("{i}\n"));
    }
    assert_eq!(std::fs::read_dir(machine.path("o")).unwrap().count(), 200);
}

/// By `make test-many`: it takes a while.
#[test]
#[ignore = "ten thousand tasks: `make test-many`"]
fn ten_thousand_are_one_call_in_bounded_memory() {
    let machine = Machine::new();
    let state = tempfile::tempdir().unwrap();
    let platform = Platform::start(state.path(), |container| report(container, 0));
    let words = ["run", "--json", "-n", "10000", "--out", "o", "--", "true"];
    let mut running = platform.sortie(&machine, words).start();
    let pid = running.pid();
    let mut landed = 0;
    let mut peak = 0;
    while landed < 10_000 {
        running.event("landed");
        landed += 1;
        if landed % 500 == 0 {
            peak = peak.max(peak_memory(pid));
        }
    }
    let done = running.end().code(0);
    assert_eq!(done.result()["tasks"].as_array().unwrap().len(), 10_000);
    assert_eq!(platform.executions().len(), 1, "one `:run` call");
    assert!(machine.path("o/9999/report.json").exists());
    eprintln!("10,000 tasks: sortie had {peak} kB at the most");
    assert!(peak < 100_000, "{peak} kB");
}

/// Of a process, in kB.
fn peak_memory(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let number = line.and_then(|line| line.trim().strip_suffix(" kB")?.trim().parse().ok());
    number.unwrap_or(0)
}
