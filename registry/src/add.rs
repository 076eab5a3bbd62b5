use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderValue, Method, header};
use wire::api::{ApiError, ErrorKind, RetryConfig, http_client};
use wire::token::TokenSource;

use crate::blob::{Blob, check_header};
use crate::client::Registry;
use crate::config::Config;
use crate::layer::{Layer, read_entrypoint};
use crate::manifest::{ACCEPTED, Document, Manifest, choose};
use crate::upload::{Arrival, Source, Tell};
use crate::{Digest, Progress, Reference, RegistryError, Warning};

/// No registry takes a longer manifest.
const MANIFEST_LIMIT: u64 = 4 << 20;

/// Configs have some kilobytes.
const CONFIG_LIMIT: u64 = 8 << 20;

/// What the caller may decide.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Google's access tokens, for registries of Google's: `https://*.pkg.dev`, `https://gcr.io` and hosts under it.
    pub tokens: Option<Arc<dyn TokenSource>>,
    /// Whether a registry of this machine gets the tokens too.
    pub tokens_to_loopback: bool,
    /// How long to try each step.
    pub retry: RetryConfig,
}

/// An image with the entrypoint, in its repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Added {
    /// Of its manifest.
    pub digest: Digest,
    /// The image by its digest, as a job should name it.
    pub reference: Reference,
    /// The base by the digest of the one image that was chosen.
    pub base: Reference,
    /// Of config and layers as they are stored, in bytes.
    pub size: u64,
    /// How many blobs were not sent, because they were there, or the registry could take them over.
    pub reused_blobs: usize,
    /// How many blobs were sent.
    pub sent_blobs: usize,
    /// What of the base no longer holds.
    pub warnings: Vec<Warning>,
}

/// Puts the entrypoint into an image: base, one more layer, another config, into the target's repository.
///
/// `target` names a repository and a tag, not a digest. `entrypoint` is the static binary's file. Nothing is sent
/// before everything that can be wrong has been looked at. The same base and entrypoint give the same digest.
pub async fn add(
    base: &Reference,
    target: &Reference,
    entrypoint: &Path,
    options: &Options,
    progress: &mut (dyn FnMut(Progress) + Send),
) -> Result<Added, RegistryError> {
    check_target(target)?;
    let binary = read_entrypoint(entrypoint)?;
    let (from, to) = registries(base, target, options)?;
    from.greet().await?;
    let (base, manifest) = from.image().await?;
    let body = from.small_blob(&manifest.config, CONFIG_LIMIT).await?;
    let mut config = Config::parse(&base.to_string(), &body, manifest.layers.len())?;
    let layer = Layer::new(&binary, config.user().is_some())?;
    let warnings = config.extend(&layer.diff_id);
    let config = Bytes::from(config.to_bytes());
    let config_blob = Blob {
        digest: Digest::of(&config),
        size: config.len() as u64,
    };
    to.greet().await?;
    let mut push = Push::new(&to, progress);
    push.base(&from, &base, &manifest).await?;
    push.memory(&layer.blob, layer.bytes).await?;
    push.memory(&config_blob, config).await?;
    let digest = base.digest().cloned().unwrap_or_else(|| Digest::of(b""));
    let extended = manifest.extended(&digest, &config_blob, &layer.blob);
    let digest = to.put_manifest(manifest.media_type, extended).await?;
    let all = manifest.layers.iter().chain([&layer.blob, &config_blob]);
    Ok(Added {
        reference: target.with_digest(digest.clone()),
        digest,
        base,
        size: all.map(|blob| blob.size).sum(),
        reused_blobs: push.reused,
        sent_blobs: push.sent,
        warnings,
    })
}

/// The same image by its digest, which a tag's owner cannot move. One that has a digest is not asked for.
pub async fn resolve(image: &Reference, options: &Options) -> Result<Reference, RegistryError> {
    if image.digest().is_some() {
        return Ok(image.clone());
    }
    let pull = vec![format!("repository:{}:pull", image.repository())];
    let registry = Registry::new(http()?, image, pull, options);
    registry.greet().await?;
    registry.image().await.map(|(image, _)| image)
}

