use std::io::Write;

use registry::Digest;
use reqwest::{Client, Method};
use serde_json::{Value, json};

use crate::server::TOKEN;

/// A base in the making.
pub(crate) struct Base {
    pub(crate) client: Client,
    pub(crate) host: String,
    pub(crate) repository: String,
    /// Who runs the image's commands; nobody named is root.
    pub(crate) user: String,
}

/// Media types of manifest, config and layer, and of an index.
#[derive(Clone, Copy)]
pub(crate) struct Types(pub(crate) [&'static str; 4]);

pub(crate) const OCI: Types = Types([
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.oci.image.config.v1+json",
    "application/vnd.oci.image.layer.v1.tar+gzip",
    "application/vnd.oci.image.index.v1+json",
]);

pub(crate) const DOCKER: Types = Types([
    "application/vnd.docker.distribution.manifest.v2+json",
    "application/vnd.docker.container.image.v1+json",
    "application/vnd.docker.image.rootfs.diff.tar.gzip",
    "application/vnd.docker.distribution.manifest.list.v2+json",
]);

impl Base {
    pub(crate) fn new(host: &str, repository: &str) -> Self {
        Self {
            client: wire::api::http_client().unwrap(),
            host: host.to_owned(),
            repository: repository.to_owned(),
            user: String::new(),
        }
    }

    pub(crate) async fn call(
        &self,
        method: Method,
        path: &str,
        kind: &str,
        body: Vec<u8>,
    ) -> reqwest::Response {
        let url = format!("http://{}/v2/{}/{path}", self.host, self.repository);
        let url = if path.starts_with("http") {
            path.to_owned()
        } else {
            url
        };
        let request = self.client.request(method, url);
        let request = request.header("content-type", kind).header("accept", kind);
        let request = request
            .basic_auth("oauth2accesstoken", Some(TOKEN))
            .body(body);
        let response = request.send().await.unwrap();
        let status = response.status();
        assert!(
            status.is_success(),
            "{path}: {}",
            response.text().await.unwrap()
        );
        response
    }

    pub(crate) async fn blob(&self, bytes: &[u8]) -> String {
        let digest = Digest::of(bytes).to_string();
        let begun = self
            .call(Method::POST, "blobs/uploads/", "", Vec::new())
            .await;
        let session = begun.headers()["location"].to_str().unwrap();
        let url = format!("{session}&digest={digest}");
        let kind = "application/octet-stream";
        self.call(Method::PUT, &url, kind, bytes.to_vec()).await;
        digest
    }

    pub(crate) async fn manifest(&self, name: &str, json: &Value) -> String {
        let kind = json["mediaType"].as_str().unwrap();
        let body = json.to_string().into_bytes();
        let digest = Digest::of(&body).to_string();
        self.call(Method::PUT, &format!("manifests/{name}"), kind, body)
            .await;
        digest
    }

    /// An image of these layers, each a media type and gzipped tar, for this architecture.
    pub(crate) async fn image(
        &self,
        types: Types,
        tag: &str,
        architecture: &str,
        layers: &[(&str, Vec<u8>)],
    ) -> Value {
        let mut descriptors = Vec::new();
        for (kind, bytes) in layers {
            let digest = self.blob(bytes).await;
            descriptors.push(json!({"mediaType": kind, "digest": digest, "size": bytes.len()}));
        }
        let ids: Vec<_> = layers.iter().map(|(_, bytes)| diff_id(bytes)).collect();
        let config = json!({
            "os": "linux", "architecture": architecture, "rootfs": {"type": "layers", "diff_ids": ids},
            "config": {"Env": ["PATH=/bin:/usr/local/bin", "KEPT=yes"], "Cmd": ["/bin/sh"], "User": self.user},
        });
        let config = config.to_string();
        let digest = self.blob(config.as_bytes()).await;
        let manifest = json!({
            "schemaVersion": 2, "mediaType": types.0[0], "layers": descriptors,
            "config": {"mediaType": types.0[1], "digest": digest, "size": config.len()},
        });
        self.manifest(tag, &manifest).await;
        manifest
    }

    pub(crate) async fn get(&self, path: &str, kind: &str) -> Vec<u8> {
        let response = self.call(Method::GET, path, kind, Vec::new()).await;
        response.bytes().await.unwrap().to_vec()
    }

    pub(crate) async fn json(&self, path: &str, kind: &str) -> Value {
        serde_json::from_slice(&self.get(path, kind).await).unwrap()
    }
}

fn diff_id(layer: &[u8]) -> String {
    let mut tar = Vec::new();
    let mut gunzip = flate2::read::GzDecoder::new(layer);
    // What is no gzip is never unpacked here.
    match std::io::Read::read_to_end(&mut gunzip, &mut tar) {
        Ok(_) => Digest::of(&tar).to_string(),
        Err(_) => Digest::of(layer).to_string(),
    }
}

/// A gzipped tar of one executable file.
pub(crate) fn layer(path: &str, content: &[u8]) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_ustar();
    header.set_mode(0o755);
    header.set_size(content.len() as u64);
    tar.append_data(&mut header, path, content).unwrap();
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(&tar.into_inner().unwrap()).unwrap();
    gzip.finish().unwrap()
}
