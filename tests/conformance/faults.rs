//! Every call of the bucket client through every fault, with a server by somebody else behind the proxy.

use std::time::Duration;

use bytes::Bytes;
use wire::api::{ApiError, ErrorKind, RetryConfig};
use wire::bucket::{Bucket, Digest, List, Patch, Precondition};

use crate::objects::{absent, new};
use crate::proxy::{Call, Fault, Kind, Proxy, Rule, Side};
use crate::server::{Subject, variable};

/// Tries enough for a server that is down for 200 ms, and few enough for one that is down for good.
const RETRY: RetryConfig = RetryConfig {
    retries: 12,
    budget: Duration::from_secs(20),
    first_pause: Duration::from_millis(20),
    longest_pause: Duration::from_millis(100),
};

/// A stalled connection is given up so soon.
const IDLE: Duration = Duration::from_millis(500);

/// The smallest chunk.
const K: usize = 256 * 1024;

/// What other servers get wrong, so that a fault is noticed that otherwise is not.
const EXCEPTIONS: &[(&str, Kind, &[Fault], &str)] = &[(
    crate::FAKE_GCS,
    Kind::Insert,
    &[Fault::FlipUp],
    "it does not hold what it gets against the checksums sent with it",
)];

/// It depends on the moment whether the first chunk is met by it, and then it is what it gets wrong with chunks.
const UNDECIDED: &[(&str, Kind, Fault)] =
    &[(crate::FAKE_GCS, Kind::ResumableStart, Fault::ResetAfter)];

const ANYWHERE: &[Fault] = &[
    Fault::Refuse,
    Fault::ResetAtOnce,
    Fault::ResetUnheard,
    Fault::LostAnswer,
    Fault::ResetInAnswer,
    Fault::Truncated,
    Fault::ResetAfter,
    Fault::StallUnheard,
    Fault::StallDone,
    Fault::StallInAnswer,
    Fault::Drip,
    Fault::AnswerTwice,
    Fault::DoneTwice,
    Fault::DoneAnd503,
    Fault::Status(408, None),
    Fault::Status(429, Some(1)),
    Fault::Status(500, None),
    Fault::Status(502, None),
    Fault::Status(503, Some(1)),
    Fault::Status(504, None),
    Fault::RateLimit,
    Fault::Outage,
    Fault::Forbidden,
];

fn faults(kind: Kind) -> Vec<Fault> {
    let mut all = ANYWHERE.to_vec();
    if kind.has_body() {
        all.push(Fault::ResetInRequest);
    }
    if kind == Kind::Insert {
        all.push(Fault::FlipUp);
    }
    if kind == Kind::Media {
        all.extend([Fault::FlipDown, Fault::WrongHash]);
    }
    all
}

/// Does something with a bucket behind the proxy once for every fault of one of its calls, and looks past the proxy at
/// what came of it.
async fn each(
    subject: &Subject,
    kind: Kind,
    prepare: impl AsyncFn(&str) -> u64,
    work: impl AsyncFn(&Bucket, &str) -> Result<(), ApiError>,
    check: impl AsyncFn(&str),
) {
    let server = variable("SORTIE_CONFORMANCE_SERVER").unwrap_or_default();
    for (number, fault) in faults(kind).into_iter().enumerate() {
        if UNDECIDED.contains(&(server.as_str(), kind, fault)) {
            continue;
        }
        let name = subject.name(&format!("of-{number}"));
        prepare(&name).await;
        let call = Call {
            side: Side::Host,
            kind,
            about: "",
        };
        let proxy = Proxy::new(vec![Rule::new(call, fault)]);
        let bucket = subject.behind(&proxy, RETRY, IDLE).await;
        let done = work(&bucket, &name).await;
        let case = format!("{kind:?} × {}", fault.name());
        assert!(proxy.strikes(), "{case}: {:?}", proxy.seen());
        let known = EXCEPTIONS
            .iter()
            .find(|(who, of, which, _)| *who == server && *of == kind && which.contains(&fault));
        let fails = known.is_some() || matches!(fault, Fault::Outage | Fault::Forbidden);
        match done {
            Ok(()) if fails => panic!("{case}: not noticed, {:?}", known.map(|known| known.3)),
            Ok(()) => check(&name).await,
            Err(_) if fails => {}
            Err(error) => panic!("{case}: {error:?}\n{}", proxy.seen().join("\n")),
        }
    }
}

const BYTES: &[u8] = b"precious bytes";

