//! A small Secret Manager, in memory only: what it holds is gone with the process.

use std::collections::BTreeMap;
use std::sync::Mutex;

use base64::prelude::{BASE64_STANDARD, Engine as _};
use http::Method;
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use crate::answer::{self, Answer};
use crate::call::Call;
use crate::clock::micros;
use crate::lock::lock;
use crate::metadata::PROJECT_NUMBER;
use crate::refusal::{Outcome, Refusal};
use crate::router;
use crate::schema::{self, Field, Kind};
use crate::server::Site;

/// Google's limit on a version's payload.
const PAYLOAD_LIMIT: usize = 64 * 1024;

const SECRET: &[Field] = &[
    ("annotations", Kind::Map),
    ("createTime", Kind::Output),
    ("etag", Kind::Output),
    ("expireTime", Kind::Time),
    ("labels", Kind::Map),
    ("name", Kind::Output),
    ("replication", Kind::Any),
    ("rotation", Kind::Any),
    ("topics", Kind::Any),
    ("ttl", Kind::Duration),
    ("versionAliases", Kind::Any),
    ("versionDestroyTtl", Kind::Duration),
];

const ADD: &[Field] = &[(
    "payload",
    Kind::Message(&[("data", Kind::Text), ("dataCrc32c", Kind::Int64)]),
)];

/// All secrets.
#[derive(Default)]
pub(crate) struct Secrets(Mutex<BTreeMap<String, Secret>>);

struct Secret {
    created: Timestamp,
    /// As it was given: labels, replication, and so on.
    given: Map<String, Value>,
    /// Version 1 first.
    versions: Vec<Version>,
}

struct Version {
    created: Timestamp,
    value: Vec<u8>,
    /// Whether its checksum came with it.
    checked: bool,
}

impl Secrets {
    /// The value of a secret's version; `latest` or a number. The secret may be named in full.
    pub(crate) fn access(&self, secret: &str, version: &str) -> Option<Vec<u8>> {
        let short = secret.rsplit('/').next().unwrap_or(secret);
        let secrets = lock(&self.0);
        let secret = secrets.get(short)?;
        secret
            .number(version)
            .and_then(|number| secret.versions.get(number - 1))
            .map(|version| version.value.clone())
    }
}

impl Secret {
    fn number(&self, version: &str) -> Option<usize> {
        let number = if version == "latest" || version.is_empty() {
            self.versions.len()
        } else {
            version.parse().ok()?
        };
        (1..=self.versions.len())
            .contains(&number)
            .then_some(number)
    }
}

fn parent(project: &str) -> String {
    format!("projects/{project}/secrets")
}

fn missing(name: &str) -> Refusal {
    Refusal::not_found(format!(
        "Secret [projects/{PROJECT_NUMBER}/secrets/{name}] not found or has no versions."
    ))
}

pub(crate) async fn route(
    site: &Site,
    call: &mut Call,
    project: &str,
    path: &[&str],
) -> Outcome<Answer> {
    if project != site.project && project != PROJECT_NUMBER {
        return Err(Refusal::forbidden(
            "Permission denied on resource project (or it may not exist).",
        ));
    }
    let secrets = &site.secrets;
    match (&call.method, path) {
        (&Method::POST, []) => create(secrets, call).await,
        (&Method::GET, []) => Ok(list(secrets)),
        (&Method::POST, [name]) if name.ends_with(":addVersion") => {
            let name = name.trim_end_matches(":addVersion");
            add(secrets, call, name).await
        }
        (&Method::GET, [name]) => {
            let secrets = lock(&secrets.0);
            secrets
                .get(*name)
                .map(|secret| answer::json(&secret.to_json(name)))
                .ok_or_else(|| missing(name))
        }
        (&Method::DELETE, [name]) => lock(&secrets.0)
            .remove(*name)
            .map(|_| answer::json(&json!({})))
            .ok_or_else(|| missing(name)),
        (&Method::GET, [name, "versions", version]) => match version.strip_suffix(":access") {
            Some(version) => access(secrets, name, version),
            None => get_version(secrets, name, version),
        },
        _ => Err(router::nowhere()),
    }
}

