//! The user's Google credentials: found in Google's own order, exchanged for tokens.
//!
//! The exchanges are made here, because gcp_auth, which reads and uses the keys, does not tell why a token server
//! refused, and knows neither impersonation nor proxies nor another directory of gcloud's.

mod exchange;
mod file;
mod gcloud;
mod impersonation;
mod key;
mod metadata;
mod user;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::OnceCell;
use wire::token::{MetadataTokens, Token, TokenError, TokenSource};

use crate::settings::Credentials;
use file::Kind;
use gcloud::Print;
use impersonation::Target;

/// `cloud-platform` is what `gcloud auth application-default login` grants.
const SCOPE: &str = "https://www.googleapis.com/auth/cloud-platform";

/// gcloud alone takes seconds to start.
const PATIENCE: Duration = Duration::from_mins(1);

/// Application default credentials, looked for when the first token is needed.
#[derive(Debug)]
pub(crate) struct GoogleCredentials {
    places: Credentials,
    found: OnceCell<Found>,
}

/// What was found.
#[derive(Debug)]
struct Found {
    http: reqwest::Client,
    source: Source,
    /// Whom to act as, one through the other.
    targets: Vec<Target>,
}

/// Who or what gives tokens.
#[derive(Debug)]
enum Source {
    Key(Box<key::Key>, PathBuf),
    User(user::User, PathBuf),
    Metadata(MetadataTokens, String),
    Gcloud(gcloud::Gcloud),
}

impl GoogleCredentials {
    /// Nothing is looked at yet.
    pub(crate) fn new(places: Credentials) -> Self {
        Self {
            places,
            found: OnceCell::new(),
        }
    }

    /// Whose they are and where they come from: `service account `a@b`, by the key `/k.json``.
    pub(crate) async fn identity(&self) -> Result<String, TokenError> {
        let found = self.found().await?;
        let source = match &found.source {
            Source::Key(key, file) => {
                format!(
                    "service account `{}`, by the key `{}`",
                    key.email(),
                    file.display()
                )
            }
            Source::User(user, file) => format!("{user}, saved in `{}`", file.display()),
            Source::Metadata(_, email) => {
                format!("service account `{email}`, by the metadata server")
            }
            Source::Gcloud(gcloud) => gcloud.identity().await,
        };
        Ok(match found.targets.last() {
            Some(target) => format!(
                "service account `{}`, impersonated by {source}",
                target.account()
            ),
            None => source,
        })
    }

    /// Whether they are a person's, whose calls need a project for their quota.
    pub(crate) async fn are_a_persons(&self) -> bool {
        let found = self.found().await;
        found
            .is_ok_and(|found| matches!(found.source, Source::User(..)) && found.targets.is_empty())
    }

    async fn found(&self) -> Result<&Found, TokenError> {
        self.found.get_or_try_init(|| find(&self.places)).await
    }
}

#[async_trait]
impl TokenSource for GoogleCredentials {
    async fn fetch(&self) -> Result<Token, TokenError> {
        let fetch = async { self.found().await?.token().await };
        let fetched = tokio::time::timeout(PATIENCE, fetch).await;
        fetched.unwrap_or_else(|_elapsed| {
            Err(TokenError {
                transient: true,
                ..failure("no token came in a minute")
            })
        })
    }
}

impl Found {
    async fn token(&self) -> Result<Token, TokenError> {
        let mut token = match &self.source {
            Source::Key(key, _) => key.token(&self.http).await,
            Source::User(user, _) => user.token(&self.http).await,
            Source::Metadata(metadata, _) => metadata.fetch().await,
            Source::Gcloud(gcloud) => gcloud.token().await,
        }?;
        for target in &self.targets {
            token = target.token(&self.http, &token).await?;
        }
        Ok(token)
    }
}

async fn find(places: &Credentials) -> Result<Found, TokenError> {
    let http = wire::api::http_client().map_err(|error| TokenError {
        source: Some(error.into()),
        ..failure("cannot set up TLS")
    })?;
    let (source, target) = source(&http, places).await?;
    let named = places.impersonate.as_deref().map(Target::account_of);
    Ok(Found {
        http,
        source,
        targets: target.into_iter().chain(named.transpose()?).collect(),
    })
}

async fn source(
    http: &reqwest::Client,
    places: &Credentials,
) -> Result<(Source, Option<Target>), TokenError> {
    if let Some(path) = places.file() {
        let (kind, target) = file::read(path)?;
        let source = match kind {
            Kind::Key(key) => Source::Key(key, path.clone()),
            Kind::User(user) => Source::User(user, path.clone()),
            Kind::Gcloud(kind) => {
                Source::Gcloud(gcloud::for_file(places.gcloud.as_deref(), path, kind)?)
            }
        };
        return Ok((source, target));
    }
    if !places.no_metadata
        && let Some(email) = metadata::account(http, places.metadata_host.as_deref()).await?
    {
        let tokens = MetadataTokens::new(http.clone(), places.metadata_host.as_deref());
        return Ok((Source::Metadata(tokens, email), None));
    }
    let Some(program) = &places.gcloud else {
        return Err(nothing(places));
    };
    let gcloud = gcloud::Gcloud::new(program, Print::Own);
    Ok((Source::Gcloud(gcloud), None))
}

