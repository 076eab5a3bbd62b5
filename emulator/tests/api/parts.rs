//! The XML API: reads, and uploads in parallel parts.

use reqwest::Method;

use crate::harness::{BUCKET, Server, json_of, object as path_of, ok, refused};

fn element(xml: &str, name: &str) -> String {
    let (_, rest) = xml.split_once(&format!("<{name}>")).unwrap();
    rest.split_once(&format!("</{name}>")).unwrap().0.to_owned()
}

async fn begin(server: &Server, path: &str) -> String {
    let begun = server
        .post(&format!("{path}?uploads"))
        .header("Content-Type", "a/b")
        .header("x-goog-meta-k", "v");
    element(&ok(begun).await.text().await.unwrap(), "UploadId")
}

#[tokio::test]
async fn parts_in_any_order_make_one_object() {
    let server = Server::start().await;
    let path = format!("/{BUCKET}/dir/o");
    let id = begin(&server, &path).await;
    let first = vec![1; 5 * 1024 * 1024];
    let mut list = String::new();
    for (number, part) in [(2, b"end".to_vec()), (1, first.clone())] {
        let request = server.request(
            Method::PUT,
            &format!("{path}?partNumber={number}&uploadId={id}"),
        );
        let stored = ok(request.body(part)).await;
        let etag = stored.headers()["etag"].to_str().unwrap();
        let hashes = stored.headers()["x-goog-hash"].to_str().unwrap();
        assert!(hashes.starts_with("crc32c="), "{hashes}");
        list = format!("<Part><PartNumber>{number}</PartNumber><ETag>{etag}</ETag></Part>{list}");
    }
    refused(server.get(&path_of("dir/o")), 404).await;
    let list = format!("<CompleteMultipartUpload>{list}</CompleteMultipartUpload>");
    let end = || {
        server
            .post(&format!("{path}?uploadId={id}"))
            .body(list.clone())
    };
    assert_eq!(
        element(&ok(end()).await.text().await.unwrap(), "Key"),
        "dir/o"
    );
    let object = json_of(server.get(&path_of("dir/o"))).await;
    assert_eq!(
        (
            object["componentCount"].as_u64(),
            object["contentType"].as_str()
        ),
        (Some(2), Some("a/b"))
    );
    assert_eq!(object["metadata"]["k"], "v");
    assert!(object.get("md5Hash").is_none());
    let content = ok(server.get(&path)).await.bytes().await.unwrap();
    assert_eq!(content, [first, b"end".to_vec()].concat());
    assert_eq!(end().send().await.unwrap().status(), 404);
}

#[tokio::test]
async fn parts_that_are_wrong_make_none() {
    let server = Server::start().await;
    let path = format!("/{BUCKET}/o");
    let id = begin(&server, &path).await;
    let put = |number: usize| {
        server.request(
            Method::PUT,
            &format!("{path}?partNumber={number}&uploadId={id}"),
        )
    };
    assert_eq!(put(0).body("x").send().await.unwrap().status(), 400);
    assert_eq!(
        put(1)
            .header("X-Goog-Hash", "crc32c=AAAAAA==")
            .body("x")
            .send()
            .await
            .unwrap()
            .status(),
        400
    );
    let mut list = String::new();
    for number in [1, 2] {
        let etag = ok(put(number).body("small")).await.headers()["etag"]
            .to_str()
            .unwrap()
            .to_owned();
        list = format!("{list}<Part><PartNumber>{number}</PartNumber><ETag>{etag}</ETag></Part>");
    }
    assert_eq!(
        server
            .post(&format!("{path}?uploadId={id}"))
            .body(list)
            .send()
            .await
            .unwrap()
            .status(),
        400
    );
    refused(server.get(&path_of("o")), 404).await;
    let id = begin(&server, &path).await;
    assert_eq!(
        ok(server.request(Method::DELETE, &format!("{path}?uploadId={id}")))
            .await
            .status(),
        204
    );
    assert_eq!(
        server
            .request(Method::DELETE, &format!("{path}?uploadId={id}"))
            .send()
            .await
            .unwrap()
            .status(),
        404
    );
}
