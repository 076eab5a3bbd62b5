//! The namespaces API: what `gcloud run jobs` sees and steers.

use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};

use crate::harness::{JOBS, Server, eventually, json_of, refused};

const V1: &str = "/apis/run.googleapis.com/v1/namespaces/tests";

fn status<'a>(resource: &'a Value, kind: &str) -> &'a Value {
    let conditions = resource["status"]["conditions"].as_array().unwrap();
    let found = conditions
        .iter()
        .find(|condition| condition["type"] == kind);
    found.unwrap_or_else(|| panic!("no {kind} in {resource}"))
}

/// A job of version 2 that fails with `$CODE`.
async fn a_job(server: &Server) {
    let secret = json!({"secretKeyRef": {"secret": "s", "version": "latest"}});
    let container = json!({
        "image": "example.test/image:1", "command": ["sh", "-c"], "args": ["exit $CODE"],
        "env": [{"name": "CODE", "value": "0"}, {"name": "UNUSED", "valueSource": secret}],
        "volumeMounts": [{"name": "scratch", "mountPath": "/scratch"}],
    });
    let volume = json!({"name": "scratch", "emptyDir": {"medium": "MEMORY", "sizeLimit": "1Gi"}});
    let template = json!({
        "maxRetries": 0, "timeout": "90s", "containers": [container], "volumes": [volume],
        "vpcAccess": {"egress": "ALL_TRAFFIC", "networkInterfaces": [{"network": "n"}]},
    });
    let job = json!({"labels": {"app": "a"}, "template": {"taskCount": 2, "template": template}});
    server.create_job_with("j", job).await;
    json_of(
        server
            .post("/v1/projects/tests/secrets?secretId=s")
            .json(&json!({"replication": {"automatic": {}}})),
    )
    .await;
    let version = json!({"payload": {"data": "eA=="}});
    json_of(
        server
            .post("/v1/projects/tests/secrets/s:addVersion")
            .json(&version),
    )
    .await;
}

#[tokio::test]
async fn a_job_of_the_other_version_is_shown() {
    let server = Server::start().await;
    a_job(&server).await;
    let job = json_of(server.get(&format!("{V1}/jobs/j"))).await;
    assert_eq!(
        (&job["kind"], &job["apiVersion"]),
        (&json!("Job"), &json!("run.googleapis.com/v1"))
    );
    assert_eq!(job["metadata"]["labels"]["app"], "a");
    assert_eq!(
        job["metadata"]["labels"]["cloud.googleapis.com/location"],
        "us-central1"
    );
    assert_eq!(
        job["metadata"]["generation"],
        job["status"]["observedGeneration"]
    );
    assert_eq!(status(&job, "Ready")["status"], "True");
    let annotations = &job["spec"]["template"]["metadata"]["annotations"];
    assert_eq!(
        annotations["run.googleapis.com/execution-environment"],
        "gen2"
    );
    assert_eq!(
        annotations["run.googleapis.com/vpc-access-egress"],
        "all-traffic"
    );
    assert_eq!(
        annotations["run.googleapis.com/network-interfaces"],
        r#"[{"network":"n"}]"#
    );
    let task = &job["spec"]["template"]["spec"]["template"]["spec"];
    assert_eq!(
        (&task["maxRetries"], &task["timeoutSeconds"]),
        (&json!(0), &json!("90"))
    );
    assert_eq!(
        task["containers"][0]["env"][1],
        json!({"name": "UNUSED", "valueFrom": {"secretKeyRef": {"name": "s", "key": "latest"}}})
    );
    assert_eq!(
        task["volumes"][0]["emptyDir"],
        json!({"medium": "Memory", "sizeLimit": "1Gi"})
    );
}

