//! Bytes that are not what they should be.

use std::path::Path;

use hyper::Method;
use registry::{Arrival, Digest, Progress, RegistryError};
use wire::api::ErrorKind;

use crate::case::{Case, chain};
use crate::server::Reply;

fn is_read(head: &hyper::http::request::Parts, digest: &Digest) -> bool {
    head.method == Method::GET && head.uri.path().ends_with(digest.as_str())
}

#[tokio::test]
async fn an_honest_registry_gets_everything() {
    let case = Case::new().await;
    let added = case.add().await.unwrap();
    assert_eq!((added.reused_blobs, added.sent_blobs), (0, 4));
    for layer in &case.layers {
        let stored = case.target.stored("team/app", Digest::of(layer).as_str());
        assert_eq!(stored.unwrap(), layer);
    }
    let manifest = case.target.stored("team/app", "1").unwrap();
    assert_eq!(Digest::of(&manifest), added.digest);
    assert_eq!(added.base.digest(), Some(&case.manifest));
    let told = case.told.lock().unwrap();
    let base = Progress::Base {
        digest: case.manifest.clone(),
        layers: 2,
        size: 600_011,
    };
    assert_eq!(told.first(), Some(&base));
    let whole = |progress: &&Progress| matches!(progress, Progress::Sending { sent, size, .. } if sent == size);
    assert_eq!(told.iter().filter(whole).count(), 4);
    let arrived = |progress: &&Progress| {
        matches!(
            progress,
            Progress::Arrived {
                how: Arrival::Sent,
                ..
            }
        )
    };
    assert_eq!(told.iter().filter(arrived).count(), 4);
}

#[tokio::test]
async fn what_can_be_known_to_be_wrong_is_known_before_anything_is_asked() {
    let case = Case::new().await;
    let base = format!("{}/base:1", case.base.host);
    let target = format!("{}/team/app:1", case.target.host);
    let dynamic = case
        .add_file(&base, &target, Path::new("/proc/self/exe"))
        .await;
    assert!(
        matches!(dynamic, Err(RegistryError::NotStatic { .. })),
        "{dynamic:?}"
    );
    let missing = case.add_file(&base, &target, Path::new("/nowhere")).await;
    assert!(
        matches!(missing, Err(RegistryError::Entrypoint(_))),
        "{missing:?}"
    );
    let digest = case
        .add_to(&base, &format!("{target}@{}", case.manifest))
        .await;
    let error = digest.unwrap_err();
    assert_eq!(
        error.hint(),
        Some(format!("write `{}/team/app:TAG`", case.target.host).as_str())
    );
    assert_eq!(case.base.heard().len() + case.target.heard().len(), 0);
}

#[tokio::test]
async fn a_layer_of_another_digest_is_never_committed() {
    let case = Case::new().await;
    let digest = case.digest(1);
    let mut forged = case.layers[1].clone();
    forged[300_000] ^= 1;
    case.base.store("base", digest.as_str(), "x", &forged);
    let error = case.add().await.unwrap_err();
    let RegistryError::Digest {
        expected, actual, ..
    } = &error
    else {
        panic!("{error:?}")
    };
    assert_eq!(
        (expected.as_str(), actual),
        (digest.as_str(), &Digest::of(&forged).to_string())
    );
    assert_eq!(case.target.stored("team/app", digest.as_str()), None);
    assert_eq!(case.target.stored("team/app", "1"), None);
    // The first layer is there; the session of the second was left.
    assert_eq!(case.target.count(&Method::PUT, ""), 1);
}

#[tokio::test]
async fn a_forged_config_or_manifest_is_found_before_anything_is_sent() {
    let case = Case::new().await;
    case.base.store("base", case.config.as_str(), "x", b"{}");
    let error = case.add().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
    let by_digest = format!("{}/base@{}", case.base.host, case.manifest);
    let target = format!("{}/team/app", case.target.host);
    case.base.store("base", case.manifest.as_str(), "x", b"{}");
    let error = case.add_to(&by_digest, &target).await.unwrap_err();
    assert!(matches!(error, RegistryError::Digest { .. }), "{error}");
    case.base.fault(|_| {
        let digest = Digest::of(b"another").to_string();
        Some(
            Reply::new(200)
                .with("docker-content-digest", digest)
                .body("{}"),
        )
    });
    let error = case.add().await.unwrap_err();
    assert!(matches!(error, RegistryError::Digest { .. }), "{error}");
    assert_eq!(case.target.heard().len(), 0);
}

