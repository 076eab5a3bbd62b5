//! Where a token comes from, and where it may be sent.

mod cache;
mod metadata;
mod scope;

pub use cache::Tokens;
pub use metadata::MetadataTokens;

pub(crate) use scope::is_google;

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;

/// A bearer token. Its text never shows in `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct Token {
    secret: Arc<str>,
    expires_at: Option<SystemTime>,
}

impl Token {
    /// A token that ends at a known time, or never.
    pub fn new(secret: impl Into<Arc<str>>, expires_at: Option<SystemTime>) -> Self {
        Self {
            secret: secret.into(),
            expires_at,
        }
    }

    /// For the `authorization` header, and nothing else.
    pub fn secret(&self) -> &str {
        &self.secret
    }

    /// Whether it is still good for so long.
    pub fn lasts(&self, margin: Duration) -> bool {
        self.expires_at
            .is_none_or(|end| SystemTime::now() + margin < end)
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

/// No token could be had.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct TokenError {
    /// A fragment.
    pub message: String,
    /// What to type next.
    pub hint: Option<String>,
    /// Whether asking again may help.
    pub transient: bool,
    /// What lies under it.
    #[source]
    pub source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl TokenError {
    pub(crate) fn permanent(message: &str) -> Self {
        Self {
            message: message.to_owned(),
            hint: None,
            transient: false,
            source: None,
        }
    }
}

/// Gets a token; no caching: [`Tokens`] does that.
#[async_trait]
pub trait TokenSource: Send + Sync + fmt::Debug {
    /// A fresh token.
    async fn fetch(&self) -> Result<Token, TokenError>;
}

/// A token known from the start.
#[derive(Debug)]
pub struct StaticToken(pub Token);

#[async_trait]
impl TokenSource for StaticToken {
    async fn fetch(&self) -> Result<Token, TokenError> {
        Ok(self.0.clone())
    }
}
