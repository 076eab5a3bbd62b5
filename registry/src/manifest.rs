use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::blob::Blob;
use crate::error::printable;
use crate::{Digest, RegistryError};

pub(crate) const ACCEPTED: &str = "application/vnd.oci.image.index.v1+json, \
    application/vnd.docker.distribution.manifest.list.v2+json, application/vnd.oci.image.manifest.v1+json, \
    application/vnd.docker.distribution.manifest.v2+json";

const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
const DOCKER_INDEX: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
const DOCKER_CONFIG: &str = "application/vnd.docker.container.image.v1+json";
const DOCKER_LAYER: &str = "application/vnd.docker.image.rootfs.diff.tar.gzip";
const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
const OCI_CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const OCI_LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";

const BASE_DIGEST: &str = "org.opencontainers.image.base.digest";
/// The name that goes with it; the base may have one of its own base's.
const BASE_NAME: &str = "org.opencontainers.image.base.name";

/// What a registry has under an image's name.
#[derive(Debug)]
pub(crate) enum Document {
    Image(Manifest),
    Index(Vec<Descriptor>),
}

/// One image: a config and layers.
#[derive(Debug)]
pub(crate) struct Manifest {
    json: Map<String, Value>,
    pub(crate) media_type: &'static str,
    pub(crate) config: Blob,
    pub(crate) layers: Vec<Blob>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Descriptor {
    #[serde(default)]
    media_type: String,
    digest: String,
    size: u64,
    #[serde(default)]
    platform: Option<Platform>,
}

#[derive(Debug, Deserialize)]
struct Platform {
    #[serde(default)]
    os: String,
    #[serde(default)]
    architecture: String,
    #[serde(default)]
    variant: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Outline {
    #[serde(default)]
    media_type: Option<String>,
    #[serde(default)]
    config: Option<Descriptor>,
    #[serde(default)]
    layers: Option<Vec<Descriptor>>,
    #[serde(default)]
    manifests: Option<Vec<Descriptor>>,
}

impl Document {
    /// `image`: for errors. `content_type`: what the registry says it is, which the document itself may overrule.
    pub(crate) fn parse(
        image: &str,
        content_type: &str,
        body: &[u8],
    ) -> Result<Self, RegistryError> {
        let unsupported = |reason: String| RegistryError::Unsupported {
            image: image.to_owned(),
            reason,
        };
        let parsed = serde_json::from_slice::<Outline>(body);
        let parsed =
            parsed.map_err(|error| unsupported(format!("its manifest is unreadable: {error}")))?;
        let content_type = content_type.split(';').next().unwrap_or_default().trim();
        let kind = parsed.media_type.as_deref().unwrap_or(content_type);
        match (kind, parsed.manifests, parsed.config, parsed.layers) {
            (OCI_INDEX | DOCKER_INDEX, Some(entries), None, None) => Ok(Self::Index(entries)),
            (OCI_MANIFEST, None, Some(config), Some(layers)) => {
                Manifest::new(body, OCI_MANIFEST, &config, &layers)
                    .map(Self::Image)
                    .map_err(unsupported)
            }
            (DOCKER_MANIFEST, None, Some(config), Some(layers)) => {
                Manifest::new(body, DOCKER_MANIFEST, &config, &layers)
                    .map(Self::Image)
                    .map_err(unsupported)
            }
            (OCI_MANIFEST | DOCKER_MANIFEST | OCI_INDEX | DOCKER_INDEX, ..) => {
                Err(unsupported(format!("its manifest is no `{kind}`")))
            }
            _ => {
                let kind = printable(kind);
                Err(unsupported(format!(
                    "its manifest's type `{kind}` is unknown or outdated"
                )))
            }
        }
    }
}

/// Of an index, the image for Cloud Run's machines. Attestations stand in an index as images of an unknown platform.
pub(crate) fn choose(image: &str, entries: &[Descriptor]) -> Result<Blob, RegistryError> {
    let ours = entries.iter().filter(|entry| entry.is_ours());
    // A later variant needs a later processor.
    let best = ours.min_by_key(|entry| entry.platform.as_ref().map(|p| p.variant.clone()));
    if let Some(entry) = best {
        return entry.blob();
    }
    let mut available: Vec<_> = entries.iter().filter_map(Descriptor::platform).collect();
    available.sort();
    available.dedup();
    Err(RegistryError::Platform {
        image: image.to_owned(),
        available,
    })
}

/// What runs on Cloud Run.
pub(crate) fn is_ours(os: &str, architecture: &str) -> bool {
    (os, architecture) == ("linux", "amd64")
}

impl Descriptor {
    fn is_ours(&self) -> bool {
        let platform = self.platform.as_ref();
        platform.is_some_and(|platform| is_ours(&platform.os, &platform.architecture))
    }

    fn platform(&self) -> Option<String> {
        let platform = self.platform.as_ref()?;
        let mut text = format!("{}/{}", platform.os, platform.architecture);
        if !platform.variant.is_empty() {
            text = format!("{text}/{}", platform.variant);
        }
        (text != "unknown/unknown").then(|| printable(&text))
    }

