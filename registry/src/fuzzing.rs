//! What the fuzz target reaches, and nobody else.

use http::{HeaderMap, HeaderValue, header};

use crate::blob::Blob;
use crate::challenge::Challenge;
use crate::config::Config;
use crate::manifest::{Document, choose};
use crate::{Digest, Reference, RegistryError};

/// Where an image's registry is spoken to.
pub fn root(image: &Reference) -> String {
    image.root().to_string()
}

/// Realm and service of the bearer's challenge that is met, if one is.
pub fn bearer(lines: &[&[u8]]) -> Option<(String, Option<String>)> {
    let mut headers = HeaderMap::new();
    for line in lines {
        if let Ok(value) = HeaderValue::from_bytes(line) {
            headers.append(header::WWW_AUTHENTICATE, value);
        }
    }
    match Challenge::of(&headers)? {
        Challenge::Bearer { realm, service } => Some((realm, service)),
        Challenge::Basic => None,
    }
}

/// The number of an image's layers and its manifest with one more; `None` for an index that has an image for us.
pub fn manifest(
    content_type: &str,
    body: &[u8],
) -> Result<Option<(usize, Vec<u8>)>, RegistryError> {
    match Document::parse("image", content_type, body)? {
        Document::Index(entries) => choose("image", &entries).map(|_| None),
        Document::Image(manifest) => {
            let blob = |text: &str| Blob {
                digest: Digest::of(text.as_bytes()),
                size: 1,
            };
            let base = Digest::of(b"base");
            let extended = manifest.extended(&base, &blob("config"), &blob("layer"));
            Ok(Some((manifest.layers.len(), extended.to_vec())))
        }
    }
}

/// A config with one more layer.
pub fn config(body: &[u8], layers: usize) -> Result<Vec<u8>, RegistryError> {
    let mut config = Config::parse("image", body, layers)?;
    let warnings = config.extend(&Digest::of(b"layer"));
    for warning in warnings {
        assert!(!warning.to_string().contains(char::is_control));
    }
    Ok(config.to_bytes())
}
