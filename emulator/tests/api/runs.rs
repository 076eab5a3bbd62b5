//! Jobs, executions, tasks and operations.

use reqwest::Method;
use serde_json::json;

use crate::harness::{JOBS, Server, json_of, refused};

#[tokio::test]
async fn a_run_with_an_override_starts_the_runner() {
    let script = r#"printf '%s\n' "$@"; env | sort"#;
    let server = Server::with_runner(&["sh", "-c", script, "runner"]).await;
    server
        .create_job(
            "hello",
            json!({"args": ["run me"], "env": [{"name": "A", "value": "job"}]}),
        )
        .await;
    let job = json_of(server.get(&format!("{JOBS}/hello"))).await;
    assert_eq!(job["terminalCondition"]["type"], "Ready");
    assert_eq!(
        job["template"]["template"]["containers"][0]["resources"]["limits"]["cpu"],
        "1"
    );

    let overrides = json!({"overrides": {"containerOverrides": [{"env": [{"name": "A", "value": "override"}]}]}});
    let (operation, path) = server.run("hello", overrides).await;
    assert_eq!(
        operation["metadata"]["@type"],
        "type.googleapis.com/google.cloud.run.v2.Execution"
    );
    let done = server.wait(&operation).await;
    let execution = json_of(server.get(&path)).await;
    assert_eq!(done["response"]["name"], execution["name"]);
    assert_eq!(
        execution["conditions"][0]["state"], "CONDITION_SUCCEEDED",
        "{execution}"
    );
    assert_eq!(execution["succeededCount"], 1);
    assert!(execution.get("failedCount").is_none());

    let log = server.log(&execution, 0, 0);
    let expected = "--image=example.test/image:1\n--cpu=1\n--memory=512Mi\n--\nrun me\n";
    assert!(log.starts_with(expected), "{log}");
    for line in [
        "A=override",
        "CLOUD_RUN_JOB=hello",
        "CLOUD_RUN_TASK_INDEX=0",
        "CLOUD_RUN_TASK_ATTEMPT=0",
    ] {
        assert!(log.lines().any(|given| given == line), "{line} in {log}");
    }
    assert!(log.contains(&format!("STORAGE_EMULATOR_HOST={}", server.base)));
    let tasks = json_of(server.get(&format!("{path}/tasks"))).await;
    assert_eq!(
        tasks["tasks"][0]["lastAttemptResult"],
        json!({"status": {}})
    );
}

#[tokio::test]
async fn overrides_replace_and_merge() {
    let server = Server::start().await;
    let env = json!([{"name": "A", "value": "1"}, {"name": "B", "value": "2"}]);
    let args = json!(["-c", "echo $A $B $C $#", "sh", "given"]);
    server
        .create_job(
            "j",
            json!({"name": "task", "command": ["sh"], "args": args, "env": env}),
        )
        .await;
    let run = |over: serde_json::Value| {
        let over = crate::harness::merged(json!({"name": "task"}), over);
        json!({"overrides": {"containerOverrides": [over], "timeout": "30s"}})
    };
    let over = run(json!({"env": [{"name": "B", "value": ""}, {"name": "C", "value": "3"}]}));
    let execution = server.run_to_end("j", over).await;
    assert_eq!(server.log(&execution, 0, 0), "1 3 1\n");
    assert_eq!(execution["template"]["timeout"], "30s");
    let env = &execution["template"]["containers"][0]["env"];
    assert_eq!(env[1], json!({"name": "B", "value": ""}));
    let execution = server
        .run_to_end("j", run(json!({"args": ["-c", "echo other"]})))
        .await;
    assert_eq!(server.log(&execution, 0, 0), "other\n");
    let execution = server
        .run_to_end("j", run(json!({"clearArgs": true})))
        .await;
    assert!(execution["template"]["containers"][0].get("args").is_none());
    for wrong in [
        run(json!({"clearArgs": true, "args": ["x"]})),
        run(json!({"name": "other"})),
        run(json!({"env": [{"name": "CLOUD_RUN_JOB", "value": "x"}]})),
        run(json!({"image": "other"})),
        json!({"overrides": {"taskCount": 10001}}),
        json!({"overrides": {"timeout": "605000s"}}),
        json!({"overrides": {"containerOverrides": [{}, {}]}}),
    ] {
        refused(server.post(&format!("{JOBS}/j:run")).json(&wrong), 400).await;
    }
}

