//! The bucket: whether it is there and as the kit makes it, and what may be done with it.

use reqwest::Method;
use serde_json::Value;
use wire::api::ErrorKind;

use super::{Finding, lifecycle};
use crate::session::Connection;
use crate::settings::Cloud;

/// What a run does to objects, as `roles/storage.objectUser` has it.
const RIGHTS: &[&str] = &[
    "storage.objects.create",
    "storage.objects.get",
    "storage.objects.list",
    "storage.objects.delete",
    "storage.objects.update",
];

/// What sets the bucket right.
pub(super) const APPLY: &str = "`terraform -chdir=terraform apply` sets it as the kit has it";

pub(super) async fn settings(cloud: &Cloud, connection: &Connection) -> Vec<Finding> {
    const CHECK: &str = "bucket";
    let name = connection.bucket.name();
    let mut url = connection.storage.url.clone();
    url.set_path(&format!("/storage/v1/b/{name}"));
    let action = format!("cannot see the bucket `{name}`");
    let api = &connection.storage.api;
    match api.json(&action, Method::GET, url, None, true).await {
        Ok(bucket) => {
            let mut findings = vec![location(cloud, name, &bucket)];
            findings.extend(lifecycle::examine(&bucket, longest(cloud)));
            findings.extend([
                soft_delete(name, &bucket),
                public_access(name, &bucket),
                uniform_access(name, &bucket),
            ]);
            findings
        }
        Err(error) if error.kind == ErrorKind::NotFound => vec![
            Finding::failure(CHECK, format!("there is no bucket `{name}`")).with_hint(
                "`terraform -chdir=terraform apply` makes it; is that its name? `terraform -chdir=terraform output bucket`",
            ),
        ],
        // Not where an API is off, or a quota project wanted: then the error has a hint.
        Err(error) if error.kind == ErrorKind::Forbidden && error.hint.is_none() => vec![Finding::unknown(
            CHECK,
            format!("the settings of `{name}` are not for you to see (`storage.buckets.get`); who made the kit can"),
        )],
        Err(error) => vec![Finding::of_call(CHECK, error)],
    }
}

/// The longest that a task may run, in whole days.
fn longest(cloud: &Cloud) -> u64 {
    let timeouts = cloud.environments.values();
    let longest = timeouts
        .filter_map(|environment| environment.timeout_seconds)
        .max();
    longest.unwrap_or(0).div_ceil(24 * 3600)
}

fn location(cloud: &Cloud, name: &str, bucket: &Value) -> Finding {
    let location = bucket["location"].as_str().unwrap_or_default();
    let region = &cloud.region;
    let says = format!("`{name}` is there, in `{location}`");
    let elsewhere = bucket["locationType"] == "region" && !location.eq_ignore_ascii_case(region);
    if elsewhere {
        let says =
            format!("{says}, and the jobs are in `{region}`: every byte between them is billed");
        Finding::warning("bucket", says)
            .with_hint("one of both can move: `region` in terraform.tfvars")
    } else {
        Finding::ok("bucket", says)
    }
}

fn soft_delete(name: &str, bucket: &Value) -> Finding {
    const CHECK: &str = "bucket.soft-delete";
    let seconds = &bucket["softDeletePolicy"]["retentionDurationSeconds"];
    let seconds = seconds.as_str().and_then(|text| text.parse::<u64>().ok());
    match seconds.unwrap_or(0) {
        0 => Finding::ok(CHECK, "off: what is deleted is gone"),
        seconds => Finding::warning(
            CHECK,
            format!(
                "what is deleted is kept, and billed, for {} days",
                seconds.div_ceil(86_400)
            ),
        )
        .with_hint(format!(
            "`gcloud storage buckets update gs://{name} --clear-soft-delete`"
        )),
    }
}

fn public_access(name: &str, bucket: &Value) -> Finding {
    const CHECK: &str = "bucket.public-access";
    if bucket["iamConfiguration"]["publicAccessPrevention"] == "enforced" {
        return Finding::ok(CHECK, "prevented");
    }
    Finding::warning(
        CHECK,
        "not prevented: one wrong binding opens the bucket to the world",
    )
    .with_hint(format!(
        "`gcloud storage buckets update gs://{name} --public-access-prevention`"
    ))
}

fn uniform_access(name: &str, bucket: &Value) -> Finding {
    const CHECK: &str = "bucket.uniform-access";
    if bucket["iamConfiguration"]["uniformBucketLevelAccess"]["enabled"] == true {
        return Finding::ok(CHECK, "on");
    }
    let says = "off: the tasks' account cannot be held to `inputs/` and `runs/`";
    Finding::warning(CHECK, says).with_hint(format!(
        "`gcloud storage buckets update gs://{name} --uniform-bucket-level-access`"
    ))
}

pub(super) async fn rights(connection: &Connection) -> Vec<Finding> {
    const CHECK: &str = "bucket.rights";
    let name = connection.bucket.name();
    let mut url = connection.storage.url.clone();
    url.set_path(&format!("/storage/v1/b/{name}/iam/testPermissions"));
    let asked = RIGHTS.iter().map(|right| ("permissions", *right));
    url.query_pairs_mut().extend_pairs(asked);
    let action = format!("cannot see the rights on the bucket `{name}`");
    let api = &connection.storage.api;
    let answer = match api.json(&action, Method::GET, url, None, true).await {
        Ok(answer) => answer,
        // That it is not there has a line of its own.
        Err(error) if error.kind == ErrorKind::NotFound => return Vec::new(),
        Err(error) => return vec![Finding::of_call(CHECK, error)],
    };
    vec![held(
        CHECK,
        RIGHTS,
        &answer,
        "roles/storage.objectUser",
        "the bucket",
    )]
}

/// Whether all rights that were asked about are held.
pub(super) fn held(
    check: &str,
    asked: &[&str],
    answer: &Value,
    role: &str,
    place: &str,
) -> Finding {
    let held: Vec<&str> = answer["permissions"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    let missing: Vec<&str> = asked
        .iter()
        .copied()
        .filter(|right| !held.contains(right))
        .collect();
    if missing.is_empty() {
        return Finding::ok(check, format!("all {} that a run takes", asked.len()));
    }
    Finding::failure(check, format!("missing: `{}`", missing.join("`, `"))).with_hint(format!(
        "it takes `{role}` on {place}: add yourself to `team` in terraform.tfvars, and `terraform -chdir=terraform apply`"
    ))
}
