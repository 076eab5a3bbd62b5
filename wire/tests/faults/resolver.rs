//! A metadata server behind a name that does not resolve, or not yet.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use rustls::crypto::ring;
use rustls::{ClientConfig, RootCertStore};
use tokio::time::Instant;
use wire::token::{MetadataTokens, TokenSource};

use crate::script::{Server, reply};

/// Knows no name until its time has come.
#[derive(Debug)]
struct Late {
    known_from: Instant,
    address: SocketAddr,
}

impl Resolve for Late {
    fn resolve(&self, _: Name) -> Resolving {
        let answer = if Instant::now() < self.known_from {
            Err("Temporary failure in name resolution".into())
        } else {
            // From here on real sockets are waited for, which a clock that jumps would not do.
            tokio::time::resume();
            Ok(Box::new(std::iter::once(self.address)) as Addrs)
        };
        Box::pin(std::future::ready(answer))
    }
}

/// A metadata server whose name is known after so long.
fn named(server: &Server, after: Duration) -> MetadataTokens {
    let resolver = Late {
        known_from: Instant::now() + after,
        address: server.url.socket_addrs(|| None).unwrap()[0],
    };
    let tls = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth();
    let http = reqwest::Client::builder()
        .tls_backend_preconfigured(tls)
        .no_proxy()
        .dns_resolver(Arc::new(resolver))
        .build()
        .unwrap();
    let host = format!("metadata.test:{}", server.url.port().unwrap());
    MetadataTokens::new(http, Some(&host))
}

#[tokio::test(start_paused = true)]
async fn a_resolver_may_need_a_minute() {
    let answer = reply(200)
        .header("metadata-flavor", "Google")
        .text(r#"{"access_token":"from-metadata","expires_in":3599}"#);
    let server = Server::start([answer.act()]).await;
    let tokens = named(&server, Duration::from_mins(1));
    assert_eq!(tokens.fetch().await.unwrap().secret(), "from-metadata");
    server.seen();
}

#[tokio::test(start_paused = true)]
async fn a_name_that_stays_unknown_says_what_to_do() {
    let server = Server::start([]).await;
    let tokens = named(&server, Duration::from_hours(1));
    let error = tokens.fetch().await.unwrap_err();
    assert!(error.to_string().contains("metadata.test"), "{error}");
    assert!(error.hint.unwrap().contains("GCE_METADATA_HOST"));
    assert!(!error.transient);
}
