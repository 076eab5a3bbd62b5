//! The secrets that jobs refer to: without one of them a task does not even start.

use std::collections::BTreeSet;

use futures_util::future::join_all;
use reqwest::Method;
use wire::api::ErrorKind;

use super::Finding;
use super::jobs::Read;
use crate::session::Connection;
use crate::settings::Cloud;

pub(super) async fn examine(cloud: &Cloud, connection: &Connection, jobs: &[Read]) -> Vec<Finding> {
    let references = jobs
        .iter()
        .flat_map(Read::variables)
        .filter_map(|variable| {
            let reference = &variable["valueSource"]["secretKeyRef"];
            let version = reference["version"].as_str().unwrap_or("latest");
            Some((reference["secret"].as_str()?, version))
        });
    let references: BTreeSet<(&str, &str)> = references.collect();
    let looks = references
        .into_iter()
        .map(|(secret, version)| one(cloud, connection, secret, version));
    join_all(looks).await
}

async fn one(cloud: &Cloud, connection: &Connection, secret: &str, version: &str) -> Finding {
    let short = secret.rsplit('/').next().unwrap_or(secret);
    let check = format!("secret.{short}");
    let project = &cloud.project;
    let full = if secret.contains('/') {
        secret.to_owned()
    } else {
        format!("projects/{project}/secrets/{secret}")
    };
    let project = full.split('/').nth(1).unwrap_or(project);
    let path = format!("/v1/{full}/versions/{version}");
    let url = if connection.google.is_some() {
        Connection::google_url("secretmanager.googleapis.com", &path)
    } else {
        let mut url = connection.run.url.clone();
        url.set_path(&path);
        url
    };
    let action = format!("cannot see the secret `{short}`");
    let api = &connection.run.api;
    match api.json(&action, Method::GET, url, None, true).await {
        Ok(answer) if answer["state"] == "ENABLED" => {
            Finding::ok(check, format!("version `{version}` is there"))
        }
        Ok(answer) if answer["state"] == "DESTROYED" => {
            Finding::failure(check, format!("version `{version}` is destroyed"))
                .with_hint(add(short, version, project))
        }
        Ok(answer) => {
            let number = answer["name"]
                .as_str()
                .and_then(|name| name.rsplit('/').next());
            let number = number.unwrap_or(version);
            Finding::failure(check, format!("version `{version}` is not enabled")).with_hint(
                format!(
                    "`gcloud secrets versions enable {number} --secret={short} --project={project}`"
                ),
            )
        }
        Err(error) if error.kind == ErrorKind::NotFound => {
            Finding::failure(check, format!("it has no version `{version}`"))
                .with_hint(add(short, version, project))
        }
        // Not where an API is off, or a quota project wanted: then the error has a hint.
        Err(error) if error.kind == ErrorKind::Forbidden && error.hint.is_none() => {
            Finding::unknown(check, "not for you to see, which is as it should be")
        }
        Err(error) => Finding::of_look(check, error),
    }
}

fn add(secret: &str, version: &str, project: &str) -> String {
    if version.parse::<u64>().is_ok() {
        return format!(
            "raise the `serial` of `{secret}` in terraform.tfvars, and `terraform -chdir=terraform apply`: the job names a version"
        );
    }
    format!(
        "`printf %s \"$VALUE\" | gcloud secrets versions add {secret} --data-file=- --project={project}`"
    )
}
