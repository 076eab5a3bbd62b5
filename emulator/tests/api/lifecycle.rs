//! What a bucket's rules delete, and when.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use emulator::Options;
use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::{BUCKET, Server, eventually, json_of, object};

fn in_days(days: u64) -> Options {
    let then = SystemTime::now() + Duration::from_hours(24 * days);
    Options {
        clock: Some(Arc::new(move || then)),
        ..Options::default()
    }
}

async fn names(server: &Server) -> Vec<String> {
    let list = json_of(server.get(&format!("/storage/v1/b/{BUCKET}/o"))).await;
    let items = list["items"].as_array().cloned().unwrap_or_default();
    let name = |item: &Value| item["name"].as_str().map(str::to_owned);
    items.iter().filter_map(name).collect()
}

#[tokio::test]
async fn what_has_had_its_time_is_deleted() {
    let server = Server::with_options(in_days(0)).await;
    for name in ["inputs/used", "inputs/old", "runs/a", "runs/held", "kept"] {
        server.put(name, "x").await;
    }
    let patch =
        |name: &str, change: Value| server.request(Method::PATCH, &object(name)).json(&change);
    json_of(patch(
        "inputs/old",
        json!({"customTime": "2026-01-01T00:00:00Z"}),
    ))
    .await;
    let used = jiff::Timestamp::now() + jiff::SignedDuration::from_hours(24 * 5);
    json_of(patch(
        "inputs/used",
        json!({"customTime": used.to_string()}),
    ))
    .await;
    json_of(patch("runs/held", json!({"temporaryHold": true}))).await;
    let rule = |condition: Value| json!({"action": {"type": "Delete"}, "condition": condition});
    let colder = json!({"action": {"type": "SetStorageClass", "storageClass": "NEARLINE"}, "condition": {"age": 1}});
    let rules = json!([
        rule(json!({"age": 7, "matchesPrefix": ["runs/"]})),
        rule(json!({"daysSinceCustomTime": 10, "matchesPrefix": ["inputs/"]})),
        colder,
    ]);
    let lifecycle = json!({"lifecycle": {"rule": rules}});
    json_of(
        server
            .request(Method::PATCH, &format!("/storage/v1/b/{BUCKET}"))
            .json(&lifecycle),
    )
    .await;

    let server = Server::on_with(server.stop().await, in_days(6)).await;
    // The old one's going shows that there was a sweep.
    eventually(async || (!names(&server).await.contains(&"inputs/old".to_owned())).then_some(()))
        .await;
    assert_eq!(
        names(&server).await,
        ["inputs/used", "kept", "runs/a", "runs/held"]
    );

    let server = Server::on_with(server.stop().await, in_days(8)).await;
    eventually(async || (!names(&server).await.contains(&"runs/a".to_owned())).then_some(())).await;
    assert_eq!(names(&server).await, ["inputs/used", "kept", "runs/held"]);

    let server = Server::on_with(server.stop().await, in_days(16)).await;
    eventually(async || (names(&server).await == ["kept", "runs/held"]).then_some(())).await;
}
