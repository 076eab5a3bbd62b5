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

fn job(container: serde_json::Value) -> serde_json::Value {
    let container = crate::harness::merged(json!({"image": "x"}), container);
    json!({"template": {"template": {"containers": [container]}}})
}

async fn refused_message(server: &Server, body: &serde_json::Value) -> String {
    let error = refused(server.post(&format!("{JOBS}?jobId=j")).json(body), 400).await;
    assert_eq!(error["error"]["status"], "INVALID_ARGUMENT");
    error["error"]["message"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn unknown_fields_are_refused_in_googles_words() {
    let server = Server::start().await;
    let message = refused_message(&server, &json!({"tmplate": {}})).await;
    assert_eq!(
        message,
        "Invalid JSON payload received. Unknown name \"tmplate\" at 'job': Cannot find field."
    );
    let message = refused_message(&server, &job(json!({"img": "x"}))).await;
    let place = "at 'job.template.template.containers[0]': Cannot find field.";
    assert_eq!(
        message,
        format!("Invalid JSON payload received. Unknown name \"img\" {place}")
    );
    let message = refused_message(&server, &json!({"template": {"taskCount": "many"}})).await;
    assert_eq!(
        message,
        "Invalid value at 'job.template.task_count' (TYPE_INT32), \"many\""
    );
    let unknown_query =
        format!("{JOBS}?jobId=j&%24alt=json%3Benum-encoding%3Dint&prettyPrint=false");
    json_of(server.post(&unknown_query).json(&job(json!({})))).await;
    refused(
        server
            .post(&format!("{JOBS}/j:run"))
            .json(&json!({"override": {}})),
        400,
    )
    .await;
}

#[tokio::test]
async fn limits_are_enforced() {
    let server = Server::start().await;
    let env = |name: &str, value: String| job(json!({"env": [{"name": name, "value": value}]}));
    let many: Vec<_> = (0..1001)
        .map(|n| json!({"name": format!("N{n}"), "value": "x"}))
        .collect();
    let limits = |cpu: &str, memory: &str| {
        job(json!({"resources": {"limits": {"cpu": cpu, "memory": memory}}}))
    };
    let template =
        |over| crate::harness::merged(job(json!({}))["template"]["template"].clone(), over);
    for (body, word) in [
        (json!({}), "container"),
        (
            json!({"template": {"template": {"containers": [{}]}}}),
            "image",
        ),
        (env("A", "x".repeat(32_769)), "32768"),
        (env("CLOUD_RUN_JOB", "x".into()), "CLOUD_RUN_JOB"),
        (env("PORT", "1".into()), "PORT"),
        (env("", "1".into()), "name"),
        (job(json!({"env": many})), "1000"),
        (limits("1", "256Mi"), "memory"),
        (limits("1", "8Gi"), "memory"),
        (limits("3", "2Gi"), "cpu"),
        (
            json!({"template": {"template": template(json!({"maxRetries": 11}))}}),
            "max_retries",
        ),
        (
            json!({"template": {"template": template(json!({"timeout": "604801s"}))}}),
            "168",
        ),
        (
            json!({"template": {"taskCount": 10001, "template": template(json!({}))}}),
            "10000",
        ),
        (
            crate::harness::merged(
                job(json!({})),
                json!({"labels": {"run.googleapis.com/x": "y"}}),
            ),
            "run.googleapis.com/x",
        ),
    ] {
        let message = refused_message(&server, &body).await;
        assert!(message.contains(word), "{word} in {message}");
    }
    for id in ["", "Up", "-a", "a-", "9a"] {
        refused(
            server
                .post(&format!("{JOBS}?jobId={id}"))
                .json(&job(json!({}))),
            400,
        )
        .await;
    }
    json_of(
        server
            .post(&format!("{JOBS}?jobId=j"))
            .json(&env("A", "x".repeat(32_768))),
    )
    .await;
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
async fn jobs_are_changed_with_their_etag() {
    let server = Server::start().await;
    server.create_job("j", json!({})).await;
    refused(
        server
            .post(&format!("{JOBS}?jobId=j"))
            .json(&job(json!({}))),
        409,
    )
    .await;
    let before = json_of(server.get(&format!("{JOBS}/j"))).await;
    let path = format!("{JOBS}/j");
    let patch = |body: serde_json::Value| server.request(Method::PATCH, &path).json(&body);
    let stale = crate::harness::merged(before.clone(), json!({"etag": "\"stale\""}));
    assert_eq!(
        refused(patch(stale), 409).await["error"]["status"],
        "ABORTED"
    );
    // What was read can be sent back as it is.
    let operation = json_of(patch(before.clone())).await;
    assert_eq!(operation["response"]["generation"], "2");
    refused(patch(before), 409).await;
    let path = format!("{JOBS}/new");
    refused(
        server.request(Method::PATCH, &path).json(&job(json!({}))),
        404,
    )
    .await;
    json_of(
        server
            .request(Method::PATCH, &format!("{path}?allowMissing=true"))
            .json(&job(json!({}))),
    )
    .await;
    let names: Vec<_> = json_of(server.get(JOBS)).await["jobs"]
        .as_array()
        .unwrap()
        .iter()
        .map(|job| job["name"].clone())
        .collect();
    assert_eq!(
        names,
        ["new", "j"].map(|id| format!("projects/tests/locations/us-central1/jobs/{id}"))
    );
    json_of(server.request(Method::DELETE, &path)).await;
    refused(server.get(&path), 404).await;
}

#[tokio::test]
async fn a_rehearsal_leaves_nothing() {
    let server = Server::start().await;
    let rehearsed = json_of(
        server
            .post(&format!("{JOBS}?jobId=j&validateOnly=true"))
            .json(&job(json!({}))),
    )
    .await;
    assert_eq!(
        rehearsed["response"]["template"]["template"]["maxRetries"],
        3
    );
    refused(server.get(&format!("{JOBS}/j")), 404).await;
    server.create_job("j", json!({"command": ["true"]})).await;
    json_of(
        server
            .post(&format!("{JOBS}/j:run"))
            .json(&json!({"validateOnly": true})),
    )
    .await;
    assert_eq!(
        json_of(server.get(&format!("{JOBS}/j/executions"))).await,
        json!({})
    );
    refused(
        server.post(&format!("{JOBS}/none:run")).json(&json!({})),
        404,
    )
    .await;
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

#[tokio::test]
async fn a_jobs_policy_is_kept() {
    let server = Server::start().await;
    server.create_job("j", json!({})).await;
    let policy = json_of(server.get(&format!("{JOBS}/j:getIamPolicy"))).await;
    let bindings = json!([{"role": "roles/run.invoker", "members": ["user:a@b"]}]);
    let set = |etag: &serde_json::Value| {
        let body = json!({"policy": {"bindings": bindings, "etag": etag}});
        server.post(&format!("{JOBS}/j:setIamPolicy")).json(&body)
    };
    assert_eq!(json_of(set(&policy["etag"])).await["bindings"], bindings);
    refused(set(&policy["etag"]), 409).await;
    let asked = json!({"permissions": ["run.jobs.run"]});
    assert_eq!(
        json_of(
            server
                .post(&format!("{JOBS}/j:testIamPermissions"))
                .json(&asked)
        )
        .await,
        asked
    );
}
