//! The APIs around storage and Cloud Run, as far as Terraform needs them to make what jobs run with: Resource Manager,
//! Service Usage, service accounts, Artifact Registry. They keep what they are told and have no other effect.
//!
//! Five of Google's APIs share the paths below `/v1/projects/`, so that each has a prefix here: `/crm`, `/su`, `/iam`,
//! `/ar`, and `/sm` for Secret Manager, which is also found without one.

mod account;
mod project;
mod repository;
mod service;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard};

use fs_err as fs;
use http::Method;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::answer::{self, Answer};
use crate::call::Call;
use crate::disk::{self, Durability};
use crate::lock::lock;
use crate::metadata::PROJECT_NUMBER;
use crate::policy::{self, Policy};
use crate::refusal::{Outcome, Refusal};
use crate::router;
use crate::secret;
use crate::server::Site;

/// What these APIs were told.
pub(crate) struct Around {
    path: PathBuf,
    records: Mutex<Records>,
    /// The newest operations, all of them done. Whoever began one asks for it at once or never.
    operations: Mutex<VecDeque<Value>>,
}

/// How many operations are kept.
const OPERATIONS: usize = 100;

#[derive(Clone, Default, Serialize, Deserialize)]
#[serde(default)]
struct Records {
    /// By the name of the resource.
    policies: BTreeMap<String, Policy>,
    /// By email.
    accounts: BTreeMap<String, account::Account>,
    services: BTreeSet<String>,
    /// By full name.
    repositories: BTreeMap<String, repository::Repository>,
}

impl Around {
    pub(crate) fn open(state: &Path) -> io::Result<Self> {
        let path = state.join("around.json");
        let records = match fs::read(&path) {
            Err(failure) if failure.kind() == io::ErrorKind::NotFound => Records::default(),
            text => match serde_json::from_slice(&text?) {
                Ok(records) => records,
                Err(reason) => {
                    disk::set_aside(&path, &reason)?;
                    Records::default()
                }
            },
        };
        Ok(Self {
            path,
            records: Mutex::new(records),
            operations: Mutex::default(),
        })
    }

    fn records(&self) -> MutexGuard<'_, Records> {
        lock(&self.records)
    }

    /// Answers with an operation that is done.
    fn done(&self, operation: Value) -> Answer {
        let answer = answer::json(&operation);
        let mut operations = lock(&self.operations);
        operations.push_back(operation);
        if operations.len() > OPERATIONS {
            operations.pop_front();
        }
        answer
    }

    /// Changes the records, in memory and on disk or not at all.
    fn change<T>(&self, change: impl FnOnce(&mut Records) -> Outcome<T>) -> Outcome<T> {
        let mut records = lock(&self.records);
        let mut changed = records.clone();
        let value = change(&mut changed)?;
        disk::replace_json(&self.path, &changed, Durability::Synced)?;
        *records = changed;
        Ok(value)
    }
}

/// Whether a path is one of these APIs'.
pub(crate) fn is_here(path: &[&str]) -> bool {
    matches!(
        path,
        [
            "crm" | "su" | "iam" | "ar" | "sm",
            "v1",
            "projects" | "operations",
            ..
        ]
    )
}

pub(crate) async fn route(site: &Site, call: &mut Call, path: &[&str]) -> Outcome<Answer> {
    let [api, _, path @ ..] = path else {
        return Err(router::nowhere());
    };
    if let (["operations", id], "su") = (path, *api) {
        return operation(site, call, &format!("operations/{id}"));
    }
    let ["projects", project, rest @ ..] = path else {
        return Err(router::nowhere());
    };
    let (id, _) = split(project);
    let any = *api == "iam" && id == "-";
    if id != site.project && id != PROJECT_NUMBER && !any {
        return Err(Refusal::forbidden(format!(
            "Permission denied on resource project {id} (or it may not exist)."
        )));
    }
    match (*api, rest) {
        ("sm", ["secrets", rest @ ..]) => secret::route(site, call, project, rest).await,
        ("crm", []) => project::route(site, call, project).await,
        ("su", ["services", rest @ ..]) => service::route(site, call, rest).await,
        ("su", [verb]) if verb.starts_with("services:") => service::many(site, call, verb).await,
        ("iam", ["serviceAccounts", rest @ ..]) => account::route(site, call, rest).await,
        ("ar", ["locations", region, "repositories", rest @ ..]) => {
            repository::route(site, call, region, rest).await
        }
        ("ar", ["locations", region, "operations", id]) => {
            operation(site, call, &repository::operation_name(site, region, id))
        }
        _ => Err(router::nowhere()),
    }
}

