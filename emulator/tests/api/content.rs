//! Bytes of objects: in part, unpacked, put together, copied; and calls in batches.

use reqwest::Method;
use serde_json::json;

use crate::harness::{BUCKET, Server, json_of, object as path_of, ok, refused};

#[tokio::test]
async fn parts_of_objects_small_and_large() {
    let server = Server::start().await;
    let data: Vec<u8> = (0..700_000_u32)
        .map(|index| u8::try_from(index % 253).unwrap())
        .collect();
    for (name, data) in [("small", &data[..1000]), ("large", &data[..])] {
        server.put(name, data.to_vec()).await;
        let part = |range: String| {
            server
                .get(&format!("{}?alt=media", path_of(name)))
                .header("Range", range)
        };
        let size = data.len();
        for (range, from, to) in [
            ("bytes=0-9".to_owned(), 0, 10),
            (format!("bytes={}-", size - 3), size - 3, size),
            ("bytes=-5".to_owned(), size - 5, size),
            (format!("bytes=7-{}", size + 100), 7, size),
        ] {
            let response = ok(part(range)).await;
            assert_eq!(response.status(), 206);
            let expected = format!("bytes {from}-{}/{size}", to - 1);
            assert_eq!(response.headers()["content-range"], expected.as_str());
            assert_eq!(response.bytes().await.unwrap(), data[from..to]);
        }
        refused(part(format!("bytes={size}-")), 416).await;
        let whole = ok(server.get(&format!("{}?alt=media", path_of(name)))).await;
        assert_eq!(
            whole.headers()["x-goog-stored-content-length"],
            size.to_string().as_str()
        );
        assert!(
            whole.headers()["x-goog-hash"]
                .to_str()
                .unwrap()
                .starts_with("crc32c=")
        );
        assert_eq!(whole.bytes().await.unwrap(), data);
    }
    let missing = refused(
        server.get(&format!("{}?alt=media", path_of("missing"))),
        404,
    )
    .await;
    assert_eq!(missing, json!(format!("No such object: {BUCKET}/missing")));
}

#[tokio::test]
async fn gzip_is_unpacked_for_who_does_not_take_it() {
    use std::io::Write;
    let server = Server::start().await;
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(b"plain").unwrap();
    let packed = gzip.finish().unwrap();
    let path =
        format!("/upload/storage/v1/b/{BUCKET}/o?uploadType=media&name=o&contentEncoding=gzip");
    json_of(server.post(&path).body(packed.clone())).await;
    let read = || server.get(&format!("{}?alt=media", path_of("o")));
    let unpacked = ok(read().header("Range", "bytes=1-2")).await;
    assert_eq!(unpacked.status(), 200);
    assert!(unpacked.headers().get("content-length").is_none());
    assert_eq!(unpacked.bytes().await.unwrap(), b"plain".as_slice());
    let kept = ok(read().header("Accept-Encoding", "gzip")).await;
    assert_eq!(kept.headers()["content-encoding"], "gzip");
    assert_eq!(kept.bytes().await.unwrap(), packed);
    json_of(
        server
            .request(Method::PATCH, &path_of("o"))
            .json(&json!({"cacheControl": "no-transform"})),
    )
    .await;
    assert_eq!(ok(read()).await.bytes().await.unwrap(), packed);
}

#[tokio::test]
async fn objects_are_composed_copied_and_rewritten() {
    let server = Server::start().await;
    let first = server.put("a", "hello ").await;
    server.put("b", "world").await;
    let sources = json!([{"name": "a", "generation": first["generation"]}, {"name": "b"}]);
    let request = json!({"sourceObjects": sources, "destination": {"contentType": "text/plain", "crc32c": "AAAAAA=="}});
    let whole = json_of(
        server
            .post(&format!("{}/compose", path_of("whole")))
            .json(&request),
    )
    .await;
    assert_eq!(
        (&whole["componentCount"], &whole["size"]),
        (&json!(2), &json!("11"))
    );
    assert!(whole.get("md5Hash").is_none());
    let compose = |query: &str| {
        server
            .post(&format!("{}/compose?{query}", path_of("whole")))
            .json(&request)
    };
    refused(compose("ifGenerationMatch=0"), 412).await;

    let copied =
        json_of(server.post(&format!("{}/copyTo/b/{BUCKET}/o/copy", path_of("whole")))).await;
    assert_eq!(
        (&copied["crc32c"], &copied["contentType"]),
        (&whole["crc32c"], &json!("text/plain"))
    );
    let path = format!("{}/rewriteTo/b/{BUCKET}/o/again", path_of("a"));
    let rewritten = json_of(server.post(&path).json(&json!({"metadata": {"k": "v"}}))).await;
    assert_eq!(
        (&rewritten["done"], &rewritten["objectSize"]),
        (&json!(true), &json!("6"))
    );
    assert_eq!(rewritten["resource"]["md5Hash"], first["md5Hash"]);
    assert_eq!(rewritten["resource"]["metadata"], json!({"k": "v"}));
    let content = ok(server.get(&format!("{}?alt=media", path_of("copy")))).await;
    assert_eq!(content.bytes().await.unwrap(), b"hello world".as_slice());
    refused(
        server
            .post(&format!("{}/compose", path_of("x")))
            .json(&json!({"sourceObjects": [{"name": "no"}]})),
        404,
    )
    .await;
}

#[tokio::test]
async fn a_batch_answers_each_call() {
    let server = Server::start().await;
    server.put("a", "x").await;
    let call = |id: u8, line: &str| {
        format!(
            "--=b=\r\nContent-Type: application/http\r\nContent-ID: <id+{id}>\r\n\r\n{line} HTTP/1.1\r\n\r\n\r\n"
        )
    };
    let url = |name: &str| format!("{}{}", server.base, path_of(name));
    let body = [
        call(1, &format!("DELETE {}", url("a"))),
        call(2, &format!("DELETE {}", url("missing"))),
        call(3, &format!("GET {}?alt=media", url("a"))),
        "--=b=--\r\n".to_owned(),
    ];
    let request = server
        .post("/batch/storage/v1")
        .header("Content-Type", "multipart/mixed; boundary=\"=b=\"");
    let text = ok(request.body(body.concat())).await.text().await.unwrap();
    let lines: Vec<&str> = text
        .lines()
        .filter(|line| line.starts_with("HTTP/1.1") || line.contains("ID:"))
        .collect();
    let expected = [
        "Content-ID: <response-id+1>",
        "HTTP/1.1 204 No Content",
        "Content-ID: <response-id+2>",
        "HTTP/1.1 404 Not Found",
        "Content-ID: <response-id+3>",
        "HTTP/1.1 400 Bad Request",
    ];
    assert_eq!(lines, expected, "{text}");
}
