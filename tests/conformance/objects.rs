//! Whole objects, one request each.

use std::collections::BTreeMap;

use bytes::Bytes;
use wire::api::ErrorKind;
use wire::bucket::{NewObject, ObjectMeta, Patch, Precondition};

use crate::server::Subject;

pub(crate) fn new(precondition: Precondition) -> NewObject {
    NewObject {
        content_type: "application/octet-stream",
        metadata: BTreeMap::new(),
        custom_time: None,
        precondition,
    }
}

pub(crate) fn absent() -> NewObject {
    new(Precondition::Absent)
}

fn pairs(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect()
}

fn bytes(text: &'static str) -> Bytes {
    Bytes::from_static(text.as_bytes())
}

pub(crate) async fn write_and_read(subject: Subject) {
    let name = subject.name("object");
    let object = NewObject {
        content_type: "application/gzip",
        metadata: pairs(&[("sha256", "00ff"), ("größe", "ü")]),
        custom_time: Some("2026-11-24T10:00:00Z".parse().unwrap()),
        precondition: Precondition::Absent,
    };
    let body = Bytes::from((0..=255).cycle().take(100_000).collect::<Vec<u8>>());
    let made = subject
        .bucket
        .insert(&name, &object, body.clone())
        .await
        .unwrap();
    assert_eq!((made.name.as_str(), made.size), (name.as_str(), 100_000));
    assert!(made.generation > 0);
    assert_eq!(made.content_type.as_deref(), Some("application/gzip"));
    assert_eq!(
        (&made.metadata, made.custom_time),
        (&object.metadata, object.custom_time)
    );
    assert_eq!(subject.bucket.stat(&name).await.unwrap(), made);
    let (meta, read) = subject.bucket.read(&name, 100_000).await.unwrap();
    assert!(read == body);
    assert_eq!((meta.generation, meta.size), (made.generation, made.size));
    assert_eq!((meta.md5, meta.crc32c), (made.md5, made.crc32c));
}

pub(crate) async fn create_once(subject: Subject) {
    let name = subject.name("object");
    subject
        .bucket
        .insert(&name, &absent(), bytes("first"))
        .await
        .unwrap();
    let error = subject
        .bucket
        .insert(&name, &absent(), bytes("second"))
        .await
        .unwrap_err();
    assert_eq!((error.kind, error.status), (ErrorKind::Exists, Some(412)));
    assert_eq!(subject.bucket.read(&name, 100).await.unwrap().1, "first");
}

pub(crate) async fn create_once_plainly(subject: Subject) {
    let name = subject.name("object");
    let insert = |body| {
        let bucket = subject.bucket.clone();
        let name = name.clone();
        async move {
            bucket
                .insert_media(&name, "text/plain", Precondition::Absent, body)
                .await
        }
    };
    assert_eq!(insert(bytes("first")).await.unwrap().size, 5);
    assert_eq!(
        insert(bytes("second")).await.unwrap_err().kind,
        ErrorKind::Exists
    );
    assert_eq!(subject.bucket.read(&name, 100).await.unwrap().1, "first");
}

pub(crate) async fn overwrite(subject: Subject) {
    let name = subject.name("object");
    let first = subject
        .bucket
        .insert(&name, &absent(), bytes("first"))
        .await
        .unwrap();
    let over = new(Precondition::Generation(first.generation));
    let second = subject
        .bucket
        .insert(&name, &over, bytes("second"))
        .await
        .unwrap();
    assert!(second.generation > first.generation);
    let error = subject
        .bucket
        .insert(&name, &over, bytes("third"))
        .await
        .unwrap_err();
    assert_eq!(error.kind, ErrorKind::Precondition);
    assert_eq!(subject.bucket.read(&name, 100).await.unwrap().1, "second");
}

pub(crate) async fn missing(subject: Subject) {
    let name = subject.name("nothing");
    let stat = subject.bucket.stat(&name).await.unwrap_err();
    let read = subject.bucket.read(&name, 100).await.unwrap_err();
    let download = subject.bucket.download(&name, None).await.unwrap_err();
    for error in [stat, read, download] {
        assert_eq!(
            (error.kind, error.status),
            (ErrorKind::NotFound, Some(404)),
            "{error}"
        );
    }
}

pub(crate) async fn too_large(subject: Subject) {
    let name = subject.name("object");
    subject
        .bucket
        .insert(&name, &absent(), bytes("eleven byte"))
        .await
        .unwrap();
    assert_eq!(
        subject.bucket.read(&name, 10).await.unwrap_err().kind,
        ErrorKind::TooLarge
    );
    assert_eq!(
        subject.bucket.read(&name, 11).await.unwrap().1,
        "eleven byte"
    );
}

