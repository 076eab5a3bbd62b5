//! A service account's key.

use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use gcp_auth::CustomServiceAccount;
use serde_json::{Value, json};
use url::form_urlencoded::Serializer;
use url::{Host, Url};
use wire::token::{Token, TokenError};

use super::file::text;
use super::{SCOPE, exchange, failure};

/// Google takes no assertion that lasts longer than an hour.
const LASTS: u64 = 3600;

/// A service account's key.
pub(super) struct Key {
    account: CustomServiceAccount,
    email: String,
    id: Option<String>,
    token_uri: Url,
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({})", self.email)
    }
}

impl Key {
    pub(super) fn of(file: &Value) -> Result<Self, String> {
        let email = text(file, "client_email")?.to_owned();
        let token_uri = text(file, "token_uri")?;
        let token_uri = Url::parse(token_uri).ok().filter(is_fit);
        let token_uri = token_uri.ok_or("its `token_uri` is no https address")?;
        text(file, "private_key")?;
        // Its reasons may quote the key.
        let account = CustomServiceAccount::from_json(&file.to_string())
            .map_err(|_| "its private key cannot be read")?;
        Ok(Self {
            account,
            email,
            id: text(file, "private_key_id").ok().map(str::to_owned),
            token_uri,
        })
    }

    pub(super) fn email(&self) -> &str {
        &self.email
    }

    pub(super) async fn token(&self, http: &reqwest::Client) -> Result<Token, TokenError> {
        let asked_at = SystemTime::now();
        let assertion = self.assertion(asked_at)?;
        let form = Serializer::new(String::new())
            .append_pair("grant_type", "urn:ietf:params:oauth:grant-type:jwt-bearer")
            .append_pair("assertion", &assertion)
            .finish();
        let request = http
            .post(self.token_uri.clone())
            .header("content-type", "application/x-www-form-urlencoded")
            .body(form);
        let answer = exchange::ask(request, &[&assertion]).await;
        let answer =
            answer.map_err(|refusal| refusal.or(|_, _, sentence| told(&self.email, sentence)))?;
        exchange::token(&answer, asked_at)
    }

    /// A signed wish for a token.
    fn assertion(&self, now: SystemTime) -> Result<String, TokenError> {
        let now = now
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| since.as_secs());
        let mut head = json!({ "alg": "RS256", "typ": "JWT" });
        if let Some(id) = &self.id {
            head["kid"] = json!(id);
        }
        let claims = json!({
            "iss": self.email, "scope": SCOPE, "aud": self.token_uri.as_str(),
            "iat": now, "exp": now + LASTS,
        });
        let part = |json: &Value| URL_SAFE_NO_PAD.encode(json.to_string());
        let signed = format!("{}.{}", part(&head), part(&claims));
        let signature = self.account.signer().sign(signed.as_bytes());
        let signature = signature.map_err(|_| failure("cannot sign with the key"))?;
        Ok(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature)))
    }
}

/// What goes there names its reader, so it is of no use to another; but it does not go in the clear.
fn is_fit(url: &Url) -> bool {
    let loopback = match url.host() {
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        _ => false,
    };
    url.scheme() == "https" || (url.scheme() == "http" && loopback)
}

fn told(email: &str, sentence: &str) -> (String, Option<String>) {
    let sentence = sentence.to_lowercase();
    let message;
    let hint;
    if sentence.contains("iat") || sentence.contains("timeframe") {
        message = "the clock of this machine is wrong".to_owned();
        hint = "set it: `sudo timedatectl set-ntp true`".to_owned();
    } else if sentence.contains("signature") || sentence.contains("account not found") {
        message = format!("the key of `{email}` is no longer good");
        hint = format!(
            "make another: `gcloud iam service-accounts keys create key.json --iam-account={email}`"
        );
    } else {
        message = format!("the key of `{email}` is refused");
        hint = format!(
            "`gcloud iam service-accounts describe {email}` tells whether the account is there and enabled"
        );
    }
    (message, Some(hint))
}
