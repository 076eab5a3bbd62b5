//! Buckets and their policies.

use reqwest::Method;
use serde_json::json;

use crate::harness::{BUCKET, Server, json_of, ok, refused};

#[tokio::test]
async fn buckets_are_made_changed_and_removed() {
    let server = Server::start().await;
    let create = |name: &str| {
        server
            .post("/storage/v1/b?project=tests")
            .json(&json!({"name": name, "location": "europe-west1"}))
    };
    let made = json_of(create("a-bucket")).await;
    assert_eq!(
        (&made["location"], &made["locationType"]),
        (&json!("EUROPE-WEST1"), &json!("region"))
    );
    refused(create("a-bucket"), 409).await;
    refused(create("goog-bucket"), 400).await;
    refused(create("A"), 400).await;
    let path = "/storage/v1/b/a-bucket";
    let lifecycle =
        json!({"lifecycle": {"rule": [{"action": {"type": "Delete"}, "condition": {"age": 1}}]}});
    let patched = json_of(server.request(Method::PATCH, path).json(&lifecycle)).await;
    assert_eq!(
        (&patched["lifecycle"], &patched["metageneration"]),
        (&lifecycle["lifecycle"], &json!("2"))
    );
    refused(
        server
            .request(Method::PATCH, path)
            .json(&json!({"nonsense": 1})),
        400,
    )
    .await;
    let server = Server::on(server.stop().await, |_| {}).await;
    assert_eq!(
        json_of(server.get(path)).await["lifecycle"],
        lifecycle["lifecycle"]
    );
    let listed = json_of(server.get("/storage/v1/b?project=tests")).await;
    assert_eq!(listed["items"].as_array().unwrap().len(), 2);
    server.put("o", "x").await;
    refused(
        server.request(Method::DELETE, &format!("/storage/v1/b/{BUCKET}")),
        409,
    )
    .await;
    assert_eq!(ok(server.request(Method::DELETE, path)).await.status(), 204);
    refused(server.get(path), 404).await;
}

#[tokio::test]
async fn a_policy_is_replaced_by_who_has_read_it() {
    let server = Server::start().await;
    let path = format!("/storage/v1/b/{BUCKET}/iam");
    let policy = json_of(server.get(&path)).await;
    let condition = json!({"title": "t", "expression": "true"});
    let binding = json!({"role": "roles/x", "members": ["user:a@b"], "condition": condition});
    let put = |version: u8, etag: &serde_json::Value| {
        let body = json!({"version": version, "etag": etag, "bindings": [binding]});
        server.request(Method::PUT, &path).json(&body)
    };
    refused(put(1, &policy["etag"]), 400).await;
    let replaced = json_of(put(3, &policy["etag"])).await;
    assert_eq!(replaced["bindings"], json!([binding]));
    refused(put(3, &policy["etag"]), 412).await;
    assert_eq!(
        json_of(server.get(&format!("{path}?optionsRequestedPolicyVersion=3"))).await,
        replaced
    );
    let held = json_of(server.get(&format!(
        "{path}/testPermissions?permissions=storage.objects.get"
    )))
    .await;
    assert_eq!(held["permissions"], json!(["storage.objects.get"]));
}
