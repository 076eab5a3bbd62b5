//! Objects: in, out, listed, conditioned.

use reqwest::Method;
use serde_json::json;

use crate::harness::{BUCKET, Server, escape, json_of, object as path_of, ok, refused};

fn related(boundary: &str, newline: &str, metadata: &str, media: &[u8]) -> Vec<u8> {
    let head = format!(
        "--{boundary}{newline}Content-Type: application/json{newline}{newline}{metadata}{newline}--{boundary}{newline}\
         MIME-Version: 1.0{newline}Content-Type: application/gzip{newline}{newline}"
    );
    [
        head.as_bytes(),
        media,
        format!("{newline}--{boundary}--{newline}").as_bytes(),
    ]
    .concat()
}

#[tokio::test]
async fn a_multipart_upload_comes_back_whole() {
    let server = Server::start().await;
    let name = "inputs/a b#é.tar.gz";
    let media = b"\x1f\x8b--odd\r\n--not the end\n\r\n--od\0\n--odd--\r\n\r\n";
    let body = related(
        "odd",
        "\r\n",
        &json!({"name": name, "metadata": {"k": "v"}}).to_string(),
        media,
    );
    let path = format!("/upload/storage/v1/b/{BUCKET}/o?uploadType=multipart");
    let object = json_of(
        server
            .post(&path)
            .header("Content-Type", "multipart/related; boundary=\"odd\"")
            .body(body),
    )
    .await;
    assert_eq!(object["name"], name);
    assert_eq!(object["size"], media.len().to_string());
    assert_eq!(object["contentType"], "application/gzip");
    assert_eq!(object["metadata"], json!({"k": "v"}));
    assert_eq!(json_of(server.get(&path_of(name))).await, object);

    let link = object["mediaLink"].as_str().unwrap();
    let response = ok(server.client.get(link).bearer_auth(crate::harness::OWNER)).await;
    assert_eq!(
        response.headers()["x-goog-generation"],
        object["generation"].as_str().unwrap()
    );
    assert_eq!(response.bytes().await.unwrap(), media.as_slice());

    let listed = json_of(server.get(&format!("/storage/v1/b/{BUCKET}/o?prefix=inputs/"))).await;
    assert_eq!(listed["items"], json!([object]));
    let deleted = ok(server.request(Method::DELETE, &path_of(name))).await;
    assert_eq!(deleted.status(), 204);
    assert_eq!(
        refused(server.get(&path_of(name)), 404).await["error"]["errors"][0]["reason"],
        "notFound"
    );
}

