//! The file of everything that was said.

use std::path::Path;

use emulator::Options;
use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::{BUCKET, JOBS, OWNER, Server, json_of, object, ok};

fn read(file: &Path) -> (String, Vec<Value>) {
    let text = std::fs::read_to_string(file).unwrap();
    let lines = text.lines().map(|line| serde_json::from_str(line).unwrap());
    let exchanges = lines.collect();
    (text, exchanges)
}

async fn recording() -> (tempfile::TempDir, Server) {
    let directory = tempfile::tempdir().unwrap();
    let options = Options {
        record: Some(directory.path().join("said.jsonl")),
        ..Options::default()
    };
    let server = Server::with_options(options).await;
    (directory, server)
}

#[tokio::test]
async fn words_are_kept_and_media_is_not() {
    let (directory, server) = recording().await;
    server.create_job("j", json!({"command": ["true"]})).await;
    let media = json!({"never": "written down"}).to_string();
    let upload = format!("/upload/storage/v1/b/{BUCKET}/o?uploadType=media&name=m");
    let upload = server
        .post(&upload)
        .header("content-type", "application/json");
    json_of(upload.body(media.clone())).await;
    let related = format!(
        "--b\r\nContent-Type: application/json\r\n\r\n{{\"name\": \"r\"}}\r\n--b\r\n\r\n{media}\r\n--b--\r\n"
    );
    let upload = format!("/upload/storage/v1/b/{BUCKET}/o?uploadType=multipart");
    let upload = server
        .post(&upload)
        .header("content-type", "multipart/related; boundary=b");
    json_of(upload.body(related)).await;
    let got = ok(server.get(&format!("{}?alt=media", object("m")))).await;
    assert_eq!(got.text().await.unwrap(), media);
    server.get(&object("missing")).send().await.unwrap();
    ok(server.request(Method::DELETE, &object("m"))).await;

    let (text, said) = read(&directory.path().join("said.jsonl"));
    let lines: Vec<_> = said
        .iter()
        .map(|said| {
            (
                said["method"].as_str().unwrap(),
                said["status"].as_u64().unwrap(),
            )
        })
        .collect();
    let expected = [
        ("POST", 200),
        ("POST", 200),
        ("POST", 200),
        ("GET", 200),
        ("GET", 404),
        ("DELETE", 204),
    ];
    assert_eq!(lines, expected);
    assert_eq!(said[0]["url"], format!("{JOBS}?jobId=j"));
    assert_eq!(
        said[0]["request_body"]["template"]["template"]["maxRetries"],
        0
    );
    assert_eq!(said[0]["response_body"]["done"], true);
    assert_eq!(
        said[0]["request_headers"]["content-type"],
        "application/json"
    );
    assert_eq!(
        (&said[1]["request_body"], &said[1]["response_body"]["name"]),
        (&Value::Null, &json!("m"))
    );
    assert_eq!(said[2]["request_body"], json!({"name": "r"}));
    assert_eq!(said[3]["response_body"], Value::Null);
    assert_eq!(said[4]["response_body"]["error"]["code"], 404);
    assert!(!text.contains("never"), "{text}");
    assert!(!text.contains(OWNER), "{text}");
}

#[tokio::test]
async fn what_opens_doors_is_hidden() {
    let (directory, server) = recording().await;
    let start = format!("/upload/storage/v1/b/{BUCKET}/o?uploadType=resumable&name=r");
    let started = ok(server.post(&start).json(&json!({"metadata": {"a": "b"}}))).await;
    let session = started.headers()["location"].to_str().unwrap().to_owned();
    let (_, key) = session.split_once("upload_id=").unwrap();
    ok(server
        .client
        .put(&session)
        .body("{}")
        .header("content-type", "application/json"))
    .await;
    let secrets = "/v1/projects/tests/secrets";
    let secret = json!({"replication": {"automatic": {}}});
    json_of(server.post(&format!("{secrets}?secretId=s")).json(&secret)).await;
    let version = json!({"payload": {"data": "b3Blbg=="}});
    json_of(
        server
            .post(&format!("{secrets}/s:addVersion"))
            .json(&version),
    )
    .await;
    let path = format!("{secrets}/s/versions/latest:access");
    assert_eq!(
        json_of(server.get(&path)).await["payload"]["data"],
        "b3Blbg=="
    );

    let (text, said) = read(&directory.path().join("said.jsonl"));
    assert_eq!(said.len(), 5);
    assert_eq!(said[0]["request_body"], json!({"metadata": {"a": "b"}}));
    assert!(
        said[0]["response_headers"]["location"]
            .as_str()
            .unwrap()
            .ends_with("upload_id=hidden")
    );
    assert_eq!(
        (&said[1]["method"], &said[1]["request_body"]),
        (&json!("PUT"), &Value::Null)
    );
    assert_eq!(said[4]["response_body"]["payload"]["data"], "aGlkZGVu");
    assert!(!text.contains(key) && !text.contains("b3Blbg"), "{text}");
}

#[tokio::test]
async fn of_a_batch_each_call_is_one() {
    let (directory, server) = recording().await;
    server.put("a", "x").await;
    let one = format!(
        "--b\r\nContent-Type: application/http\r\n\r\nDELETE {} HTTP/1.1\r\n\r\n\r\n--b--\r\n",
        object("a")
    );
    let batch = server
        .post("/batch/storage/v1")
        .header("content-type", "multipart/mixed; boundary=b");
    ok(batch.body(one)).await;
    let (_, said) = read(&directory.path().join("said.jsonl"));
    assert_eq!(said.len(), 2);
    let (method, url) = (&said[1]["method"], &said[1]["url"]);
    assert_eq!(
        (method, url, &said[1]["status"]),
        (&json!("DELETE"), &json!(object("a")), &json!(204))
    );
}

#[tokio::test]
async fn in_a_directory_each_emulator_has_its_own_file() {
    let directory = tempfile::tempdir().unwrap();
    for _ in 0..2 {
        let record = Some(directory.path().to_owned());
        let server = Server::with_options(Options {
            record,
            ..Options::default()
        })
        .await;
        json_of(server.get(JOBS)).await;
    }
    let entries = std::fs::read_dir(directory.path()).unwrap();
    let files: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    assert_eq!(files.len(), 2);
    for file in files {
        assert_eq!(file.extension().unwrap(), "jsonl");
        assert_eq!(read(&file).1.len(), 1);
    }
}
