use std::error::Error;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use registry::{Added, Digest, Options, Progress, Reference, RegistryError, add};
use serde_json::{Value, json};
use wire::api::RetryConfig;
use wire::token::{StaticToken, Token};

use crate::server::Server;

pub(crate) const TOKEN: &str = "google-token";
/// `oauth2accesstoken:google-token`
pub(crate) const PASSWORD: &str = "Basic b2F1dGgyYWNjZXNzdG9rZW46Z29vZ2xlLXRva2Vu";

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// A base of two layers at one server, and where its image with the entrypoint shall go.
pub(crate) struct Case {
    pub(crate) base: Server,
    pub(crate) target: Server,
    pub(crate) layers: [Vec<u8>; 2],
    pub(crate) manifest: Digest,
    pub(crate) config: Digest,
    pub(crate) options: Options,
    pub(crate) told: Mutex<Vec<Progress>>,
}

impl Case {
    pub(crate) async fn new() -> Self {
        let base = Server::start().await;
        let target = Server::start().await;
        let layers = [b"first layer".to_vec(), b"second".repeat(100_000)];
        let ids: Vec<_> = layers
            .iter()
            .map(|layer| Digest::of(layer).to_string())
            .collect();
        let config = json!({"os": "linux", "architecture": "amd64", "rootfs": {"diff_ids": ids}});
        let config = config.to_string();
        for bytes in layers.iter().map(Vec::as_slice).chain([config.as_bytes()]) {
            base.store(
                "base",
                Digest::of(bytes).as_str(),
                "application/octet-stream",
                bytes,
            );
        }
        let kind = "application/vnd.oci.image.layer.v1.tar";
        let described = layers
            .iter()
            .map(|layer| descriptor(kind, layer))
            .collect::<Vec<_>>();
        let config_kind = "application/vnd.oci.image.config.v1+json";
        let manifest = json!({"schemaVersion": 2, "layers": described,
                              "config": descriptor(config_kind, config.as_bytes())})
        .to_string();
        base.store("base", "1", MANIFEST, manifest.as_bytes());
        let digest = Digest::of(manifest.as_bytes());
        base.store("base", digest.as_str(), MANIFEST, manifest.as_bytes());
        let retry = RetryConfig {
            retries: 3,
            budget: Duration::from_mins(1),
            first_pause: Duration::from_millis(1),
            longest_pause: Duration::from_millis(5),
        };
        Self {
            base,
            target,
            layers,
            manifest: digest,
            config: Digest::of(config.as_bytes()),
            options: Options {
                retry,
                ..Options::default()
            },
            told: Mutex::default(),
        }
    }

    pub(crate) fn with_tokens(mut self) -> Self {
        let token = Token::new(TOKEN, None);
        self.options.tokens = Some(Arc::new(StaticToken(token)));
        self
    }

    pub(crate) fn digest(&self, layer: usize) -> Digest {
        Digest::of(&self.layers[layer])
    }

    /// From the one server to the other.
    pub(crate) async fn add(&self) -> Result<Added, RegistryError> {
        let base = format!("{}/base:1", self.base.host);
        self.add_to(&base, &format!("{}/team/app:1", self.target.host))
            .await
    }

    /// Within the base's server.
    pub(crate) async fn add_near(&self) -> Result<Added, RegistryError> {
        let base = format!("{}/base:1", self.base.host);
        self.add_to(&base, &format!("{}/team/app:1", self.base.host))
            .await
    }

    pub(crate) async fn add_to(&self, base: &str, target: &str) -> Result<Added, RegistryError> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), elf()).unwrap();
        self.add_file(base, target, file.path()).await
    }

    pub(crate) async fn add_file(
        &self,
        base: &str,
        target: &str,
        file: &Path,
    ) -> Result<Added, RegistryError> {
        let reference = |text: &str| text.parse::<Reference>().unwrap();
        let (base, target) = (reference(base), reference(target));
        let mut tell = |progress| self.told.lock().unwrap().push(progress);
        let added = sendable(add(&base, &target, file, &self.options, &mut tell)).await;
        if let Err(error) = &added {
            let said = chain(error);
            assert!(!said.contains(TOKEN), "{said}");
        }
        added
    }
}

/// A program may do this on any of its threads.
fn sendable<T: Send>(future: T) -> T {
    future
}

/// All that an error says.
pub(crate) fn chain(error: &RegistryError) -> String {
    let mut said = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        said = format!("{said}: {cause}");
        next = cause.source();
    }
    said
}

pub(crate) fn descriptor(kind: &str, bytes: &[u8]) -> Value {
    json!({"mediaType": kind, "digest": Digest::of(bytes).as_str(), "size": bytes.len()})
}

/// The smallest file that passes for a static program.
fn elf() -> Vec<u8> {
    let mut file = vec![0; 64];
    file[..6].copy_from_slice(b"\x7fELF\x02\x01");
    file[18] = 62;
    file
}
