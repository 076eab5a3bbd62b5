//! Small writes whose answers are lost or wrong, and deletes.

use bytes::Bytes;
use wire::api::{ApiError, ErrorKind};
use wire::bucket::{NewObject, ObjectMeta, Precondition};

use crate::script::{Act, Server, hashes, noise, object, refusal, reply};
use crate::{absent, bucket};

async fn insert(server: &Server, object: &NewObject, bytes: &[u8]) -> Result<ObjectMeta, ApiError> {
    bucket(server)
        .insert("a/o", object, Bytes::copy_from_slice(bytes))
        .await
}

#[tokio::test]
async fn one_request_carries_metadata_checksums_and_bytes() {
    let bytes = noise(2_000);
    let server = Server::start([object("a/o", &bytes, 3).act()]).await;
    let new = NewObject {
        content_type: "application/gzip",
        metadata: [("k".to_owned(), "v".to_owned())].into(),
        custom_time: Some("2026-11-24T00:00:00Z".parse().unwrap()),
        precondition: Precondition::Generation(2),
    };
    assert_eq!(insert(&server, &new, &bytes).await.unwrap().generation, 3);
    let seen = server.seen();
    assert_eq!(
        seen[0].target,
        "/upload/storage/v1/b/b/o?uploadType=multipart&ifGenerationMatch=2"
    );
    let content_type = seen[0].header("content-type").unwrap();
    let boundary = content_type
        .strip_prefix("multipart/related; boundary=")
        .unwrap();
    let text = String::from_utf8_lossy(&seen[0].body).into_owned();
    let parts: Vec<_> = text.split(&format!("--{boundary}")).collect();
    assert_eq!((parts.len(), parts[3]), (4, "--\r\n"));
    let (_, json) = parts[1].split_once("\r\n\r\n").unwrap();
    let (crc32c, md5) = hashes(&bytes);
    let expected = serde_json::json!({
        "name": "a/o", "contentType": "application/gzip", "metadata": {"k": "v"},
        "customTime": "2026-11-24T00:00:00Z", "md5Hash": md5, "crc32c": crc32c,
    });
    assert_eq!(
        serde_json::from_str::<serde_json::Value>(json).unwrap(),
        expected
    );
    assert!(parts[2].starts_with("\r\nContent-Type: application/gzip\r\n\r\n"));
    let whole = [b"\r\n\r\n", bytes.as_slice(), b"\r\n--"].concat();
    assert!(
        seen[0]
            .body
            .windows(whole.len())
            .any(|window| window == whole)
    );
}

#[tokio::test]
async fn after_a_lost_answer_our_own_object_is_success() {
    let bytes = noise(100);
    for taken in [refusal(412, "conditionNotMet"), refusal(403, "forbidden")] {
        for lost in [Act::Vanish, refusal(503, "backendError")] {
            let script = [lost, taken.clone(), object("a/o", &bytes, 3).act()];
            let server = Server::start(script).await;
            assert_eq!(
                insert(&server, &absent(), &bytes).await.unwrap().generation,
                3
            );
            assert_eq!(server.seen().len(), 3);
        }
    }
}

#[tokio::test]
async fn after_a_whole_budget_of_silence_our_own_object_is_success() {
    let bytes = noise(100);
    for (found, ours) in [(&bytes[..], true), (&bytes[1..], false)] {
        let mut script = vec![Act::Vanish];
        script.extend(vec![refusal(503, "backendError"); 4]);
        script.extend([Act::Vanish, object("a/o", found, 3).act()]);
        let server = Server::start(script).await;
        let made = insert(&server, &absent(), &bytes).await;
        let made = made.map(|meta| meta.generation);
        let made = made.map_err(|error| (error.kind, error.tries));
        let expected = Err((ErrorKind::Unavailable, 5));
        assert_eq!(made, if ours { Ok(3) } else { expected });
        server.seen();
    }
}

#[tokio::test]
async fn after_refusals_that_did_nothing_nobodys_object_is_looked_at() {
    let server = Server::start(vec![refusal(429, "rateLimitExceeded"); 5]).await;
    let error = insert(&server, &absent(), b"x").await.unwrap_err();
    assert_eq!((error.kind, error.tries), (ErrorKind::Unavailable, 5));
    assert_eq!(server.seen().len(), 5);
}