fn nothing(places: &Credentials) -> TokenError {
    let default = places.default.as_ref().map_or_else(
        || "no home directory".to_owned(),
        |file| format!("no `{}`", file.display()),
    );
    let looked =
        format!("no `GOOGLE_APPLICATION_CREDENTIALS`, {default}, no metadata server, no gcloud");
    TokenError {
        hint: Some("install the Google Cloud CLI and `gcloud auth application-default login`; or name a key: `export GOOGLE_APPLICATION_CREDENTIALS=key.json`".to_owned()),
        source: Some(looked.into()),
        ..failure("there are no Google credentials")
    }
}

/// With no more to say yet.
fn failure(message: impl Into<String>) -> TokenError {
    TokenError {
        message: message.into(),
        hint: None,
        transient: false,
        source: None,
    }
}

/// For who has a connection already.
impl From<GoogleCredentials> for Arc<dyn TokenSource> {
    fn from(credentials: GoogleCredentials) -> Self {
        Arc::new(credentials)
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Debug;
    use std::path::Path;

    use serde_json::{Value, json};

    use super::*;

    /// In every secret that is made up here.
    const MARK: &str = "s3cr3t";

    fn pem() -> String {
        let path =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/throwaway_key.pem");
        fs_err::read_to_string(path).unwrap()
    }

    fn key() -> Value {
        json!({
            "type": "service_account", "client_email": "robot@team.iam.gserviceaccount.com",
            "private_key_id": "k1", "private_key": pem(), "token_uri": "https://oauth2.googleapis.com/token",
        })
    }

    fn login() -> Value {
        json!({
            "type": "authorized_user", "client_id": "client", "client_secret": format!("client-{MARK}"),
            "refresh_token": format!("1//{MARK}"), "subject_token": MARK,
        })
    }

    fn acting(source: &Value) -> Value {
        json!({
            "type": "impersonated_service_account", "delegates": ["a@b.test"], "source_credentials": source,
            "service_account_impersonation_url":
                "https://iamcredentials.googleapis.com/v1/projects/-/serviceAccounts/c@d.test:generateAccessToken",
        })
    }

    #[track_caller]
    fn shows_no_secret(shown: &impl Debug, holds: &str) {
        let lines = pem();
        let of_key = lines
            .lines()
            .filter(|line| line.len() > 20 && !line.starts_with("--"));
        for text in [format!("{shown:?}"), format!("{shown:#?}")] {
            assert!(text.contains(holds), "no `{holds}` in {text}");
            assert!(!text.contains(MARK), "{text}");
            // Nor as bytes: a key in DER begins so.
            assert!(
                !text.contains("48, 130") && !text.contains("48,\n"),
                "{text}"
            );
            for line in of_key.clone() {
                assert!(!text.contains(line), "{text}");
            }
        }
    }

    #[tokio::test]
    async fn no_secret_is_shown_by_what_holds_it() {
        let dir = tempfile::tempdir().unwrap();
        for (name, json, holds) in [
            ("key.json", key(), "Key(robot@team"),
            ("login.json", login(), "User"),
            ("acting.json", acting(&login()), "c@d.test"),
            ("acting-by-key.json", acting(&key()), "Key(robot@team"),
        ] {
            let path = dir.path().join(name);
            fs_err::write(&path, json.to_string()).unwrap();
            let credentials = GoogleCredentials::new(Credentials {
                named: Some(path),
                impersonate: Some("e@f.test".to_owned()),
                ..Credentials::default()
            });
            credentials.found().await.unwrap();
            shows_no_secret(&credentials, holds);
            shows_no_secret(&credentials, "e@f.test");
            let found = credentials.found().await.unwrap();
            shows_no_secret(&found.source, name);
        }
    }

    #[tokio::test]
    async fn a_proxys_password_and_a_token_are_not_shown_either() {
        let proxy = reqwest::Proxy::https(format!("http://me:{MARK}@127.0.0.1:1")).unwrap();
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = reqwest::Client::builder().proxy(proxy).build().unwrap();
        let tokens = MetadataTokens::new(http.clone(), Some("127.0.0.1:1"));
        let found = Found {
            http,
            source: Source::Metadata(tokens, "a@b.test".to_owned()),
            targets: vec![Target::account_of("c@d.test").unwrap()],
        };
        shows_no_secret(&found, "c@d.test");
        let answer = json!({ "access_token": MARK, "expires_in": 60 });
        let token = exchange::token(&answer, std::time::SystemTime::now()).unwrap();
        shows_no_secret(&token, "Token");
    }
}
