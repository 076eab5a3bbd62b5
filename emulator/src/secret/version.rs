//! The versions of a secret, and their values.

use base64::prelude::{BASE64_STANDARD, Engine as _};
use http::Method;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::{Secret, Secrets, missing, parent};
use crate::answer::{self, Answer};
use crate::call::Call;
use crate::clock::micros;
use crate::lock::lock;
use crate::metadata::PROJECT_NUMBER;
use crate::refusal::{Outcome, Refusal};
use crate::router;
use crate::schema::{self, Field, Kind};

/// Google's limit on a version's payload.
const PAYLOAD_LIMIT: usize = 64 * 1024;

const ADD: &[Field] = &[(
    "payload",
    Kind::Message(&[("data", Kind::Text), ("dataCrc32c", Kind::Int64)]),
)];

/// One version.
pub(super) struct Version {
    created: Timestamp,
    state: State,
    /// Whether its checksum came with it.
    checked: bool,
}

enum State {
    Enabled(Vec<u8>),
    Disabled(Vec<u8>),
    Destroyed(Timestamp),
}

impl State {
    fn name(&self) -> &'static str {
        match self {
            Self::Enabled(_) => "ENABLED",
            Self::Disabled(_) => "DISABLED",
            Self::Destroyed(_) => "DESTROYED",
        }
    }
}

impl Version {
    pub(super) fn value(&self) -> Option<&Vec<u8>> {
        match &self.state {
            State::Enabled(value) => Some(value),
            State::Disabled(_) | State::Destroyed(_) => None,
        }
    }

    fn to_json(&self, secret: &str, number: usize) -> Value {
        let mut shown = json!({
            "name": format!("{}/{secret}/versions/{number}", parent(PROJECT_NUMBER)),
            "createTime": micros(self.created),
            "state": self.state.name(),
        });
        if let State::Destroyed(time) = self.state {
            shown["destroyTime"] = micros(time).into();
        }
        if self.checked {
            shown["clientSpecifiedPayloadChecksum"] = true.into();
        }
        shown
    }

    /// `enable`, `disable`, `destroy`; whether it can be done.
    fn turn(&mut self, verb: &str) -> bool {
        let former = std::mem::replace(&mut self.state, State::Destroyed(Timestamp::now()));
        let (state, done) = match (verb, former) {
            (_, State::Destroyed(time)) => (State::Destroyed(time), verb == "destroy"),
            ("enable", State::Enabled(value) | State::Disabled(value)) => {
                (State::Enabled(value), true)
            }
            ("disable", State::Enabled(value) | State::Disabled(value)) => {
                (State::Disabled(value), true)
            }
            _ => (State::Destroyed(Timestamp::now()), true),
        };
        self.state = state;
        done
    }
}

pub(super) async fn route(
    secrets: &Secrets,
    call: &mut Call,
    name: &str,
    path: &[&str],
) -> Outcome<Answer> {
    match (&call.method, path) {
        (&Method::GET, []) => list(secrets, name),
        (&Method::GET, [version]) => match version.strip_suffix(":access") {
            Some(version) => access(secrets, name, version),
            None => with(secrets, name, version, |version, number| {
                Ok(answer::json(&version.to_json(name, number)))
            }),
        },
        (&Method::POST, [segment]) => match segment.rsplit_once(':') {
            Some((version, verb @ ("enable" | "disable" | "destroy"))) => {
                schema::message(&[("etag", Kind::Text)], call.json().await?, "")?;
                with(secrets, name, version, |version, number| {
                    if !version.turn(verb) {
                        let message =
                            "The requested state transition is not allowed: it is DESTROYED.";
                        return Err(Refusal::failed_precondition(message));
                    }
                    Ok(answer::json(&version.to_json(name, number)))
                })
            }
            _ => Err(router::nowhere()),
        },
        _ => Err(router::nowhere()),
    }
}

fn with<T>(
    secrets: &Secrets,
    name: &str,
    version: &str,
    act: impl FnOnce(&mut Version, usize) -> Outcome<T>,
) -> Outcome<T> {
    let mut secrets = lock(&secrets.0);
    let secret = secrets.get_mut(name).ok_or_else(|| missing(name))?;
    let number = secret.number(version).ok_or_else(|| missing(name))?;
    let version = secret.versions.get_mut(number - 1);
    act(version.ok_or_else(|| missing(name))?, number)
}

pub(super) async fn add(secrets: &Secrets, call: &mut Call, name: &str) -> Outcome<Answer> {
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
    let version = Version {
        created: Timestamp::now(),
        state: State::Enabled(value),
        checked: claimed.is_some(),
    };
    let shown = version.to_json(name, secret.versions.len() + 1);
    secret.versions.push(version);
    Ok(answer::json(&shown))
}

fn list(secrets: &Secrets, name: &str) -> Outcome<Answer> {
    let secrets = lock(&secrets.0);
    let secret: &Secret = secrets.get(name).ok_or_else(|| missing(name))?;
    let newest_first = secret.versions.iter().enumerate().rev();
    let shown: Vec<Value> = newest_first
        .map(|(index, version)| version.to_json(name, index + 1))
        .collect();
    let mut page = json!({});
    if !shown.is_empty() {
        page["totalSize"] = shown.len().into();
        page["versions"] = shown.into();
    }
    Ok(answer::json(&page))
}

fn access(secrets: &Secrets, name: &str, version: &str) -> Outcome<Answer> {
    with(secrets, name, version, |version, number| {
        let full = format!("{}/{name}/versions/{number}", parent(PROJECT_NUMBER));
        let value = version.value().ok_or_else(|| {
            let state = version.state.name();
            Refusal::failed_precondition(format!("Secret Version [{full}] is in {state} state."))
        })?;
        let payload = json!({
            "data": BASE64_STANDARD.encode(value), "dataCrc32c": crc32c::crc32c(value).to_string(),
        });
        Ok(answer::json(&json!({"name": full, "payload": payload})))
    })
}