#[tokio::test]
async fn executions_are_listed_newest_first_and_deleted() {
    let server = Server::start().await;
    server.create_job("j", json!({"command": ["true"]})).await;
    server.create_job("k", json!({"command": ["true"]})).await;
    let mut made = Vec::new();
    for id in ["j", "j", "k", "j"] {
        made.insert(0, server.run_to_end(id, json!({})).await["name"].clone());
    }
    let mut seen = Vec::new();
    let mut token = String::new();
    loop {
        let page =
            json_of(server.get(&format!("{JOBS}/-/executions?pageSize=3&pageToken={token}"))).await;
        seen.extend(
            page["executions"]
                .as_array()
                .unwrap()
                .iter()
                .map(|execution| execution["name"].clone()),
        );
        match page["nextPageToken"].as_str() {
            Some(next) => next.clone_into(&mut token),
            None => break,
        }
    }
    assert_eq!(seen, made);
    let newest = format!("/v2/{}", made[0].as_str().unwrap());
    let job = json_of(server.get(&format!("{JOBS}/j"))).await;
    assert_eq!(job["executionCount"], 3);
    assert_eq!(
        job["latestCreatedExecution"]["completionStatus"],
        "EXECUTION_SUCCEEDED"
    );
    json_of(server.request(Method::DELETE, &newest)).await;
    refused(server.get(&newest), 404).await;
    assert_eq!(
        json_of(server.get(&format!("{JOBS}/j/executions"))).await["executions"]
            .as_array()
            .unwrap()
            .len(),
        2
    );
    refused(server.get(&format!("{JOBS}/j/executions?pageToken=x")), 400).await;
    refused(
        server.get("/v2/projects/other/locations/us-central1/jobs"),
        403,
    )
    .await;
}

#[tokio::test]
async fn an_operation_is_open_until_its_execution_ends() {
    let server = Server::start().await;
    let gate = server.state.path().join("gate");
    let wait = format!("while ! test -e {}; do sleep 0.02; done", gate.display());
    server
        .create_job("j", json!({"command": ["sh", "-c", wait]}))
        .await;
    let (operation, path) = server.run("j", json!({})).await;
    assert!(operation.get("done").is_none());
    let name = format!("/v2/{}", operation["name"].as_str().unwrap());
    let waited = json_of(
        server
            .post(&format!("{name}:wait"))
            .json(&json!({"timeout": "0.01s"})),
    )
    .await;
    assert!(waited.get("done").is_none());
    let open = json_of(
        server.get("/v2/projects/tests/locations/us-central1/operations?filter=done:false"),
    )
    .await;
    assert_eq!(open["operations"][0]["name"], operation["name"]);
    crate::harness::eventually(async || {
        let now = json_of(server.get(&path)).await;
        (now["runningCount"] == 1 && now["reconciling"] == true).then_some(())
    })
    .await;
    std::fs::write(&gate, "").unwrap();
    assert_eq!(
        server.wait(&operation).await["response"]["succeededCount"],
        1
    );
    let server = Server::on(server.stop().await, |_| {}).await;
    assert_eq!(
        json_of(server.get(&name)).await["response"]["succeededCount"],
        1
    );
    assert_eq!(
        json_of(server.request(Method::DELETE, &name)).await,
        json!({})
    );
    refused(server.get(&name), 404).await;
}

#[tokio::test]
async fn deleting_a_job_ends_what_runs() {
    let server = Server::start().await;
    server
        .create_job("j", json!({"command": ["sleep", "1000"]}))
        .await;
    let (operation, path) = server.run("j", json!({})).await;
    json_of(server.request(Method::DELETE, &format!("{JOBS}/j"))).await;
    let done = server.wait(&operation).await;
    assert_eq!(done["response"]["cancelledCount"], 1, "{done}");
    refused(server.get(&path), 404).await;
}
