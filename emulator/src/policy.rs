//! IAM policies, as every API but storage has them. They are kept and told, and decide nothing here.

use base64::prelude::{BASE64_STANDARD, Engine as _};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::call::Call;
use crate::refusal::{Outcome, Refusal};
use crate::schema::{self, Field, Kind};

/// From this version on a policy may hold conditions.
const CONDITIONAL: i64 = 3;

/// Who may do what with a resource.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Policy {
    /// Counts the changes; the etag is made of it.
    serial: u64,
    version: i64,
    bindings: Vec<Value>,
}

/// What `:setIamPolicy` is given.
pub(crate) async fn given(call: &mut Call) -> Outcome<Map<String, Value>> {
    const BINDING: &[Field] = &[
        ("condition", Kind::Any),
        ("members", Kind::List(&Kind::Text)),
        ("role", Kind::Text),
    ];
    const POLICY: &[Field] = &[
        ("auditConfigs", Kind::Any),
        ("bindings", Kind::List(&Kind::Message(BINDING))),
        ("etag", Kind::Text),
        ("version", Kind::Int32),
    ];
    const REQUEST: &[Field] = &[
        ("policy", Kind::Message(POLICY)),
        ("updateMask", Kind::Text),
    ];
    let mut request = schema::message(REQUEST, call.json().await?, "")?;
    match request.remove("policy") {
        Some(Value::Object(policy)) => Ok(policy),
        _ => Ok(Map::new()),
    }
}

/// The version that a reader says it understands, in the query or in the body.
pub(crate) async fn requested(call: &mut Call) -> Outcome<i64> {
    const REQUEST: &[Field] = &[(
        "options",
        Kind::Message(&[("requestedPolicyVersion", Kind::Int32)]),
    )];
    if let Some(version) = call.query.number("options.requestedPolicyVersion")? {
        return Ok(version);
    }
    let request = Value::Object(schema::message(REQUEST, call.json().await?, "")?);
    let version = request.pointer("/options/requestedPolicyVersion");
    Ok(version.and_then(Value::as_i64).unwrap_or(0))
}

/// All permissions asked about: whoever gets as far as this is the owner.
pub(crate) async fn permissions(call: &mut Call) -> Outcome<Value> {
    const REQUEST: &[Field] = &[("permissions", Kind::List(&Kind::Text))];
    let given = schema::message(REQUEST, call.json().await?, "")?;
    Ok(Value::Object(given))
}

impl Policy {
    fn etag(&self) -> String {
        BASE64_STANDARD.encode(self.serial.to_be_bytes())
    }

    pub(crate) fn to_json(&self) -> Value {
        let mut json = json!({"etag": self.etag()});
        if self.version > 0 {
            json["version"] = self.version.into();
        }
        if !self.bindings.is_empty() {
            json["bindings"] = json!(self.bindings);
        }
        json
    }

    /// What a reader of that version sees; one that knows no conditions must not think that there are none.
    pub(crate) fn shown(&self, requested: i64) -> Outcome<Value> {
        if requested < CONDITIONAL && is_conditional(&self.bindings) {
            return Err(Refusal::invalid(
                "Requested policy version must be 3 to see bindings with conditions.",
            ));
        }
        Ok(self.to_json())
    }

    /// Takes another's place, unless that was made from an older one.
    pub(crate) fn replace(&mut self, given: &Map<String, Value>) -> Outcome<()> {
        let etag = given.get("etag").and_then(Value::as_str);
        if etag.is_some_and(|etag| etag != self.etag()) {
            return Err(Refusal::aborted(
                "There were concurrent policy changes. Please retry the whole read-modify-write with exponential backoff.",
            ));
        }
        let version = given.get("version").and_then(Value::as_i64).unwrap_or(0);
        let bindings = given.get("bindings").and_then(Value::as_array);
        let bindings = bindings.cloned().unwrap_or_default();
        if version < CONDITIONAL && is_conditional(&bindings) {
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

fn is_conditional(bindings: &[Value]) -> bool {
    bindings
        .iter()
        .any(|binding| binding.get("condition").is_some())
}
