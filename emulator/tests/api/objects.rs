//! Objects: in, out, listed, conditioned.

use reqwest::Method;
use serde_json::json;

use crate::harness::{BUCKET, Server, escape, json_of, ok, refused};

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
    let media = b"\x1f\x8b--x\r\n--not the end\n\r\n--odd \0";
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
    assert_eq!(json_of(server.get(&server.object(name))).await, object);

    let link = object["mediaLink"].as_str().unwrap();
    let response = ok(server.client.get(link).bearer_auth(crate::harness::OWNER)).await;
    assert_eq!(
        response.headers()["x-goog-generation"],
        object["generation"].as_str().unwrap()
    );
    assert_eq!(response.bytes().await.unwrap(), media.as_slice());

    let listed = json_of(server.get(&format!("/storage/v1/b/{BUCKET}/o?prefix=inputs/"))).await;
    assert_eq!(listed["items"], json!([object]));
    let deleted = ok(server.request(Method::DELETE, &server.object(name))).await;
    assert_eq!(deleted.status(), 204);
    assert_eq!(
        refused(server.get(&server.object(name)), 404).await["error"]["errors"][0]["reason"],
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
    let first = json_of(server.get(&server.object("o"))).await;
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
        server.get(&format!("{}?generation={generation}", server.object("o"))),
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
    let path = |query: &str| format!("{}?{query}", server.object("o"));
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
    refused(server.get(&path("ifGenerationMatch=x")), 400).await;
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
    refused(server.get(&server.object("o")), 404).await;
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
    refused(server.get(&server.object("o")), 404).await;
}

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
                .get(&format!("{}?alt=media", server.object(name)))
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
        let whole = ok(server.get(&format!("{}?alt=media", server.object(name)))).await;
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
        server.get(&format!("{}?alt=media", server.object("missing"))),
        404,
    )
    .await;
    assert_eq!(missing, json!(format!("No such object: {BUCKET}/missing")));
}

#[tokio::test]
async fn gzip_is_unpacked_for_who_does_not_take_it() {
    use std::io::Write;
    let server = Server::start().await;
    let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packer.write_all(b"plain").unwrap();
    let packed = packer.finish().unwrap();
    let path =
        format!("/upload/storage/v1/b/{BUCKET}/o?uploadType=media&name=o&contentEncoding=gzip");
    json_of(server.post(&path).body(packed.clone())).await;
    let read = || server.get(&format!("{}?alt=media", server.object("o")));
    let unpacked = ok(read().header("Range", "bytes=1-2")).await;
    assert_eq!(unpacked.status(), 200);
    assert!(unpacked.headers().get("content-length").is_none());
    assert_eq!(unpacked.bytes().await.unwrap(), b"plain".as_slice());
    let kept = ok(read().header("Accept-Encoding", "gzip")).await;
    assert_eq!(kept.headers()["content-encoding"], "gzip");
    assert_eq!(kept.bytes().await.unwrap(), packed);
    json_of(
        server
            .request(Method::PATCH, &server.object("o"))
            .json(&json!({"cacheControl": "no-transform"})),
    )
    .await;
    assert_eq!(ok(read()).await.bytes().await.unwrap(), packed);
}

#[tokio::test]
async fn attributes_are_patched_and_custom_time_moves_forward() {
    let server = Server::start().await;
    server.put("o", "x").await;
    let patch = |body: serde_json::Value| {
        server
            .request(Method::PATCH, &server.object("o"))
            .json(&body)
    };
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
    let object = json_of(server.request(Method::PUT, &server.object("o")).json(&put)).await;
    assert_eq!(object["metadata"], json!({"only": "this"}));
    assert!(object.get("contentType").is_none());
    let content = ok(server.get(&format!("{}?alt=media", server.object("o")))).await;
    assert_eq!(content.bytes().await.unwrap(), b"x".as_slice());
}

async fn names(server: &Server, query: &str) -> serde_json::Value {
    let page = json_of(server.get(&format!("/storage/v1/b/{BUCKET}/o?{query}"))).await;
    let items = page["items"]
        .as_array()
        .map(|items| items.iter().map(|item| item["name"].clone()).collect());
    let items: Vec<serde_json::Value> = items.unwrap_or_default();
    json!([
        items,
        page["prefixes"].as_array().cloned().unwrap_or_default()
    ])
}

