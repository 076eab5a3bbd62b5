//! Resumable uploads through broken connections and forgetful servers.

use bytes::Bytes;
use wire::api::{ApiError, ErrorKind};
use wire::bucket::{Bucket, Hasher, ObjectMeta};

use crate::script::{Act, Reply, Seen, Server, hashes, noise, object, refusal, reply};
use crate::{absent, bucket, impatient};

/// The smallest chunk, in bytes.
const K: usize = 256 * 1024;

fn begun() -> Act {
    reply(200).header("location", "/session?upload_id=1").act()
}

fn stored(bytes: usize) -> Act {
    let reply = reply(308);
    match bytes {
        0 => reply.act(),
        _ => reply
            .header("range", format!("bytes=0-{}", bytes - 1))
            .act(),
    }
}

fn made(bytes: &[u8]) -> Reply {
    object("o", bytes, 9)
}

async fn upload(bucket: Bucket, bytes: &[u8]) -> Result<ObjectMeta, ApiError> {
    let mut upload = bucket.with_chunk_size(K).upload("o", &absent()).await?;
    for piece in bytes.chunks(100_000) {
        upload.write(Bytes::copy_from_slice(piece)).await?;
    }
    upload.finish().await
}

fn hash_header(bytes: &[u8]) -> String {
    let (crc32c, md5) = hashes(bytes);
    format!("crc32c={crc32c},md5={md5}")
}

/// What the PUTs were about.
fn ranges(seen: &[Seen]) -> Vec<String> {
    let puts = seen.iter().filter(|seen| seen.method == "PUT");
    puts.map(|seen| seen.header("content-range").unwrap().to_owned())
        .collect()
}

#[tokio::test]
async fn a_small_one_is_a_single_put_of_known_size() {
    let bytes = noise(1_000);
    let server = Server::start([begun(), made(&bytes).act()]).await;
    let meta = upload(bucket(&server), &bytes).await.unwrap();
    assert_eq!(meta.generation, 9);
    let seen = server.seen();
    assert_eq!(
        seen[0].target,
        "/upload/storage/v1/b/b/o?uploadType=resumable&ifGenerationMatch=0"
    );
    assert_eq!(
        seen[0].header("x-upload-content-type"),
        Some("application/octet-stream")
    );
    assert_eq!(ranges(&seen), ["bytes 0-999/1000"]);
    assert!(seen[1].body == bytes);
    assert_eq!(
        seen[1].header("x-goog-hash"),
        Some(hash_header(&bytes).as_str())
    );
}

#[tokio::test]
async fn an_empty_one_is_possible() {
    let server = Server::start([begun(), made(b"").act()]).await;
    upload(bucket(&server), b"").await.unwrap();
    let seen = server.seen();
    assert_eq!(ranges(&seen), ["bytes */0"]);
    assert_eq!(seen[1].header("content-length"), Some("0"));
    assert_eq!(
        seen[1].header("x-goog-hash"),
        Some(hash_header(b"").as_str())
    );
}

#[tokio::test]
async fn a_large_one_goes_in_chunks_and_the_last_has_the_checksums() {
    // Ends with a chunk's end: the last chunk must still be the one with the checksums.
    let bytes = noise(3 * K);
    let script = [begun(), stored(K), stored(2 * K), made(&bytes).act()];
    let server = Server::start(script).await;
    upload(bucket(&server), &bytes).await.unwrap();
    let seen = server.seen();
    assert_eq!(
        ranges(&seen),
        [
            "bytes 0-262143/*",
            "bytes 262144-524287/*",
            "bytes 524288-786431/786432"
        ]
    );
    let sent: Vec<u8> = seen[1..]
        .iter()
        .flat_map(|seen| seen.body.clone())
        .collect();
    assert!(sent == bytes);
    assert!(seen[1].header("x-goog-hash").is_none() && seen[3].header("x-goog-hash").is_some());
}

#[tokio::test]
async fn after_a_fault_the_server_says_where_to_go_on() {
    let bytes = noise(K + 500);
    let faults = [
        Act::Vanish,
        Act::VanishAfter(70_000),
        refusal(503, "backendError"),
        refusal(429, "rateLimitExceeded"),
        refusal(408, "x"),
    ];
    for fault in faults {
        let script = [
            begun(),
            fault,
            refusal(500, "x"),
            stored(1_000),
            made(&bytes).act(),
        ];
        let server = Server::start(script).await;
        upload(bucket(&server), &bytes).await.unwrap();
        let seen = server.seen();
        // What is left is no more than a chunk, and so the last one.
        assert_eq!(
            ranges(&seen),
            [
                "bytes 0-262143/*",
                "bytes */*",
                "bytes */*",
                "bytes 1000-262643/262644"
            ]
        );
        assert!(seen[4].body == bytes[1_000..]);
    }
}