#[tokio::test]
async fn boundaries_in_single_quotes_and_bare_line_feeds() {
    let server = Server::start().await;
    let media = b"ends with a carriage return\r";
    let body = related("===7===", "\n", r#"{"name": "o"}"#, media);
    let path = format!("/upload/storage/v1/b/{BUCKET}/o?uploadType=multipart");
    ok(server
        .post(&path)
        .header("Content-Type", "multipart/related; boundary='===7==='")
        .body(body))
    .await;
    let read = ok(server.get(&format!(
        "/download/storage/v1/b/{BUCKET}/o/{}?alt=media",
        escape("o")
    )))
    .await;
    assert_eq!(read.bytes().await.unwrap(), media.as_slice());
}

#[tokio::test]
async fn a_create_only_insert_happens_once() {
    let server = Server::start().await;
    let insert = |query: &str| {
        let path = format!("/upload/storage/v1/b/{BUCKET}/o?name=o&{query}");
        server
            .post(&path)
            .header("Content-Type", "multipart/related; boundary=b")
    };
    let body = || related("b", "\r\n", "{}", b"first");
    json_of(insert("uploadType=multipart&ifGenerationMatch=0").body(body())).await;
    let again = refused(
        insert("uploadType=multipart&ifGenerationMatch=0").body(body()),
        412,
    )
    .await;
    assert_eq!(again["error"]["errors"][0]["reason"], "conditionNotMet");
    refused(
        insert("uploadType=media&ifGenerationMatch=0").body("second"),
        412,
    )
    .await;
    let first = json_of(server.get(&path_of("o"))).await;
    let generation = first["generation"].as_str().unwrap();
    let second =
        json_of(insert(&format!("uploadType=media&ifGenerationMatch={generation}")).body("second"))
            .await;
    assert!(second["generation"].as_str().unwrap() > generation);
    refused(
        insert(&format!("uploadType=media&ifGenerationMatch={generation}")).body("third"),
        412,
    )
    .await;
    refused(
        insert("uploadType=media&ifMetagenerationMatch=2").body("third"),
        412,
    )
    .await;
    refused(
        server.get(&format!("{}?generation={generation}", path_of("o"))),
        404,
    )
    .await;
}

#[tokio::test]
async fn conditions_hold_for_reads_changes_and_deletes() {
    let server = Server::start().await;
    let generation = server.put("o", "x").await["generation"]
        .as_str()
        .unwrap()
        .to_owned();
    let path = |query: &str| format!("{}?{query}", path_of("o"));
    let fresh = server
        .get(&path(&format!("ifGenerationNotMatch={generation}")))
        .send()
        .await
        .unwrap();
    assert_eq!(fresh.status(), 304);
    let fresh = server
        .get(&path(&format!(
            "alt=media&ifGenerationNotMatch={generation}"
        )))
        .send()
        .await
        .unwrap();
    assert_eq!(fresh.status(), 304);
    refused(server.get(&path("ifGenerationMatch=1")), 412).await;
    refused(server.get(&path("ifGenerationMatch=x")), 400).await;
    refused(
        server
            .request(Method::PATCH, &path("ifMetagenerationMatch=9"))
            .json(&json!({})),
        412,
    )
    .await;
    refused(
        server.request(Method::DELETE, &path("ifGenerationMatch=1")),
        412,
    )
    .await;
    refused(server.request(Method::DELETE, &path("generation=1")), 404).await;
    ok(server.request(
        Method::DELETE,
        &path(&format!("ifGenerationMatch={generation}")),
    ))
    .await;
    refused(server.request(Method::DELETE, &path("")), 404).await;
}

#[tokio::test]
async fn wrong_hashes_store_nothing() {
    let server = Server::start().await;
    let media = format!("/upload/storage/v1/b/{BUCKET}/o?uploadType=media&name=o");
    let wrong_md5 = "AAAAAAAAAAAAAAAAAAAAAA==";
    refused(
        server
            .post(&media)
            .header("Content-MD5", wrong_md5)
            .body("hello"),
        400,
    )
    .await;
    refused(
        server
            .post(&media)
            .header("X-Goog-Hash", "crc32c=AAAAAA==")
            .body("hello"),
        400,
    )
    .await;
    let multipart = format!("/upload/storage/v1/b/{BUCKET}/o?uploadType=multipart&name=o");
    for claim in [json!({"md5Hash": wrong_md5}), json!({"crc32c": "AAAAAA=="})] {
        let body = related("b", "\r\n", &claim.to_string(), b"hello");
        let upload = server
            .post(&multipart)
            .header("Content-Type", "multipart/related; boundary=b")
            .body(body);
        let error = refused(upload, 400).await;
        assert!(
            error["error"]["message"]
                .as_str()
                .unwrap()
                .contains("doesn't match calculated"),
            "{error}"
        );
    }
    refused(server.get(&path_of("o")), 404).await;
    let right = json!({"md5Hash": "XUFAKrxLKna5cZ2REBfFkg==", "crc32c": "mnG7TA=="});
    let body = related("b", "\r\n", &right.to_string(), b"hello");
    let object = json_of(
        server
            .post(&multipart)
            .header("Content-Type", "multipart/related; boundary=b")
            .body(body),
    )
    .await;
    assert_eq!(
        (&object["md5Hash"], &object["crc32c"]),
        (&right["md5Hash"], &right["crc32c"])
    );
}

#[tokio::test]
async fn malformed_uploads_are_refused() {
    let server = Server::start().await;
    let path = format!("/upload/storage/v1/b/{BUCKET}/o?uploadType=multipart&name=o");
    let send = |body: Vec<u8>| {
        server
            .post(&path)
            .header("Content-Type", "multipart/related; boundary=b")
            .body(body)
    };
    let whole = related("b", "\r\n", "{}", b"x");
    refused(send(whole[..whole.len() - 8].to_vec()), 400).await;
    refused(send(b"no boundary at all".to_vec()), 400).await;
    refused(send(related("b", "\r\n", r#"{"nme": 1}"#, b"x")), 400).await;
    refused(send(related("b", "\r\n", "{", b"x")), 400).await;
    refused(
        server
            .post(&path)
            .header("Content-Type", "text/plain")
            .body("x"),
        400,
    )
    .await;
    let unnamed = format!("/upload/storage/v1/b/{BUCKET}/o?uploadType=media");
    refused(server.post(&unnamed).body("x"), 400).await;
    refused(
        server
            .post(&format!("{unnamed}&name={}", "x".repeat(1025)))
            .body("x"),
        400,
    )
    .await;
    let elsewhere = "/upload/storage/v1/b/no-such-bucket/o?uploadType=media&name=o";
    refused(server.post(elsewhere).body("x"), 404).await;
    refused(server.get(&path_of("o")), 404).await;
}

#[tokio::test]
async fn attributes_are_patched_and_custom_time_moves_forward() {
    let server = Server::start().await;
    server.put("o", "x").await;
    let patch = |body: serde_json::Value| server.request(Method::PATCH, &path_of("o")).json(&body);
    json_of(patch(
        json!({"metadata": {"a": "1", "b": "2"}, "customTime": "2026-01-01T00:00:00Z"}),
    ))
    .await;
    let object = json_of(patch(
        json!({"metadata": {"a": null, "c": "3"}, "contentType": "text/x"}),
    ))
    .await;
    assert_eq!(object["metadata"], json!({"b": "2", "c": "3"}));
    assert_eq!(
        (&object["metageneration"], &object["contentType"]),
        (&json!("3"), &json!("text/x"))
    );
    assert_eq!(object["customTime"], "2026-01-01T00:00:00.000Z");
    refused(patch(json!({"customTime": "2025-12-31T00:00:00Z"})), 400).await;
    refused(patch(json!({"customTime": null})), 400).await;
    refused(patch(json!({"metadata": {"big": "x".repeat(8192)}})), 400).await;
    refused(patch(json!({"colour": "red"})), 400).await;
    assert_eq!(
        json_of(patch(json!({"customTime": "2026-06-01T00:00:00Z"}))).await["customTime"],
        "2026-06-01T00:00:00.000Z"
    );
    let put = json!({"metadata": {"only": "this"}, "customTime": "2026-06-01T00:00:00Z"});
    let object = json_of(server.request(Method::PUT, &path_of("o")).json(&put)).await;
    assert_eq!(object["metadata"], json!({"only": "this"}));
    assert!(object.get("contentType").is_none());
    let content = ok(server.get(&format!("{}?alt=media", path_of("o")))).await;
    assert_eq!(content.bytes().await.unwrap(), b"x".as_slice());
}

#[tokio::test]
async fn objects_survive_a_restart() {
    let server = Server::start().await;
    server.put("small", "s").await;
    let large = vec![7; 300_000];
    server.put("large", large.clone()).await;
    server.put("replaced", large.clone()).await;
    server.put("replaced", "now small").await;
    server.put("gone", large.clone()).await;
    ok(server.request(Method::DELETE, &path_of("gone"))).await;
    let before = json_of(server.get(&path_of("large"))).await;
    let server = Server::on(server.stop().await, |_| {}).await;
    let after = json_of(server.get(&path_of("large"))).await;
    assert_eq!(
        (&after["generation"], &after["etag"]),
        (&before["generation"], &before["etag"])
    );
    for (name, expected) in [
        ("small", b"s".as_slice()),
        ("large", &large),
        ("replaced", b"now small"),
    ] {
        let content = ok(server.get(&format!("{}?alt=media", path_of(name)))).await;
        assert_eq!(content.bytes().await.unwrap(), expected, "{name}");
    }
    refused(server.get(&path_of("gone")), 404).await;
    let newer = server.put("small", "t").await;
    assert!(newer["generation"].as_str() > before["generation"].as_str());
    let files = std::fs::read_dir(
        server
            .state
            .path()
            .join("buckets")
            .join(BUCKET)
            .join("objects"),
    )
    .unwrap();
    assert_eq!(files.count(), 4, "three records and one blob");
}

#[tokio::test]
async fn parallel_create_only_inserts_have_one_winner() {
    let server = Server::start().await;
    let path =
        format!("/upload/storage/v1/b/{BUCKET}/o?uploadType=media&name=o&ifGenerationMatch=0");
    let mut racers = tokio::task::JoinSet::new();
    for racer in 0..16 {
        let request = server.post(&path).body(vec![racer; 100_000]);
        racers.spawn(async move { request.send().await.unwrap().status().as_u16() });
    }
    let mut codes = racers.join_all().await;
    codes.sort_unstable();
    assert_eq!(codes[0], 200);
    assert!(codes[1..].iter().all(|code| *code == 412), "{codes:?}");
}
