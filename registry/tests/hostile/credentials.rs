//! Where a name, a password or a token goes, and where it does not.

use hyper::Method;
use hyper::header::HeaderValue;
use hyper::http::request::Parts;
use registry::RegistryError;
use wire::api::ErrorKind;

use crate::case::{Case, PASSWORD, chain};
use crate::server::{Heard, Reply, Server};

/// Wants a bearer token, which `realm` gives.
fn demand(head: &Parts, token: &str, realm: &str) -> Option<Reply> {
    let given = head.headers.get("authorization");
    if given.is_some_and(|given| given == &format!("Bearer {token}")) || head.uri.path() == "/token"
    {
        return None;
    }
    let challenge =
        format!(r#"Bearer realm="{realm}",service="the service",scope="repository:other:pull""#);
    Some(Reply::new(401).with("www-authenticate", challenge))
}

fn grant(head: &Parts, token: &str) -> Option<Reply> {
    let body = format!(r#"{{"token":"{token}"}}"#);
    (head.uri.path() == "/token").then(|| Reply::new(200).body(body))
}

fn asked(server: &Server) -> Vec<Heard> {
    let mut heard = server.heard();
    heard.retain(|heard| heard.target.starts_with("/token"));
    heard
}

#[tokio::test]
async fn a_challenge_is_met_with_the_scopes_of_what_is_to_be_done() {
    let case = Case::new().await;
    let realm = format!("http://{}/token", case.base.host);
    case.base
        .fault(move |head| demand(head, "t", &realm).or_else(|| grant(head, "t")));
    let added = case.add_near().await.unwrap();
    assert_eq!(added.reused_blobs, 2);
    let asked = asked(&case.base);
    assert_eq!(asked.len(), 2, "one for the base, one for the target");
    assert!(asked.iter().all(|heard| heard.authorization.is_none()));
    let pull = "/token?service=the+service&scope=repository%3Abase%3Apull";
    assert_eq!(asked[0].target, pull);
    let push = "/token?service=the+service&scope=repository%3Ateam%2Fapp%3Apull%2Cpush&scope=repository%3Abase%3Apull";
    assert_eq!(asked[1].target, push);
}

#[tokio::test]
async fn a_token_that_ends_is_replaced() {
    let case = Case::new().await;
    let realm = format!("http://{}/token", case.target.host);
    let (mut granted, mut used) = (0, 0);
    case.target.fault(move |head| {
        if head.uri.path() == "/token" {
            (granted, used) = (granted + 1, 0);
            return grant(head, &format!("t{granted}"));
        }
        used += 1;
        let valid = if used > 3 {
            "none"
        } else {
            &format!("t{granted}")
        };
        demand(head, valid, &realm)
    });
    case.add().await.unwrap();
    assert!(asked(&case.target).len() > 3);
}

#[tokio::test]
async fn the_registry_itself_gets_the_password_if_the_caller_says_so() {
    for allowed in [true, false] {
        let mut case = Case::new().await.with_tokens();
        case.options.tokens_to_loopback = allowed;
        let realm = format!("http://{}/token", case.target.host);
        case.target
            .fault(move |head| demand(head, "t", &realm).or_else(|| grant(head, "t")));
        case.add().await.unwrap();
        let expected = allowed.then(|| PASSWORD.to_owned());
        assert_eq!(asked(&case.target)[0].authorization, expected);
        let passwords = case
            .base
            .heard()
            .into_iter()
            .filter_map(|heard| heard.authorization);
        assert_eq!(passwords.count(), 0, "nothing where nothing is asked for");
    }
}

#[tokio::test]
async fn who_is_known_says_so_before_being_refused() {
    let mut case = Case::new().await.with_tokens();
    case.options.tokens_to_loopback = true;
    for server in [&case.base, &case.target] {
        server.fault(|head| {
            let given = head.headers.get("authorization").map(HeaderValue::as_bytes);
            if given == Some(PASSWORD.as_bytes()) {
                return None;
            }
            let greets = head.uri.path() == "/v2/";
            let challenge = Reply::new(401).with("www-authenticate", "Basic realm=\"r\"");
            Some(if greets { challenge } else { Reply::new(403) })
        });
    }
    case.add().await.unwrap();
    case.options.tokens_to_loopback = false;
    let error = case.add().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Forbidden);
}

#[tokio::test]
async fn a_token_server_elsewhere_gets_no_password() {
    let mut case = Case::new().await.with_tokens();
    case.options.tokens_to_loopback = true;
    let elsewhere = Server::start().await;
    elsewhere.fault(|head| grant(head, "t"));
    let realm = format!("http://{}/token", elsewhere.host);
    case.target.fault(move |head| demand(head, "t", &realm));
    case.add().await.unwrap();
    let asked = asked(&elsewhere);
    assert_eq!(asked.len(), 1);
    assert_eq!(asked[0].authorization, None);
}

#[tokio::test]
async fn a_realm_where_nothing_may_go_is_not_asked() {
    let case = Case::new().await.with_tokens();
    for realm in [
        "http://evil.test/token",
        "ftp://127.0.0.1/token",
        "https://name:hunter2@evil.test/token",
        "file:///etc/passwd",
    ] {
        case.base.fault(move |head| demand(head, "t", realm));
        let error = case.add().await.unwrap_err();
        assert!(
            matches!(error, RegistryError::Astray { .. }),
            "{realm}: {error}"
        );
        assert!(!error.to_string().contains("hunter2"), "{error}");
    }
    case.base.fault(|head| demand(head, "t", "no address"));
    let error = case.add().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Protocol, "{error}");
}

