//! A small Secret Manager, in memory only: what it holds is gone with the process.

mod version;

use std::collections::BTreeMap;
use std::sync::Mutex;

use http::Method;
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use self::version::Version;
use crate::answer::{self, Answer};
use crate::around;
use crate::call::Call;
use crate::clock::micros;
use crate::lock::lock;
use crate::metadata::PROJECT_NUMBER;
use crate::refusal::{Outcome, Refusal};
use crate::router;
use crate::schema::{self, Field, Kind};
use crate::server::Site;

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

impl Secrets {
    /// The value of a secret's version, if it is enabled; `latest` or a number. The secret may be named in full.
    pub(crate) fn access(&self, secret: &str, version: &str) -> Option<Vec<u8>> {
        let short = secret.rsplit('/').next().unwrap_or(secret);
        let secrets = lock(&self.0);
        let secret = secrets.get(short)?;
        secret
            .number(version)
            .and_then(|number| secret.versions.get(number - 1))
            .and_then(|version| version.value().cloned())
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
    match path {
        [] => match call.method {
            Method::POST => create(secrets, call).await,
            Method::GET => Ok(list(secrets)),
            _ => Err(Refusal::method_not_allowed()),
        },
        [segment] => match segment.rsplit_once(':') {
            Some((name, "addVersion")) if call.method == Method::POST => {
                version::add(secrets, call, name).await
            }
            Some((name, verb)) => {
                show(secrets, name)?;
                let resource = format!("{}/{name}", parent(PROJECT_NUMBER));
                around::policy_verb(site, call, &resource, verb).await
            }
            None => one(site, call, segment).await,
        },
        [name, "versions", rest @ ..] => version::route(secrets, call, name, rest).await,
        _ => Err(router::nowhere()),
    }
}

async fn one(site: &Site, call: &mut Call, name: &str) -> Outcome<Answer> {
    let secrets = &site.secrets;
    match call.method {
        Method::GET => Ok(answer::json(&show(secrets, name)?)),
        Method::PATCH => {
            let given = schema::message(SECRET, call.json().await?, "secret")?;
            let mask = call
                .query
                .get("updateMask")
                .ok_or_else(|| Refusal::invalid("The update_mask must be set."))?;
            let mut secrets = lock(&secrets.0);
            let secret = secrets.get_mut(name).ok_or_else(|| missing(name))?;
            around::patch(&mut secret.given, &given, Some(mask));
            secret.given.remove("ttl");
            Ok(answer::json(&secret.to_json(name)))
        }
        Method::DELETE => {
            let removed = lock(&secrets.0).remove(name);
            removed.ok_or_else(|| missing(name))?;
            around::forget_policy(site, &format!("{}/{name}", parent(PROJECT_NUMBER)))?;
            Ok(answer::json(&json!({})))
        }
        _ => Err(Refusal::method_not_allowed()),
    }
}

fn show(secrets: &Secrets, name: &str) -> Outcome<Value> {
    let secrets = lock(&secrets.0);
    let secret = secrets.get(name).ok_or_else(|| missing(name))?;
    Ok(secret.to_json(name))
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
}
