//! Buckets and their policies.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::access::Policy;
use super::names;
use super::precondition::Version;
use crate::answer::{self, Answer};
use crate::call::Call;
use crate::clock;
use crate::metadata::PROJECT_NUMBER;
use crate::refusal::{Outcome, Refusal};
use crate::schema::{self, Field, Kind};
use crate::server::Site;

use super::Scope;
use super::precondition::Conditions;

const BUCKET: &[Field] = &[
    ("acl", Kind::Any),
    ("autoclass", Kind::Any),
    ("billing", Kind::Any),
    ("cors", Kind::Any),
    ("customPlacementConfig", Kind::Any),
    ("defaultEventBasedHold", Kind::Bool),
    ("defaultObjectAcl", Kind::Any),
    ("encryption", Kind::Any),
    ("etag", Kind::Output),
    ("generation", Kind::Output),
    ("hardDeleteTime", Kind::Output),
    ("hierarchicalNamespace", Kind::Any),
    ("iamConfiguration", Kind::Any),
    ("id", Kind::Output),
    ("ipFilter", Kind::Any),
    ("kind", Kind::Output),
    ("labels", Kind::Any),
    ("lifecycle", Kind::Any),
    ("location", Kind::Text),
    ("locationType", Kind::Output),
    ("logging", Kind::Any),
    ("metageneration", Kind::Output),
    ("name", Kind::Text),
    ("objectRetention", Kind::Output),
    ("owner", Kind::Output),
    ("projectNumber", Kind::Output),
    ("retentionPolicy", Kind::Any),
    ("rpo", Kind::Text),
    ("satisfiesPZI", Kind::Output),
    ("satisfiesPZS", Kind::Output),
    ("selfLink", Kind::Output),
    ("softDeletePolicy", Kind::Any),
    ("softDeleteTime", Kind::Output),
    ("storageClass", Kind::Text),
    ("timeCreated", Kind::Output),
    ("updated", Kind::Output),
    ("versioning", Kind::Any),
    ("website", Kind::Any),
];

/// A bucket as it is kept on disk.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct BucketRecord {
    pub(crate) name: String,
    metageneration: i64,
    created: Timestamp,
    updated: Timestamp,
    /// What its owner set, as the API spells it.
    settings: Map<String, Value>,
    pub(super) policy: Policy,
}

impl BucketRecord {
    pub(crate) fn new(name: &str) -> Self {
        Self::with_settings(name, Map::new())
    }

    fn with_settings(name: &str, settings: Map<String, Value>) -> Self {
        let now = Timestamp::now();
        Self {
            name: name.to_owned(),
            metageneration: 1,
            created: now,
            updated: now,
            settings,
            policy: Policy::default(),
        }
    }

    /// Something its owner set, by its JSON pointer.
    pub(crate) fn setting(&self, pointer: &str) -> Option<&Value> {
        let (first, rest) = pointer.strip_prefix('/')?.split_once('/')?;
        self.settings.get(first)?.pointer(&format!("/{rest}"))
    }

    fn version(&self) -> Version {
        Version {
            generation: 0,
            metageneration: self.metageneration,
        }
    }

    fn to_json(&self, base: &str) -> Value {
        let name = &self.name;
        let mut json = json!({
            "kind": "storage#bucket",
            "id": name,
            "name": name,
            "selfLink": format!("{base}/storage/v1/b/{name}"),
            "projectNumber": PROJECT_NUMBER,
            "location": "US",
            "locationType": "multi-region",
            "storageClass": "STANDARD",
            "metageneration": self.metageneration.to_string(),
            "etag": etag(self.metageneration.unsigned_abs()),
            "timeCreated": clock::millis(self.created),
            "updated": clock::millis(self.updated),
        });
        if let Some(fields) = json.as_object_mut() {
            fields.extend(self.settings.clone());
            if fields
                .get("location")
                .is_some_and(|location| location.as_str().is_some_and(|text| text.contains('-')))
            {
                fields.insert("locationType".into(), "region".into());
            }
            self.add_policies(fields);
        }
        json
    }

    /// What a bucket has whether or not it was said, and in the spelling of answers.
    fn add_policies(&self, fields: &mut Map<String, Value>) {
        let access = fields.entry("iamConfiguration").or_insert(json!({}));
        if let Some(access) = access.as_object_mut() {
            let uniform = access
                .entry("uniformBucketLevelAccess")
                .or_insert(json!({"enabled": false}))
                .clone();
            // Its older name.
            access.entry("bucketPolicyOnly").or_insert(uniform);
            access
                .entry("publicAccessPrevention")
                .or_insert(json!("inherited"));
        }
        // What is deleted here is gone.
        let deleted = fields
            .entry("softDeletePolicy")
            .or_insert(json!({"retentionDurationSeconds": "0"}));
        if let Some(seconds) = deleted
            .get("retentionDurationSeconds")
            .and_then(Value::as_i64)
        {
            deleted["retentionDurationSeconds"] = seconds.to_string().into();
        }
        deleted["effectiveTime"] = clock::millis(self.created).into();
    }
}

