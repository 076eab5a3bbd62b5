//! The APIs around storage and Cloud Run, in the order in which Terraform's provider asks.

use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::{BUCKET, JOBS, OWNER, Server, json_of, refused};

fn conditional(etag: &Value) -> Value {
    let condition =
        json!({"title": "t", "expression": "request.time < timestamp('2030-01-01T00:00:00Z')"});
    let binding =
        json!({"role": "roles/viewer", "members": ["user:a@b.c"], "condition": condition});
    json!({"bindings": [binding], "etag": etag, "version": 3})
}

/// Reads, changes, and reads again; a change made from an older policy is refused.
async fn policy_round_trip(server: &Server, path: &str, read: Method) {
    let ask = || {
        if read == Method::GET {
            return server.get(&format!(
                "{path}:getIamPolicy?options.requestedPolicyVersion=3"
            ));
        }
        let options = json!({"options": {"requestedPolicyVersion": 3}});
        server.post(&format!("{path}:getIamPolicy")).json(&options)
    };
    let before = json_of(ask()).await;
    assert!(before.get("bindings").is_none(), "{before}");
    let wanted = conditional(&before["etag"]);
    let set = |policy: &Value| {
        let body = json!({"policy": policy, "updateMask": "bindings,etag"});
        server.post(&format!("{path}:setIamPolicy")).json(&body)
    };
    let changed = json_of(set(&wanted)).await;
    assert_eq!(changed["bindings"], wanted["bindings"]);
    assert_ne!(changed["etag"], before["etag"]);
    assert_eq!(json_of(ask()).await, changed);
    let stale = refused(set(&wanted), 409).await;
    assert_eq!(stale["error"]["status"], "ABORTED");
    let mut unversioned = conditional(&changed["etag"]);
    unversioned["version"] = 1.into();
    refused(set(&unversioned), 400).await;
    let permissions = json!({"permissions": ["run.jobs.get"]});
    let test = server
        .post(&format!("{path}:testIamPermissions"))
        .json(&permissions);
    assert_eq!(json_of(test).await, permissions);
}

#[tokio::test]
async fn every_resource_has_a_policy() {
    let server = Server::start().await;
    server.create_job("j", json!({"command": ["true"]})).await;
    policy_round_trip(&server, &format!("{JOBS}/j"), Method::GET).await;
    // The same by the path of version 1, which has nothing else there.
    let v1 = JOBS.replace("/v2/", "/v1/");
    let read = |path: &str| {
        server.get(&format!(
            "{path}/j:getIamPolicy?options.requestedPolicyVersion=3"
        ))
    };
    assert_eq!(json_of(read(&v1)).await, json_of(read(JOBS)).await);
    refused(server.post(&format!("{v1}/j:run")).json(&json!({})), 404).await;
    policy_round_trip(&server, "/crm/v1/projects/tests", Method::POST).await;
    let account = json!({"accountId": "runner-1", "serviceAccount": {}});
    json_of(
        server
            .post("/iam/v1/projects/tests/serviceAccounts")
            .json(&account),
    )
    .await;
    let email = "runner-1@tests.iam.gserviceaccount.com";
    policy_round_trip(
        &server,
        &format!("/iam/v1/projects/tests/serviceAccounts/{email}"),
        Method::POST,
    )
    .await;
    let secret = json!({"replication": {"automatic": {}}});
    json_of(
        server
            .post("/sm/v1/projects/tests/secrets?secretId=s")
            .json(&secret),
    )
    .await;
    policy_round_trip(&server, "/sm/v1/projects/tests/secrets/s", Method::GET).await;
    let repositories = "/ar/v1/projects/tests/locations/us-central1/repositories";
    let repository = json!({"format": "DOCKER"});
    json_of(
        server
            .post(&format!("{repositories}?repository_id=r"))
            .json(&repository),
    )
    .await;
    policy_round_trip(&server, &format!("{repositories}/r"), Method::GET).await;

    let server = Server::on(server.stop().await, |_| {}).await;
    let kept = json_of(server.get(&format!(
        "{repositories}/r:getIamPolicy?options.requestedPolicyVersion=3"
    )))
    .await;
    assert_eq!(kept["bindings"], conditional(&Value::Null)["bindings"]);
    refused(server.get(&format!("{repositories}/r:getIamPolicy")), 400).await;
    refused(server.get(&format!("{repositories}/s:getIamPolicy")), 404).await;
    refused(server.get("/crm/v1/projects/other"), 403).await;
    refused(
        server
            .client
            .get(format!("{}/crm/v1/projects/tests", server.base)),
        401,
    )
    .await;
}