#[tokio::test]
async fn lists_filter_and_group() {
    let server = Server::start().await;
    for name in ["a/", "a/1", "a/b/2", "a/b/3", "b", "c.txt", "d/x.txt"] {
        server.put(name, name).await;
    }
    assert_eq!(
        names(&server, "prefix=a/").await,
        json!([["a/", "a/1", "a/b/2", "a/b/3"], []])
    );
    assert_eq!(
        names(&server, "delimiter=/").await,
        json!([["b", "c.txt"], ["a/", "d/"]])
    );
    assert_eq!(
        names(&server, "delimiter=/&prefix=a/").await,
        json!([["a/", "a/1"], ["a/b/"]])
    );
    let trailing = names(&server, "delimiter=/&includeTrailingDelimiter=true").await;
    assert_eq!(trailing, json!([["a/", "b", "c.txt"], ["a/", "d/"]]));
    assert_eq!(
        names(&server, "startOffset=b&endOffset=d").await,
        json!([["b", "c.txt"], []])
    );
    assert_eq!(
        names(&server, "matchGlob=*.txt").await,
        json!([["c.txt"], []])
    );
    assert_eq!(
        names(&server, "matchGlob=**.txt").await,
        json!([["c.txt", "d/x.txt"], []])
    );
    assert_eq!(names(&server, "prefix=zzz").await, json!([[], []]));
    let page = json_of(server.get(&format!("/storage/v1/b/{BUCKET}/o?prefix=zzz"))).await;
    assert!(page.get("items").is_none());
    refused(
        server.get(&format!("/storage/v1/b/{BUCKET}/o?pageToken=*")),
        400,
    )
    .await;
}

#[tokio::test]
async fn pages_cover_everything_once() {
    let server = Server::start().await;
    for index in 0..7 {
        server.put(&format!("p{index}/x"), "").await;
        server.put(&format!("q{index}"), "").await;
    }
    let mut seen = Vec::new();
    let mut token = String::new();
    loop {
        let query = format!(
            "delimiter=/&maxResults=3&fields=items(name),prefixes,nextPageToken&pageToken={token}"
        );
        let page = json_of(server.get(&format!("/storage/v1/b/{BUCKET}/o?{query}"))).await;
        assert!(page.get("kind").is_none());
        let items = page["items"].as_array().into_iter().flatten();
        let items: Vec<String> = items
            .map(|item| item["name"].as_str().unwrap().to_owned())
            .collect();
        let prefixes = page["prefixes"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|p| p.as_str().unwrap().to_owned());
        let count = seen.len();
        seen.extend(items.into_iter().chain(prefixes));
        assert!(seen.len() - count <= 3);
        match page["nextPageToken"].as_str() {
            Some(next) => next.clone_into(&mut token),
            None => break,
        }
    }
    seen.sort();
    let expected: Vec<String> = (0..7)
        .map(|i| format!("p{i}/"))
        .chain((0..7).map(|i| format!("q{i}")))
        .collect();
    assert_eq!(seen, expected);
}

#[tokio::test]
async fn objects_are_composed_copied_and_rewritten() {
    let server = Server::start().await;
    let first = server.put("a", "hello ").await;
    server.put("b", "world").await;
    let sources = json!([{"name": "a", "generation": first["generation"]}, {"name": "b"}]);
    let request = json!({"sourceObjects": sources, "destination": {"contentType": "text/plain"}});
    let whole = json_of(
        server
            .post(&format!("{}/compose", server.object("whole")))
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
            .post(&format!("{}/compose?{query}", server.object("whole")))
            .json(&request)
    };
    refused(compose("ifGenerationMatch=0"), 412).await;

    let copied = json_of(server.post(&format!(
        "{}/copyTo/b/{BUCKET}/o/copy",
        server.object("whole")
    )))
    .await;
    assert_eq!(
        (&copied["crc32c"], &copied["contentType"]),
        (&whole["crc32c"], &json!("text/plain"))
    );
    let path = format!("{}/rewriteTo/b/{BUCKET}/o/again", server.object("a"));
    let rewritten = json_of(server.post(&path).json(&json!({"metadata": {"k": "v"}}))).await;
    assert_eq!(
        (&rewritten["done"], &rewritten["objectSize"]),
        (&json!(true), &json!("6"))
    );
    assert_eq!(rewritten["resource"]["md5Hash"], first["md5Hash"]);
    assert_eq!(rewritten["resource"]["metadata"], json!({"k": "v"}));
    let content = ok(server.get(&format!("{}?alt=media", server.object("copy")))).await;
    assert_eq!(content.bytes().await.unwrap(), b"hello world".as_slice());
    refused(
        server
            .post(&format!("{}/compose", server.object("x")))
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
    let url = |name: &str| format!("{}{}", server.base, server.object(name));
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

#[tokio::test]
async fn objects_survive_a_restart() {
    let server = Server::start().await;
    server.put("small", "s").await;
    let large = vec![7; 300_000];
    server.put("large", large.clone()).await;
    server.put("replaced", large.clone()).await;
    server.put("replaced", "now small").await;
    server.put("gone", large.clone()).await;
    ok(server.request(Method::DELETE, &server.object("gone"))).await;
    let before = json_of(server.get(&server.object("large"))).await;
    let server = Server::on(server.stop().await, |_| {}).await;
    let after = json_of(server.get(&server.object("large"))).await;
    assert_eq!(
        (&after["generation"], &after["etag"]),
        (&before["generation"], &before["etag"])
    );
    for (name, expected) in [
        ("small", b"s".as_slice()),
        ("large", &large),
        ("replaced", b"now small"),
    ] {
        let content = ok(server.get(&format!("{}?alt=media", server.object(name)))).await;
        assert_eq!(content.bytes().await.unwrap(), expected, "{name}");
    }
    refused(server.get(&server.object("gone")), 404).await;
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