#[tokio::test]
async fn a_blob_that_breaks_off_is_read_again() {
    let case = Case::new().await;
    let (digest, layer) = (case.digest(1), case.layers[1].clone());
    let mut breaks = 2;
    case.base.fault(move |head| {
        if !is_read(head, &digest) || breaks == 0 {
            return None;
        }
        breaks -= 1;
        let length = layer.len().to_string();
        let half = layer[..layer.len() / 2].to_vec();
        let reply = Reply::new(200).with("content-length", length).body(half);
        Some(Reply { cut: true, ..reply })
    });
    case.add().await.unwrap();
    let digest = case.digest(1);
    assert_eq!(case.base.count(&Method::GET, digest.as_str()), 3);
    let stored = case.target.stored("team/app", digest.as_str()).unwrap();
    assert_eq!(stored, case.layers[1]);
}

#[tokio::test]
async fn a_blob_that_is_never_whole_is_given_up() {
    let case = Case::new().await;
    let (digest, layer) = (case.digest(1), case.layers[1].clone());
    case.base.fault(move |head| {
        is_read(head, &digest).then(|| Reply::new(200).body(layer[..layer.len() - 1].to_vec()))
    });
    let error = case.add().await.unwrap_err();
    let RegistryError::Size {
        expected, actual, ..
    } = error
    else {
        panic!("{error:?}")
    };
    assert_eq!((expected, actual), (600_000, 599_999));
    assert_eq!(case.base.count(&Method::GET, case.digest(1).as_str()), 4);
    assert_eq!(case.target.stored("team/app", "1"), None);
}

#[tokio::test]
async fn a_blob_that_does_not_end_is_left() {
    let case = Case::new().await;
    let digest = case.digest(0);
    case.base.fault(move |head| {
        is_read(head, &digest).then(|| Reply::new(200).body(vec![0; 10_000_000]))
    });
    let error = case.add().await.unwrap_err();
    let RegistryError::Size { expected, .. } = error else {
        panic!("{error:?}")
    };
    assert_eq!(expected, 11);
}

#[tokio::test]
async fn a_huge_manifest_is_not_read() {
    let case = Case::new().await;
    for length in [true, false] {
        case.base.fault(move |_| {
            let mut reply = Reply::new(200).body(vec![b' '; 5 << 20]);
            if length {
                reply = reply.with("content-length", (5 << 20).to_string());
            }
            Some(reply)
        });
        let error = case.add().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TooLarge, "{error}");
    }
    assert_eq!(case.base.heard().len(), 2, "and not asked for again");
}

#[tokio::test]
async fn what_is_no_manifest_of_an_image_is_said() {
    let case = Case::new().await;
    let oci = "application/vnd.oci.image.manifest.v1+json";
    let index = "application/vnd.oci.image.index.v1+json";
    let helm = r#"{"config":{"mediaType":"application/vnd.cncf.helm.config.v1+json","digest":"x","size":1},"layers":[]}"#;
    let both = r#"{"manifests":[],"config":{"digest":"x","size":1},"layers":[]}"#;
    for (kind, body, expected) in [
        (oci, "[1", "unreadable"),
        (oci, helm, "no container image"),
        (oci, both, "its manifest is no"),
        (index, both, "its manifest is no"),
        (index, r#"{"manifests":[]}"#, "nothing that has a name"),
        (
            "application/vnd.docker.distribution.manifest.v1+prettyjws",
            "{}",
            "unknown or outdated",
        ),
        ("text/html", "{}", "unknown or outdated"),
    ] {
        case.base.store("base", "1", kind, body.as_bytes());
        let error = case.add().await.unwrap_err();
        assert!(chain(&error).contains(expected), "{body}: {error}");
        assert_eq!(error.kind(), ErrorKind::Invalid);
    }
    assert_eq!(case.target.heard().len(), 0);
}

#[tokio::test]
async fn a_registry_that_understood_another_digest_is_not_believed() {
    for what in ["/sessions/", "/manifests/"] {
        let case = Case::new().await;
        case.target.fault(move |head| {
            let other = Digest::of(b"other").to_string();
            let is = head.method == Method::PUT && head.uri.path().contains(what);
            is.then(|| Reply::new(201).with("docker-content-digest", other))
        });
        let error = case.add().await.unwrap_err();
        assert!(matches!(error, RegistryError::Digest { .. }), "{error}");
    }
}