#[tokio::test]
async fn after_a_lost_answer_somebody_elses_object_is_not() {
    let theirs = object("a/o", &noise(99), 3).act();
    let server = Server::start([Act::Vanish, refusal(412, "conditionNotMet"), theirs]).await;
    let error = insert(&server, &absent(), &noise(100)).await.unwrap_err();
    assert_eq!((error.kind, error.status), (ErrorKind::Exists, Some(412)));
    server.seen();
}

#[tokio::test]
async fn an_object_that_was_there_before_is_not_looked_at() {
    let cases = [
        (412, absent(), ErrorKind::Exists),
        (403, absent(), ErrorKind::Forbidden),
        (
            412,
            NewObject {
                precondition: Precondition::Generation(9),
                ..absent()
            },
            ErrorKind::Precondition,
        ),
    ];
    for (status, new, kind) in cases {
        let server = Server::start([refusal(status, "x")]).await;
        assert_eq!(insert(&server, &new, b"x").await.unwrap_err().kind, kind);
        assert_eq!(server.seen().len(), 1);
    }
}

#[tokio::test]
async fn a_server_that_made_something_else_is_found_out() {
    for made in [&b"other"[..], b"bytes!"] {
        let server = Server::start([object("a/o", made, 3).act()]).await;
        let error = insert(&server, &absent(), b"bytes").await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Corrupt);
    }
}

#[tokio::test]
async fn bytes_that_are_damaged_on_their_way_are_sent_again() {
    let mismatch = || {
        let message = "Provided MD5 hash \"a\" doesn't match calculated MD5 hash \"b\".";
        let json = serde_json::json!({ "error": { "code": 400, "message": message } });
        reply(400).text(&json.to_string()).act()
    };
    let script = [mismatch(), object("a/o", b"bytes", 3).act()];
    let server = Server::start(script).await;
    let made = insert(&server, &absent(), b"bytes").await.unwrap();
    assert_eq!(made.generation, 3);
    let server = Server::start([mismatch(), mismatch(), mismatch()]).await;
    let error = insert(&server, &absent(), b"bytes").await.unwrap_err();
    assert_eq!((error.kind, error.tries), (ErrorKind::Corrupt, 3));
}

#[tokio::test]
async fn a_plain_insert_sends_its_checksums_in_a_header() {
    let server = Server::start([object("a/o", b"bytes", 3).act()]).await;
    let body = Bytes::from_static(b"bytes");
    bucket(&server)
        .insert_media("a/o", "text/plain", Precondition::Absent, body)
        .await
        .unwrap();
    let seen = server.seen();
    let target = "/upload/storage/v1/b/b/o?uploadType=media&ifGenerationMatch=0&name=a%2Fo";
    assert_eq!(
        (seen[0].target.as_str(), seen[0].body.as_slice()),
        (target, &b"bytes"[..])
    );
    let (crc32c, md5) = hashes(b"bytes");
    let header = format!("crc32c={crc32c},md5={md5}");
    assert_eq!(seen[0].header("x-goog-hash"), Some(header.as_str()));
}

#[tokio::test]
async fn what_is_gone_need_not_be_deleted() {
    let server = Server::start([reply(204).act(), refusal(404, "notFound")]).await;
    bucket(&server).delete("a/o", Some(3)).await.unwrap();
    bucket(&server).delete("a/o", None).await.unwrap();
    let seen = server.seen();
    assert_eq!(
        seen[0].target,
        "/storage/v1/b/b/o/a%2Fo?ifGenerationMatch=3"
    );
    assert_eq!(seen[1].target, "/storage/v1/b/b/o/a%2Fo");
}

#[tokio::test]
async fn another_generation_is_not_deleted() {
    let server = Server::start([refusal(412, "conditionNotMet")]).await;
    let error = bucket(&server).delete("a/o", Some(3)).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Precondition);

    let gone = [
        Act::Vanish,
        refusal(412, "conditionNotMet"),
        refusal(404, "notFound"),
    ];
    let server = Server::start(gone).await;
    bucket(&server).delete("a/o", Some(3)).await.unwrap();
    server.seen();
}
