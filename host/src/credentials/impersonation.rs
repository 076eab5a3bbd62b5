//! Acting as a service account: one token for another.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use jiff::Timestamp;
use serde_json::{Value, json};
use url::{Host, Url};
use wire::token::{Token, TokenError};

use super::{SCOPE, exchange, failure};

/// The service account to act as.
#[derive(Debug)]
pub(super) struct Target {
    account: String,
    url: Url,
    delegates: Vec<String>,
}

impl Target {
    /// By its email.
    pub(super) fn account_of(email: &str) -> Result<Self, TokenError> {
        let is_email = email.split_once('@').is_some_and(|(name, domain)| {
            let plain = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
            !name.is_empty() && name.chars().chain(domain.chars()).all(plain)
        });
        let url = format!(
            "https://iamcredentials.googleapis.com/v1/projects/-/serviceAccounts/{email}:generateAccessToken"
        );
        match Url::parse(&url) {
            Ok(url) if is_email => Ok(Self {
                account: email.to_owned(),
                url,
                delegates: Vec::new(),
            }),
            _ => Err(TokenError {
                hint: Some("`export GOOGLE_IMPERSONATE_SERVICE_ACCOUNT=NAME@PROJECT.iam.gserviceaccount.com`".to_owned()),
                ..failure("`GOOGLE_IMPERSONATE_SERVICE_ACCOUNT` is no service account's email")
            }),
        }
    }

    /// As a credentials file says it. Its address gets the caller's own token, so it must be Google's.
    pub(super) fn of_file(url: &str, delegates: &Value) -> Result<Self, String> {
        let url = Url::parse(url).ok().filter(is_google);
        let url = url.ok_or("its `service_account_impersonation_url` is not Google's")?;
        let account = url.path().rsplit('/').next().unwrap_or_default();
        let account = account.split(':').next().unwrap_or_default().to_owned();
        let delegates = delegates.as_array().into_iter().flatten();
        let delegates = delegates.filter_map(|name| name.as_str().map(str::to_owned));
        Ok(Self {
            account,
            delegates: delegates.collect(),
            url,
        })
    }

    pub(super) fn account(&self) -> &str {
        &self.account
    }

    pub(super) async fn token(
        &self,
        http: &reqwest::Client,
        own: &Token,
    ) -> Result<Token, TokenError> {
        let body = json!({ "scope": [SCOPE], "lifetime": "3600s", "delegates": self.delegates });
        let request = http
            .post(self.url.clone())
            .bearer_auth(own.secret())
            .json(&body);
        let answer = exchange::ask(request, &[own.secret()]).await;
        let answer =
            answer.map_err(|refusal| refusal.or(|status, reason, _| self.told(status, reason)))?;
        let secret = answer["accessToken"].as_str();
        let end = answer["expireTime"].as_str().and_then(time);
        match (secret, end) {
            (Some(secret), Some(end)) => Ok(Token::new(secret, Some(end))),
            _ => Err(failure("the token server answered with no token")),
        }
    }

    fn told(&self, status: u16, reason: &str) -> (String, Option<String>) {
        let Self { account, .. } = self;
        let message = format!("`{account}` cannot be impersonated");
        let hint = match (status, reason) {
            (_, "SERVICE_DISABLED") => {
                "enable the API: `gcloud services enable iamcredentials.googleapis.com`".to_owned()
            }
            (404, _) => format!(
                "there is no such account: `gcloud iam service-accounts describe {account}`"
            ),
            (403, _) => format!(
                "ask its owner to let you: `gcloud iam service-accounts add-iam-policy-binding {account} --member=user:YOU --role=roles/iam.serviceAccountTokenCreator`"
            ),
            _ => "log in again: `gcloud auth application-default login`".to_owned(),
        };
        (message, Some(hint))
    }
}

fn time(text: &str) -> Option<SystemTime> {
    let time: Timestamp = text.parse().ok()?;
    let since = u64::try_from(time.as_second()).ok()?;
    UNIX_EPOCH.checked_add(Duration::from_secs(since))
}

/// Nothing but the one call that makes such tokens: a file must not choose what else of Google's gets the caller's token.
fn is_google(url: &Url) -> bool {
    let path = url.path();
    url.scheme() == "https"
        && url.host() == Some(Host::Domain("iamcredentials.googleapis.com"))
        && url.port().is_none()
        && url.query().is_none()
        && url.username().is_empty()
        && path.starts_with("/v1/projects/-/serviceAccounts/")
        && path.ends_with(":generateAccessToken")
}