async fn create(secrets: &Secrets, call: &mut Call) -> Outcome<Answer> {
    let id = call.query.get("secretId").unwrap_or_default().to_owned();
    let allowed = |letter: char| letter.is_ascii_alphanumeric() || letter == '-' || letter == '_';
    if id.is_empty() || id.len() > 255 || !id.chars().all(allowed) {
        return Err(Refusal::invalid(
            "The provided Secret ID does not match the expected format [[a-zA-Z_0-9]+]",
        ));
    }
    let mut given = schema::message(SECRET, call.json().await?, "secret")?;
    given
        .entry("replication")
        .or_insert_with(|| json!({"automatic": {}}));
    // Taken, never told, and without effect: all is gone with the process.
    given.remove("ttl");
    let mut secrets = lock(&secrets.0);
    if secrets.contains_key(&id) {
        return Err(Refusal::conflict(format!(
            "Secret [projects/{PROJECT_NUMBER}/secrets/{id}] already exists."
        )));
    }
    let secret = Secret {
        created: Timestamp::now(),
        given,
        versions: Vec::new(),
    };
    let shown = secret.to_json(&id);
    secrets.insert(id, secret);
    Ok(answer::json(&shown))
}

fn list(secrets: &Secrets) -> Answer {
    let secrets = lock(&secrets.0);
    let shown: Vec<Value> = secrets
        .iter()
        .map(|(name, secret)| secret.to_json(name))
        .collect();
    let mut page = json!({});
    if !shown.is_empty() {
        page["totalSize"] = shown.len().into();
        page["secrets"] = shown.into();
    }
    answer::json(&page)
}

async fn add(secrets: &Secrets, call: &mut Call, name: &str) -> Outcome<Answer> {
    let given = Value::Object(schema::message(ADD, call.json().await?, "")?);
    let data = given
        .pointer("/payload/data")
        .and_then(Value::as_str)
        .unwrap_or_default();
    let value = BASE64_STANDARD.decode(data).map_err(|_| {
        Refusal::invalid("Invalid value at 'payload.data' (TYPE_BYTES), Base64 decoding failed.")
    })?;
    if value.is_empty() {
        return Err(Refusal::invalid("Secret Payload cannot be empty."));
    }
    if value.len() > PAYLOAD_LIMIT {
        return Err(Refusal::invalid(
            "The secret payload is larger than 65536 bytes.",
        ));
    }
    let claimed = given.pointer("/payload/dataCrc32c").and_then(Value::as_str);
    if claimed.is_some_and(|claimed| claimed != crc32c::crc32c(&value).to_string()) {
        return Err(Refusal::invalid(
            "The provided data_crc32c does not match the payload.",
        ));
    }
    let mut secrets = lock(&secrets.0);
    let secret = secrets.get_mut(name).ok_or_else(|| missing(name))?;
    secret.versions.push(Version {
        created: Timestamp::now(),
        value,
        checked: claimed.is_some(),
    });
    let number = secret.versions.len();
    Ok(answer::json(&secret.version_to_json(name, number)))
}

fn get_version(secrets: &Secrets, name: &str, version: &str) -> Outcome<Answer> {
    let secrets = lock(&secrets.0);
    let secret = secrets.get(name).ok_or_else(|| missing(name))?;
    let number = secret.number(version).ok_or_else(|| missing(name))?;
    Ok(answer::json(&secret.version_to_json(name, number)))
}

fn access(secrets: &Secrets, name: &str, version: &str) -> Outcome<Answer> {
    let secrets = lock(&secrets.0);
    let secret = secrets.get(name).ok_or_else(|| missing(name))?;
    let number = secret.number(version).ok_or_else(|| missing(name))?;
    let value = &secret.versions[number - 1].value;
    Ok(answer::json(&json!({
        "name": format!("{}/{name}/versions/{number}", parent(PROJECT_NUMBER)),
        "payload": {
            "data": BASE64_STANDARD.encode(value),
            "dataCrc32c": crc32c::crc32c(value).to_string(),
        },
    })))
}

impl Secret {
    fn to_json(&self, name: &str) -> Value {
        let mut shown = self.given.clone();
        shown.insert(
            "name".into(),
            format!("{}/{name}", parent(PROJECT_NUMBER)).into(),
        );
        shown.insert("createTime".into(), micros(self.created).into());
        Value::Object(shown)
    }

    fn version_to_json(&self, name: &str, number: usize) -> Value {
        let version = &self.versions[number - 1];
        let mut shown = json!({
            "name": format!("{}/{name}/versions/{number}", parent(PROJECT_NUMBER)),
            "createTime": micros(version.created),
            "state": "ENABLED",
        });
        if version.checked {
            shown["clientSpecifiedPayloadChecksum"] = true.into();
        }
        shown
    }
}