#[tokio::test]
async fn services_are_enabled_and_listed() {
    let server = Server::start().await;
    let project = json_of(server.get("/crm/v1/projects/tests")).await;
    assert_eq!(
        (&project["projectId"], &project["projectNumber"]),
        (&json!("tests"), &json!("100000000000"))
    );
    let services = "/su/v1/projects/tests/services";
    let list = || server.get(&format!("{services}?filter=state%3AENABLED&pageSize=200"));
    assert_eq!(json_of(list()).await, json!({}));
    let ids = json!({"serviceIds": ["run.googleapis.com", "storage.googleapis.com"]});
    let operation = json_of(server.post(&format!("{services}:batchEnable")).json(&ids)).await;
    assert_eq!(operation["done"], true);
    let name = operation["name"].as_str().unwrap();
    assert_eq!(
        json_of(server.get(&format!("/su/v1/{name}"))).await,
        operation
    );
    json_of(
        server
            .post(&format!("{services}/iam.googleapis.com:enable"))
            .json(&json!({})),
    )
    .await;
    json_of(
        server
            .post(&format!("{services}/run.googleapis.com:disable"))
            .json(&json!({})),
    )
    .await;
    let listed = json_of(list()).await;
    let names: Vec<_> = listed["services"]
        .as_array()
        .unwrap()
        .iter()
        .map(|service| service["config"]["name"].clone())
        .collect();
    assert_eq!(names, ["iam.googleapis.com", "storage.googleapis.com"]);
    let one = json_of(server.get(&format!("{services}/run.googleapis.com"))).await;
    assert_eq!(one["state"], "DISABLED");
}

#[tokio::test]
async fn a_service_account_is_made_changed_and_removed() {
    let server = Server::start().await;
    let accounts = "/iam/v1/projects/tests/serviceAccounts";
    let create = |id: &str| {
        let body = json!({"accountId": id, "serviceAccount": {"displayName": "Runner", "description": "d"}});
        server.post(accounts).json(&body)
    };
    let made = json_of(create("runner")).await;
    let email = made["email"].as_str().unwrap();
    assert_eq!(email, "runner@tests.iam.gserviceaccount.com");
    assert_eq!(made["uniqueId"].as_str().unwrap().len(), 21);
    refused(create("runner"), 409).await;
    refused(create("short"), 400).await;
    for name in [email, made["uniqueId"].as_str().unwrap()] {
        assert_eq!(
            json_of(server.get(&format!("/iam/v1/projects/-/serviceAccounts/{name}"))).await,
            made
        );
    }
    let change = json!({"serviceAccount": {"displayName": "Other"}, "updateMask": "display_name,description"});
    let path = format!("{accounts}/{email}");
    let changed = json_of(server.request(Method::PATCH, &path).json(&change)).await;
    assert_eq!(
        (&changed["displayName"], changed.get("description")),
        (&json!("Other"), None)
    );
    assert_eq!(
        json_of(server.request(Method::DELETE, &path)).await,
        json!({})
    );
    refused(server.get(&path), 404).await;
}

#[tokio::test]
async fn a_repository_is_made_changed_and_removed() {
    let server = Server::start().await;
    let path = "/ar/v1/projects/tests/locations/us-central1/repositories";
    let policy = json!({"id": "k", "action": "KEEP", "mostRecentVersions": {"keepCount": 5}});
    let repository =
        json!({"format": "DOCKER", "description": "d", "cleanupPolicies": {"k": policy}});
    let create = || {
        server
            .post(&format!("{path}?repository_id=r"))
            .json(&repository)
    };
    let operation = json_of(create()).await;
    let name = operation["name"].as_str().unwrap();
    assert_eq!(
        json_of(server.get(&format!("/ar/v1/{name}"))).await["done"],
        true
    );
    refused(create(), 409).await;
    let made = json_of(server.get(&format!("{path}/r"))).await;
    assert_eq!(
        (&made["mode"], &made["cleanupPolicies"]["k"]),
        (&json!("STANDARD_REPOSITORY"), &policy)
    );
    let change = server.request(Method::PATCH, &format!("{path}/r?updateMask=description"));
    assert_eq!(
        json_of(change.json(&json!({"description": "e"}))).await["description"],
        "e"
    );
    let wrong = server
        .post(&format!("{path}?repository_id=q"))
        .json(&json!({"format": "DOCKER", "formats": 1}));
    refused(wrong, 400).await;
    json_of(server.request(Method::DELETE, &format!("{path}/r"))).await;
    refused(server.get(&format!("{path}/r")), 404).await;
}