/// A segment's resource and its custom verb. An email has no colon, nor has any other name here.
fn split(segment: &str) -> (&str, Option<&str>) {
    segment
        .rsplit_once(':')
        .map_or((segment, None), |(id, verb)| (id, Some(verb)))
}

fn operation(site: &Site, call: &Call, name: &str) -> Outcome<Answer> {
    if call.method != Method::GET {
        return Err(Refusal::method_not_allowed());
    }
    let operations = lock(&site.around.operations);
    let found = operations
        .iter()
        .find(|operation| operation["name"] == name);
    let found = found.ok_or_else(|| Refusal::not_found(format!("Operation {name} not found.")))?;
    Ok(answer::json(found))
}

/// The three verbs of a resource's policy, whatever the resource is; it is there.
pub(crate) async fn policy_verb(
    site: &Site,
    call: &mut Call,
    resource: &str,
    verb: &str,
) -> Outcome<Answer> {
    let around = &site.around;
    match verb {
        "getIamPolicy" => {
            let requested = policy::requested(call).await?;
            let found = around.records().policies.get(resource).cloned();
            let shown = found.unwrap_or_default().shown(requested)?;
            Ok(answer::json(&shown))
        }
        "setIamPolicy" if call.method == Method::POST => {
            let given = policy::given(call).await?;
            let shown = around.change(|records| {
                let policy = records.policies.entry(resource.to_owned()).or_default();
                policy.replace(&given)?;
                Ok(policy.to_json())
            })?;
            Ok(answer::json(&shown))
        }
        "testIamPermissions" if call.method == Method::POST => {
            Ok(answer::json(&policy::permissions(call).await?))
        }
        _ => Err(router::nowhere()),
    }
}

/// Forgets the policy of a resource that is no more.
pub(crate) fn forget_policy(site: &Site, resource: &str) -> Outcome<()> {
    if !site.around.records().policies.contains_key(resource) {
        return Ok(());
    }
    site.around.change(|records| {
        records.policies.remove(resource);
        Ok(())
    })
}

/// Replaces what a mask names (without one, what is given) by what is given.
pub(crate) fn patch(into: &mut Map<String, Value>, given: &Map<String, Value>, mask: Option<&str>) {
    let Some(mask) = mask else {
        into.extend(given.clone());
        return;
    };
    for path in mask.split(',').map(str::trim) {
        // A part of a field is replaced with the field: nobody here sends half of one.
        let field = path.split('.').next().unwrap_or(path);
        let name = camel(field);
        match given.get(&name) {
            Some(value) => drop(into.insert(name, value.clone())),
            None => drop(into.remove(&name)),
        }
    }
}

fn camel(snake: &str) -> String {
    let mut camel = String::new();
    let mut upper = false;
    for letter in snake.chars() {
        if letter == '_' {
            upper = true;
        } else if std::mem::take(&mut upper) {
            camel.push(letter.to_ascii_uppercase());
        } else {
            camel.push(letter);
        }
    }
    camel
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_mask_names_what_is_replaced() {
        let object = |value: Value| value.as_object().unwrap().clone();
        let mut shown =
            object(json!({"displayName": "a", "description": "b", "labels": {"x": "1"}}));
        patch(
            &mut shown,
            &object(json!({"displayName": "c", "labels": {}})),
            Some("display_name,description"),
        );
        assert_eq!(
            Value::Object(shown.clone()),
            json!({"displayName": "c", "labels": {"x": "1"}})
        );
        patch(&mut shown, &object(json!({"description": "d"})), None);
        assert_eq!(shown["description"], "d");
        assert_eq!(shown["displayName"], "c");
    }
}
