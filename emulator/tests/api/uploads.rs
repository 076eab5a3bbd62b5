//! Resumable uploads.

use reqwest::{Method, Response, StatusCode};
use serde_json::{Value, json};

use crate::harness::{BUCKET, Server, json_of, object as path_of, ok, refused};

const QUANTUM: usize = 256 * 1024;

/// Begins a session and returns its address.
async fn begin(server: &Server, name: &str, query: &str) -> String {
    let path = format!("/upload/storage/v1/b/{BUCKET}/o?uploadType=resumable{query}");
    let started = ok(server
        .post(&path)
        .header("X-Upload-Content-Type", "a/b")
        .json(&json!({"name": name})))
    .await;
    let address = started.headers()["location"].to_str().unwrap().to_owned();
    assert!(started.bytes().await.unwrap().is_empty());
    address
}

/// A request to a session; no token goes along.
async fn put(server: &Server, address: &str, range: &str, body: &[u8]) -> Response {
    let request = server
        .client
        .put(address)
        .header("Content-Range", range)
        .body(body.to_vec());
    request.send().await.unwrap()
}

fn assert_stored(response: &Response, stored: usize) {
    assert_eq!(response.status(), StatusCode::PERMANENT_REDIRECT);
    let range = response
        .headers()
        .get("range")
        .map(|range| range.to_str().unwrap());
    let expected = (stored > 0).then(|| format!("bytes=0-{}", stored - 1));
    assert_eq!(range, expected.as_deref());
}

fn pattern(length: usize) -> Vec<u8> {
    (0..length)
        .map(|index| u8::try_from(index % 251).unwrap())
        .collect()
}

async fn content(server: &Server, name: &str) -> Vec<u8> {
    ok(server.get(&format!("{}?alt=media", path_of(name))))
        .await
        .bytes()
        .await
        .unwrap()
        .to_vec()
}

#[tokio::test]
async fn chunks_with_an_unknown_end() {
    let server = Server::start().await;
    let data = pattern(2 * QUANTUM + 5);
    let address = begin(&server, "o", "").await;
    assert!(address.starts_with(&server.base) && address.contains("upload_id="));
    assert_stored(&put(&server, &address, "bytes */*", b"").await, 0);
    assert_stored(
        &put(&server, &address, "bytes 0-262143/*", &data[..QUANTUM]).await,
        QUANTUM,
    );
    assert_stored(&put(&server, &address, "bytes */*", b"").await, QUANTUM);
    // What is sent again is not stored twice, and half a quantum not at all.
    let half = QUANTUM + QUANTUM / 2;
    assert_stored(
        &put(
            &server,
            &address,
            &format!("bytes 0-{}/*", half - 1),
            &data[..half],
        )
        .await,
        QUANTUM,
    );
    let last = format!("bytes {QUANTUM}-{}/{}", data.len() - 1, data.len());
    let done = put(&server, &address, &last, &data[QUANTUM..]).await;
    assert_eq!(done.status(), 200);
    let object: Value = done.json().await.unwrap();
    assert_eq!(
        (&object["size"], &object["contentType"]),
        (&json!(data.len().to_string()), &json!("a/b"))
    );
    assert_eq!(content(&server, "o").await, data);
    let again = put(&server, &address, "bytes */*", b"").await;
    assert_eq!(again.json::<Value>().await.unwrap(), object);
}

#[tokio::test]
async fn a_query_ends_an_upload_only_when_all_is_there() {
    let server = Server::start().await;
    let data = pattern(QUANTUM);
    let address = begin(&server, "o", "").await;
    assert_stored(
        &put(&server, &address, "bytes 0-262143/*", &data).await,
        QUANTUM,
    );
    assert_stored(&put(&server, &address, "bytes */*", b"").await, QUANTUM);
    assert_eq!(
        put(&server, &address, "bytes */262144", b"").await.status(),
        200
    );

    let address = begin(&server, "half", "").await;
    assert_stored(
        &put(&server, &address, "bytes 0-262143/524288", &data).await,
        QUANTUM,
    );
    assert_stored(
        &put(&server, &address, "bytes */524288", b"").await,
        QUANTUM,
    );
    assert_eq!(
        put(&server, &address, "bytes */262144", b"").await.status(),
        400
    );
    refused(server.get(&path_of("half")), 404).await;

    let empty = begin(&server, "empty", "").await;
    assert_eq!(put(&server, &empty, "bytes */0", b"").await.status(), 200);
    assert!(content(&server, "empty").await.is_empty());
}

