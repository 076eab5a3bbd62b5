//! Registries that are busy, or do not do what others do.

use std::collections::HashSet;

use hyper::Method;
use registry::RegistryError;
use wire::api::ErrorKind;

use crate::case::{Case, chain};
use crate::server::Reply;

#[tokio::test]
async fn every_step_is_tried_again() {
    let case = Case::new().await;
    for server in [&case.base, &case.target] {
        let mut seen = HashSet::new();
        server.fault(move |head| {
            // Each kind of request fails twice, and each time otherwise.
            let path = head.uri.path().split("/sessions/").next().unwrap();
            let kind = (head.method.clone(), path.to_owned());
            let status = [429, 503]
                .into_iter()
                .find(|status| seen.insert((*status, kind.clone())))?;
            Some(Reply::new(status).with("retry-after", "0"))
        });
    }
    let added = case.add().await.unwrap();
    let stored = case.target.stored("team/app", added.digest.as_str());
    assert!(stored.is_some());
    for layer in &case.layers {
        let digest = registry::Digest::of(layer);
        assert_eq!(
            case.target.stored("team/app", digest.as_str()).unwrap(),
            layer
        );
    }
}

#[tokio::test]
async fn who_is_always_busy_is_given_up() {
    let case = Case::new().await;
    case.base.fault(|_| Some(Reply::new(503)));
    let error = case.add().await.unwrap_err();
    let RegistryError::Call(call) = &error else {
        panic!("{error:?}")
    };
    assert_eq!(
        (call.kind, call.status, call.tries),
        (ErrorKind::Unavailable, Some(503), 4)
    );
    assert_eq!(case.base.heard().len(), 4);
}

#[tokio::test]
async fn what_is_refused_is_not_asked_again() {
    let case = Case::new().await;
    case.target.fault(|head| {
        let body = r#"{"errors":[{"code":"DENIED","message":"Permission denied"}]}"#;
        (head.method == Method::POST).then(|| Reply::new(403).body(body))
    });
    let error = case.add().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Forbidden);
    assert!(chain(&error).contains("Permission denied"), "{error}");
    assert_eq!(case.target.writes(), 1);
}

#[tokio::test]
async fn without_mounts_layers_are_sent() {
    for status in [202, 400, 403, 405] {
        let case = Case::new().await;
        case.base.fault(move |head| {
            let mounts = head
                .uri
                .query()
                .is_some_and(|query| query.contains("mount="));
            let place = "/v2/team/app/sessions/one";
            mounts.then(|| Reply::new(status).with("location", place))
        });
        let added = case.add_near().await.unwrap();
        assert_eq!((added.reused_blobs, added.sent_blobs), (0, 4), "{status}");
        assert_eq!(
            case.base
                .stored("team/app", case.digest(1).as_str())
                .unwrap(),
            case.layers[1]
        );
    }
}

#[tokio::test]
async fn what_is_there_is_not_sent() {
    let case = Case::new().await;
    let digest = case.digest(1);
    case.target
        .store("team/app", digest.as_str(), "x", &case.layers[1]);
    let added = case.add().await.unwrap();
    assert_eq!((added.reused_blobs, added.sent_blobs), (1, 3));
    assert_eq!(case.base.count(&Method::GET, digest.as_str()), 0);
    let again = case.add().await.unwrap();
    assert_eq!((again.reused_blobs, again.sent_blobs), (4, 0));
    assert_eq!(again.digest, added.digest);
}

#[tokio::test]
async fn an_upload_refused_in_its_midst_ends() {
    let case = Case::new().await;
    case.target
        .fault(|head| (head.method == Method::PATCH).then(|| Reply::new(413)));
    let error = case.add().await.unwrap_err();
    let kinds = [ErrorKind::TooLarge, ErrorKind::Unavailable];
    assert!(kinds.contains(&error.kind()), "{error:?}");
    assert_eq!(case.target.stored("team/app", "1"), None);
}

#[tokio::test]
async fn a_commit_that_was_done_but_not_answered_is_found() {
    let case = Case::new().await;
    let (digest, layer) = (case.digest(1), case.layers[1].clone());
    let path = format!("/v2/team/app/blobs/{digest}");
    let mut commits = 0;
    case.target.fault(move |head| {
        let query = head.uri.query().unwrap_or_default();
        let ours = query.contains(digest.as_str().trim_start_matches("sha256:"));
        if head.method == Method::PUT && ours {
            commits += 1;
            return Some(Reply::new(if commits == 1 { 503 } else { 404 }));
        }
        (head.uri.path() == path && commits > 0).then(|| Reply::new(200).body(layer.clone()))
    });
    case.add().await.unwrap();
    assert_eq!(
        case.target.count(&Method::PATCH, ""),
        4,
        "nothing was sent twice"
    );
}
