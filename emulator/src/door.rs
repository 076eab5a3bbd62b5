//! Who is let in at all: this serves local programs, and runs commands for them.

use http::uri::Authority;
use http::{HeaderMap, Uri, header};

use crate::caller::Caller;
use crate::refusal::{Outcome, Refusal};

/// The tokens that open doors. Never printed.
pub(crate) struct Tokens {
    owner: String,
    container: String,
    anonymous_storage: bool,
}

impl Tokens {
    pub(crate) fn new(owner: String, container: String, anonymous_storage: bool) -> Self {
        Self {
            owner,
            container,
            anonymous_storage,
        }
    }

    pub(crate) fn container(&self) -> &str {
        &self.container
    }

    /// The caller of storage.
    pub(crate) fn storage(&self, headers: &HeaderMap) -> Outcome<Caller> {
        match self.identify(headers) {
            Some(caller) => Ok(caller),
            None if self.anonymous_storage => Ok(Caller::Anonymous),
            None if bearer(headers).is_some() => {
                Err(Refusal::unauthenticated("Invalid Credentials"))
            }
            None => Err(Refusal::login_required(
                "Anonymous caller does not have storage access to the Google Cloud Storage object. \
                 Permission denied on resource (or it may not exist).",
            )),
        }
    }

    /// Lets only the owner through: Cloud Run and Secret Manager.
    pub(crate) fn owner(&self, headers: &HeaderMap) -> Outcome<()> {
        match self.identify(headers) {
            Some(Caller::Owner) => Ok(()),
            Some(_) => Err(Refusal::forbidden(
                "Permission denied on resource (or it may not exist).",
            )),
            None => Err(Refusal::unauthenticated(
                "Request had invalid authentication credentials. Expected OAuth 2 access token, login cookie or \
                 other valid authentication credential. \
                 See https://developers.google.com/identity/sign-in/web/devconsole-project.",
            )),
        }
    }

    fn identify(&self, headers: &HeaderMap) -> Option<Caller> {
        let token = bearer(headers)?;
        if same(token, &self.owner) {
            Some(Caller::Owner)
        } else if same(token, &self.container) {
            Some(Caller::Container)
        } else {
            None
        }
    }
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// Compares in a time that does not tell where the difference lies. An empty token is nobody's.
fn same(given: &str, ours: &str) -> bool {
    if ours.is_empty() || given.len() != ours.len() {
        return false;
    }
    let pairs = given.bytes().zip(ours.bytes());
    pairs.fold(0, |difference, (a, b)| difference | (a ^ b)) == 0
}

/// Refuses what a browser might be tricked into sending: anything with an origin, and any host name that is not ours
/// (a foreign name may have been pointed at loopback).
pub(crate) fn check(target: &Uri, headers: &HeaderMap) -> Outcome<()> {
    if headers.contains_key(header::ORIGIN) {
        return Err(Refusal::forbidden("Requests from web pages are refused."));
    }
    // A target with a host in it is what is said to a proxy, and no web page can have us for one.
    let proxied = target.authority().map(Authority::host);
    let host = headers
        .get(header::HOST)
        .and_then(|value| value.to_str().ok());
    match proxied.or(host) {
        Some(host) if is_local(host) => Ok(()),
        Some(host) if proxied.is_some() && is_regional(host) => Ok(()),
        _ => Err(Refusal::forbidden(
            "Only requests to a loopback host are answered.",
        )),
    }
}

/// `run.test` or `REGION-run.test`: `gcloud run` puts the region before whatever host it is told, so it cannot be told a
/// loopback address, but one that does not exist and us as the proxy to it.
fn is_regional(host: &str) -> bool {
    host == "run.test" || host.ends_with("-run.test")
}

fn is_local(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    ["127.0.0.1", "localhost", "[::1]"]
        .iter()
        .any(|ours| name.eq_ignore_ascii_case(ours))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_loopback_names_are_local() {
        for host in [
            "127.0.0.1",
            "127.0.0.1:80",
            "localhost:8080",
            "LOCALHOST",
            "[::1]:9",
            "[::1]",
        ] {
            assert!(is_local(host), "{host}");
        }
        for host in [
            "127.0.0.1.evil.test",
            "evil.test:80",
            "",
            "localhost:80:80",
            "127.0.0.2",
            "localhost:x",
            "::1",
        ] {
            assert!(!is_local(host), "{host}");
        }
    }

    #[test]
    fn a_proxy_is_asked_for_our_hosts_only() {
        let said = |target: &str, host: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::HOST, host.parse().unwrap());
            check(&target.parse().unwrap(), &headers).is_ok()
        };
        assert!(said(
            "http://us-central1-run.test/apis",
            "us-central1-run.test"
        ));
        assert!(said("http://run.test/apis", "run.test"));
        assert!(said("http://127.0.0.1:80/apis", "127.0.0.1:80"));
        assert!(!said("/apis", "run.test"));
        assert!(!said("http://evil.test/apis", "127.0.0.1"));
        assert!(!said("http://run.test.evil.example/apis", "127.0.0.1"));
    }

    #[test]
    fn an_empty_token_is_nobodys() {
        assert!(!same("", ""));
        assert!(same("ab", "ab"));
        assert!(!same("ab", "ac"));
    }
}