#[tokio::test]
async fn a_server_that_stores_less_is_followed() {
    let bytes = noise(2 * K);
    let script = [
        begun(),
        stored(10),
        stored(0),
        stored(K),
        made(&bytes).act(),
    ];
    let server = Server::start([script[0].clone(), script[1].clone()]).await;
    for act in &script[3..] {
        server.then(act.clone());
    }
    upload(bucket(&server), &bytes).await.unwrap();
    let seen = server.seen();
    assert_eq!(
        ranges(&seen),
        [
            "bytes 0-262143/*",
            "bytes 10-262153/*",
            "bytes 262144-524287/524288"
        ]
    );
    assert!(seen[2].body == bytes[10..262_154]);
}

#[tokio::test]
async fn the_last_part_too_may_be_stored_in_parts() {
    let bytes = noise(1_000);
    let script = [
        begun(),
        stored(0),
        stored(400),
        stored(1_000),
        made(&bytes).act(),
    ];
    let server = Server::start(script).await;
    upload(bucket(&server), &bytes).await.unwrap();
    let expected = [
        "bytes 0-999/1000",
        "bytes 0-999/1000",
        "bytes 400-999/1000",
        "bytes */1000",
    ];
    let seen = server.seen();
    assert_eq!(ranges(&seen), expected);
    for put in &seen[1..] {
        assert_eq!(
            put.header("x-goog-hash"),
            Some(hash_header(&bytes).as_str())
        );
    }
}

#[tokio::test]
async fn a_lost_last_answer_is_asked_for() {
    let bytes = noise(1_000);
    let whole = made(&bytes);
    for lost in [Act::Vanish, Act::Cut(whole.clone(), 20)] {
        let server = Server::start([begun(), lost, whole.clone().act()]).await;
        assert_eq!(upload(bucket(&server), &bytes).await.unwrap().generation, 9);
        assert_eq!(ranges(&server.seen()), ["bytes 0-999/1000", "bytes */*"]);
    }
}

#[tokio::test]
async fn a_last_answer_that_never_comes_is_asked_for() {
    let bytes = noise(1_000);
    let server = Server::start([begun(), Act::Stall(made(&bytes), 5), made(&bytes).act()]).await;
    upload(impatient(&server), &bytes).await.unwrap();
    assert_eq!(ranges(&server.seen()), ["bytes 0-999/1000", "bytes */*"]);
}

#[tokio::test]
async fn a_session_that_ended_with_our_object_is_success() {
    let bytes = noise(1_000);
    for end in [
        refusal(404, "notFound"),
        refusal(410, "x"),
        refusal(412, "conditionNotMet"),
    ] {
        let script = [begun(), Act::Vanish, end, made(&bytes).act()];
        let server = Server::start(script).await;
        assert_eq!(upload(bucket(&server), &bytes).await.unwrap().generation, 9);
        assert_eq!(server.seen()[3].target, "/storage/v1/b/b/o/o");
    }
}

/// The last part is written, and then nothing answers for a whole budget.
fn silence() -> Vec<Act> {
    let mut acts = vec![begun(), Act::Vanish];
    acts.extend(vec![refusal(503, "backendError"); 4]);
    acts
}

#[tokio::test]
async fn after_a_whole_budget_of_silence_the_object_decides() {
    let bytes = noise(1_000);
    let mut script = silence();
    // The look has a budget of its own.
    script.extend([Act::Vanish, refusal(503, "x"), made(&bytes).act()]);
    let server = Server::start(script).await;
    assert_eq!(upload(bucket(&server), &bytes).await.unwrap().generation, 9);
    let seen = server.seen();
    assert_eq!(seen.last().unwrap().target, "/storage/v1/b/b/o/o");
}

#[tokio::test]
async fn after_a_whole_budget_of_silence_another_object_is_not_ours() {
    let bytes = noise(1_000);
    for found in [made(b"other").act(), refusal(404, "notFound")] {
        let mut script = silence();
        script.push(found);
        let server = Server::start(script).await;
        let error = upload(bucket(&server), &bytes).await.unwrap_err();
        assert_eq!((error.kind, error.tries), (ErrorKind::Unavailable, 5));
        server.seen();
    }
}

