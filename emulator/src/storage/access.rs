//! Who may do what with a bucket: its policy, and the question.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::Scope;
use super::bucket::etag;
use crate::answer::{self, Answer};
use crate::call::Call;
use crate::refusal::{Outcome, Refusal};
use crate::schema::{self, Field, Kind};
use crate::server::Site;

/// A bucket's IAM policy.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Policy {
    /// Counts the changes; the etag is made of it.
    serial: u64,
    version: i64,
    bindings: Vec<Value>,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            serial: 1,
            version: 1,
            bindings: Vec::new(),
        }
    }
}

pub(crate) fn get_policy(site: &Site, call: &Call, scope: &Scope<'_>) -> Outcome<Answer> {
    scope.rights.require_owner("storage.buckets.getIamPolicy")?;
    let bucket = scope.bucket(site)?;
    let record = crate::lock::lock(&bucket.record);
    let conditional = record
        .policy
        .bindings
        .iter()
        .any(|binding| binding.get("condition").is_some());
    if conditional
        && call
            .query
            .number("optionsRequestedPolicyVersion")?
            .unwrap_or(1)
            < 3
    {
        return Err(Refusal::invalid(
            "Requested policy version must be 3 to see bindings with conditions.",
        ));
    }
    Ok(answer::json(&record.policy.to_json(&bucket.name)))
}

pub(crate) async fn set_policy(site: &Site, call: &mut Call, scope: &Scope<'_>) -> Outcome<Answer> {
    const POLICY: &[Field] = &[
        ("bindings", Kind::List(&Kind::Any)),
        ("etag", Kind::Text),
        ("kind", Kind::Output),
        ("resourceId", Kind::Output),
        ("version", Kind::Int32),
    ];
    scope.rights.require_owner("storage.buckets.setIamPolicy")?;
    let bucket = scope.bucket(site)?;
    let given = schema::message(POLICY, call.json().await?, "")?;
    let name = bucket.name.clone();
    let json = bucket.update(move |record| {
        record.policy.replace(&given)?;
        Ok(record.policy.to_json(&name))
    });
    Ok(answer::json(&json.await?))
}

pub(crate) fn test_permissions(site: &Site, call: &Call, scope: &Scope<'_>) -> Outcome<Answer> {
    scope.bucket(site)?;
    let asked: Vec<&str> = call.query.all("permissions").collect();
    let held: Vec<&str> = asked
        .into_iter()
        .filter(|name| scope.rights.holds(name))
        .collect();
    let mut json = json!({"kind": "storage#testIamPermissionsResponse"});
    if !held.is_empty() {
        json["permissions"] = json!(held);
    }
    Ok(answer::json(&json))
}

impl Policy {
    fn to_json(&self, bucket: &str) -> Value {
        let mut json = json!({
            "kind": "storage#policy",
            "resourceId": format!("projects/_/buckets/{bucket}"),
            "version": self.version,
            "etag": etag(self.serial),
        });
        if !self.bindings.is_empty() {
            json["bindings"] = json!(self.bindings);
        }
        json
    }

    fn replace(&mut self, given: &Map<String, Value>) -> Outcome<()> {
        let current = etag(self.serial);
        if given.get("etag").is_some_and(|etag| *etag != current) {
            return Err(Refusal::condition_not_met("If-Match"));
        }
        let version = given.get("version").and_then(Value::as_i64).unwrap_or(1);
        let bindings = given
            .get("bindings")
            .and_then(Value::as_array)
            .cloned()
            .unwrap_or_default();
        if version < 3
            && bindings
                .iter()
                .any(|binding| binding.get("condition").is_some())
        {
            return Err(Refusal::invalid(
                "Policy version must be 3 to hold bindings with conditions.",
            ));
        }
        *self = Self {
            serial: self.serial + 1,
            version,
            bindings,
        };
        Ok(())
    }
}
