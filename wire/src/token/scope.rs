use url::{Host, Origin, Url};

/// Where a token may be sent.
#[derive(Debug, Clone)]
pub(super) enum Scope {
    /// `https://googleapis.com` and the hosts under it.
    Google,
    /// One scheme, host and port.
    Origin(Origin),
    /// To nobody.
    Nowhere,
}

impl Scope {
    pub(super) fn allows(&self, url: &Url) -> bool {
        match self {
            Self::Google => is_google(url),
            Self::Origin(origin) => origin.is_tuple() && url.origin() == *origin,
            Self::Nowhere => false,
        }
    }
}

/// Judges the parsed host, never the text.
pub(crate) fn is_google(url: &Url) -> bool {
    let Some(Host::Domain(host)) = url.host() else {
        return false;
    };
    url.scheme() == "https"
        && url.port().is_none()
        && (host == "googleapis.com" || host.ends_with(".googleapis.com"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Url {
        text.parse().unwrap()
    }

    #[test]
    fn google_is_google() {
        for good in [
            "https://storage.googleapis.com/storage/v1/b/x",
            "https://googleapis.com/",
            "https://run.googleapis.com:443/v2",
            "https://us-central1-run.googleapis.com/",
            "https://STORAGE.GoogleAPIs.com/",
        ] {
            assert!(Scope::Google.allows(&url(good)), "{good}");
        }
    }

    #[test]
    fn what_only_looks_like_google_is_not() {
        for bad in [
            "http://storage.googleapis.com/",
            "https://googleapis.com.evil.test/",
            "https://storage.googleapis.com.evil.test/",
            "https://evilgoogleapis.com/",
            "https://evil.test/#.googleapis.com",
            "https://evil.test/?x=.googleapis.com",
            "https://evil.test/storage.googleapis.com",
            "https://storage.googleapis.com@evil.test/",
            "https://storage.googleapis.com:443@evil.test/",
            "https://evil.test\\@storage.googleapis.com/",
            "https://storage.googleapis.com:8443/",
            "https://storage.googleapis.com./",
            "https://127.0.0.1/.googleapis.com",
            "ftp://storage.googleapis.com/",
            "wss://storage.googleapis.com/",
            "data:storage.googleapis.com",
            "https://storage.google\u{430}pis.com/",
        ] {
            assert!(!Scope::Google.allows(&url(bad)), "{bad}");
        }
    }

    #[test]
    fn an_origin_is_scheme_host_and_port() {
        let scope = Scope::Origin(url("http://127.0.0.1:4443/some/path").origin());
        assert!(scope.allows(&url("http://127.0.0.1:4443/storage/v1")));
        for bad in [
            "http://127.0.0.1:4444/",
            "http://127.0.0.1/",
            "https://127.0.0.1:4443/",
            "http://localhost:4443/",
            "http://127.0.0.2:4443/",
            "http://127.0.0.1:4443@evil.test/",
            "https://storage.googleapis.com/",
        ] {
            assert!(!scope.allows(&url(bad)), "{bad}");
        }
    }

    #[test]
    fn an_origin_that_is_none_allows_nothing() {
        let opaque = url("data:text/plain,x");
        assert!(!Scope::Origin(opaque.origin()).allows(&opaque));
        assert!(!Scope::Nowhere.allows(&url("https://storage.googleapis.com/")));
    }
}
