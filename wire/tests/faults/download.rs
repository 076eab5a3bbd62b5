//! Downloads that do not come in one piece.

use std::time::Duration;

use wire::api::{ApiError, ErrorKind, RetryConfig};
use wire::bucket::{Bucket, Download};

use crate::script::{Act, Server, media, noise, object, partial, refusal, reply};
use crate::{QUICK, bucket, chain, impatient};

async fn all(mut download: Download) -> Result<Vec<u8>, ApiError> {
    let mut bytes = Vec::new();
    while let Some(chunk) = download.next().await? {
        bytes.extend_from_slice(&chunk);
    }
    assert_eq!(download.next().await?, None, "the end stays the end");
    Ok(bytes)
}

async fn fetch(bucket: &Bucket) -> Result<Vec<u8>, ApiError> {
    all(bucket.download("o", None).await?).await
}

#[tokio::test]
async fn a_whole_one_is_one_request() {
    let bytes = noise(700_000);
    let server = Server::start([media(&bytes, 5).act()]).await;
    let download = bucket(&server).download("a/b c", Some(5)).await.unwrap();
    assert_eq!((download.size(), download.generation()), (700_000, 5));
    assert!(all(download).await.unwrap() == bytes);
    let seen = server.seen();
    assert_eq!(
        seen[0].target,
        "/storage/v1/b/b/o/a%2Fb%20c?alt=media&generation=5"
    );
    assert_eq!(seen[0].header("accept-encoding"), Some("gzip"));
}

#[tokio::test]
async fn an_empty_one_is_too() {
    let server = Server::start([media(b"", 5).act()]).await;
    assert_eq!(fetch(&bucket(&server)).await.unwrap(), b"");
    assert_eq!(server.seen().len(), 1);
}

#[tokio::test]
async fn a_cut_one_goes_on_from_the_same_byte_of_the_same_generation() {
    let bytes = noise(300_000);
    let server = Server::start([
        Act::Cut(media(&bytes, 7), 100_000),
        Act::Vanish,
        refusal(503, "backendError"),
        Act::Cut(partial(&bytes, 7, 100_000), 50_000),
        partial(&bytes, 7, 150_000).act(),
    ])
    .await;
    assert!(fetch(&bucket(&server)).await.unwrap() == bytes);
    let seen = server.seen();
    assert_eq!(seen[0].header("range"), None);
    for (request, range) in [
        (1, "bytes=100000-"),
        (3, "bytes=100000-"),
        (4, "bytes=150000-"),
    ] {
        assert_eq!(seen[request].header("range"), Some(range));
        assert!(
            seen[request].target.ends_with("&generation=7"),
            "{}",
            seen[request].target
        );
    }
}

#[tokio::test]
async fn a_stalled_one_goes_on_over_another_connection() {
    let bytes = noise(10_000);
    let server = Server::start([
        Act::Stall(media(&bytes, 7), 4_000),
        partial(&bytes, 7, 4_000).act(),
    ])
    .await;
    assert!(fetch(&impatient(&server)).await.unwrap() == bytes);
    assert_eq!(server.seen()[1].header("range"), Some("bytes=4000-"));
}

#[tokio::test]
async fn a_server_that_ignores_the_range_is_read_past_what_we_have() {
    let bytes = noise(300_000);
    let server = Server::start([
        Act::Cut(media(&bytes, 7), 200_000),
        Act::Cut(media(&bytes, 7), 100_000),
        media(&bytes, 7).act(),
    ])
    .await;
    assert!(fetch(&bucket(&server)).await.unwrap() == bytes);
    assert_eq!(server.seen()[2].header("range"), Some("bytes=200000-"));
}

#[tokio::test]
async fn one_that_was_replaced_meanwhile_says_so() {
    let bytes = noise(1_000);
    for act in [refusal(404, "notFound"), refusal(412, "conditionNotMet")] {
        let server = Server::start([Act::Cut(media(&bytes, 7), 500), act]).await;
        let error = fetch(&bucket(&server)).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::NotFound);
        assert!(error.to_string().contains("replaced or deleted"), "{error}");
    }
    let other = noise(2_000);
    let server = Server::start([
        Act::Cut(media(&bytes, 7), 500),
        partial(&other, 8, 500).act(),
    ])
    .await;
    let error = fetch(&bucket(&server)).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Protocol);
    assert!(
        chain(&error).contains("another generation"),
        "{}",
        chain(&error)
    );
}

#[tokio::test]
async fn wrong_bytes_never_reach_the_end() {
    let bytes = noise(1_000);
    let mut damaged = media(&bytes, 7);
    damaged.body[500] ^= 1;
    let server = Server::start([damaged.act()]).await;
    assert_eq!(
        fetch(&bucket(&server)).await.unwrap_err().kind,
        ErrorKind::Corrupt
    );

    // Each half is what the server vouches for, but not of the same object.
    let mut tail = partial(&bytes, 7, 500);
    tail.body[0] ^= 1;
    let server = Server::start([Act::Cut(media(&bytes, 7), 500), tail.act()]).await;
    assert_eq!(
        fetch(&bucket(&server)).await.unwrap_err().kind,
        ErrorKind::Corrupt
    );
}

