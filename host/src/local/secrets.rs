//! Secrets of local tasks: from the caller's environment into the emulator's memory, never onto a disk.

use std::os::unix::ffi::OsStrExt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use reqwest::Method;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use url::Url;
use wire::api::{Api, ApiError, ErrorKind};

use super::PROJECT;
use super::process::Found;
use crate::error::Error;
use crate::settings::LocalSecret;

/// A variable of a job and the secret it comes from.
#[derive(Debug, Clone)]
pub(super) struct Reference {
    variable: String,
    secret: String,
}

impl Reference {
    /// As a job's environment has it.
    pub(super) fn variable(&self) -> Value {
        json!({
            "name": self.variable,
            "valueSource": { "secretKeyRef": { "secret": self.secret, "version": "latest" } },
        })
    }
}

/// Makes the secrets known to the emulator.
pub(super) async fn provide(
    emulator: &Found,
    secrets: &[LocalSecret],
) -> Result<Vec<Reference>, Error> {
    if secrets.is_empty() {
        return Ok(Vec::new());
    }
    let api = emulator.api()?;
    let mut references = Vec::with_capacity(secrets.len());
    for secret in secrets {
        let reference = Reference {
            variable: secret.name.clone(),
            secret: name(emulator, secret),
        };
        let provided = provide_one(&api, &emulator.endpoint, &reference.secret, secret).await;
        provided.map_err(Error::api(format!(
            "cannot pass on the secret `{}`",
            secret.name
        )))?;
        references.push(reference);
    }
    Ok(references)
}

async fn provide_one(
    api: &Api,
    endpoint: &Url,
    name: &str,
    secret: &LocalSecret,
) -> Result<(), ApiError> {
    let url = |path: &str| {
        let mut url = endpoint.clone();
        url.set_path(&format!("/v1/projects/{PROJECT}/secrets{path}"));
        url
    };
    let at = |what: &str| format!("/{name}{what}");
    let access = url(&at("/versions/latest:access"));
    match api
        .json("cannot look for it", Method::GET, access, None, true)
        .await
    {
        Err(error) if error.kind == ErrorKind::NotFound => {}
        answer => return answer.map(drop),
    }
    let mut create = url("");
    create.query_pairs_mut().append_pair("secretId", name);
    let replication = json!({ "replication": { "automatic": {} } });
    match api
        .json(
            "cannot create it",
            Method::POST,
            create,
            Some(&replication),
            true,
        )
        .await
    {
        Err(error) if error.kind != ErrorKind::Exists => return Err(error),
        _ => {}
    }
    let payload = json!({ "payload": { "data": STANDARD.encode(secret.value.as_bytes()) } });
    let add = url(&at(":addVersion"));
    let added = api
        .json("cannot set it", Method::POST, add, Some(&payload), true)
        .await;
    added.map(drop)
}

/// Tells one value from another, so that two shells with two keys do not get each other's; who has not the
/// emulator's token learns nothing of the value from it.
fn name(emulator: &Found, secret: &LocalSecret) -> String {
    let digest = Sha256::new()
        .chain_update(emulator.token.secret())
        .chain_update([0])
        .chain_update(secret.value.as_bytes())
        .finalize();
    let digest = crate::text::hex(digest.get(..6).unwrap_or_default());
    let name: String = secret
        .name
        .chars()
        .map(|c| {
            if c.is_ascii_alphanumeric() || c == '_' {
                c
            } else {
                '-'
            }
        })
        .take(200)
        .collect();
    format!("{name}-{digest}")
}
