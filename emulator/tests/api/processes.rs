//! What happens to processes: ends, signals, retries, and what they leave behind.

use std::path::Path;

use serde_json::{Value, json};

use crate::harness::{JOBS, Server, eventually, json_of, merged, refused};

/// A job of one container that runs a script, with this task template beside it.
async fn script(server: &Server, id: &str, script: &str, template: Value) {
    let container = json!({"image": "x", "command": ["sh", "-c", script]});
    let template = merged(
        json!({"maxRetries": 0, "containers": [container]}),
        template,
    );
    server
        .create_job_with(id, json!({"template": {"template": template}}))
        .await;
}

fn pid_in(path: &Path) -> Option<String> {
    std::fs::read_to_string(path)
        .ok()
        .filter(|text| text.ends_with('\n'))
        .map(|text| text.trim().to_owned())
}

fn is_alive(pid: &str) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(')')
        .next()
        .is_some_and(|rest| !rest.is_empty() && !rest.trim_start().starts_with(['Z', 'X']))
}

async fn task(server: &Server, execution: &Value) -> Value {
    let path = format!("/v2/{}/tasks", execution["name"].as_str().unwrap());
    json_of(server.get(&path)).await["tasks"][0].clone()
}

#[tokio::test]
async fn an_exit_code_is_recorded() {
    let server = Server::start().await;
    script(
        &server,
        "fails",
        "echo out; echo err >&2; exit 3",
        json!({}),
    )
    .await;
    let (operation, path) = server.run("fails", json!({})).await;
    let done = server.wait(&operation).await;
    assert_eq!(done["error"]["code"], 10);
    let execution = json_of(server.get(&path)).await;
    let completed = &execution["conditions"][0];
    assert_eq!(
        (&completed["type"], &completed["state"]),
        (&json!("Completed"), &json!("CONDITION_FAILED"))
    );
    assert_eq!(completed["executionReason"], "NON_ZERO_EXIT_CODE");
    assert_eq!(execution["failedCount"], 1);
    let last = task(&server, &execution).await["lastAttemptResult"].clone();
    assert_eq!(
        (&last["exitCode"], &last["status"]["code"]),
        (&json!(3), &json!(10))
    );
    assert_eq!(server.log(&execution, 0, 0), "out\nerr\n");
}

#[tokio::test]
async fn a_signal_is_recorded() {
    let server = Server::start().await;
    script(&server, "dies", "kill -9 $$", json!({})).await;
    let execution = server.run_to_end("dies", json!({})).await;
    let last = task(&server, &execution).await["lastAttemptResult"].clone();
    assert_eq!(last["termSignal"], 9);
    assert!(last.get("exitCode").is_none());
}

#[tokio::test]
async fn retries_are_fresh_attempts() {
    let server = Server::start().await;
    let count = "echo $CLOUD_RUN_TASK_ATTEMPT; test $CLOUD_RUN_TASK_ATTEMPT = 2";
    script(&server, "retries", count, json!({"maxRetries": 2})).await;
    let execution = server.run_to_end("retries", json!({})).await;
    assert_eq!(
        (&execution["succeededCount"], &execution["retriedCount"]),
        (&json!(1), &json!(1))
    );
    assert_eq!(task(&server, &execution).await["retried"], 2);
    for attempt in 0..3 {
        assert_eq!(server.log(&execution, 0, attempt), format!("{attempt}\n"));
    }
    script(&server, "hopeless", "exit 1", json!({"maxRetries": 1})).await;
    let execution = server.run_to_end("hopeless", json!({})).await;
    assert_eq!(
        (&execution["failedCount"], &execution["retriedCount"]),
        (&json!(1), &json!(1))
    );
}

#[tokio::test]
async fn a_timeout_ends_a_task_that_saves_on_sigterm() {
    let server = Server::start().await;
    let saving = "trap 'echo saved; exit 0' TERM; echo ready; while :; do sleep 0.05; done";
    script(&server, "slow", saving, json!({"timeout": "1s"})).await;
    let execution = server.run_to_end("slow", json!({})).await;
    assert_eq!(execution["failedCount"], 1);
    let status = task(&server, &execution).await["lastAttemptResult"]["status"].clone();
    assert_eq!(status["message"], "The configured timeout was reached.");
    assert_eq!(server.log(&execution, 0, 0), "ready\nsaved\n");
}

