//! What a task's own account meets: it may create and get, and nothing else. Only our emulator plays accounts.

use std::sync::Arc;

use bytes::Bytes;
use wire::api::{ErrorKind, http_client};
use wire::bucket::{List, Precondition};
use wire::token::MetadataTokens;

use crate::objects::{absent, new};
use crate::server::{Ours, Subject};

fn container(ours: &Ours) -> Subject {
    let host = ours.metadata.to_string();
    ours.subject(Arc::new(MetadataTokens::new(
        http_client().unwrap(),
        Some(&host),
    )))
}

#[tokio::test]
async fn a_container_may_create_and_get() {
    let ours = Ours::start().await;
    let subject = container(&ours);
    let name = subject.name("report.json");
    let made = subject
        .bucket
        .insert(&name, &absent(), Bytes::from_static(b"{}"))
        .await
        .unwrap();
    assert_eq!(subject.bucket.read(&name, 10).await.unwrap().1, "{}");
    assert_eq!(subject.bucket.stat(&name).await.unwrap(), made);
    let mut upload = subject
        .bucket
        .upload(&subject.name("outputs"), &absent())
        .await
        .unwrap();
    upload.write(Bytes::from_static(b"outputs")).await.unwrap();
    upload.finish().await.unwrap();
}

#[tokio::test]
async fn a_container_may_do_nothing_else() {
    let ours = Ours::start().await;
    let subject = container(&ours);
    let name = subject.name("claim");
    let body = Bytes::from_static(b"x");
    let made = subject
        .bucket
        .insert(&name, &absent(), body.clone())
        .await
        .unwrap();
    let bucket = &subject.bucket;
    let again = bucket
        .insert(&name, &absent(), body.clone())
        .await
        .unwrap_err();
    assert!(
        matches!(again.kind, ErrorKind::Forbidden | ErrorKind::Exists),
        "{again}"
    );
    let over = new(Precondition::Generation(made.generation));
    let refused = [
        bucket.insert(&name, &over, body.clone()).await.unwrap_err(),
        bucket
            .insert("inputs/x.tar.gz", &absent(), body)
            .await
            .unwrap_err(),
        bucket
            .delete(&name, Some(made.generation))
            .await
            .unwrap_err(),
        bucket.list(&List::default()).await.unwrap_err(),
        bucket.stat(&subject.name("missing")).await.unwrap_err(),
    ];
    for error in refused {
        assert_eq!(
            (error.kind, error.status),
            (ErrorKind::Forbidden, Some(403)),
            "{error}"
        );
    }
    assert_eq!(
        ours.owner().bucket.stat(&name).await.unwrap().generation,
        made.generation
    );
}
