//! Jobs: what is refused, and how they change.

use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::{JOBS, Server, json_of, merged, refused};

fn job(container: Value) -> Value {
    let container = merged(json!({"image": "x"}), container);
    json!({"template": {"template": {"containers": [container]}}})
}

async fn refused_message(server: &Server, body: &Value) -> String {
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
    let template = |over| merged(job(json!({}))["template"]["template"].clone(), over);
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
            merged(
                job(json!({})),
                json!({"labels": {"run.googleapis.com/x": "y"}}),
            ),
            "run.googleapis.com/x",
        ),
    ] {
        let message = refused_message(&server, &body).await;
        assert!(message.contains(word), "{word} in {message}");
    }
    json_of(
        server
            .post(&format!("{JOBS}?jobId=j"))
            .json(&env("A", "x".repeat(32_768))),
    )
    .await;
}

#[tokio::test]
async fn ids_are_checked() {
    let server = Server::start().await;
    for id in ["", "Up", "-a", "a-", "9a"] {
        refused(
            server
                .post(&format!("{JOBS}?jobId={id}"))
                .json(&job(json!({}))),
            400,
        )
        .await;
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
    let change = |body: Value| server.request(Method::PATCH, &path).json(&body);
    let stale = merged(before.clone(), json!({"etag": "\"stale\""}));
    assert_eq!(
        refused(change(stale), 409).await["error"]["status"],
        "ABORTED"
    );
    // What was read can be sent back as it is.
    let operation = json_of(change(before.clone())).await;
    assert_eq!(operation["response"]["generation"], "2");
    refused(change(before), 409).await;
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
async fn a_jobs_policy_is_kept() {
    let server = Server::start().await;
    server.create_job("j", json!({})).await;
    let policy = json_of(server.get(&format!("{JOBS}/j:getIamPolicy"))).await;
    let bindings = json!([{"role": "roles/run.invoker", "members": ["user:a@b"]}]);
    let set = |etag: &Value| {
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
