//! The user's Google credentials, by gcp_auth.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use gcp_auth::TokenProvider;
use tokio::sync::OnceCell;
use wire::token::{Token, TokenError, TokenSource};

/// `cloud-platform` is what `gcloud auth application-default login` grants.
const SCOPES: &[&str] = &["https://www.googleapis.com/auth/cloud-platform"];

/// gcp_auth has no timeouts of its own, and asks a metadata server that may not be there.
const PATIENCE: Duration = Duration::from_secs(20);

/// Application default credentials, looked for when the first token is needed.
#[derive(Default)]
pub(crate) struct GoogleCredentials {
    provider: OnceCell<Arc<dyn TokenProvider>>,
}

impl std::fmt::Debug for GoogleCredentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("GoogleCredentials")
    }
}

#[async_trait]
impl TokenSource for GoogleCredentials {
    async fn fetch(&self) -> Result<Token, TokenError> {
        let fetch = async {
            let provider = self.provider.get_or_try_init(gcp_auth::provider).await?;
            provider.token(SCOPES).await
        };
        match tokio::time::timeout(PATIENCE, fetch).await {
            Ok(Ok(token)) => Ok(Token::new(token.as_str(), Some(expiry(&token)))),
            Ok(Err(error)) => Err(refused(Some(error))),
            Err(_elapsed) => Err(refused(None)),
        }
    }
}

fn expiry(token: &gcp_auth::Token) -> SystemTime {
    SystemTime::from(token.expires_at())
}

fn refused(error: Option<gcp_auth::Error>) -> TokenError {
    TokenError {
        message: "no Google credentials can be had".to_owned(),
        hint: Some("`gcloud auth application-default login` makes them".to_owned()),
        transient: error.is_none(),
        source: error.map(Into::into),
    }
}
