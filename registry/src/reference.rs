use std::fmt;
use std::str::FromStr;

use url::{Host, Url};

use crate::error::printable;
use crate::{Digest, RegistryError};

/// What registries accept, host apart.
const LONGEST_REPOSITORY: usize = 255;
const LONGEST_TAG: usize = 128;

/// An image in a registry: `HOST[:PORT]/REPOSITORY[:TAG][@DIGEST]`.
///
/// The host is never left out: there is no default registry. As with Docker, the tag is `latest` if neither tag nor
/// digest is given, and beside a digest it says nothing.
#[derive(Clone, PartialEq, Eq)]
pub struct Reference {
    root: Url,
    host: String,
    repository: String,
    tag: Option<String>,
    digest: Option<Digest>,
}

impl Reference {
    /// The registry, with its port if it has one.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The path within the registry.
    pub fn repository(&self) -> &str {
        &self.repository
    }

    /// The tag, if there is one.
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// The digest, if there is one.
    pub fn digest(&self) -> Option<&Digest> {
        self.digest.as_ref()
    }

    /// The image of this digest in the same repository.
    #[must_use]
    pub fn with_digest(&self, digest: Digest) -> Self {
        Self {
            tag: None,
            digest: Some(digest),
            ..self.clone()
        }
    }

    /// `https://HOST/`; plain http for this machine only.
    pub(crate) fn root(&self) -> &Url {
        &self.root
    }

    /// What stands behind `manifests/`.
    pub(crate) fn selector(&self) -> &str {
        match &self.digest {
            Some(digest) => digest.as_str(),
            None => self.tag.as_deref().unwrap_or("latest"),
        }
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.host, self.repository)?;
        if let Some(tag) = &self.tag {
            write!(formatter, ":{tag}")?;
        }
        match &self.digest {
            Some(digest) => write!(formatter, "@{digest}"),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for Reference {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Reference({self})")
    }
}

impl FromStr for Reference {
    type Err = RegistryError;

    fn from_str(text: &str) -> Result<Self, RegistryError> {
        parse(text).map_err(|(reason, hint)| RegistryError::Reference {
            given: printable(text),
            reason,
            hint,
        })
    }
}

type Wrong = (&'static str, String);

fn wrong(reason: &'static str, hint: &str) -> Wrong {
    (reason, hint.to_owned())
}

fn parse(text: &str) -> Result<Reference, Wrong> {
    const FORM: &str = "write `HOST/REPOSITORY:TAG` or `HOST/REPOSITORY@sha256:…`";
    if let Some((_, rest)) = text.split_once("://") {
        let hint = format!("write `{}`", printable(rest));
        return Err(("it begins with a scheme", hint));
    }
    let (named, digest) = match text.split_once('@') {
        Some((named, digest)) => {
            let digest = digest
                .parse()
                .map_err(|_| wrong("what follows the `@` is no SHA-256 digest", FORM))?;
            (named, Some(digest))
        }
        None => (text, None),
    };
    let (host, path) = split_host(named)?;
    let root =
        root(host).ok_or_else(|| wrong("its host is no host name with an optional port", FORM))?;
    let (repository, tag) = match path.rsplit_once(':') {
        Some((repository, tag)) => (repository, Some(tag)),
        None => (path, None),
    };
    check_repository(repository).map_err(|reason| (reason, FORM.to_owned()))?;
    if tag.is_some_and(|tag| !is_tag(tag)) {
        let reason = "a tag has letters, digits, `_`, `.` and `-`, 128 at most, and begins with none of the last two";
        return Err(wrong(reason, FORM));
    }
    let tag = tag.or(digest.is_none().then_some("latest"));
    Ok(Reference {
        root,
        host: host.to_ascii_lowercase(),
        repository: repository.to_owned(),
        tag: tag.map(str::to_owned),
        digest,
    })
}

/// By Docker's rule: a first component with a dot or a colon, or `localhost`, is a host.
fn split_host(named: &str) -> Result<(&str, &str), Wrong> {
    let is_host = |first: &str| first.contains(['.', ':']) || first == "localhost";
    match named.split_once('/') {
        Some((host, path)) if is_host(host) => Ok((host, path)),
        _ => {
            let hint = format!(
                "name the registry too, as in `HOST/{}`: none is assumed",
                printable(named)
            );
            Err(("its registry is missing", hint))
        }
    }
}

fn root(host: &str) -> Option<Url> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b".-:[]".contains(&byte);
    if !host.bytes().all(allowed) {
        return None;
    }
    let plain = Url::parse(&format!("http://{host}/")).ok()?;
    if plain.port() == Some(0) || plain.path() != "/" || host.ends_with(':') {
        return None;
    }
    if is_loopback(&plain) {
        return Some(plain);
    }
    Url::parse(&format!("https://{host}/")).ok()
}

/// Whether it is this machine: judged by the parsed host.
pub(crate) fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(host)) => host == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