async fn holds(subject: &Subject, name: &str, bytes: &[u8]) {
    let (_, read) = subject.bucket.read(name, 10 << 20).await.unwrap();
    assert!(read == bytes, "{name}");
}

async fn put(subject: &Subject, name: &str) -> u64 {
    let body = Bytes::from_static(BYTES);
    let made = subject.bucket.insert(name, &absent(), body).await.unwrap();
    made.generation
}

pub(crate) async fn inserts(subject: Subject) {
    let work = async |bucket: &Bucket, name: &str| {
        let body = Bytes::from_static(BYTES);
        match bucket.insert(name, &absent(), body).await {
            // Somebody has asked twice in our name: it is for us to see whether it is ours.
            Err(error) if error.kind == ErrorKind::Exists => {
                let ours = bucket.holds(name, &Digest::of(BYTES)).await?;
                ours.map(drop).ok_or(error)
            }
            made => made.map(drop),
        }
    };
    let check = async |name: &str| holds(&subject, name, BYTES).await;
    each(&subject, Kind::Insert, async |_| 0, work, check).await;
}

pub(crate) async fn reads(subject: Subject) {
    let prepare = async |name: &str| put(&subject, name).await;
    let work = async |bucket: &Bucket, name: &str| {
        let (_, read) = bucket.read(name, 100).await?;
        assert_eq!(read, BYTES);
        Ok(())
    };
    each(&subject, Kind::Media, prepare, work, async |_| ()).await;
}

pub(crate) async fn stats(subject: Subject) {
    let prepare = async |name: &str| put(&subject, name).await;
    let work = async |bucket: &Bucket, name: &str| {
        let meta = bucket.stat(name).await?;
        assert_eq!((meta.name.as_str(), meta.size), (name, BYTES.len() as u64));
        Ok(())
    };
    each(&subject, Kind::Get, prepare, work, async |_| ()).await;
}

pub(crate) async fn lists(subject: Subject) {
    let prepare = async |name: &str| put(&subject, name).await;
    let work = async |bucket: &Bucket, name: &str| {
        let list = List {
            prefix: name,
            ..List::default()
        };
        let page = bucket.list(&list).await?;
        assert!(page.objects.iter().any(|object| object.name == name));
        Ok(())
    };
    each(&subject, Kind::List, prepare, work, async |_| ()).await;
}

pub(crate) async fn patches(subject: Subject) {
    let prepare = async |name: &str| put(&subject, name).await;
    let work = async |bucket: &Bucket, name: &str| {
        let patch = Patch {
            metadata: [("k".to_owned(), "v".to_owned())].into(),
            ..Patch::default()
        };
        let generation = subject.bucket.stat(name).await.unwrap().generation;
        bucket.patch(name, generation, &patch).await.map(drop)
    };
    let check = async |name: &str| {
        let meta = subject.bucket.stat(name).await.unwrap();
        assert_eq!(meta.metadata["k"], "v");
    };
    each(&subject, Kind::Patch, prepare, work, check).await;
}

pub(crate) async fn deletes(subject: Subject) {
    let prepare = async |name: &str| put(&subject, name).await;
    let work = async |bucket: &Bucket, name: &str| {
        let generation = subject.bucket.stat(name).await.unwrap().generation;
        bucket.delete(name, Some(generation)).await
    };
    let check = async |name: &str| {
        assert!(subject.bucket.stat(name).await.is_err(), "{name}");
    };
    each(&subject, Kind::Delete, prepare, work, check).await;
}

async fn overwrite(bucket: &Bucket, name: &str, over: Precondition) -> Result<(), ApiError> {
    let bucket = bucket.clone().with_chunk_size(K);
    let mut upload = bucket.upload(name, &new(over)).await?;
    upload.write(vec![7; K + 100].into()).await?;
    upload.finish().await.map(drop)
}

async fn uploads(subject: Subject, kind: Kind) {
    let work =
        async |bucket: &Bucket, name: &str| overwrite(bucket, name, Precondition::Absent).await;
    let check = async |name: &str| holds(&subject, name, &vec![7; K + 100]).await;
    each(&subject, kind, async |_| 0, work, check).await;
}

pub(crate) async fn upload_starts(subject: Subject) {
    uploads(subject, Kind::ResumableStart).await;
}

pub(crate) async fn upload_chunks(subject: Subject) {
    uploads(subject, Kind::Chunk).await;
}

pub(crate) async fn upload_ends(subject: Subject) {
    uploads(subject, Kind::LastChunk).await;
}
