//! Who is let in.

use reqwest::Method;
use serde_json::json;

use crate::harness::{BUCKET, JOBS, Server, json_of, object as path_of, refused};

#[tokio::test]
async fn nothing_is_answered_without_a_token() {
    let server = Server::start().await;
    let bare = |path: String| server.client.get(format!("{}{path}", server.base));
    let storage = refused(bare(path_of("x")), 401).await;
    assert_eq!(storage["error"]["errors"][0]["location"], "Authorization");
    let run = refused(bare(JOBS.into()), 401).await;
    assert_eq!(run["error"]["status"], "UNAUTHENTICATED");
    refused(bare(JOBS.into()).bearer_auth("wrong"), 401).await;
    let token = server.container_token().await;
    assert_eq!(
        refused(bare(JOBS.into()).bearer_auth(token), 403).await["error"]["status"],
        "PERMISSION_DENIED"
    );
}

#[tokio::test]
async fn a_container_may_do_what_it_was_granted() {
    let server = Server::start().await;
    server.put("in/there", "x").await;
    let token = server.container_token().await;
    let as_container = |method, path: &str| {
        server
            .client
            .request(method, format!("{}{path}", server.base))
            .bearer_auth(token.clone())
    };
    let insert = |name: &str| {
        as_container(
            Method::POST,
            &format!("/upload/storage/v1/b/{BUCKET}/o?uploadType=media&name={name}"),
        )
        .body("y")
    };
    json_of(as_container(Method::GET, &path_of("in/there"))).await;
    refused(as_container(Method::GET, &path_of("in/missing")), 403).await;
    json_of(insert("out/new")).await;
    refused(insert("out/new"), 403).await;
    refused(insert("in/new"), 403).await;
    refused(
        as_container(
            Method::GET,
            &format!("/storage/v1/b/{BUCKET}/o?prefix=out/"),
        ),
        403,
    )
    .await;
    refused(as_container(Method::DELETE, &path_of("out/new")), 403).await;
    refused(
        as_container(Method::PATCH, &path_of("out/new")).json(&json!({})),
        403,
    )
    .await;
    refused(
        as_container(Method::GET, &format!("/storage/v1/b/{BUCKET}")),
        403,
    )
    .await;
}

#[tokio::test]
async fn web_pages_and_foreign_hosts_are_refused() {
    let server = Server::start().await;
    let request = || server.get(&format!("/storage/v1/b/{BUCKET}"));
    json_of(request()).await;
    refused(request().header("Origin", "http://localhost"), 403).await;
    refused(request().header("Host", "evil.test"), 403).await;
    json_of(request().header("Host", "localhost:1")).await;
    let metadata = server.client.get(format!("{}/", server.metadata));
    refused(metadata.header("Host", "evil.test"), 403).await;
}

#[tokio::test]
async fn storage_may_be_open_to_all_but_not_to_containers() {
    let server = Server::start_with(|config| config.anonymous_storage = true).await;
    let upload = format!(
        "{}/upload/storage/v1/b/{BUCKET}/o?uploadType=media&name=in/x",
        server.base
    );
    json_of(server.client.post(&upload).body("x")).await;
    json_of(server.client.post(&upload).bearer_auth("any").body("x")).await;
    refused(
        server
            .client
            .post(&upload)
            .bearer_auth(server.container_token().await)
            .body("x"),
        403,
    )
    .await;
    refused(server.client.get(format!("{}{JOBS}", server.base)), 401).await;
}

#[tokio::test]
async fn the_metadata_server_answers_containers_only() {
    let server = Server::start().await;
    let get = |path: &str| server.client.get(format!("{}{path}", server.metadata));
    let project = "/computeMetadata/v1/project/project-id";
    refused(get(project), 403).await;
    refused(
        get(project)
            .header("Metadata-Flavor", "Google")
            .header("X-Forwarded-For", "1.2.3.4"),
        403,
    )
    .await;
    let root = get("/").send().await.unwrap();
    assert_eq!(
        (root.status().as_u16(), &root.headers()["metadata-flavor"]),
        (200, &"Google".parse().unwrap())
    );
    let text = async |path: &str| {
        let path = format!("/computeMetadata/v1/{path}");
        let answer = get(&path)
            .header("Metadata-Flavor", "Google")
            .send()
            .await
            .unwrap();
        assert_eq!(answer.headers()["metadata-flavor"], "Google");
        answer.text().await.unwrap()
    };
    assert_eq!(text("project/project-id").await, "tests");
    assert_eq!(
        text("instance/region").await,
        "projects/100000000000/regions/us-central1"
    );
    assert_eq!(
        text("instance/zone").await,
        "projects/100000000000/zones/us-central1-1"
    );
    assert_eq!(
        text("instance/service-accounts/default/email").await,
        "runner@tests.iam.gserviceaccount.com"
    );
    assert_eq!(text("universe/universe-domain").await, "googleapis.com");
    let account = text("instance/service-accounts/default/?recursive=true").await;
    assert!(
        account.contains("\"email\":\"runner@tests.iam.gserviceaccount.com\""),
        "{account}"
    );
    let token = text("instance/service-accounts/default/token?scopes=x").await;
    assert!(
        token.contains("\"token_type\":\"Bearer\"") && token.contains("\"expires_in\":"),
        "{token}"
    );
    refused(
        get("/computeMetadata/v1/nothing").header("Metadata-Flavor", "Google"),
        404,
    )
    .await;
}

#[tokio::test]
async fn only_loopback_is_listened_on() {
    let state = tempfile::TempDir::new().unwrap();
    let mut config = crate::harness::config(state.path());
    config.listen = "0.0.0.0:0".parse().unwrap();
    let refused = emulator::Emulator::start(config).await.err().unwrap();
    assert_eq!(
        refused.to_string(),
        "refusing to listen on `0.0.0.0:0`, which is not a loopback address"
    );
}

#[tokio::test]
async fn addresses_and_states_are_held_by_one() {
    let server = Server::start().await;
    let taken = server
        .base
        .strip_prefix("http://")
        .unwrap()
        .parse()
        .unwrap();
    let elsewhere = tempfile::TempDir::new().unwrap();
    let mut config = crate::harness::config(elsewhere.path());
    config.listen = taken;
    let refused = emulator::Emulator::start(config).await.err().unwrap();
    assert_eq!(refused.to_string(), format!("cannot listen on `{taken}`"));
    assert!(std::error::Error::source(&refused).is_some());
    let shared = emulator::Emulator::start(crate::harness::config(server.state.path())).await;
    assert!(matches!(shared.err(), Some(emulator::Error::InUse(_))));
}

#[tokio::test]
async fn an_idle_emulator_leaves() {
    let state = tempfile::TempDir::new().unwrap();
    let mut config = crate::harness::config(state.path());
    config.idle_exit = Some(std::time::Duration::from_millis(50));
    let emulator = emulator::Emulator::start(config).await.unwrap();
    emulator.serve(std::future::pending()).await.unwrap();
}

#[test]
fn tokens_are_not_printed() {
    let config = crate::harness::config(std::path::Path::new("/x"));
    assert!(!format!("{config:?}").contains(crate::harness::OWNER));
}