/// Whether the registry has it still. An error is that the registry did not say so: it cannot be reached, or may not be
/// asked.
pub async fn is_there(image: &Reference, options: &Options) -> Result<bool, RegistryError> {
    let pull = vec![format!("repository:{}:pull", image.repository())];
    let registry = Registry::new(http()?, image, pull, options);
    registry.greet().await?;
    let path = format!("manifests/{}", image.selector());
    let mut call = registry.call(format!("cannot look for `{image}`"), Method::HEAD, &path);
    let accepted = HeaderValue::from_static(ACCEPTED);
    call.headers.insert(header::ACCEPT, accepted);
    match registry.send(&call).await {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

fn http() -> Result<reqwest::Client, ApiError> {
    http_client().map_err(|source| {
        ApiError::new("cannot set up an HTTP client", ErrorKind::Invalid).with_source(source)
    })
}

fn check_target(target: &Reference) -> Result<(), RegistryError> {
    if target.digest().is_none() {
        return Ok(());
    }
    Err(RegistryError::Reference {
        given: target.to_string(),
        reason: "what is made has a digest of its own",
        hint: format!("write `{}/{}:TAG`", target.host(), target.repository()),
    })
}

fn registries(
    base: &Reference,
    target: &Reference,
    options: &Options,
) -> Result<(Registry, Registry), RegistryError> {
    let http = http()?;
    let pull = format!("repository:{}:pull", base.repository());
    let mut push = vec![format!("repository:{}:pull,push", target.repository())];
    let near = base.host() == target.host();
    if near && base.repository() != target.repository() {
        push.push(pull.clone());
    }
    let from = Registry::new(http.clone(), base, vec![pull], options);
    let to = Registry::new(http, target, push, options);
    Ok((from, to))
}

impl Registry {
    /// The one image that is meant, by its digest.
    async fn image(&self) -> Result<(Reference, Manifest), RegistryError> {
        let (digest, document) = self.document(&self.image).await?;
        let entries = match document {
            Document::Image(manifest) => return Ok((self.image.with_digest(digest), manifest)),
            Document::Index(entries) => entries,
        };
        let chosen = choose(&self.image.to_string(), &entries)?;
        let image = self.image.with_digest(chosen.digest);
        match self.document(&image).await? {
            (_, Document::Image(manifest)) => Ok((image, manifest)),
            (_, Document::Index(_)) => Err(RegistryError::Unsupported {
                image: image.to_string(),
                reason: "its index holds an index".to_owned(),
            }),
        }
    }

    async fn document(&self, image: &Reference) -> Result<(Digest, Document), RegistryError> {
        let path = format!("manifests/{}", image.selector());
        let mut call = self.call(format!("cannot read `{image}`"), Method::GET, &path);
        let accepted = HeaderValue::from_static(ACCEPTED);
        call.headers.insert(header::ACCEPT, accepted);
        let (headers, body) = self.fetch(&call, MANIFEST_LIMIT).await?;
        let actual = Digest::of(&body);
        let what = format!("the manifest of `{image}`");
        check_header(&what, &headers, &actual)?;
        if let Some(expected) = image.digest().filter(|expected| **expected != actual) {
            return Err(RegistryError::Digest {
                what,
                expected: expected.to_string(),
                actual: actual.to_string(),
            });
        }
        let kind = headers.get(header::CONTENT_TYPE);
        let kind = kind.and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        Ok((actual, Document::parse(&image.to_string(), kind, &body)?))
    }

    async fn put_manifest(&self, kind: &'static str, body: Bytes) -> Result<Digest, RegistryError> {
        let digest = Digest::of(&body);
        let path = format!("manifests/{}", self.image.selector());
        let mut call = self.call(format!("cannot push `{}`", self.image), Method::PUT, &path);
        let kind = HeaderValue::from_static(kind);
        call.headers.insert(header::CONTENT_TYPE, kind);
        call.body = body;
        let response = self.send(&call).await?;
        check_header("the pushed manifest", response.headers(), &digest)?;
        Ok(digest)
    }
}

/// What has been pushed so far.
struct Push<'a> {
    to: &'a Registry,
    tell: Tell<'a>,
    reused: usize,
    sent: usize,
}

impl<'a> Push<'a> {
    fn new(to: &'a Registry, tell: Tell<'a>) -> Self {
        Self {
            to,
            tell,
            reused: 0,
            sent: 0,
        }
    }

    /// The layers of the base, each once: images often have the same empty layer several times.
    async fn base(
        &mut self,
        from: &Registry,
        base: &Reference,
        manifest: &Manifest,
    ) -> Result<(), RegistryError> {
        let mut seen = HashSet::new();
        let layers = manifest.layers.iter();
        let layers: Vec<_> = layers.filter(|layer| seen.insert(&layer.digest)).collect();
        if let Some(digest) = base.digest() {
            (self.tell)(Progress::Base {
                digest: digest.clone(),
                layers: layers.len(),
                size: layers.iter().map(|layer| layer.size).sum(),
            });
        }
        let near = base.host() == self.to.image.host();
        let mount = near.then(|| base.repository());
        for layer in layers {
            self.blob(layer, &Source::Registry(from), mount).await?;
        }
        Ok(())
    }

    async fn memory(&mut self, blob: &Blob, bytes: Bytes) -> Result<(), RegistryError> {
        self.blob(blob, &Source::Memory(bytes), None).await
    }

    async fn blob(
        &mut self,
        blob: &Blob,
        source: &Source<'_>,
        mount: Option<&str>,
    ) -> Result<(), RegistryError> {
        let how = self.to.put_blob(blob, source, mount, self.tell).await?;
        match how {
            Arrival::Sent => self.sent += 1,
            Arrival::Present | Arrival::Mounted => self.reused += 1,
        }
        (self.tell)(Progress::Arrived {
            digest: blob.digest.clone(),
            size: blob.size,
            how,
        });
        Ok(())
    }
}
