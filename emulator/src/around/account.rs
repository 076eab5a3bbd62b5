//! Service accounts, by name only: nobody can act as one.

use std::collections::BTreeMap;

use base64::prelude::{BASE64_STANDARD, Engine as _};
use http::Method;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::{patch, policy_verb, split};
use crate::answer::{self, Answer};
use crate::call::Call;
use crate::refusal::{Outcome, Refusal};
use crate::router;
use crate::schema::{self, Field, Kind};
use crate::server::Site;

const ACCOUNT: &[Field] = &[
    ("description", Kind::Text),
    ("disabled", Kind::Output),
    ("displayName", Kind::Text),
    ("email", Kind::Output),
    ("etag", Kind::Text),
    ("name", Kind::Output),
    ("oauth2ClientId", Kind::Output),
    ("projectId", Kind::Output),
    ("uniqueId", Kind::Output),
];

/// A service account.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Account {
    unique_id: String,
    serial: u64,
    disabled: bool,
    /// Display name and description.
    given: Map<String, Value>,
}

fn missing(email: &str) -> Refusal {
    Refusal::not_found(format!("Unknown service account: {email}"))
}

/// Named by its email, or by its number.
fn email_of(accounts: &BTreeMap<String, Account>, name: &str) -> Outcome<String> {
    let found = accounts
        .iter()
        .find(|(email, account)| *email == name || account.unique_id == name);
    found
        .map(|(email, _)| email.clone())
        .ok_or_else(|| missing(name))
}

pub(super) async fn route(site: &Site, call: &mut Call, path: &[&str]) -> Outcome<Answer> {
    let around = &site.around;
    let segment = match path {
        [] if call.method == Method::POST => return create(site, call).await,
        [] if call.method == Method::GET => return Ok(list(site)),
        [segment] => segment,
        _ => return Err(router::nowhere()),
    };
    let (name, verb) = split(segment);
    let email = email_of(&around.records().accounts, name)?;
    match (&call.method, verb) {
        (&Method::GET, None) => Ok(answer::json(&show(site, &email)?)),
        (&Method::PATCH, None) => change(site, call, &email).await,
        (&Method::DELETE, None) => {
            around.change(|records| {
                records.accounts.remove(&email);
                records.policies.remove(&resource(site, &email));
                Ok(())
            })?;
            Ok(answer::json(&json!({})))
        }
        (&Method::POST, Some(verb @ ("enable" | "disable"))) => {
            call.json().await?;
            around.change(|records| {
                let account = records.accounts.get_mut(&email);
                account.ok_or_else(|| missing(&email))?.disabled = verb == "disable";
                Ok(())
            })?;
            Ok(answer::json(&json!({})))
        }
        (&Method::POST, Some(verb)) => policy_verb(site, call, &resource(site, &email), verb).await,
        _ => Err(router::nowhere()),
    }
}

fn resource(site: &Site, email: &str) -> String {
    format!("projects/{}/serviceAccounts/{email}", site.project)
}

async fn create(site: &Site, call: &mut Call) -> Outcome<Answer> {
    const REQUEST: &[Field] = &[
        ("accountId", Kind::Text),
        ("serviceAccount", Kind::Message(ACCOUNT)),
    ];
    let given = schema::message(REQUEST, call.json().await?, "")?;
    let id = given
        .get("accountId")
        .and_then(Value::as_str)
        .unwrap_or_default();
    if !is_id(id) {
        return Err(Refusal::invalid(format!(
            "The account ID \"{id}\" does not have a length between 6 and 30, or is not of the form \
             [a-z]([-a-z0-9]*[a-z0-9])."
        )));
    }
    let email = format!("{id}@{}.iam.gserviceaccount.com", site.project);
    let fields = given.get("serviceAccount").and_then(Value::as_object);
    site.around.change(|records| {
        if records.accounts.contains_key(&email) {
            return Err(Refusal::conflict(format!(
                "Service account {id} already exists within project projects/{}.",
                site.project
            )));
        }
        let account = Account {
            unique_id: unique_id(),
            serial: 1,
            disabled: false,
            given: fields.cloned().unwrap_or_default(),
        };
        records.accounts.insert(email.clone(), account);
        Ok(())
    })?;
    Ok(answer::json(&show(site, &email)?))
}

fn is_id(id: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (6..=30).contains(&id.len())
        && id.bytes().all(allowed)
        && id.starts_with(|first: char| first.is_ascii_lowercase())
        && !id.ends_with('-')
}

/// 21 digits, as Google's have.
fn unique_id() -> String {
    let random = uuid::Uuid::new_v4().as_u128() % 10_u128.pow(20);
    format!("1{random:020}")
}

fn list(site: &Site) -> Answer {
    let records = site.around.records();
    let accounts: Vec<Value> = records
        .accounts
        .iter()
        .map(|(email, account)| account.to_json(&site.project, email))
        .collect();
    let mut page = json!({});
    if !accounts.is_empty() {
        page["accounts"] = accounts.into();
    }
    answer::json(&page)
}

async fn change(site: &Site, call: &mut Call, email: &str) -> Outcome<Answer> {
    const REQUEST: &[Field] = &[
        ("serviceAccount", Kind::Message(ACCOUNT)),
        ("updateMask", Kind::Text),
    ];
    let request = schema::message(REQUEST, call.json().await?, "")?;
    let mut given = match request.get("serviceAccount") {
        Some(Value::Object(given)) => given.clone(),
        _ => Map::new(),
    };
    given.remove("etag");
    let mask = request.get("updateMask").and_then(Value::as_str);
    site.around.change(|records| {
        let account = records
            .accounts
            .get_mut(email)
            .ok_or_else(|| missing(email))?;
        patch(&mut account.given, &given, mask);
        account.serial += 1;
        Ok(())
    })?;
    Ok(answer::json(&show(site, email)?))
}

fn show(site: &Site, email: &str) -> Outcome<Value> {
    let records = site.around.records();
    let account = records.accounts.get(email).ok_or_else(|| missing(email))?;
    Ok(account.to_json(&site.project, email))
}

impl Account {
    fn to_json(&self, project: &str, email: &str) -> Value {
        let mut shown = Value::Object(self.given.clone());
        shown["name"] = format!("projects/{project}/serviceAccounts/{email}").into();
        shown["projectId"] = project.into();
        shown["email"] = email.into();
        shown["uniqueId"] = self.unique_id.as_str().into();
        shown["oauth2ClientId"] = self.unique_id.as_str().into();
        shown["etag"] = BASE64_STANDARD.encode(self.serial.to_be_bytes()).into();
        if self.disabled {
            shown["disabled"] = true.into();
        }
        shown
    }
}