    fn blob(&self) -> Result<Blob, RegistryError> {
        Ok(Blob {
            digest: self.digest.parse()?,
            size: self.size,
        })
    }
}

impl Manifest {
    fn new(
        body: &[u8],
        media_type: &'static str,
        config: &Descriptor,
        layers: &[Descriptor],
    ) -> Result<Self, String> {
        if ![DOCKER_CONFIG, OCI_CONFIG].contains(&config.media_type.as_str()) {
            let kind = printable(&config.media_type);
            return Err(format!(
                "it is no container image: its config is a `{kind}`"
            ));
        }
        // Layers that a registry does not hold itself: Windows, whose images we cannot use anyway.
        let elsewhere = ["foreign", "nondistributable"];
        let strange =
            |layer: &&Descriptor| elsewhere.iter().any(|word| layer.media_type.contains(word));
        if let Some(layer) = layers.iter().find(strange) {
            let kind = printable(&layer.media_type);
            return Err(format!("a layer is kept elsewhere (`{kind}`)"));
        }
        let blob = |descriptor: &Descriptor| descriptor.blob().map_err(|error| error.to_string());
        Ok(Self {
            json: serde_json::from_slice(body).map_err(|error| error.to_string())?,
            media_type,
            config: blob(config)?,
            layers: layers.iter().map(blob).collect::<Result<_, _>>()?,
        })
    }

    /// The same image with another config and one more layer; all else stays as it is.
    pub(crate) fn extended(&self, base: &Digest, config: &Blob, layer: &Blob) -> Bytes {
        let is_oci = self.media_type == OCI_MANIFEST;
        let (config_type, layer_type) = if is_oci {
            (OCI_CONFIG, OCI_LAYER)
        } else {
            (DOCKER_CONFIG, DOCKER_LAYER)
        };
        let mut json = self.json.clone();
        json.insert("mediaType".to_owned(), self.media_type.into());
        json.insert("config".to_owned(), descriptor(config_type, config));
        // What the base was attached to, this image is not.
        json.remove("subject");
        if let Some(layers) = json.get_mut("layers").and_then(Value::as_array_mut) {
            layers.push(descriptor(layer_type, layer));
        }
        if is_oci {
            let annotations = json.entry("annotations").or_insert_with(|| json!({}));
            if let Some(annotations) = annotations.as_object_mut() {
                annotations.remove(BASE_NAME);
                annotations.insert(BASE_DIGEST.to_owned(), base.as_str().into());
            }
        }
        Value::Object(json).to_string().into()
    }
}

fn descriptor(media_type: &str, blob: &Blob) -> Value {
    json!({"mediaType": media_type, "digest": blob.digest.as_str(), "size": blob.size})
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blob(text: &str) -> Blob {
        Blob {
            digest: Digest::of(text.as_bytes()),
            size: text.len() as u64,
        }
    }

    fn entry(os: &str, architecture: &str, variant: &str) -> Descriptor {
        let name = format!("{os}{architecture}{variant}");
        let platform = json!({"os": os, "architecture": architecture, "variant": variant});
        let mut json = descriptor(OCI_MANIFEST, &blob(&name));
        json["platform"] = platform;
        serde_json::from_value(json).unwrap()
    }

    #[test]
    fn the_least_demanding_image_is_chosen() {
        let entries = [
            entry("unknown", "unknown", ""),
            entry("linux", "arm64", "v8"),
            entry("linux", "amd64", "v3"),
            entry("linux", "amd64", ""),
            entry("windows", "amd64", ""),
        ];
        let expected = blob("linuxamd64").digest;
        assert_eq!(choose("i", &entries).unwrap().digest, expected);
        let error = choose("i", &entries[..2]).unwrap_err().to_string();
        assert_eq!(
            error,
            "`i` has no image for linux/amd64, only for `linux/arm64/v8`"
        );
    }

    fn extended(media_type: &str, config: &str) -> Value {
        let base = json!({
            "schemaVersion": 2, "mediaType": media_type, "config": descriptor(config, &blob("old")),
            "layers": [], "annotations": {"kept": "yes", BASE_NAME: ""}, "subject": descriptor("s", &blob("s")), "x-unknown": [1],
        });
        let body = base.to_string();
        let Document::Image(manifest) = Document::parse("i", "ignored", body.as_bytes()).unwrap()
        else {
            panic!("{body}")
        };
        let bytes = manifest.extended(&blob("base").digest, &blob("config"), &blob("layer"));
        serde_json::from_slice(&bytes).unwrap()
    }

    #[test]
    fn only_what_must_change_changes() {
        let got = extended(OCI_MANIFEST, OCI_CONFIG);
        let digest = blob("base").digest;
        let expected = json!({
            "schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": descriptor(OCI_CONFIG, &blob("config")),
            "layers": [descriptor(OCI_LAYER, &blob("layer"))],
            "annotations": {"kept": "yes", BASE_DIGEST: digest.as_str()}, "x-unknown": [1],
        });
        assert_eq!(got, expected);
        let docker = extended(DOCKER_MANIFEST, DOCKER_CONFIG);
        assert_eq!(
            docker["layers"],
            json!([descriptor(DOCKER_LAYER, &blob("layer"))])
        );
        assert_eq!(docker["annotations"], json!({"kept": "yes", BASE_NAME: ""}));
    }
}
