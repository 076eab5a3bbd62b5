//! Runs are durable: any shell comes back to them by name.

use serde_json::json;

use crate::harness::{Machine, wait_until};
use crate::platform::{Platform, begin, report};

/// Starts something and leaves it alone; its run.
fn detach(machine: &Machine, script: &str, n: &str) -> String {
    let words = ["run", "-q", "--detach", "-n", n, "--", "sh", "-c", script];
    let done = machine.sortie(words).enter().code(0);
    String::from_utf8(done.stdout).unwrap().trim().to_owned()
}

fn ended(machine: &Machine, run: &str) -> bool {
    let done = machine.sortie(["status", "--json", run]).enter().code(0);
    let line = done.lines().pop().unwrap();
    line["running"] == false
}

#[test]
fn a_detached_run_goes_on_and_is_waited_for() {
    let machine = Machine::new();
    let run = detach(
        &machine,
        "sleep 1; echo done; echo x > output/f; exit 6",
        "1",
    );
    assert!(!machine.path("sortie-results").exists());
    machine
        .sortie(["wait", &run])
        .enter()
        .code(6)
        .prints("done\n");
    assert_eq!(
        machine.text(&format!("sortie-results/{run}/0/output/f")),
        "x\n"
    );
}

#[test]
fn it_is_listed_looked_at_and_read() {
    let machine = Machine::new();
    let run = detach(
        &machine,
        "echo out $CLOUD_RUN_TASK_INDEX; echo err >&2; exit $CLOUD_RUN_TASK_INDEX",
        "2",
    );
    wait_until("it is over", || ended(&machine, &run));
    let ps = machine.sortie(["ps"]).enter().code(0);
    let ps = String::from_utf8(ps.stdout).unwrap();
    let line = ps.lines().find(|line| line.starts_with(&run)).unwrap();
    assert!(line.contains("1 succeeded, 1 failed"), "{ps}");
    let status = machine.sortie(["status", &run[18..]]).enter().code(0);
    let status = String::from_utf8(status.stdout).unwrap();
    assert!(status.contains("2 tasks: 2 ended; 1 failed"), "{status}");
    assert!(
        status
            .lines()
            .any(|l| l.split_whitespace().eq(["1", "ended", "exited", "1"])),
        "{status}"
    );
    machine
        .sortie(["logs", &format!("{run}/1")])
        .enter()
        .code(0)
        .prints("out 1\n")
        .says("err");
    machine
        .sortie(["logs", &run])
        .enter()
        .code(125)
        .says("has 2 tasks");
    machine
        .sortie(["logs", &format!("{run}/7")])
        .enter()
        .code(125)
        .says("has no task `7`");
}

#[test]
fn logs_are_followed_to_the_end() {
    let machine = Machine::new();
    let run = detach(&machine, "for i in 1 2 3; do echo $i; sleep 1.2; done", "1");
    machine
        .sortie(["logs", "-f", &run])
        .enter()
        .code(0)
        .prints("1\n2\n3\n");
}