#[tokio::test]
async fn a_redirect_of_a_blob_is_followed_without_what_the_registry_saw() {
    let case = Case::new().await;
    let storage = Server::start().await;
    for layer in &case.layers {
        storage.store("base", registry::Digest::of(layer).as_str(), "x", layer);
    }
    let (realm, to) = (
        format!("http://{}/token", case.base.host),
        storage.host.clone(),
    );
    let digests = [case.digest(0), case.digest(1)];
    let kept = digests.clone();
    case.base.fault(move |head| {
        let path = head.uri.path();
        let moved = kept
            .iter()
            .any(|digest| path.ends_with(&format!("/blobs/{digest}")));
        let place = format!("http://{to}{path}?signature=s");
        demand(head, "t", &realm)
            .or_else(|| grant(head, "t"))
            .or_else(|| moved.then(|| Reply::new(307).with("location", place)))
    });
    case.add().await.unwrap();
    let heard = storage.heard();
    assert_eq!(heard.len(), 2);
    for (heard, digest) in heard.iter().zip(digests) {
        assert!(heard.target.contains(digest.as_str()));
        assert_eq!(heard.authorization, None);
    }
}

#[tokio::test]
async fn redirects_and_uploads_that_lead_astray_are_not_followed() {
    let case = Case::new().await;
    case.base
        .fault(|_| Some(Reply::new(302).with("location", "http://evil.test/x?secret=s")));
    let error = case.add().await.unwrap_err();
    assert!(matches!(error, RegistryError::Astray { .. }), "{error}");
    assert!(!error.to_string().contains("secret"), "{error}");
    case.base
        .fault(|head| Some(Reply::new(302).with("location", head.uri.path())));
    let error = case.add().await.unwrap_err();
    assert!(chain(&error).contains("too many redirects"), "{error}");
    case.base.fault(|_| Some(Reply::new(302)));
    assert_eq!(case.add().await.unwrap_err().kind(), ErrorKind::Protocol);
    case.base.fault(|_| None);
    let elsewhere = Server::start().await;
    let place = format!("http://{}/v2/x/sessions/1", elsewhere.host);
    case.target.fault(move |head| {
        let begins = head.method == Method::POST;
        begins.then(|| Reply::new(202).with("location", place.clone()))
    });
    let error = case.add().await.unwrap_err();
    assert!(matches!(error, RegistryError::Astray { .. }), "{error}");
    assert_eq!(elsewhere.heard().len(), 0);
}

#[tokio::test]
async fn who_is_refused_after_all_is_told_what_to_do() {
    let case = Case::new().await;
    case.base.fault(|_| {
        let body = r#"{"errors":[{"code":"UNAUTHORIZED","message":"authentication required"}]}"#;
        Some(
            Reply::new(401)
                .with("www-authenticate", "Basic realm=\"r\"")
                .body(body),
        )
    });
    let error = case.add().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unauthenticated);
    assert!(chain(&error).contains("authentication required"), "{error}");
    assert!(error.hint().unwrap().contains("Artifact Registry"));
    assert_eq!(case.base.heard().len(), 2);
    case.base.fault(|head| {
        let challenge = r#"Bearer realm="http://127.0.0.1:1/token""#;
        (head.uri.path() != "/token").then(|| Reply::new(401).with("www-authenticate", challenge))
    });
    let error = case.add().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.to_string().contains("cannot get a token"), "{error}");
}

#[tokio::test]
async fn what_a_token_server_answers_is_looked_at() {
    for body in [
        "",
        "{}",
        r#"{"token":""}"#,
        r#"{"token":"a\nb"}"#,
        "[1]",
        "<html>",
    ] {
        let case = Case::new().await;
        let realm = format!("http://{}/token", case.base.host);
        case.base.fault(move |head| {
            let answer = (head.uri.path() == "/token").then(|| Reply::new(200).body(body));
            answer.or_else(|| demand(head, "t", &realm))
        });
        let error = case.add().await.unwrap_err();
        assert!(chain(&error).contains("holds no token"), "{body}: {error}");
    }
}
