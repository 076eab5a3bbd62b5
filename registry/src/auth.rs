use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderValue, Method, header};
use serde::Deserialize;
use url::{Host, Url};
use wire::api::ErrorKind;
use wire::token::{Token, TokenError, Tokens};

use crate::Options;
use crate::challenge::Challenge;
use crate::client::{Call, Registry};
use crate::connection::{broken, read, watched};
use crate::reference::is_loopback;
use crate::retry::Failure;

/// The name that goes with an access token where Google's registries want a name and a password.
const USER: &str = "oauth2accesstoken";

/// Tokens have some kilobytes.
const ANSWER_LIMIT: u64 = 256 * 1024;

/// What a token server answers.
#[derive(Deserialize)]
struct Granted {
    token: Option<String>,
    access_token: Option<String>,
}

/// Google's tokens for a registry of Google's, or of this machine if the caller says so; for others none.
pub(crate) fn tokens(root: &Url, options: &Options) -> Option<Tokens> {
    let allowed = is_google(root) || (options.tokens_to_loopback && is_loopback(root));
    let source = options.tokens.as_ref().filter(|_| allowed)?;
    Some(Tokens::origin(root, Arc::clone(source)))
}

/// Whether it is a registry of Google's: judged by the parsed host.
pub(crate) fn is_google(url: &Url) -> bool {
    let Some(Host::Domain(host)) = url.host() else {
        return false;
    };
    let google = host == "gcr.io" || host.ends_with(".gcr.io") || host.ends_with(".pkg.dev");
    google && url.scheme() == "https" && url.port().is_none()
}

impl Registry {
    /// Gets what the registry wants to see, and keeps it for the calls to come.
    pub(crate) async fn meet(&self, call: &Call, challenge: Challenge) -> Result<(), Failure> {
        let value = match challenge {
            Challenge::Basic => self.password(call, self.image.root()).await?,
            Challenge::Bearer { realm, service } => {
                Some(self.bearer(call, &realm, service.as_deref()).await?)
            }
        };
        let mut authorization = self.authorization.lock().await;
        *authorization = value;
        Ok(())
    }

    /// Name and password, if they may go to `url`.
    async fn password(&self, call: &Call, url: &Url) -> Result<Option<HeaderValue>, Failure> {
        let token = self.tokens.token_for(url).await;
        let token = token.map_err(|error| no_token(call, error))?;
        token.map(|token| basic(call, &token)).transpose()
    }

    /// Asks the token server, which knows us only if it is the registry itself.
    async fn bearer(
        &self,
        call: &Call,
        realm: &str,
        service: Option<&str>,
    ) -> Result<HeaderValue, Failure> {
        let mut url = Url::parse(realm).map_err(|error| {
            let error = call.fail(ErrorKind::Protocol).with_source(error);
            Failure::last(error)
        })?;
        self.check_destination(&url)?;
        url.set_fragment(None);
        let password = self.password(call, &url).await?;
        let scopes = self.scopes.iter().map(|scope| ("scope", scope.as_str()));
        let queries = service.map(|name| ("service", name)).into_iter();
        url.query_pairs_mut().extend_pairs(queries.chain(scopes));
        let host = self.image.host();
        let action = format!("cannot get a token for `{host}`");
        let mut ask = Call::new(action, Method::GET, url);
        ask.headers
            .extend(password.map(|value| (header::AUTHORIZATION, value)));
        let mut request = self.http.get(ask.url.clone());
        request = request.headers(ask.headers.clone());
        let response = watched(request, None).await;
        let response = response.map_err(|cause| broken(&ask, cause))?;
        if !response.status().is_success() {
            return Err(self.refused(&ask, response).await);
        }
        granted(&ask, &read(&ask, response, ANSWER_LIMIT).await?)
    }
}

fn granted(ask: &Call, body: &[u8]) -> Result<HeaderValue, Failure> {
    // The cause would quote the answer, and so perhaps a token.
    let unreadable = || {
        Failure::last(
            ask.fail(ErrorKind::Protocol)
                .with_source("the answer holds no token"),
        )
    };
    let answer: Granted = serde_json::from_slice(body).map_err(|_| unreadable())?;
    let token = answer.token.or(answer.access_token);
    let token = token
        .filter(|token| !token.is_empty())
        .ok_or_else(unreadable)?;
    let mut value = HeaderValue::try_from(format!("Bearer {token}")).map_err(|_| unreadable())?;
    value.set_sensitive(true);
    Ok(value)
}

fn basic(call: &Call, token: &Token) -> Result<HeaderValue, Failure> {
    let pair = STANDARD.encode(format!("{USER}:{}", token.secret()));
    let mut value = HeaderValue::try_from(format!("Basic {pair}")).map_err(|_| {
        let error = call.fail(ErrorKind::Unauthenticated);
        Failure::last(error)
    })?;
    value.set_sensitive(true);
    Ok(value)
}

fn no_token(call: &Call, error: TokenError) -> Failure {
    let again = error.transient;
    let hint = error.hint.clone();
    let mut failed = call.fail(ErrorKind::Unauthenticated).with_source(error);
    failed.hint = hint;
    Failure {
        again,
        ..Failure::last(failed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_googles_registries_are_googles() {
        let is = |text: &str| is_google(&text.parse().unwrap());
        for good in [
            "https://us-docker.pkg.dev/v2/",
            "https://gcr.io/",
            "https://eu.gcr.io:443/",
            "https://US-docker.PKG.dev/",
        ] {
            assert!(is(good), "{good}");
        }
        for bad in [
            "http://us-docker.pkg.dev/",
            "https://pkg.dev.evil.test/",
            "https://evilpkg.dev/",
            "https://evilgcr.io/",
            "https://us-docker.pkg.dev:8443/",
            "https://us-docker.pkg.dev@evil.test/",
            "https://evil.test/x.pkg.dev",
            "https://us-docker.pkg.dev./",
            "https://127.0.0.1/",
        ] {
            assert!(!is(bad), "{bad}");
        }
    }
}