#[tokio::test]
async fn whole_bodies_small_chunks_gaps_and_strangers() {
    let server = Server::start().await;
    let address = begin(&server, "whole", "").await;
    json_of(server.client.put(&address).body("all of it")).await;
    assert_eq!(content(&server, "whole").await, b"all of it");

    let address = begin(&server, "o", "").await;
    assert_eq!(
        put(&server, &address, "bytes 0-9/*", &pattern(10))
            .await
            .status(),
        400
    );
    assert_eq!(
        put(
            &server,
            &address,
            "bytes 262144-524287/*",
            &pattern(QUANTUM)
        )
        .await
        .status(),
        400
    );
    assert_eq!(
        put(&server, &address, "bytes 0-9/10", b"short")
            .await
            .status(),
        400
    );
    assert_eq!(
        put(&server, &address, "lines 0-9/10", b"").await.status(),
        400
    );
    assert_stored(&put(&server, &address, "bytes */*", b"").await, 0);
    let stranger = address.replace("upload_id=", "upload_id=0");
    assert_eq!(
        put(&server, &stranger, "bytes */*", b"").await.status(),
        404
    );
}

#[tokio::test]
async fn a_cancelled_session_is_over() {
    let server = Server::start().await;
    let address = begin(&server, "o", "").await;
    assert_stored(
        &put(&server, &address, "bytes 0-262143/*", &pattern(QUANTUM)).await,
        QUANTUM,
    );
    assert_eq!(
        server
            .client
            .delete(&address)
            .send()
            .await
            .unwrap()
            .status()
            .as_u16(),
        499
    );
    assert_eq!(
        put(&server, &address, "bytes */*", b"")
            .await
            .status()
            .as_u16(),
        499
    );
    refused(server.get(&path_of("o")), 404).await;
}

#[tokio::test]
async fn hashes_come_last_and_conditions_twice() {
    let server = Server::start().await;
    let address = begin(&server, "o", "&ifGenerationMatch=0").await;
    let wrong = server
        .client
        .put(&address)
        .header("X-Goog-Hash", "crc32c=AAAAAA==")
        .body("hello");
    refused(wrong, 400).await;
    refused(server.get(&path_of("o")), 404).await;

    let address = begin(&server, "o", "&ifGenerationMatch=0").await;
    server.put("o", "somebody was faster").await;
    let late = refused(server.client.put(&address).body("hello"), 412).await;
    assert_eq!(late["error"]["errors"][0]["reason"], "conditionNotMet");
    let path =
        format!("/upload/storage/v1/b/{BUCKET}/o?uploadType=resumable&name=o&ifGenerationMatch=0");
    refused(server.post(&path), 412).await;
    assert_eq!(content(&server, "o").await, b"somebody was faster");

    let address = begin(&server, "good", "").await;
    // The md5 and crc32c of `hello`.
    let right = "crc32c=mnG7TA==,md5=XUFAKrxLKna5cZ2REBfFkg==";
    json_of(
        server
            .client
            .put(&address)
            .header("X-Goog-Hash", right)
            .body("hello"),
    )
    .await;
}

#[tokio::test]
async fn a_session_survives_a_restart() {
    let server = Server::start().await;
    let data = pattern(QUANTUM + 9);
    let address = begin(&server, "o", "").await;
    assert_stored(
        &put(&server, &address, "bytes 0-262143/*", &data[..QUANTUM]).await,
        QUANTUM,
    );
    let former = server.base.clone();
    let server = Server::on(server.stop().await, |_| {}).await;
    let address = address.replace(&former, &server.base);
    assert_stored(&put(&server, &address, "bytes */*", b"").await, QUANTUM);
    let last = format!("bytes {QUANTUM}-{}/{}", data.len() - 1, data.len());
    assert_eq!(
        put(&server, &address, &last, &data[QUANTUM..])
            .await
            .status(),
        200
    );
    assert_eq!(content(&server, "o").await, data);
    assert_eq!(
        json_of(server.request(Method::GET, &path_of("o"))).await["size"],
        data.len().to_string()
    );
}

#[tokio::test]
async fn a_broken_connection_keeps_whole_quanta() {
    use tokio::io::AsyncWriteExt;
    let server = Server::start().await;
    let data = pattern(3 * QUANTUM);
    let address = begin(&server, "o", "").await;
    let (host, target) = address
        .strip_prefix("http://")
        .unwrap()
        .split_once('/')
        .unwrap();
    let mut stream = tokio::net::TcpStream::connect(host).await.unwrap();
    let length = data.len();
    let head = format!(
        "PUT /{target} HTTP/1.1\r\nHost: {host}\r\nContent-Length: {length}\r\nContent-Range: bytes 0-{}/{length}\r\n\r\n",
        length - 1
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(&data[..QUANTUM + 100]).await.unwrap();
    stream.shutdown().await.unwrap();
    let stored = crate::harness::eventually(async || {
        let response = put(&server, &address, "bytes */*", b"").await;
        response
            .headers()
            .get("range")
            .map(|range| range.to_str().unwrap().to_owned())
    });
    assert_eq!(stored.await, "bytes=0-262143");
    let rest = format!("bytes {QUANTUM}-{}/{length}", length - 1);
    assert_eq!(
        put(&server, &address, &rest, &data[QUANTUM..])
            .await
            .status(),
        200
    );
    assert_eq!(content(&server, "o").await, data);
}