#[tokio::test]
async fn a_cancel_kills_what_ignores_sigterm_and_all_it_started() {
    let server = Server::start().await;
    let pids = server.state.path().join("pids");
    let stubborn = format!(
        "trap '' TERM; (trap '' TERM; while :; do sleep 1; done) & \
         setsid sh -c 'trap \"\" TERM; while :; do sleep 1; done' >/dev/null 2>&1 & echo $$ $! > {}; \
         while :; do sleep 1; done",
        pids.display()
    );
    script(&server, "stubborn", &stubborn, json!({})).await;
    let (operation, path) = server.run("stubborn", json!({})).await;
    let started = eventually(async || pid_in(&pids)).await;
    let cancel = json_of(server.post(&format!("{path}:cancel")).json(&json!({}))).await;
    assert_eq!(
        cancel["metadata"]["conditions"][0]["executionReason"],
        "CANCELLING"
    );
    let done = server.wait(&operation).await;
    assert!(done.get("error").is_none(), "{done}");
    let execution = json_of(server.get(&path)).await;
    assert_eq!(execution["conditions"][0]["executionReason"], "CANCELLED");
    assert_eq!(execution["cancelledCount"], 1);
    for pid in started.split(' ') {
        assert!(!is_alive(pid), "{pid} is alive");
    }
    let late = refused(server.post(&format!("{path}:cancel")).json(&json!({})), 400).await;
    assert_eq!(late["error"]["status"], "FAILED_PRECONDITION");
}

#[tokio::test]
async fn what_a_task_leaves_behind_is_killed() {
    let server = Server::start().await;
    let pids = server.state.path().join("pids");
    let daemon = format!(
        "setsid sh -c 'echo $$ > {0}.own; exec sleep 1000' >/dev/null 2>&1 & \
         env -i setsid sh -c 'echo $$ > {0}.bare; exec /bin/sleep 1000' & \
         while ! test -s {0}.own || ! test -s {0}.bare; do sleep 0.02; done",
        pids.display()
    );
    script(&server, "daemon", &daemon, json!({})).await;
    let execution = server.run_to_end("daemon", json!({})).await;
    assert_eq!(execution["succeededCount"], 1, "{execution}");
    for kind in ["pids.own", "pids.bare"] {
        let pid = pid_in(&server.state.path().join(kind)).unwrap();
        assert!(!is_alive(&pid), "{kind} {pid} is alive");
    }
}

#[tokio::test]
async fn a_shutdown_lets_tasks_save_and_records_them() {
    let server = Server::start().await;
    let ready = server.state.path().join("ready");
    let saving = format!(
        "trap 'echo saved; exit 0' TERM; echo 1 > {}; while :; do sleep 0.05; done",
        ready.display()
    );
    script(&server, "long", &saving, json!({})).await;
    let (_, path) = server.run("long", json!({})).await;
    eventually(async || pid_in(&ready)).await;
    let server = Server::on(server.stop().await, |_| {}).await;
    let execution = json_of(server.get(&path)).await;
    assert_eq!(execution["conditions"][0]["state"], "CONDITION_FAILED");
    assert_eq!(execution["conditions"][0]["reason"], "INTERNAL");
    assert_eq!(server.log(&execution, 0, 0), "saved\n");
}

#[tokio::test]
async fn tasks_share_an_execution_within_its_parallelism() {
    let server = Server::start().await;
    let busy = server.state.path().join("busy");
    let alone = format!(
        "mkdir {0} && echo $CLOUD_RUN_TASK_INDEX/$CLOUD_RUN_TASK_COUNT && rmdir {0}",
        busy.display()
    );
    let container = json!({"image": "x", "command": ["sh", "-c", alone]});
    let template = json!({"maxRetries": 0, "containers": [container]});
    server
        .create_job_with(
            "many",
            json!({"template": {"parallelism": 1, "taskCount": 2, "template": template}}),
        )
        .await;
    let execution = server
        .run_to_end("many", json!({"overrides": {"taskCount": 5}}))
        .await;
    assert_eq!(
        (&execution["taskCount"], &execution["succeededCount"]),
        (&json!(5), &json!(5))
    );
    let tasks = json_of(server.get(&format!(
        "/v2/{}/tasks",
        execution["name"].as_str().unwrap()
    )))
    .await;
    for (index, task) in tasks["tasks"].as_array().unwrap().iter().enumerate() {
        assert_eq!(task["index"].as_u64().unwrap_or(0), index as u64);
        assert!(
            task["name"]
                .as_str()
                .unwrap()
                .ends_with(&format!("-task{index}"))
        );
        assert_eq!(server.log(&execution, index, 0), format!("{index}/5\n"));
    }
}