pub(super) fn etag(serial: u64) -> String {
    use base64::prelude::{BASE64_STANDARD, Engine as _};
    BASE64_STANDARD.encode(serial.to_be_bytes())
}

fn settings(value: Value) -> Outcome<Map<String, Value>> {
    let mut settings = schema::message(BUCKET, value, "")?;
    for key in ["acl", "defaultObjectAcl", "name"] {
        settings.remove(key);
    }
    if let Some(Value::String(location)) = settings.get_mut("location") {
        location.make_ascii_uppercase();
    }
    Ok(settings)
}

pub(crate) async fn insert(site: &Site, call: &mut Call, scope: &Scope<'_>) -> Outcome<Answer> {
    scope.rights.require_owner("storage.buckets.create")?;
    if call.query.get("project").is_none() {
        return Err(Refusal::required("Required parameter: project").at("parameter", "project"));
    }
    let body = call.json().await?;
    let name = body
        .get("name")
        .and_then(Value::as_str)
        .unwrap_or_default()
        .to_owned();
    if !names::is_public_bucket(&name) {
        return Err(Refusal::invalid(format!("Invalid bucket name: '{name}'")));
    }
    let record = BucketRecord::with_settings(&name, settings(body)?);
    let json = record.to_json(&site.base);
    site.store.create_bucket(record).await?;
    Ok(answer::json(&json))
}

pub(crate) fn list(site: &Site, call: &Call, scope: &Scope<'_>) -> Outcome<Answer> {
    scope.rights.require_owner("storage.buckets.list")?;
    let prefix = call.query.get("prefix").unwrap_or_default();
    let buckets = site.store.buckets();
    let shown = buckets
        .iter()
        .filter(|bucket| bucket.name.starts_with(prefix));
    let items: Vec<Value> = shown
        .map(|bucket| crate::lock::lock(&bucket.record).to_json(&site.base))
        .collect();
    let mut page = json!({"kind": "storage#buckets"});
    if !items.is_empty() {
        page["items"] = items.into();
    }
    Ok(answer::json(&page))
}

pub(crate) fn get(site: &Site, call: &Call, scope: &Scope<'_>) -> Outcome<Answer> {
    scope.rights.require_owner("storage.buckets.get")?;
    let bucket = scope.bucket(site)?;
    let record = crate::lock::lock(&bucket.record);
    Conditions::of(call)?.check_read(record.version())?;
    Ok(answer::json(&record.to_json(&site.base)))
}

/// PATCH merges, PUT replaces.
pub(crate) async fn patch(
    site: &Site,
    call: &mut Call,
    scope: &Scope<'_>,
    replace: bool,
) -> Outcome<Answer> {
    scope.rights.require_owner("storage.buckets.update")?;
    let bucket = scope.bucket(site)?;
    let conditions = Conditions::of(call)?;
    let body = call.json().await?;
    let base = site.base.clone();
    let json = bucket.update(move |record| {
        conditions.check(Some(record.version()))?;
        let mut merged = if replace {
            json!({})
        } else {
            Value::Object(record.settings.clone())
        };
        merge(&mut merged, body);
        record.settings = settings(merged)?;
        record.metageneration += 1;
        record.updated = Timestamp::now();
        Ok(record.to_json(&base))
    });
    Ok(answer::json(&json.await?))
}

/// A JSON merge patch, as far as these bodies need it: lists are replaced, nulls remove.
fn merge(into: &mut Value, patch: Value) {
    match (into, patch) {
        (Value::Object(into), Value::Object(patch)) => {
            for (key, value) in patch {
                if value.is_null() {
                    into.remove(&key);
                } else {
                    merge(into.entry(key).or_insert(Value::Null), value);
                }
            }
        }
        (into, patch) => *into = patch,
    }
}

pub(crate) async fn delete(site: &Site, call: &Call, scope: &Scope<'_>) -> Outcome<Answer> {
    scope.rights.require_owner("storage.buckets.delete")?;
    let bucket = scope.bucket(site)?;
    Conditions::of(call)?.check(Some(crate::lock::lock(&bucket.record).version()))?;
    site.store.delete_bucket(&bucket).await?;
    Ok(answer::no_content())
}
