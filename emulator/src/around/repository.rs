//! Artifact Registry's repositories, without anything in them.

use http::Method;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::{patch, policy_verb, split};
use crate::answer::{self, Answer};
use crate::call::Call;
use crate::clock::micros;
use crate::refusal::{Outcome, Refusal};
use crate::router;
use crate::schema::{self, Field, Kind};
use crate::server::Site;

const TYPES: &str = "type.googleapis.com/google.devtools.artifactregistry.v1";

const FORMAT: Kind = Kind::Enum(&[
    ("FORMAT_UNSPECIFIED", 0),
    ("DOCKER", 1),
    ("MAVEN", 2),
    ("NPM", 3),
    ("APT", 5),
    ("YUM", 6),
    ("PYTHON", 8),
    ("KFP", 9),
    ("GO", 10),
    ("GENERIC", 11),
]);

const MODE: Kind = Kind::Enum(&[
    ("MODE_UNSPECIFIED", 0),
    ("STANDARD_REPOSITORY", 1),
    ("VIRTUAL_REPOSITORY", 2),
    ("REMOTE_REPOSITORY", 3),
]);

const REPOSITORY: &[Field] = &[
    ("cleanupPolicies", Kind::Any),
    ("cleanupPolicyDryRun", Kind::Bool),
    ("createTime", Kind::Output),
    ("description", Kind::Text),
    ("dockerConfig", Kind::Any),
    ("format", FORMAT),
    ("kmsKeyName", Kind::Text),
    ("labels", Kind::Map),
    ("mavenConfig", Kind::Any),
    ("mode", MODE),
    ("name", Kind::Text),
    ("registryUri", Kind::Output),
    ("remoteRepositoryConfig", Kind::Any),
    ("sizeBytes", Kind::Output),
    ("updateTime", Kind::Output),
    ("virtualRepositoryConfig", Kind::Any),
    ("vulnerabilityScanningConfig", Kind::Any),
];

/// A repository.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Repository {
    created: Timestamp,
    updated: Timestamp,
    /// What its owner set.
    given: Map<String, Value>,
}

fn parent(site: &Site, region: &str) -> String {
    format!("projects/{}/locations/{region}", site.project)
}

pub(super) fn operation_name(site: &Site, region: &str, id: &str) -> String {
    format!("{}/operations/{id}", parent(site, region))
}

fn missing(name: &str) -> Refusal {
    Refusal::not_found(format!("Repository \"{name}\" not found."))
}

pub(super) async fn route(
    site: &Site,
    call: &mut Call,
    region: &str,
    path: &[&str],
) -> Outcome<Answer> {
    let segment = match path {
        [] if call.method == Method::POST => return create(site, call, region).await,
        [] if call.method == Method::GET => return Ok(list(site, region)),
        [segment] => segment,
        _ => return Err(router::nowhere()),
    };
    let (id, verb) = split(segment);
    let name = format!("{}/repositories/{id}", parent(site, region));
    let shown = show(site, region, &name)?;
    match (&call.method, verb) {
        (&Method::GET, None) => Ok(answer::json(&shown)),
        (&Method::PATCH, None) => change(site, call, region, &name).await,
        (&Method::DELETE, None) => {
            site.around.change(|records| {
                records.repositories.remove(&name);
                records.policies.remove(&name);
                Ok(())
            })?;
            let empty = "type.googleapis.com/google.protobuf.Empty";
            Ok(done(site, region, empty, json!({})))
        }
        (&(Method::GET | Method::POST), Some(verb)) => policy_verb(site, call, &name, verb).await,
        _ => Err(router::nowhere()),
    }
}

async fn create(site: &Site, call: &mut Call, region: &str) -> Outcome<Answer> {
    let id = call
        .query
        .get("repositoryId")
        .or(call.query.get("repository_id"));
    let id = id.unwrap_or_default().to_owned();
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let starts = id.starts_with(|first: char| first.is_ascii_lowercase());
    if !starts || id.len() > 63 || !id.bytes().all(allowed) || id.ends_with('-') {
        return Err(Refusal::invalid(format!("invalid repository id: \"{id}\"")));
    }
    let mut given = schema::message(REPOSITORY, call.json().await?, "repository")?;
    given.remove("name");
    if !given.contains_key("format") {
        return Err(Refusal::invalid("format must be set"));
    }
    given.entry("mode").or_insert(json!("STANDARD_REPOSITORY"));
    let name = format!("{}/repositories/{id}", parent(site, region));
    let now = Timestamp::now();
    site.around.change(|records| {
        if records.repositories.contains_key(&name) {
            return Err(Refusal::conflict("the repository already exists"));
        }
        let repository = Repository {
            created: now,
            updated: now,
            given,
        };
        records.repositories.insert(name.clone(), repository);
        Ok(())
    })?;
    let shown = show(site, region, &name)?;
    Ok(done(site, region, &format!("{TYPES}.Repository"), shown))
}

async fn change(site: &Site, call: &mut Call, region: &str, name: &str) -> Outcome<Answer> {
    let mut given = schema::message(REPOSITORY, call.json().await?, "repository")?;
    given.remove("name");
    let mask = call.query.get("updateMask").map(str::to_owned);
    site.around.change(|records| {
        let repository = records.repositories.get_mut(name);
        let repository = repository.ok_or_else(|| missing(name))?;
        patch(&mut repository.given, &given, mask.as_deref());
        repository.updated = Timestamp::now();
        Ok(())
    })?;
    Ok(answer::json(&show(site, region, name)?))
}

fn list(site: &Site, region: &str) -> Answer {
    let records = site.around.records();
    let within = format!("{}/", parent(site, region));
    let found = records.repositories.iter();
    let shown: Vec<Value> = found
        .filter(|(name, _)| name.starts_with(&within))
        .map(|(name, repository)| repository.to_json(site, region, name))
        .collect();
    let mut page = json!({});
    if !shown.is_empty() {
        page["repositories"] = shown.into();
    }
    answer::json(&page)
}

fn show(site: &Site, region: &str, name: &str) -> Outcome<Value> {
    let records = site.around.records();
    let found = records
        .repositories
        .get(name)
        .ok_or_else(|| missing(name))?;
    Ok(found.to_json(site, region, name))
}

impl Repository {
    fn to_json(&self, site: &Site, region: &str, name: &str) -> Value {
        let mut shown = Value::Object(self.given.clone());
        let id = name.rsplit('/').next().unwrap_or_default();
        shown["name"] = name.into();
        shown["createTime"] = micros(self.created).into();
        shown["updateTime"] = micros(self.updated).into();
        if self
            .given
            .get("format")
            .is_some_and(|format| format == "DOCKER")
        {
            let project = &site.project;
            shown["registryUri"] = format!("{region}-docker.pkg.dev/{project}/{id}").into();
        }
        shown
    }
}

fn done(site: &Site, region: &str, kind: &str, mut response: Value) -> Answer {
    let name = operation_name(site, region, &uuid::Uuid::new_v4().to_string());
    response["@type"] = kind.into();
    let operation = json!({
        "name": name, "done": true, "response": response,
        "metadata": {"@type": format!("{TYPES}.OperationMetadata")},
    });
    site.around.done(operation)
}