#[tokio::test]
async fn a_second_upload_can_tell_that_the_first_one_was_written() {
    let bytes = noise(1_000);
    for (status, kind) in [(412, ErrorKind::Exists), (403, ErrorKind::Forbidden)] {
        let script = [
            refusal(status, "x"),
            made(&bytes).act(),
            made(b"other").act(),
            refusal(404, "notFound"),
            refusal(403, "forbidden"),
        ];
        let server = Server::start(script).await;
        let bucket = bucket(&server);
        let error = bucket.upload("o", &absent()).await.unwrap_err();
        assert_eq!((error.kind, error.tries), (kind, 1));
        let mut hasher = Hasher::default();
        bytes.chunks(300).for_each(|piece| hasher.update(piece));
        let digest = hasher.finish();
        let meta = bucket.holds("o", &digest).await.unwrap().unwrap();
        assert_eq!(meta.generation, 9);
        assert_eq!(bucket.holds("o", &digest).await.unwrap(), None);
        assert_eq!(bucket.holds("o", &digest).await.unwrap(), None);
        let error = bucket.holds("o", &digest).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Forbidden);
        server.seen();
    }
}

#[tokio::test]
async fn a_lost_session_says_so() {
    let bytes = noise(2 * K);
    for status in [404, 410] {
        let server = Server::start([begun(), stored(K), refusal(status, "x")]).await;
        let error = upload(bucket(&server), &bytes).await.unwrap_err();
        assert_eq!(
            (error.kind, error.status),
            (ErrorKind::SessionLost, Some(status))
        );
        server.seen();
    }
    let script = [begun(), stored(K), Act::Vanish, stored(10)];
    let server = Server::start(script).await;
    let error = upload(bucket(&server), &bytes).await.unwrap_err();
    assert_eq!(
        error.kind,
        ErrorKind::SessionLost,
        "acknowledged bytes are gone"
    );
}

#[tokio::test]
async fn an_object_in_the_way_is_met_at_the_start_or_at_the_end() {
    let server = Server::start([refusal(412, "conditionNotMet")]).await;
    let error = bucket(&server).upload("o", &absent()).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Exists);
    let server = Server::start([begun(), refusal(412, "conditionNotMet")]).await;
    let error = upload(bucket(&server), b"x").await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Exists);
    assert_eq!(
        server.seen().len(),
        2,
        "it cannot be ours: no answer was lost"
    );
}

#[tokio::test]
async fn wrong_checksums_are_corruption_whoever_finds_them() {
    let server = Server::start([begun(), made(b"other").act()]).await;
    let error = upload(bucket(&server), b"bytes").await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Corrupt);
    let words = r#"{"error":{"code":400,"message":"Provided CRC32C \"a\" doesn't match calculated CRC32C \"b\"."}}"#;
    let server = Server::start([begun(), reply(400).text(words).act()]).await;
    let error = upload(bucket(&server), b"bytes").await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Corrupt);
}

#[tokio::test]
async fn nonsense_is_not_followed() {
    let bytes = noise(K + 1);
    let backwards = reply(308).header("range", "bytes=5-10").act();
    for answer in [stored(2 * K), backwards, made(&bytes).act()] {
        let server = Server::start([begun(), answer]).await;
        let error = upload(bucket(&server), &bytes).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Protocol);
    }
}

#[tokio::test]
async fn a_server_that_stores_nothing_is_given_up() {
    let script = std::iter::once(begun()).chain(vec![stored(0); 5]);
    let server = Server::start(script).await;
    let error = upload(bucket(&server), &noise(K + 1)).await.unwrap_err();
    assert_eq!((error.kind, error.tries), (ErrorKind::Unavailable, 5));
    server.seen();
}

#[tokio::test]
async fn abandoning_tells_the_server() {
    let server = Server::start([begun(), reply(499).act()]).await;
    let mut upload = bucket(&server).upload("o", &absent()).await.unwrap();
    upload.write(Bytes::from_static(b"half")).await.unwrap();
    upload.abandon().await;
    let seen = server.seen();
    assert_eq!(
        (seen[1].method.as_str(), seen[1].target.as_str()),
        ("DELETE", "/session?upload_id=1")
    );
    assert_eq!(seen[1].header("content-length"), Some("0"));
}