#[tokio::test]
async fn a_runner_that_is_not_there_fails_the_task() {
    let server = Server::with_runner(&["/no/such/runner"]).await;
    server.create_job("j", json!({})).await;
    let execution = server.run_to_end("j", json!({})).await;
    let last = task(&server, &execution).await["lastAttemptResult"].clone();
    assert_eq!(last["status"]["code"], 13);
    assert!(
        last["status"]["message"]
            .as_str()
            .unwrap()
            .contains("/no/such/runner"),
        "{last}"
    );

    let server = Server::start().await;
    server.create_job("j", json!({})).await;
    let execution = server.run_to_end("j", json!({})).await;
    assert_eq!(execution["conditions"][0]["reason"], "CONTAINER_MISSING");
}

#[tokio::test]
async fn secrets_reach_the_environment() {
    let server = Server::start().await;
    let secrets = "/v1/projects/tests/secrets";
    let reference = json!([{"name": "KEY", "valueSource": {"secretKeyRef": {"secret": "key", "version": "latest"}}}]);
    server
        .create_job(
            "j",
            json!({"command": ["sh", "-c", "echo $KEY"], "env": reference}),
        )
        .await;
    let execution = server.run_to_end("j", json!({})).await;
    assert_eq!(
        execution["conditions"][0]["reason"],
        "SECRETS_ACCESS_CHECK_FAILED"
    );

    json_of(
        server
            .post(&format!("{secrets}?secretId=key"))
            .json(&json!({"replication": {"automatic": {}}})),
    )
    .await;
    json_of(
        server
            .post(&format!("{secrets}/key:addVersion"))
            .json(&json!({"payload": {"data": "czNjcmV0"}})),
    )
    .await;
    let accessed = json_of(server.get(&format!("{secrets}/key/versions/latest:access"))).await;
    assert_eq!(accessed["payload"]["data"], "czNjcmV0");
    let execution = server.run_to_end("j", json!({})).await;
    assert_eq!(server.log(&execution, 0, 0), "s3cret\n");
    assert!(
        !json_of(server.get(&format!("{JOBS}/j")))
            .await
            .to_string()
            .contains("s3cret")
    );
}

#[tokio::test]
async fn a_crash_fails_what_ran_and_kills_survivors() {
    let server = Server::start().await;
    script(&server, "j", "exit 0", json!({})).await;
    let execution = server.run_to_end("j", json!({})).await;
    let id = execution["name"]
        .as_str()
        .unwrap()
        .rsplit('/')
        .next()
        .unwrap()
        .to_owned();
    let former = server.base.clone();
    let state = server.stop().await;
    // The record as it lies there when the emulator dies in the middle, and a process that outlived it.
    let path = state
        .path()
        .join("run/executions")
        .join(format!("{id}.json"));
    let mut record: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    record["completed"] = Value::Null;
    record["tasks"] = json!([{"state": "Running", "attempt": 0}]);
    std::fs::write(&path, record.to_string()).unwrap();
    let mut survivor = std::process::Command::new("sleep")
        .arg("1000")
        .env("CLOUD_RUN_EXECUTION", &id)
        .env("STORAGE_EMULATOR_HOST", &former)
        .spawn()
        .unwrap();
    let server = Server::on(state, |_| {}).await;
    assert!(!survivor.wait().unwrap().success());
    let execution =
        json_of(server.get(&format!("/v2/{}", execution["name"].as_str().unwrap()))).await;
    assert_eq!(execution["conditions"][0]["state"], "CONDITION_FAILED");
    assert_eq!(execution["conditions"][0]["reason"], "INTERNAL");
    assert_eq!(execution["failedCount"], 1);
    assert!(execution.get("runningCount").is_none());
    let tasks = format!("/v2/{}/tasks", execution["name"].as_str().unwrap());
    let task = json_of(server.get(&tasks)).await["tasks"][0].take();
    // It has nothing to say of its attempt, and says nothing.
    assert!(task["conditions"][0].get("message").is_none(), "{task}");
}
