//! What goes to Google, and to Google only: a proxy plays every https host there is.

use std::collections::BTreeMap;
use std::sync::Arc;

use reqwest::Proxy;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::ring;
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer, ServerName, UnixTime};
use rustls::server::AlwaysResolvesServerRawPublicKeys;
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, DigitallySignedStruct, Error, ServerConfig, SignatureScheme};
use serde_json::json;
use tokio_rustls::TlsAcceptor;
use wire::api::{Api, ErrorKind};
use wire::bucket::Bucket;
use wire::token::{StaticToken, Token, Tokens};

use crate::script::{Act, Server, object, refusal, reply};
use crate::{QUICK, absent, chain};

/// Believes anybody: what is judged here comes after the handshake.
#[derive(Debug)]
struct Credulous;

impl ServerCertVerifier for Credulous {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}

/// TLS with a bare Ed25519 key, which needs no certificate.
fn acceptor() -> TlsAcceptor {
    // PKCS #8's frame around a private key of 32 bytes.
    let mut key = b"\x30\x2e\x02\x01\x00\x30\x05\x06\x03\x2b\x65\x70\x04\x22\x04\x20".to_vec();
    key.extend([7; 32]);
    let key = ring::sign::any_eddsa_type(&PrivatePkcs8KeyDer::from(key)).unwrap();
    let public = key.public_key().unwrap().to_vec();
    let key = CertifiedKey::new(vec![CertificateDer::from(public)], key);
    let keys = Arc::new(AlwaysResolvesServerRawPublicKeys::new(Arc::new(key)));
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_no_client_auth()
        .with_cert_resolver(keys);
    Arc::new(config).into()
}

fn client(server: &Server) -> reqwest::Client {
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Credulous))
        .with_no_client_auth();
    reqwest::Client::builder()
        .tls_backend_preconfigured(config)
        .redirect(reqwest::redirect::Policy::none())
        .proxy(Proxy::https(server.url.clone()).unwrap())
        .build()
        .unwrap()
}

async fn google(acts: impl IntoIterator<Item = Act>) -> (Server, Bucket) {
    let server = Server::start_tls(acts, acceptor()).await;
    let tokens = Tokens::google(Arc::new(StaticToken(Token::new("s3cret", None))));
    let api = Api::new(client(&server), tokens, Some("payer".to_owned()), QUICK);
    let endpoint = "https://storage.googleapis.com".parse().unwrap();
    (server, Bucket::new(api, &endpoint, "b"))
}

/// Host, token and quota project of each request.
fn credentials(server: &Server) -> Vec<String> {
    let line = |headers: &BTreeMap<String, String>| {
        let get = |name: &str| headers.get(name).map_or("-", String::as_str).to_owned();
        [
            get("host"),
            get("authorization"),
            get("x-goog-user-project"),
        ]
        .join(" ")
    };
    server
        .seen()
        .iter()
        .map(|seen| line(&seen.headers))
        .collect()
}

fn denied(reason: &str, message: &str) -> Act {
    let body = json!({"error": {"code": 403, "message": message, "status": "PERMISSION_DENIED",
        "details": [{"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": reason}]}});
    reply(403).text(&body.to_string()).act()
}

#[tokio::test]
async fn google_gets_token_and_quota_project() {
    let (server, bucket) = google([object("o", b"x", 1).act()]).await;
    bucket.stat("o").await.unwrap();
    assert_eq!(
        credentials(&server),
        ["storage.googleapis.com Bearer s3cret payer"]
    );
}

#[tokio::test]
async fn a_quota_project_that_is_refused_is_dropped() {
    let refusals = [
        denied("USER_PROJECT_DENIED", "no"),
        refused_for("Caller does not have serviceusage.services.use permission"),
    ];
    for refused in refusals {
        let object = object("o", b"x", 1).act();
        let (server, bucket) = google([refused, object.clone(), object]).await;
        bucket.stat("o").await.unwrap();
        bucket.stat("o").await.unwrap();
        let with = "storage.googleapis.com Bearer s3cret payer";
        let without = "storage.googleapis.com Bearer s3cret -";
        assert_eq!(credentials(&server), [with, without, without]);
    }
}

fn refused_for(message: &str) -> Act {
    denied("forbidden", message)
}

#[tokio::test]
async fn another_403_is_not_the_quota_projects_fault() {
    let (server, bucket) = google([
        denied("IAM_PERMISSION_DENIED", "storage.objects.get"),
        refusal(403, "forbidden"),
    ])
    .await;
    for _ in 0..2 {
        assert_eq!(
            bucket.stat("o").await.unwrap_err().kind,
            ErrorKind::Forbidden
        );
    }
    let with = "storage.googleapis.com Bearer s3cret payer";
    assert_eq!(credentials(&server), [with, with]);
}

#[tokio::test]
async fn an_upload_session_may_lie_at_another_host_of_google() {
    let session = reply(200).header("location", "https://upload.googleapis.com/x?upload_id=1");
    let (server, bucket) = google([session.act(), object("o", b"", 1).act()]).await;
    bucket
        .upload("o", &absent())
        .await
        .unwrap()
        .finish()
        .await
        .unwrap();
    assert_eq!(
        credentials(&server),
        [
            "storage.googleapis.com Bearer s3cret payer",
            "upload.googleapis.com Bearer s3cret payer"
        ]
    );
}

#[tokio::test]
async fn an_upload_session_may_lie_nowhere_else() {
    for elsewhere in [
        "https://googleapis.com.evil.test/x?upload_id=s3ssion",
        "https://storage.googleapis.com@evil.test/x?upload_id=s3ssion",
        "https://evil.test/x?upload_id=s3ssion#.googleapis.com",
        "http://storage.googleapis.com/x?upload_id=s3ssion",
        "https://storage.googleapis.com:8443/x?upload_id=s3ssion",
        "//evil.test/x?upload_id=s3ssion",
    ] {
        let (server, bucket) = google([reply(200).header("location", elsewhere).act()]).await;
        let error = bucket.upload("o", &absent()).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Protocol, "{elsewhere}");
        assert!(!chain(&error).contains("s3ssion"), "{}", chain(&error));
        assert_eq!(server.seen().len(), 1, "{elsewhere}");
    }
}

#[tokio::test]
async fn a_redirect_from_google_takes_the_token_nowhere() {
    let away = reply(302).header("location", "https://evil.test/");
    let (server, bucket) = google([away.act()]).await;
    assert_eq!(
        bucket.stat("o").await.unwrap_err().kind,
        ErrorKind::Protocol
    );
    assert_eq!(server.seen().len(), 1);
}
