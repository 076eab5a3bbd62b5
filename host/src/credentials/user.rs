//! A person's own login, as `gcloud auth application-default login` saves it.

use std::fmt;
use std::time::SystemTime;

use serde_json::Value;
use url::form_urlencoded::Serializer;
use wire::token::{Token, TokenError};

use super::exchange;
use super::file::text;

/// The one place where a refresh token goes, whatever a file says.
const TOKEN_SERVER: &str = "https://oauth2.googleapis.com/token";

/// A person's own login.
pub(super) struct User {
    account: Option<String>,
    client_id: String,
    client_secret: String,
    refresh_token: String,
}

impl fmt::Debug for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("User")
    }
}

impl fmt::Display for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.account {
            Some(account) => write!(f, "the login of `{account}`"),
            None => f.write_str("your own login"),
        }
    }
}

impl User {
    pub(super) fn of(file: &Value) -> Result<Self, String> {
        let owned = |name| text(file, name).map(str::to_owned);
        Ok(Self {
            account: owned("account").ok(),
            client_id: owned("client_id")?,
            client_secret: owned("client_secret")?,
            refresh_token: owned("refresh_token")?,
        })
    }

    pub(super) async fn token(&self, http: &reqwest::Client) -> Result<Token, TokenError> {
        let form = Serializer::new(String::new())
            .append_pair("grant_type", "refresh_token")
            .append_pair("client_id", &self.client_id)
            .append_pair("client_secret", &self.client_secret)
            .append_pair("refresh_token", &self.refresh_token)
            .finish();
        let asked_at = SystemTime::now();
        let request = http
            .post(TOKEN_SERVER)
            .header("content-type", "application/x-www-form-urlencoded")
            .body(form);
        let secrets = [self.client_secret.as_str(), &self.refresh_token];
        let answer = exchange::ask(request, &secrets).await;
        let answer = answer.map_err(|refusal| refusal.or(|_, reason, _| told(reason)))?;
        exchange::token(&answer, asked_at)
    }
}

fn told(reason: &str) -> (String, Option<String>) {
    let message = match reason {
        "invalid_grant" => "the saved login has ended or was revoked",
        _ => "the saved login is refused",
    };
    let hint = "log in again: `gcloud auth application-default login`";
    (message.to_owned(), Some(hint.to_owned()))
}
