//! Tokens over real connections: where they go, and where they come from.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use async_trait::async_trait;
use reqwest::Method;
use wire::api::{Api, ErrorKind, http_client};
use wire::bucket::Bucket;
use wire::token::{MetadataTokens, StaticToken, Token, TokenError, TokenSource, Tokens};

use crate::script::{Act, Server, noise, object, refusal, reply};
use crate::{QUICK, absent, api, chain};

fn fixed() -> Arc<dyn TokenSource> {
    Arc::new(StaticToken(Token::new("s3cret", None)))
}

/// Another token each time.
#[derive(Debug, Default)]
struct Counting(AtomicU32);

#[async_trait]
impl TokenSource for Counting {
    async fn fetch(&self) -> Result<Token, TokenError> {
        let number = self.0.fetch_add(1, Ordering::Relaxed);
        Ok(Token::new(format!("number-{number}"), None))
    }
}

#[tokio::test]
async fn a_token_goes_to_its_origin_and_to_no_other() {
    let ours = Server::start([reply(200).act()]).await;
    let other = Server::start([reply(200).act()]).await;
    let api = api(Tokens::origin(&ours.url, fixed()));
    for server in [&ours, &other] {
        api.json("cannot ask", Method::GET, server.url.clone(), None, true)
            .await
            .unwrap();
    }
    assert_eq!(
        ours.seen()[0].header("authorization"),
        Some("Bearer s3cret")
    );
    assert_eq!(other.seen()[0].header("authorization"), None);
}

#[tokio::test]
async fn googles_token_and_quota_project_stay_with_google() {
    let server = Server::start([object("o", b"x", 1).act()]).await;
    let api = Api::new(
        http_client().unwrap(),
        Tokens::google(fixed()),
        Some("p".to_owned()),
        QUICK,
    );
    Bucket::new(api, &server.url, "b").stat("o").await.unwrap();
    let seen = server.seen();
    assert_eq!(seen[0].header("authorization"), None);
    assert_eq!(seen[0].header("x-goog-user-project"), None);
}

#[tokio::test]
async fn a_refused_token_is_replaced_once() {
    let server = Server::start([refusal(401, "authError"), reply(200).act()]).await;
    let source = Arc::new(Counting::default());
    let api = api(Tokens::origin(&server.url, source));
    api.json("cannot ask", Method::POST, server.url.clone(), None, false)
        .await
        .unwrap();
    let sent: Vec<_> = server
        .seen()
        .iter()
        .map(|seen| seen.gist("authorization"))
        .collect();
    assert_eq!(sent, ["POST Bearer number-0", "POST Bearer number-1"]);

    let server = Server::start([refusal(401, "authError"), refusal(401, "authError")]).await;
    let source = Arc::new(Counting::default());
    let api = crate::api(Tokens::origin(&server.url, source));
    let error = api
        .json("cannot ask", Method::GET, server.url.clone(), None, true)
        .await;
    assert_eq!(error.unwrap_err().kind, ErrorKind::Unauthenticated);
    assert_eq!(server.seen().len(), 2);
}

#[tokio::test]
async fn an_upload_does_not_follow_its_session_to_another_server() {
    let other = Server::start([]).await;
    let session = other.url.join("/upload?upload_id=s3ssion").unwrap();
    let server = Server::start([reply(200).header("location", session).act()]).await;
    let bucket = Bucket::new(api(Tokens::anonymous()), &server.url, "b");
    let error = bucket.upload("o", &absent()).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Protocol);
    assert!(!chain(&error).contains("s3ssion"), "{}", chain(&error));
    assert!(other.seen().is_empty());
}

#[tokio::test]
async fn a_session_shows_neither_in_errors_nor_in_debug() {
    let session = "/upload?upload_id=s3ssion";
    let begun = reply(200).header("location", session).act();
    let server = Server::start([begun, Act::Vanish, refusal(400, "invalid")]).await;
    let bucket = Bucket::new(api(Tokens::anonymous()), &server.url, "b");
    let mut upload = bucket.upload("o", &absent()).await.unwrap();
    upload.write(noise(10).into()).await.unwrap();
    let shown = format!("{upload:?}");
    assert!(!shown.contains("s3ssion"), "{shown}");
    let error = upload.finish().await.unwrap_err();
    let shown = format!("{error:?} {}", chain(&error));
    assert!(!shown.contains("s3ssion"), "{shown}");
    assert!(server.seen()[1].target.contains("s3ssion"));
}

fn metadata_server(server: &Server) -> MetadataTokens {
    let host = server.url.authority().to_owned();
    MetadataTokens::new(http_client().unwrap(), Some(&host))
}

fn token_answer() -> crate::script::Reply {
    reply(200).text(r#"{"access_token":"from-metadata","expires_in":3599,"token_type":"Bearer"}"#)
}

#[tokio::test]
async fn the_metadata_server_is_asked_as_google_wants_it() {
    let good = token_answer().header("metadata-flavor", "Google").act();
    let server = Server::start([refusal(503, "x"), Act::Vanish, good]).await;
    let token = metadata_server(&server).fetch().await.unwrap();
    assert_eq!(token.secret(), "from-metadata");
    assert!(token.lasts(std::time::Duration::from_mins(50)));
    let seen = server.seen();
    let path = "/computeMetadata/v1/instance/service-accounts/default/token";
    assert_eq!(
        (seen[2].target.as_str(), seen[2].header("metadata-flavor")),
        (path, Some("Google"))
    );
}

#[tokio::test]
async fn who_is_no_metadata_server_is_not_believed() {
    let server = Server::start([token_answer().act()]).await;
    let error = metadata_server(&server).fetch().await.unwrap_err();
    assert!(
        error.to_string().contains("is no metadata server"),
        "{error}"
    );
    assert!(!error.transient);
}

#[tokio::test]
async fn a_metadata_server_without_an_account_is_final() {
    let missing = reply(404).header("metadata-flavor", "Google").act();
    let server = Server::start([missing]).await;
    let error = metadata_server(&server).fetch().await.unwrap_err();
    assert!(
        error.to_string().contains("no default service account"),
        "{error}"
    );
    assert!(!error.transient);
    assert_eq!(server.seen().len(), 1);
}
