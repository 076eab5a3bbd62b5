//! Whether the project has the APIs on, and lets its callers use its quota.

use reqwest::Method;
use serde_json::{Value, json};
use wire::api::ApiError;

use super::Finding;
use crate::session::Connection;
use crate::settings::Cloud;

pub(super) async fn examine(cloud: &Cloud, connection: &Connection) -> Vec<Finding> {
    if connection.google.is_none() {
        return vec![Finding::unknown(
            "apis",
            "not asked of other servers than Google's",
        )];
    }
    let (enabled, quota) = tokio::join!(enabled(cloud, connection), quota(cloud, connection));
    vec![enabled, quota]
}

async fn enabled(cloud: &Cloud, connection: &Connection) -> Finding {
    const CHECK: &str = "apis";
    let project = &cloud.project;
    let mut needed = vec!["storage.googleapis.com", "run.googleapis.com"];
    if cloud.environments.values().any(|e| !e.secrets.is_empty()) {
        needed.push("secretmanager.googleapis.com");
    }
    let states = match states(project, &needed, connection).await {
        Ok(states) => states,
        Err(error) => return Finding::of_look(CHECK, error),
    };
    let off: Vec<&str> = needed
        .iter()
        .copied()
        .filter(|name| !states.iter().any(|enabled| enabled == name))
        .collect();
    if off.is_empty() {
        return Finding::ok(CHECK, format!("`{}` are on", needed.join("`, `")));
    }
    let all = off.join(" ");
    Finding::failure(CHECK, format!("off in `{project}`: `{}`", off.join("`, `"))).with_hint(
        format!("`gcloud services enable {all} --project={project}`"),
    )
}

/// Those of some that are enabled.
async fn states(
    project: &str,
    names: &[&str],
    connection: &Connection,
) -> Result<Vec<String>, ApiError> {
    let path = format!("/v1/projects/{project}/services:batchGet");
    let mut url = Connection::google_url("serviceusage.googleapis.com", &path);
    let full = names
        .iter()
        .map(|name| ("names", format!("projects/{project}/services/{name}")));
    url.query_pairs_mut().extend_pairs(full);
    let action = format!("cannot see which APIs are on in `{project}`");
    let api = &connection.run.api;
    let answer = api.json(&action, Method::GET, url, None, true).await?;
    let services = answer["services"].as_array().into_iter().flatten();
    let on = services.filter(|service| service["state"] == "ENABLED");
    let name = |service: &Value| service["config"]["name"].as_str().map(str::to_owned);
    Ok(on.filter_map(name).collect())
}

/// Who calls with a login of their own, calls on a project's quota.
async fn quota(cloud: &Cloud, connection: &Connection) -> Finding {
    const CHECK: &str = "quota project";
    const RIGHT: &str = "serviceusage.services.use";
    let Some(project) = &cloud.quota_project else {
        if let Some(google) = &connection.google
            && google.are_a_persons().await
        {
            let says =
                "none is named, and some of Google's APIs refuse a person's login without one";
            return Finding::warning(CHECK, says).with_hint(set(&cloud.project));
        }
        return Finding::ok(
            CHECK,
            "none is named: calls are on their resources' project",
        );
    };
    let path = format!("/v1/projects/{project}:testIamPermissions");
    let url = Connection::google_url("cloudresourcemanager.googleapis.com", &path);
    let body = json!({ "permissions": [RIGHT] });
    let action = format!("cannot see the rights on `{project}`");
    let api = &connection.run.api;
    let asked = api.json(&action, Method::POST, url, Some(&body), true);
    match asked.await {
        Ok(answer) if answer["permissions"] == json!([RIGHT]) => {
            Finding::ok(CHECK, format!("`{project}`, which may be used"))
        }
        Ok(_) => Finding::warning(
            CHECK,
            format!("`{project}` may not be used (`{RIGHT}` is missing), so it is left out"),
        )
        .with_hint(set(&cloud.project)),
        Err(error) => Finding::of_look(CHECK, error),
    }
}

fn set(project: &str) -> String {
    format!(
        "`gcloud auth application-default set-quota-project {project}`; it takes `roles/serviceusage.serviceUsageConsumer` there"
    )
}