#[tokio::test]
async fn both_versions_see_the_same_execution() {
    let server = Server::start().await;
    a_job(&server).await;
    let env = json!([{"name": "CODE", "value": "3"}]);
    let run = json!({"overrides": {"containerOverrides": [{"env": env}], "taskCount": 3, "timeoutSeconds": 40}});
    let started = json_of(server.post(&format!("{V1}/jobs/j:run")).json(&run)).await;
    let id = started["metadata"]["name"].as_str().unwrap();
    assert_eq!(started["metadata"]["namespace"], "100000000000");
    // By the number as well, which is what the command line goes on with.
    let numbered = format!("/apis/run.googleapis.com/v1/namespaces/100000000000/executions/{id}");
    let ended = eventually(async || {
        let now = json_of(server.get(&numbered)).await;
        (status(&now, "Completed")["status"] != "Unknown").then_some(now)
    });
    let ended = ended.await;
    assert_eq!(status(&ended, "Completed")["status"], "False");
    assert_eq!(status(&ended, "Completed")["reason"], "NonZeroExitCode");
    assert_eq!(
        (&ended["status"]["failedCount"], &ended["spec"]["taskCount"]),
        (&json!(3), &json!(3))
    );
    let v2 = json_of(server.get(&format!("{JOBS}/j/executions/{id}"))).await;
    assert_eq!(
        (&v2["failedCount"], &v2["template"]["timeout"]),
        (&json!(3), &json!("40s"))
    );
    assert_eq!(v2["uid"], ended["metadata"]["uid"]);

    let tasks = json_of(server.get(&format!(
        "{V1}/tasks?labelSelector=run.googleapis.com/execution%20=%20{id}"
    )))
    .await;
    let tasks = tasks["items"].as_array().unwrap().clone();
    assert_eq!(tasks.len(), 3);
    assert_eq!(tasks[2]["metadata"]["name"], format!("{id}-task2"));
    assert_eq!(
        (
            &tasks[2]["status"]["index"],
            &tasks[2]["spec"]["maxRetries"]
        ),
        (&json!(2), &json!(0))
    );
    assert_eq!(tasks[2]["status"]["lastAttemptResult"]["exitCode"], 3);
    let task = json_of(server.get(&format!("{V1}/tasks/{id}-task2"))).await;
    assert_eq!(task, tasks[2]);

    assert_eq!(
        delete(&server, "jobs/j").await,
        json!({"status": "Success"})
    );
    refused(server.get(&format!("{JOBS}/j")), 404).await;
    refused(server.get(&numbered), 404).await;
    refused(
        server.get("/apis/run.googleapis.com/v1/namespaces/other/jobs"),
        403,
    )
    .await;
}

async fn delete(server: &Server, what: &str) -> Value {
    json_of(server.request(Method::DELETE, &format!("{V1}/{what}"))).await
}

#[tokio::test]
async fn what_runs_is_cancelled_and_deleted() {
    let server = Server::start().await;
    server
        .create_job("j", json!({"command": ["sleep", "1000"]}))
        .await;
    let mut ids = Vec::new();
    for _ in 0..2 {
        let run = server.post(&format!("{V1}/jobs/j:run")).json(&json!({}));
        ids.push(
            json_of(run).await["metadata"]["name"]
                .as_str()
                .unwrap()
                .to_owned(),
        );
    }
    let path = format!("{V1}/executions/{}", ids[0]);
    let cancelled = json_of(server.post(&format!("{path}:cancel")).json(&json!({}))).await;
    assert_eq!(cancelled["kind"], "Execution");
    let ended = eventually(async || {
        let now = json_of(server.get(&path)).await;
        (status(&now, "Completed")["status"] == "False").then_some(now)
    });
    let ended = ended.await;
    assert_eq!(status(&ended, "Completed")["reason"], "Cancelled");
    assert_eq!(ended["status"]["cancelledCount"], 1);
    let again = refused(server.post(&format!("{path}:cancel")).json(&json!({})), 400).await;
    assert_eq!(again["error"]["status"], "FAILED_PRECONDITION");
    for id in &ids {
        delete(&server, &format!("executions/{id}")).await;
    }
    eventually(async || {
        let left = json_of(server.get(&format!("{V1}/executions"))).await;
        left.get("items").is_none().then_some(())
    })
    .await;
}

#[tokio::test]
async fn lists_are_cut_and_chosen_by_labels() {
    let server = Server::start().await;
    for id in ["a", "b"] {
        server.create_job(id, json!({"command": ["true"]})).await;
    }
    for id in ["a", "b", "a", "a"] {
        server.run_to_end(id, json!({})).await;
    }
    let list = |query: &str| server.get(&format!("{V1}/executions?{query}"));
    let names = |page: &Value| -> Vec<String> {
        let items = page["items"].as_array().cloned().unwrap_or_default();
        let name = |item: &Value| {
            item["metadata"]["labels"]["run.googleapis.com/job"]
                .as_str()
                .map(str::to_owned)
        };
        items.iter().map(|item| name(item).unwrap()).collect()
    };
    let first = json_of(list("limit=3")).await;
    assert_eq!(names(&first), ["a", "a", "b"]);
    let token = first["metadata"]["continue"].as_str().unwrap();
    let second = json_of(list(&format!("limit=3&continue={token}"))).await;
    assert_eq!(names(&second), ["a"]);
    assert!(second["metadata"].get("continue").is_none());
    let of_b = json_of(list("labelSelector=run.googleapis.com/job%3Db")).await;
    assert_eq!(names(&of_b), ["b"]);
    let not_a = json_of(list(
        "labelSelector=run.googleapis.com/job!=a,run.googleapis.com/jobUid",
    ))
    .await;
    assert_eq!(names(&not_a), ["b"]);
    refused(list("labelSelector=a%20in%20(b)"), 400).await;
    let jobs = json_of(server.get(&format!("{V1}/jobs"))).await;
    assert_eq!(
        (&jobs["kind"], jobs["items"].as_array().unwrap().len()),
        (&json!("JobList"), 2)
    );
}

