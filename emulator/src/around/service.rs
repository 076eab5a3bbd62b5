//! Service Usage: which APIs are enabled. All that are served here work in any case.

use http::Method;
use serde_json::{Value, json};

use super::split;
use crate::answer::{self, Answer};
use crate::call::Call;
use crate::metadata::PROJECT_NUMBER;
use crate::refusal::{Outcome, Refusal};
use crate::router;
use crate::schema::{self, Field, Kind};
use crate::server::Site;

const TYPES: &str = "type.googleapis.com/google.api.serviceusage.v1";
/// How many can be enabled at once.
const MOST: usize = 20;

pub(crate) async fn route(site: &Site, call: &mut Call, path: &[&str]) -> Outcome<Answer> {
    match (&call.method, path) {
        (&Method::GET, []) => list(site, call),
        (&Method::GET, [name]) => Ok(answer::json(&shown(name, is_enabled(site, name)))),
        (&Method::POST, [segment]) => match split(segment) {
            (name, Some("enable")) => {
                call.json().await?;
                site.around.change(|records| {
                    records.services.insert(name.to_owned());
                    Ok(())
                })?;
                let service = json!({"service": shown(name, true)});
                Ok(done(site, "EnableServiceResponse", service))
            }
            (name, Some("disable")) => {
                call.json().await?;
                site.around.change(|records| {
                    records.services.remove(name);
                    Ok(())
                })?;
                let service = json!({"service": shown(name, false)});
                Ok(done(site, "DisableServiceResponse", service))
            }
            _ => Err(router::nowhere()),
        },
        _ => Err(router::nowhere()),
    }
}

/// The verbs about many: `services:batchEnable`, `services:batchGet`.
pub(crate) async fn many(site: &Site, call: &mut Call, verb: &str) -> Outcome<Answer> {
    const REQUEST: &[Field] = &[("serviceIds", Kind::List(&Kind::Text))];
    match (&call.method, verb) {
        (&Method::POST, "services:batchEnable") => {
            let given = schema::message(REQUEST, call.json().await?, "")?;
            let ids = given.get("serviceIds").and_then(Value::as_array);
            let ids: Vec<String> = ids
                .into_iter()
                .flatten()
                .filter_map(|id| id.as_str().map(str::to_owned))
                .collect();
            if ids.is_empty() || ids.len() > MOST {
                return Err(Refusal::invalid("Between 1 and 20 service ids are needed."));
            }
            site.around.change(|records| {
                records.services.extend(ids.iter().cloned());
                Ok(())
            })?;
            let services: Vec<Value> = ids.iter().map(|id| shown(id, true)).collect();
            Ok(done(
                site,
                "BatchEnableServicesResponse",
                json!({ "services": services }),
            ))
        }
        (&Method::GET, "services:batchGet") => {
            let names = call.query.all("names");
            let services: Vec<Value> = names
                .map(|name| name.rsplit('/').next().unwrap_or(name))
                .map(|name| shown(name, is_enabled(site, name)))
                .collect();
            Ok(answer::json(&json!({ "services": services })))
        }
        _ => Err(router::nowhere()),
    }
}

fn is_enabled(site: &Site, name: &str) -> bool {
    site.around.records().services.contains(name)
}

fn list(site: &Site, call: &Call) -> Outcome<Answer> {
    match call.query.get("filter") {
        None | Some("state:ENABLED") => {}
        Some(other) => {
            return Err(Refusal::invalid(format!(
                "The filter `{other}` is not supported."
            )));
        }
    }
    let records = site.around.records();
    let services: Vec<Value> = records
        .services
        .iter()
        .map(|name| shown(name, true))
        .collect();
    let mut page = json!({});
    if !services.is_empty() {
        page["services"] = services.into();
    }
    Ok(answer::json(&page))
}

fn shown(name: &str, enabled: bool) -> Value {
    json!({
        "name": format!("projects/{PROJECT_NUMBER}/services/{name}"),
        "parent": format!("projects/{PROJECT_NUMBER}"),
        "config": {"name": name},
        "state": if enabled { "ENABLED" } else { "DISABLED" },
    })
}

fn done(site: &Site, kind: &str, mut response: Value) -> Answer {
    let name = format!("operations/acat.{}", uuid::Uuid::new_v4());
    response["@type"] = format!("{TYPES}.{kind}").into();
    let operation = json!({"name": name, "done": true, "response": response});
    site.around.done(operation)
}