fn check_repository(repository: &str) -> Result<(), &'static str> {
    if repository.bytes().any(|byte| byte.is_ascii_uppercase()) {
        return Err("a repository is in lower case");
    }
    if repository.len() > LONGEST_REPOSITORY {
        return Err("a repository has 255 characters at most");
    }
    if repository.split('/').all(is_component) {
        Ok(())
    } else {
        Err(
            "a repository has lower-case letters and digits, with single `.`, `_`, `__`, dashes or `/` between them",
        )
    }
}

/// `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*`
fn is_component(component: &str) -> bool {
    let alphanumeric = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let bytes = component.as_bytes();
    let ends = [bytes.first(), bytes.last()];
    if !ends.iter().all(|end| end.is_some_and(|&b| alphanumeric(b))) {
        return false;
    }
    let separators = component.split(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit());
    separators
        .filter(|separator| !separator.is_empty())
        .all(|s| matches!(s, "." | "_" | "__") || s.bytes().all(|byte| byte == b'-'))
}

fn is_tag(tag: &str) -> bool {
    let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    tag.len() <= LONGEST_TAG
        && tag.bytes().next().is_some_and(word)
        && tag.bytes().all(|byte| word(byte) || b".-".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reference(text: &str) -> Reference {
        text.parse().unwrap()
    }

    #[test]
    fn all_its_parts_are_found() {
        let digest = Digest::of(b"x");
        let full = format!("Registry.Test:5000/a/b-c/d__e.f:v1.0@{digest}");
        let got = reference(&full);
        assert_eq!(got.host(), "registry.test:5000");
        assert_eq!(got.repository(), "a/b-c/d__e.f");
        assert_eq!(got.tag(), Some("v1.0"));
        assert_eq!(got.selector(), digest.as_str());
        assert_eq!(got.to_string(), full.to_lowercase());
        assert_eq!(got.root().as_str(), "https://registry.test:5000/");
    }

    #[test]
    fn the_tag_is_latest_where_nothing_is_said() {
        assert_eq!(reference("r.test/a").selector(), "latest");
        assert_eq!(reference("r.test/a").to_string(), "r.test/a:latest");
        let digest = format!("r.test/a@{}", Digest::of(b"x"));
        assert_eq!(reference(&digest).tag(), None);
    }

    #[test]
    fn only_this_machine_is_spoken_to_in_plain_http() {
        for loopback in [
            "localhost/a",
            "127.0.0.1:5000/a",
            "[::1]:5000/a",
            "127.9.9.9/a",
        ] {
            assert_eq!(reference(loopback).root().scheme(), "http", "{loopback}");
        }
        for far in [
            "localhost.evil.test/a",
            "127.0.0.1.evil.test/a",
            "10.0.0.1:5000/a",
        ] {
            assert_eq!(reference(far).root().scheme(), "https", "{far}");
        }
    }

    #[test]
    fn a_missing_registry_is_asked_for() {
        for short in ["python", "python:3.13", "library/python", "team/app:v1"] {
            let error = short.parse::<Reference>().unwrap_err();
            assert!(error.to_string().contains("registry is missing"), "{error}");
            assert!(error.hint().unwrap().contains(&format!("HOST/{short}")));
        }
    }

    #[test]
    fn what_no_registry_accepts_is_refused() {
        let long = format!("r.test/{}", "a".repeat(256));
        for bad in [
            "",
            "/",
            "r.test/",
            "r.test/a//b",
            "r.test/../a",
            "r.test/A",
            "r.test/a b",
            "r.test/a?x=1",
            "r.test/a#b",
            "r.test/a%2fb",
            "r.test/a:",
            "r.test/a:-x",
            "r.test/a:b:c",
            "r.test/a:x/y",
            "r.test/-a",
            "r.test/a.",
            "r.test/a..b",
            "r.test/a___b",
            "r.test/a@",
            "r.test/a@md5:00",
            "https://r.test/a",
            "user@r.test/a",
            "r.test:x/a",
            "r.test:0/a",
            "r.test:/a",
            "r.te$t/a",
            "r\u{e9}.test/a",
            "r.test\n/a",
            &long,
        ] {
            let error = bad.parse::<Reference>().unwrap_err();
            let said = error.to_string();
            assert!(!said.contains('\n'), "{said}");
            assert!(error.hint().is_some(), "{said}");
        }
    }

    #[test]
    fn a_scheme_is_taken_out_in_the_hint() {
        let error = "https://r.test/a:1".parse::<Reference>().unwrap_err();
        assert_eq!(error.hint(), Some("write `r.test/a:1`"));
    }
}