#[tokio::test]
async fn a_secrets_versions_are_turned_on_and_off() {
    let server = Server::start().await;
    let secrets = "/sm/v1/projects/tests/secrets";
    let secret = json!({"replication": {"automatic": {}}, "labels": {"a": "1"}});
    json_of(server.post(&format!("{secrets}?secretId=s")).json(&secret)).await;
    for value in ["b25l", "dHdv"] {
        let version = json!({"payload": {"data": value}});
        json_of(
            server
                .post(&format!("{secrets}/s:addVersion"))
                .json(&version),
        )
        .await;
    }
    let turn = |verb: &str| {
        server
            .post(&format!("{secrets}/s/versions/2:{verb}"))
            .json(&json!({}))
    };
    let access = || server.get(&format!("{secrets}/s/versions/latest:access"));
    assert_eq!(json_of(turn("disable")).await["state"], "DISABLED");
    assert_eq!(
        refused(access(), 400).await["error"]["status"],
        "FAILED_PRECONDITION"
    );
    assert_eq!(json_of(turn("enable")).await["state"], "ENABLED");
    assert_eq!(json_of(access()).await["payload"]["data"], "dHdv");
    let destroyed = json_of(turn("destroy")).await;
    assert!(destroyed["destroyTime"].is_string(), "{destroyed}");
    refused(turn("enable"), 400).await;
    refused(access(), 400).await;
    let list = json_of(server.get(&format!("{secrets}/s/versions"))).await;
    let states: Vec<_> = list["versions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|version| version["state"].clone())
        .collect();
    assert_eq!(states, ["DESTROYED", "ENABLED"]);
    let change = server.request(Method::PATCH, &format!("{secrets}/s?updateMask=labels"));
    assert_eq!(
        json_of(change.json(&json!({"labels": {"b": "2"}}))).await["labels"],
        json!({"b": "2"})
    );
}

#[tokio::test]
async fn a_bucket_tells_what_it_is_and_who_may_do_what() {
    let server = Server::start().await;
    let bucket = json_of(server.get(&format!("/storage/v1/b/{BUCKET}"))).await;
    let access = json!({"enabled": false});
    assert_eq!(
        bucket["iamConfiguration"]["uniformBucketLevelAccess"],
        access
    );
    assert_eq!(
        bucket["iamConfiguration"]["publicAccessPrevention"],
        "inherited"
    );
    let soft = json!({"softDeletePolicy": {"retentionDurationSeconds": 604_800}});
    let change = server
        .request(Method::PATCH, &format!("/storage/v1/b/{BUCKET}"))
        .json(&soft);
    assert_eq!(
        json_of(change).await["softDeletePolicy"]["retentionDurationSeconds"],
        "604800"
    );
    let permissions = [
        "storage.objects.get",
        "storage.objects.create",
        "storage.objects.list",
        "storage.buckets.get",
    ];
    let query: Vec<String> = permissions
        .iter()
        .map(|name| format!("permissions={name}"))
        .collect();
    let path = format!(
        "{}/storage/v1/b/{BUCKET}/iam/testPermissions?{}",
        server.base,
        query.join("&")
    );
    let ask = |token: &str| server.client.get(&path).bearer_auth(token);
    assert_eq!(json_of(ask(OWNER)).await["permissions"], json!(permissions));
    // It may create below a prefix only, which is not the bucket.
    let token = server.container_token().await;
    assert_eq!(
        json_of(ask(&token)).await["permissions"],
        json!(["storage.objects.get"])
    );
}
