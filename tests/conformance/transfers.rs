//! Objects too large for one request.

use std::io::{Read, Write};

use bytes::Bytes;
use reqwest::Proxy;
use tokio::runtime::Handle;
use wire::api::ErrorKind;
use wire::bucket::{Bucket, ObjectMeta};

use crate::forwarder::Forwarder;
use crate::objects::{absent, new};
use crate::server::Subject;

/// The smallest chunk, in bytes.
const K: usize = 256 * 1024;

/// Bytes that repeat nowhere near.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[3]
    };
    (0..length).map(|_| next()).collect()
}

async fn upload(
    bucket: &Bucket,
    name: &str,
    bytes: &[u8],
) -> Result<ObjectMeta, wire::api::ApiError> {
    let mut upload = bucket
        .clone()
        .with_chunk_size(K)
        .upload(name, &absent())
        .await?;
    for piece in bytes.chunks(100_000) {
        upload.write(Bytes::copy_from_slice(piece)).await?;
    }
    upload.finish().await
}

async fn download(bucket: &Bucket, name: &str) -> Vec<u8> {
    let mut download = bucket.download(name, None).await.unwrap();
    let mut bytes = Vec::new();
    while let Some(chunk) = download.next().await.unwrap() {
        bytes.extend_from_slice(&chunk);
    }
    bytes
}

pub(crate) async fn download_pinned(subject: Subject) {
    let name = subject.name("object");
    let bytes = noise(3_000_000);
    let made = subject
        .bucket
        .insert(&name, &absent(), bytes.clone().into())
        .await
        .unwrap();
    let pinned = subject
        .bucket
        .download(&name, Some(made.generation))
        .await
        .unwrap();
    assert_eq!(
        (pinned.size(), pinned.generation()),
        (3_000_000, made.generation)
    );
    assert!(download(&subject.bucket, &name).await == bytes);
    let over = new(wire::bucket::Precondition::Generation(made.generation));
    subject
        .bucket
        .insert(&name, &over, Bytes::from_static(b"x"))
        .await
        .unwrap();
    let error = subject
        .bucket
        .download(&name, Some(made.generation))
        .await
        .unwrap_err();
    assert_eq!(error.kind, ErrorKind::NotFound);
}

pub(crate) async fn upload_sizes(subject: Subject) {
    for size in [0, 1, K - 1, K, K + 1, 2 * K, 3 * K + 77] {
        let name = subject.name(&format!("of-{size}"));
        let bytes = noise(size);
        let made = upload(&subject.bucket, &name, &bytes).await.unwrap();
        assert_eq!(made.size, size as u64);
        assert!(download(&subject.bucket, &name).await == bytes, "{size}");
        let stat = subject.bucket.stat(&name).await.unwrap();
        assert_eq!((stat.generation, stat.md5), (made.generation, made.md5));
        assert_eq!(
            stat.content_type.as_deref(),
            Some("application/octet-stream")
        );
    }
}

pub(crate) async fn upload_create_once(subject: Subject) {
    let name = subject.name("object");
    upload(&subject.bucket, &name, b"first").await.unwrap();
    let error = upload(&subject.bucket, &name, b"second").await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Exists);

    let late = subject.name("late");
    let mut begun = subject.bucket.upload(&late, &absent()).await.unwrap();
    begun.write(Bytes::from_static(b"slow")).await.unwrap();
    subject
        .bucket
        .insert(&late, &absent(), Bytes::from_static(b"quick"))
        .await
        .unwrap();
    assert_eq!(begun.finish().await.unwrap_err().kind, ErrorKind::Exists);
    assert_eq!(subject.bucket.read(&late, 100).await.unwrap().1, "quick");
}

pub(crate) async fn abandon(subject: Subject) {
    let name = subject.name("object");
    let bucket = subject.bucket.clone().with_chunk_size(K);
    let mut begun = bucket.upload(&name, &absent()).await.unwrap();
    begun.write(noise(2 * K).into()).await.unwrap();
    begun.abandon().await;
    assert_eq!(
        subject.bucket.stat(&name).await.unwrap_err().kind,
        ErrorKind::NotFound
    );
}

pub(crate) async fn blocking(subject: Subject) {
    let name = subject.name("object");
    let bytes = noise(2_000_000);
    let begun = subject
        .bucket
        .clone()
        .with_chunk_size(2 * K)
        .upload(&name, &absent())
        .await
        .unwrap();
    let mut writer = begun.into_writer(&Handle::current());
    let sent = bytes.clone();
    let writing = tokio::task::spawn_blocking(move || {
        for piece in sent.chunks(10_007) {
            writer.write_all(piece).unwrap();
        }
        writer.finish().unwrap()
    });
    assert_eq!(writing.await.unwrap().size, 2_000_000);
    let begun = subject.bucket.download(&name, None).await.unwrap();
    let mut reader = begun.into_reader(&Handle::current());
    let reading = tokio::task::spawn_blocking(move || {
        let mut bytes = Vec::new();
        reader.read_to_end(&mut bytes).unwrap();
        bytes
    });
    assert!(reading.await.unwrap() == bytes);
}

/// The bucket through a forwarder. It is given as a proxy, so that the server's own addresses stay good.
fn through(subject: &Subject, forwarder: &Forwarder) -> Bucket {
    let proxy = Proxy::http(format!("http://{}", forwarder.address)).unwrap();
    // No https here, but a client is not built without a provider; another test may have named it already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let http = reqwest::Client::builder()
        .proxy(proxy)
        .redirect(reqwest::redirect::Policy::none())
        .build()
        .unwrap();
    subject.through(http)
}

pub(crate) async fn cut_download(subject: Subject) {
    let name = subject.name("object");
    let bytes = noise(2_000_000);
    subject
        .bucket
        .insert(&name, &absent(), bytes.clone().into())
        .await
        .unwrap();
    let forwarder = Forwarder::start(&subject.endpoint, u64::MAX, 700_000).await;
    assert!(download(&through(&subject, &forwarder), &name).await == bytes);
    assert_eq!(forwarder.cut(), 1);
}

pub(crate) async fn cut_upload(subject: Subject) {
    let name = subject.name("object");
    let bytes = noise(4 * K + 5);
    let forwarder = Forwarder::start(&subject.endpoint, 700_000, u64::MAX).await;
    let made = upload(&through(&subject, &forwarder), &name, &bytes)
        .await
        .unwrap();
    assert_eq!((made.size, forwarder.cut()), (bytes.len() as u64, 1));
    assert!(download(&subject.bucket, &name).await == bytes);
}
