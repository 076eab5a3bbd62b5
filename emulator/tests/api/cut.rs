//! Clients that leave as soon as they have spoken.

use serde_json::json;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::harness::{BUCKET, JOBS, OWNER, Server, eventually, json_of, object, ok};

/// Sends a request, and closes the connection without waiting for an answer.
async fn say_and_leave(server: &Server, path: &str, body: &str) {
    let host = server.base.strip_prefix("http://").unwrap();
    let request = format!(
        "POST {path} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {OWNER}\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let mut stream = TcpStream::connect(host).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    // An orderly end: the whole request arrives.
    stream.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_was_heard_is_started_once() {
    let server = Server::start().await;
    server.create_job("j", json!({"command": ["true"]})).await;
    for _ in 0..5 {
        say_and_leave(&server, &format!("{JOBS}/j:run"), "{}").await;
    }
    let list = format!("{JOBS}/j/executions");
    let ended = eventually(async || {
        let found = json_of(server.get(&list)).await;
        let executions = found["executions"].as_array().cloned().unwrap_or_default();
        let done = |execution: &serde_json::Value| execution["succeededCount"] == 1;
        (executions.len() == 5 && executions.iter().all(done)).then_some(executions)
    });
    assert_eq!(ended.await.len(), 5);
    let job = json_of(server.get(&format!("{JOBS}/j"))).await;
    assert_eq!(job["executionCount"], 5);
    // What nobody heard the answer of is there after a restart as well.
    let server = Server::on(server.stop().await, |_| {}).await;
    let found = json_of(server.get(&list)).await;
    assert_eq!(found["executions"].as_array().unwrap().len(), 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_that_was_heard_keeps_its_place() {
    let server = Server::start().await;
    for round in 0..10 {
        let name = format!("claim-{round}");
        let insert = |content: &str| {
            let query = format!("uploadType=media&ifGenerationMatch=0&name={name}&x={content}");
            format!("/upload/storage/v1/b/{BUCKET}/o?{query}")
        };
        for writer in ["a", "b", "c"] {
            say_and_leave(&server, &insert(writer), writer).await;
        }
        let honest = server.post(&insert("d")).body("d").send().await.unwrap();
        let media = format!("{}?alt=media", object(&name));
        let first = eventually(async || {
            let found = server.get(&media).send().await.unwrap();
            found.status().is_success().then_some(found)
        });
        let first = first.await.text().await.unwrap();
        // Whoever was first stays; and who was told to be first, is.
        assert!(!honest.status().is_success() || first == "d", "{first}");
        let last = server.put(&format!("after-{round}"), "x").await;
        assert_eq!(last["size"], "1");
        assert_eq!(ok(server.get(&media)).await.text().await.unwrap(), first);
    }
}