pub(crate) async fn names(subject: Subject) {
    let odd = [
        "a b",
        "a+b",
        "a%2Fb",
        "a#b?c=d&e",
        "größe/✓",
        "a//b",
        "a/../b",
        "x;y,z='(!*)'",
        "%",
    ];
    for odd in odd {
        let name = subject.name(odd);
        let made = subject
            .bucket
            .insert(&name, &absent(), bytes("x"))
            .await
            .unwrap();
        assert_eq!(made.name, name);
        assert_eq!(
            subject.bucket.stat(&name).await.unwrap().generation,
            made.generation,
            "{odd}"
        );
        assert_eq!(subject.bucket.read(&name, 1).await.unwrap().1, "x", "{odd}");
        subject
            .bucket
            .delete(&name, Some(made.generation))
            .await
            .unwrap();
        let error = subject.bucket.stat(&name).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::NotFound, "{odd}");
    }
}

pub(crate) async fn patch(subject: Subject) {
    let name = subject.name("object");
    let object = NewObject {
        metadata: pairs(&[("kept", "1"), ("changed", "1")]),
        custom_time: Some("2026-11-01T00:00:00Z".parse().unwrap()),
        ..absent()
    };
    let made = subject
        .bucket
        .insert(&name, &object, bytes("x"))
        .await
        .unwrap();
    let patch = Patch {
        custom_time: Some("2026-11-02T00:00:00Z".parse().unwrap()),
        metadata: pairs(&[("changed", "2"), ("new", "2")]),
    };
    let changed = subject
        .bucket
        .patch(&name, made.generation, &patch)
        .await
        .unwrap();
    assert_eq!(changed.generation, made.generation);
    assert_eq!(changed.custom_time, patch.custom_time);
    assert_eq!(
        changed.metadata,
        pairs(&[("changed", "2"), ("kept", "1"), ("new", "2")])
    );
    let there = subject.bucket.stat(&name).await.unwrap();
    // Not every answer to a change says when the object was made.
    let created = there.created;
    assert_eq!(there, ObjectMeta { created, ..changed });
    assert_eq!(subject.bucket.read(&name, 1).await.unwrap().1, "x");
}

pub(crate) async fn patch_stale(subject: Subject) {
    let name = subject.name("object");
    let made = subject
        .bucket
        .insert(&name, &absent(), bytes("x"))
        .await
        .unwrap();
    let patch = Patch {
        custom_time: None,
        metadata: pairs(&[("k", "v")]),
    };
    let error = subject
        .bucket
        .patch(&name, made.generation + 1, &patch)
        .await
        .unwrap_err();
    assert_eq!(error.kind, ErrorKind::Precondition);
    let changed = subject
        .bucket
        .patch_if_unchanged(&made, &patch)
        .await
        .unwrap();
    assert!(changed.metageneration > made.metageneration);
    let error = subject
        .bucket
        .patch_if_unchanged(&made, &patch)
        .await
        .unwrap_err();
    assert_eq!(error.kind, ErrorKind::Precondition);
}

pub(crate) async fn delete(subject: Subject) {
    let name = subject.name("object");
    let made = subject
        .bucket
        .insert(&name, &absent(), bytes("x"))
        .await
        .unwrap();
    let error = subject
        .bucket
        .delete(&name, Some(made.generation + 1))
        .await
        .unwrap_err();
    assert_eq!(error.kind, ErrorKind::Precondition);
    assert_eq!(subject.bucket.read(&name, 1).await.unwrap().1, "x");
    subject
        .bucket
        .delete(&name, Some(made.generation))
        .await
        .unwrap();
    assert_eq!(
        subject.bucket.stat(&name).await.unwrap_err().kind,
        ErrorKind::NotFound
    );
}

pub(crate) async fn delete_again(subject: Subject) {
    let name = subject.name("object");
    subject
        .bucket
        .insert(&name, &absent(), bytes("x"))
        .await
        .unwrap();
    subject.bucket.delete(&name, None).await.unwrap();
    subject.bucket.delete(&name, None).await.unwrap();
    assert_eq!(
        subject.bucket.stat(&name).await.unwrap_err().kind,
        ErrorKind::NotFound
    );
    subject
        .bucket
        .insert(&name, &absent(), bytes("y"))
        .await
        .unwrap();
}