#[test]
fn what_is_there_is_fetched_and_the_rest_told_of() {
    let machine = Machine::new();
    let run = detach(
        &machine,
        "[ $CLOUD_RUN_TASK_INDEX = 0 ] && exit 0; sleep 300",
        "2",
    );
    let first = || {
        let done = machine.sortie(["status", "--json", &run]).enter().code(0);
        done.lines().pop().unwrap()["tasks"][0]["state"] == "ended"
    };
    wait_until("the first has ended", first);
    machine
        .sortie(["fetch", &run])
        .enter()
        .code(125)
        .says("1 task has not ended")
        .says(&format!("`sortie wait {run}`"));
    assert!(
        machine
            .path(&format!("sortie-results/{run}/0/report.json"))
            .exists()
    );
    machine
        .sortie(["fetch", &format!("{run}/0")])
        .enter()
        .code(0);
    machine
        .sortie(["rm", &run])
        .enter()
        .code(125)
        .says("is running")
        .says(&format!("sortie rm --force {run}"));
    machine
        .sortie(["cancel", &run])
        .enter()
        .code(0)
        .says("is cancelled");
    machine.sortie(["wait", &run]).enter().code(130);
    // Its results are here; its containers may take a moment more to be gone.
    wait_until("it is over", || ended(&machine, &run));
    machine
        .sortie(["cancel", &run])
        .enter()
        .code(0)
        .says("over already");
    machine
        .sortie(["rm", &run])
        .enter()
        .code(0)
        .says("removed run");
    machine
        .sortie(["status", &run])
        .enter()
        .code(125)
        .says("never started");
    let left = crate::forgeries::names(&machine, &format!("runs/{run}/"));
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn old_runs_of_ones_own_are_swept_and_what_runs_is_not() {
    let machine = Machine::new();
    let over = detach(&machine, "true", "1");
    wait_until("it is over", || ended(&machine, &over));
    let running = detach(&machine, "sleep 300", "1");
    let sweep = ["gc", "--older-than", "0s"];
    machine
        .sortie(sweep)
        .env("USER", "somebody-else")
        .enter()
        .code(0);
    let runs = || crate::forgeries::names(&machine, "runs/");
    assert!(
        runs().iter().any(|name| name.contains(&over)),
        "not theirs to sweep"
    );
    machine
        .sortie(["gc", "--older-than", "0s", "--dry-run"])
        .enter()
        .code(0)
        .says(&format!("would remove run {over}"));
    assert!(runs().iter().any(|name| name.contains(&over)), "only said");
    machine.sortie(sweep).enter().code(0);
    assert!(!runs().iter().any(|name| name.contains(&over)));
    assert!(runs().iter().any(|name| name.contains(&running)));
    machine.sortie(["rm", "--force", &running]).enter().code(0);
}

#[test]
fn another_machine_comes_back_with_the_bucket_alone() {
    let state = tempfile::tempdir().unwrap();
    let platform = Platform::start(state.path(), |container| async move {
        tokio::time::sleep(std::time::Duration::from_millis(300)).await;
        report(container, 3).await
    });
    let (one, other) = (Machine::new(), Machine::new());
    let words = ["run", "-q", "--detach", "-n", "3", "--", "true"];
    let done = platform.sortie(&one, words).enter().code(0);
    let run = String::from_utf8(done.stdout).unwrap().trim().to_owned();
    platform
        .sortie(&other, ["wait", &run[..20]])
        .enter()
        .code(1);
    assert_eq!(other.text(&format!("sortie-results/{run}/2/stdout")), "x\n");
    let ps = platform.sortie(&other, ["ps", "--all"]).enter().code(0);
    assert!(String::from_utf8(ps.stdout).unwrap().contains("3 failed"));
}

#[test]
fn a_window_goes_on_with_whoever_waits() {
    let state = tempfile::tempdir().unwrap();
    let platform = Platform::start(state.path(), |container| report(container, 0));
    let (one, other) = (Machine::new(), Machine::new());
    let line = |i: u32| json!({ "name": format!("t{i}"), "command": "true" }).to_string();
    let lines: Vec<String> = (0..7).map(line).collect();
    one.write("t.jsonl", lines.join("\n"));
    let words = ["run", "--detach", "--parallel", "3", "--tasks", "t.jsonl"];
    let done = platform
        .sortie(&one, words)
        .enter()
        .code(0)
        .says("4 of 7 tasks wait for their turn");
    let run = String::from_utf8(done.stdout).unwrap().trim().to_owned();
    platform
        .sortie(&other, ["wait", &run])
        .enter()
        .code(125)
        .says("this machine has not started run")
        .says("--start-the-rest");
    let words = ["wait", "--start-the-rest", &run];
    platform.sortie(&other, words).enter().code(0);
    assert!(
        other
            .path(&format!("sortie-results/{run}/t6/report.json"))
            .exists()
    );
}

#[test]
fn a_task_that_vanished_is_explained_to_whoever_comes() {
    let state = tempfile::tempdir().unwrap();
    let platform = Platform::start(state.path(), |container| async move {
        begin(&container).await;
        9
    });
    let machine = Machine::new();
    let words = ["run", "-q", "--detach", "--", "true"];
    let done = platform.sortie(&machine, words).enter().code(0);
    let run = String::from_utf8(done.stdout).unwrap().trim().to_owned();
    platform
        .sortie(&machine, ["wait", &run])
        .enter()
        .code(125)
        .says("it left no report: its container exited with 9");
    let status = platform.sortie(&machine, ["status", &run]).enter().code(0);
    assert!(
        String::from_utf8(status.stdout)
            .unwrap()
            .contains("1 lost; 1 failed")
    );
}

/// Puts a document where only tasks could, or a bucket's other users.
fn plant(platform: &Platform, name: &str, document: &serde_json::Value) {
    let url = format!("{}/upload/storage/v1/b/a-bucket/o", platform.address);
    let body = document.to_string();
    crate::harness::block_on(async {
        let http = wire::api::http_client().unwrap();
        let request = http
            .post(url)
            .query(&[("uploadType", "media"), ("name", name)])
            .body(body);
        let answer = request.bearer_auth("the-owner's").send().await.unwrap();
        assert_eq!(answer.status(), 200);
    });
}

#[test]
fn a_run_that_a_task_made_up_lands_nowhere() {
    let state = tempfile::tempdir().unwrap();
    let platform = Platform::start(state.path(), |container| report(container, 0));
    let machine = Machine::new();
    let run = wire::names::RunId::new();
    let outside = machine.path("outside");
    for (tasks, names) in [
        (1, json!([outside])),
        (1, json!(["../../x"])),
        (2, json!(["same", "same"])),
        (3, json!(["too", "few"])),
        (u32::MAX, json!([])),
    ] {
        let record = json!({
            "version": 2, "run": run, "sortie": "0", "owner": "you", "job": "a-job",
            "created_at": "2026-01-01T00:00:00Z", "tasks": tasks, "names": names,
        });
        plant(&platform, &run.record(), &record);
        let start = json!({
            "version": 2, "run": run, "start": 0, "job": "a-job", "specs": [],
            "tasks": [{ "index": 0, "task": 0, "count": u32::MAX, "spec": u32::MAX, "step": 1 }],
        });
        plant(&platform, &run.start(0), &start);
        for verb in ["wait", "fetch", "status"] {
            platform
                .sortie(&machine, [verb, &run.to_string()])
                .enter()
                .code(125)
                .says("cannot trust what the bucket says of the run");
        }
        platform.sortie(&machine, ["ps", "--all"]).enter().code(0);
    }
    assert!(!outside.exists());
}

#[test]
fn a_start_that_a_task_made_up_starts_and_hides_nothing() {
    let state = tempfile::tempdir().unwrap();
    let platform = Platform::start(state.path(), |container| report(container, 0));
    let machine = Machine::new();
    let words = ["run", "-q", "--detach", "-n", "2", "--", "true"];
    let done = platform.sortie(&machine, words).enter().code(0);
    let run = String::from_utf8(done.stdout).unwrap().trim().to_owned();
    let id: wire::names::RunId = run.parse().unwrap();
    let spec = json!({
        "version": 2, "command": { "argv": ["evil"] }, "grace_ms": 1, "log_interval_ms": 1000,
    });
    let start = json!({
        "version": 2, "run": run, "start": 1, "job": "a-job", "specs": [{ "inline": spec }],
        "tasks": [{ "index": 0, "task": 0, "count": 2, "spec": 0 }],
    });
    plant(&platform, &id.start(1), &start);
    platform
        .sortie(&machine, ["wait", "--retries", "3", &run])
        .enter()
        .code(0);
    assert_eq!(platform.executions().len(), 1, "nothing of it was started");
}

#[test]
fn what_was_lost_and_is_found_by_another_try_replaces_the_word_that_it_was_lost() {
    let state = tempfile::tempdir().unwrap();
    let platform = Platform::start(state.path(), |container| async move {
        let start = container
            .variable("SORTIE_RUN")
            .unwrap()
            .ends_with("/0.json");
        assert!(!start, "the platform's own failure");
        report(container, 4).await
    });
    let machine = Machine::new();
    let words = ["run", "--json", "--out", "o", "--", "true"];
    let lost = platform.sortie(&machine, words).enter().code(125);
    let run = lost.result()["run"].as_str().unwrap().to_owned();
    assert!(machine.text("o/report.json").contains("lost"));
    let words = ["wait", "--retries", "1", &run];
    platform
        .sortie(&machine, words)
        .enter()
        .code(4)
        .prints("x\n");
    assert!(machine.text("o/report.json").contains("exited"));
    assert_eq!(machine.text("o/stdout"), "x\n");
    platform.sortie(&machine, ["wait", &run]).enter().code(4);
}

#[test]
fn what_a_run_was_told_holds_for_whoever_comes_back_to_it() {
    let state = tempfile::tempdir().unwrap();
    let platform = Platform::start(state.path(), |container| async move {
        match container
            .variable("CLOUD_RUN_TASK_INDEX")
            .unwrap()
            .parse::<u32>()
            .unwrap()
        {
            0 => report(container, 7).await,
            1 => {
                let start = container.variable("SORTIE_RUN").unwrap();
                assert!(!start.ends_with("/0.json"), "the platform's own failure");
                report(container, 0).await
            }
            _ => {
                tokio::time::sleep(std::time::Duration::from_mins(10)).await;
                0
            }
        }
    });
    let machine = Machine::new();
    let words = [
        "run",
        "-q",
        "--detach",
        "-n",
        "2",
        "--retries",
        "1",
        "--",
        "true",
    ];
    let done = platform.sortie(&machine, words).enter().code(0);
    let run = String::from_utf8(done.stdout).unwrap().trim().to_owned();
    platform
        .sortie(&machine, ["wait", &run])
        .enter()
        .code(1)
        .says("is tried again (1 of 1)");

    let words = [
        "run",
        "-q",
        "--detach",
        "-n",
        "3",
        "--fail-fast",
        "--",
        "true",
    ];
    let done = platform.sortie(&machine, words).enter().code(0);
    let run = String::from_utf8(done.stdout).unwrap().trim().to_owned();
    platform
        .sortie(&machine, ["wait", &run])
        .enter()
        .code(1)
        .says("a task has failed: the others are cancelled");
}

#[test]
fn two_that_drive_one_run_do_not_stumble_over_each_other() {
    let state = tempfile::tempdir().unwrap();
    let platform = Platform::start(state.path(), |container| async move {
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
        report(container, 0).await
    });
    let machine = Machine::new();
    let words = [
        "run",
        "--json",
        "-n",
        "8",
        "--parallel",
        "2",
        "--out",
        "o",
        "--",
        "true",
    ];
    let mut first = platform.sortie(&machine, words).start();
    let run = first.event("started")["run"].as_str().unwrap().to_owned();
    let second = ["wait", "--json", "--out", "p", &run];
    let second = platform.sortie(&machine, second).enter().code(0);
    let first = first.end().code(0);
    for result in [first.result(), second.result()] {
        assert_eq!(result["tasks"].as_array().unwrap().len(), 8);
    }
    let started: u64 = platform
        .executions()
        .iter()
        .map(|execution| execution["taskCount"].as_u64().unwrap())
        .sum();
    assert_eq!(started, 8, "none was started twice");
}

#[test]
fn a_run_of_anothers_is_removed_by_force_alone() {
    let state = tempfile::tempdir().unwrap();
    let platform = Platform::start(state.path(), |container| report(container, 0));
    let machine = Machine::new();
    let words = ["run", "--json", "--out", "o", "--", "true"];
    let theirs = platform
        .sortie(&machine, words)
        .env("USER", "somebody-else");
    let run = theirs.enter().code(0).result()["run"]
        .as_str()
        .unwrap()
        .to_owned();
    platform
        .sortie(&machine, ["rm", &run])
        .enter()
        .code(125)
        .says("`somebody-else@");
    platform
        .sortie(&machine, ["rm", "-f", &run])
        .enter()
        .code(0);
}