#[tokio::test]
async fn another_range_than_the_one_asked_for_is_no_answer() {
    let bytes = noise(1_000);
    let server = Server::start([
        Act::Cut(media(&bytes, 7), 500),
        partial(&bytes, 7, 400).act(),
    ])
    .await;
    assert_eq!(
        fetch(&bucket(&server)).await.unwrap_err().kind,
        ErrorKind::Protocol
    );
}

#[tokio::test]
async fn one_that_never_moves_is_given_up() {
    let bytes = noise(1_000);
    let script = std::iter::once(Act::Cut(media(&bytes, 7), 500)).chain(vec![Act::Vanish; 4]);
    let server = Server::start(script).await;
    let error = fetch(&bucket(&server)).await.unwrap_err();
    assert_eq!((error.kind, error.tries), (ErrorKind::Unavailable, 5));
    assert_eq!(server.seen().len(), 5);
}

#[tokio::test]
async fn the_time_that_its_reader_takes_is_not_the_networks() {
    let bytes = noise(1_000);
    let hasty = RetryConfig {
        budget: Duration::from_millis(100),
        ..QUICK
    };
    let cuts = [
        Act::Cut(media(&bytes, 7), 0),
        Act::Cut(media(&bytes, 7), 500),
        partial(&bytes, 7, 500).act(),
    ];
    let server = Server::start(cuts).await;
    let bucket = bucket(&server).with_retry(hasty);
    let mut download = bucket.download("o", None).await.unwrap();
    let mut read = Vec::new();
    loop {
        tokio::time::sleep(2 * hasty.budget).await;
        let Some(chunk) = download.next().await.unwrap() else {
            break;
        };
        read.extend_from_slice(&chunk);
    }
    assert!(read == bytes);
    server.seen();
}

#[tokio::test]
async fn a_small_read_is_checked_and_limited() {
    let bytes = noise(1_000);
    let server = Server::start([Act::Cut(media(&bytes, 7), 10), media(&bytes, 7).act()]).await;
    let (meta, read) = bucket(&server).read("o", 1_000).await.unwrap();
    assert!(read == bytes);
    assert_eq!((meta.size, meta.generation), (1_000, 7));

    // Only its announced length is looked at: the body never comes.
    let server = Server::start([Act::Stall(media(&bytes, 7), 0)]).await;
    let error = bucket(&server).read("o", 999).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::TooLarge);

    let mut damaged = media(&bytes, 7);
    damaged.body[0] ^= 1;
    let on_its_way = [damaged.clone().act(), media(&bytes, 7).act()];
    let server = Server::start(on_its_way).await;
    let (_, read) = bucket(&server).read("o", 1_000).await.unwrap();
    assert!(read == bytes);
    let where_it_lies = [damaged.clone().act(), damaged.clone().act(), damaged.act()];
    let server = Server::start(where_it_lies).await;
    let error = bucket(&server).read("o", 1_000).await.unwrap_err();
    assert_eq!((error.kind, error.tries), (ErrorKind::Corrupt, 3));
}

#[tokio::test]
async fn what_nobody_vouches_for_is_not_believed() {
    let mut bare = reply(200).header("x-goog-generation", 7);
    bare.body = noise(10);
    let all = [
        bare.clone().act(),
        bare.clone().act(),
        bare.clone().act(),
        bare.act(),
    ];
    let server = Server::start(all).await;
    assert_eq!(
        bucket(&server).read("o", 100).await.unwrap_err().kind,
        ErrorKind::Corrupt
    );
    assert_eq!(
        fetch(&bucket(&server)).await.unwrap_err().kind,
        ErrorKind::Protocol
    );
}

#[tokio::test]
async fn a_media_404_in_plain_text_is_a_404() {
    let server = Server::start([reply(404).text("No such object: b/o").act()]).await;
    let error = bucket(&server).download("o", None).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::NotFound);
    let words = "cannot read `gs://b/o`: the server answered 404: No such object: b/o";
    assert_eq!(chain(&error), words);
}

#[tokio::test]
async fn a_name_that_a_url_would_bend_is_refused() {
    let server = Server::start([object("x", b"", 1).act()]).await;
    for name in ["", ".", "..", "a\nb"] {
        let error = bucket(&server).delete(name, Some(1)).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Invalid, "{name:?}");
    }
    bucket(&server).stat("../x?y#z%2F").await.unwrap();
    assert_eq!(
        server.seen()[0].target,
        "/storage/v1/b/b/o/..%2Fx%3Fy%23z%252F"
    );
}