fn a_job_of_this_version() -> Value {
    let container = json!({
        "image": "example.test/image:1", "command": ["sh"], "args": ["-c", "echo $A"],
        "env": [{"name": "A", "value": "1"}, {"name": "B", "valueFrom": {"secretKeyRef": {"name": "s", "key": "2"}}}],
        "resources": {"limits": {"cpu": "2", "memory": "1Gi"}},
        "volumeMounts": [{"name": "bucket", "mountPath": "/mnt"}],
    });
    let csi = json!({"driver": "gcsfuse.run.googleapis.com", "readOnly": true, "volumeAttributes": {"bucketName": "b"}});
    let task = json!({
        "containers": [container], "maxRetries": 0, "timeoutSeconds": 30, "serviceAccountName": "me@x",
        "volumes": [{"name": "bucket", "csi": csi}],
    });
    let annotations = json!({"run.googleapis.com/execution-environment": "gen1", "run.googleapis.com/client-name": "c"});
    json!({
        "apiVersion": "run.googleapis.com/v1", "kind": "Job", "metadata": {"name": "made", "labels": {"l": "1"}},
        "spec": {"template": {
            "metadata": {"annotations": annotations, "labels": {"m": "2"}},
            "spec": {"taskCount": 4, "parallelism": 2, "template": {"spec": task}},
        }},
    })
}

#[tokio::test]
async fn a_job_is_created_read_and_replaced() {
    let server = Server::start().await;
    let job = a_job_of_this_version();
    let create = |job: &Value| -> RequestBuilder { server.post(&format!("{V1}/jobs")).json(job) };
    let made = json_of(create(&job)).await;
    refused(create(&job), 409).await;
    let seen = json_of(server.get(&format!("{JOBS}/made"))).await;
    let template = &seen["template"]["template"];
    assert_eq!(
        (&seen["labels"], &seen["template"]["labels"]),
        (&json!({"l": "1"}), &json!({"m": "2"}))
    );
    assert_eq!(
        (&seen["template"]["client"], &template["timeout"]),
        (&json!("c"), &json!("30s"))
    );
    assert_eq!(
        template["executionEnvironment"],
        "EXECUTION_ENVIRONMENT_GEN1"
    );
    assert_eq!(template["serviceAccount"], "me@x");
    assert_eq!(
        template["volumes"][0]["gcs"],
        json!({"bucket": "b", "readOnly": true})
    );
    let secret = &template["containers"][0]["env"][1]["valueSource"];
    assert_eq!(
        *secret,
        json!({"secretKeyRef": {"secret": "s", "version": "2"}})
    );

    // What is read can be sent back, changed or not.
    let mut changed = made.clone();
    changed["spec"]["template"]["spec"]["taskCount"] = 5.into();
    let replace = |job: &Value| {
        server
            .request(Method::PUT, &format!("{V1}/jobs/made"))
            .json(job)
    };
    let replaced = json_of(replace(&changed)).await;
    assert_eq!(replaced["metadata"]["generation"], 2);
    let mut expected = made["spec"].clone();
    expected["template"]["spec"]["taskCount"] = 5.into();
    assert_eq!(replaced["spec"], expected);
    // By then it is stale.
    refused(replace(&changed), 409).await;
    let mut wrong = job.clone();
    wrong["spec"]["template"]["spec"]["tasks"] = 1.into();
    let refusal = refused(create(&wrong), 400).await;
    let message = refusal["error"]["message"].as_str().unwrap();
    assert!(
        message.contains("\"tasks\" at 'job.spec.template.spec'"),
        "{message}"
    );
}

#[tokio::test]
async fn a_client_may_take_it_for_its_proxy() {
    let server = Server::start().await;
    let proxied = reqwest::Client::builder()
        .proxy(reqwest::Proxy::http(&server.base).unwrap())
        .tls_certs_only([])
        .build()
        .unwrap();
    let ask = |url: &str| proxied.get(url).bearer_auth(crate::harness::OWNER);
    let list = json_of(ask(&format!("http://us-central1-run.test{V1}/jobs"))).await;
    assert_eq!(list["kind"], "JobList");
    refused(ask(&format!("http://elsewhere.test{V1}/jobs")), 403).await;
    let stranger = proxied.get(format!("http://us-central1-run.test{V1}/jobs"));
    refused(stranger, 401).await;
}
