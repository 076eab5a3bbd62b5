//! The server under judgement.

use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use emulator::{Account, Config, Emulator, Grant, Permission};
use futures_util::FutureExt;
use tempfile::TempDir;
use tokio::task::AbortHandle;
use url::Url;
use wire::api::{Api, RetryConfig, http_client};
use wire::bucket::Bucket;
use wire::token::{StaticToken, Token, TokenSource, Tokens};

use crate::proxy::{Proxy, Side};

/// Many tries, hardly any pause.
pub(crate) const QUICK: RetryConfig = RetryConfig {
    retries: 4,
    budget: Duration::from_mins(2),
    first_pause: Duration::from_millis(5),
    longest_pause: Duration::from_millis(50),
};

const OWNER: &str = "owner-of-the-conformance-suite";

/// A known error of another server.
#[derive(Clone, Copy)]
pub(crate) struct Defect {
    pub(crate) server: &'static str,
    pub(crate) reason: &'static str,
}

/// A bucket on some server, and a prefix that nobody else uses.
#[derive(Clone)]
pub(crate) struct Subject {
    pub(crate) bucket: Bucket,
    pub(crate) prefix: String,
    pub(crate) endpoint: Url,
    tokens: Tokens,
}

impl Subject {
    pub(crate) fn name(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    /// The same bucket over other connections.
    pub(crate) fn through(&self, http: reqwest::Client) -> Bucket {
        let api = Api::new(http, self.tokens.clone(), None, QUICK);
        Bucket::new(api, &self.endpoint, self.bucket.name())
    }

    /// The same bucket behind a proxy, with these patiences.
    pub(crate) async fn behind(&self, proxy: &Proxy, retry: RetryConfig, idle: Duration) -> Bucket {
        let server = self.endpoint.authority();
        let address = proxy.stand_before(server, Side::Host).await;
        let endpoint: Url = format!("http://{address}").parse().unwrap();
        let tokens = if other_server().is_some() {
            Tokens::anonymous()
        } else {
            Tokens::origin(&endpoint, Arc::new(StaticToken(Token::new(OWNER, None))))
        };
        let api = Api::new(http_client().unwrap(), tokens, None, retry);
        let api = api.with_idle_timeout(idle);
        Bucket::new(api, &endpoint, self.bucket.name())
    }

    fn new(endpoint: Url, bucket: &str, tokens: Tokens) -> Self {
        let api = Api::new(http_client().unwrap(), tokens.clone(), None, QUICK);
        Self {
            bucket: Bucket::new(api, &endpoint, bucket),
            prefix: format!("conformance/{}/", wire::names::RunId::new()),
            endpoint,
            tokens,
        }
    }
}

/// Runs a case. A server with a known error must fail it: if it does not, its exception is no longer needed.
pub(crate) async fn check<F>(defects: &[Defect], case: impl FnOnce(Subject) -> F)
where
    F: Future<Output = ()>,
{
    let (subject, server, _held) = if let Some((subject, server)) = other_server() {
        (subject, server, None)
    } else {
        let ours = Ours::start().await;
        (ours.owner(), String::new(), Some(ours))
    };
    let outcome = AssertUnwindSafe(case(subject)).catch_unwind().await;
    let defect = defects.iter().find(|defect| defect.server == server);
    match (outcome, defect) {
        (Ok(()), Some(defect)) => panic!("no longer wrong: {}", defect.reason),
        (Err(failure), None) => std::panic::resume_unwind(failure),
        (Ok(()), None) | (Err(_), Some(_)) => {}
    }
}

fn other_server() -> Option<(Subject, String)> {
    let endpoint = variable("SORTIE_CONFORMANCE_ENDPOINT")?;
    let bucket =
        variable("SORTIE_CONFORMANCE_BUCKET").expect("SORTIE_CONFORMANCE_BUCKET names its bucket");
    let server = variable("SORTIE_CONFORMANCE_SERVER").unwrap_or_default();
    let subject = Subject::new(endpoint.parse().unwrap(), &bucket, Tokens::anonymous());
    Some((subject, server))
}

#[expect(
    clippy::disallowed_methods,
    reason = "a test harness has no settings module"
)]
pub(crate) fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// Our emulator, in this process, until dropped.
pub(crate) struct Ours {
    pub(crate) address: SocketAddr,
    pub(crate) metadata: SocketAddr,
    serving: AbortHandle,
    _state: TempDir,
}

impl Ours {
    pub(crate) async fn start() -> Self {
        let state = tempfile::tempdir().unwrap();
        let emulator = Emulator::start(config(&state)).await.unwrap();
        emulator.ensure_bucket("conformance-bucket").await.unwrap();
        let (address, metadata) = (emulator.address(), emulator.metadata_address());
        let serving = tokio::spawn(emulator.serve(std::future::pending()));
        Self {
            address,
            metadata,
            serving: serving.abort_handle(),
            _state: state,
        }
    }

    /// With all rights.
    pub(crate) fn owner(&self) -> Subject {
        self.subject(Arc::new(StaticToken(Token::new(OWNER, None))))
    }

    /// With the rights of whoever the tokens are of.
    pub(crate) fn subject(&self, source: Arc<dyn TokenSource>) -> Subject {
        let endpoint: Url = format!("http://{}", self.address).parse().unwrap();
        let tokens = Tokens::origin(&endpoint, source);
        Subject::new(endpoint, "conformance-bucket", tokens)
    }
}

impl Drop for Ours {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

fn config(state: &TempDir) -> Config {
    let grant = |permission, prefix: &str| Grant {
        permission,
        prefix: prefix.to_owned(),
    };
    Config {
        state: state.path().to_owned(),
        listen: ([127, 0, 0, 1], 0).into(),
        project: "conformance".to_owned(),
        region: "us-central1".to_owned(),
        runner: Vec::new(),
        owner_token: OWNER.to_owned(),
        anonymous_storage: false,
        container_account: Account {
            email: "container@conformance.iam.gserviceaccount.com".to_owned(),
            grants: vec![
                grant(Permission::Get, "conformance/"),
                grant(Permission::Create, "conformance/"),
            ],
        },
        idle_exit: None,
    }
}
