//! The environments' jobs: there, as the kit makes them and as the settings say; theirs to start and to watch.

use futures_util::future::join_all;
use jiff::{SignedDuration, Timestamp};
use reqwest::Method;
use serde_json::{Value, json};
use wire::api::{ApiError, ErrorKind};
use wire::contract::SORTIE_RUN;

use super::Finding;
use super::bucket::held;
use crate::session::Connection;
use crate::settings::{Cloud, TeamEnvironment};

/// What is asked of the job itself; the rest is tried.
const RIGHTS: &[&str] = &["run.jobs.get", "run.jobs.run", "run.jobs.runWithOverrides"];

/// Running executions that a region allows, unless it was raised.
const EXECUTIONS: usize = 1_000;

/// An environment and its job.
pub(super) struct Read {
    /// What the settings call it.
    name: String,
    job: String,
    known: Option<TeamEnvironment>,
    definition: Result<Value, ApiError>,
}

impl Read {
    fn task(&self) -> Option<&Value> {
        let definition = self.definition.as_ref().ok()?;
        definition.pointer("/template/template")
    }

    /// What the settings call its environment.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// What it runs.
    pub(super) fn image(&self) -> Option<&str> {
        self.task()?["containers"][0]["image"].as_str()
    }

    /// The variables of its containers.
    pub(super) fn variables(&self) -> impl Iterator<Item = &Value> {
        let containers = self.task().and_then(|task| task["containers"].as_array());
        let all = containers.into_iter().flatten();
        all.filter_map(|container| container["env"].as_array())
            .flatten()
    }
}

pub(super) async fn read(cloud: &Cloud, connection: &Connection) -> Vec<Read> {
    let mut wanted: Vec<(String, String, Option<TeamEnvironment>)> = cloud
        .environments
        .iter()
        .map(|(name, known)| (name.clone(), known.job.clone(), Some(known.clone())))
        .collect();
    let is_listed = wanted.iter().any(|(_, job, _)| *job == cloud.job);
    if !cloud.job.is_empty() && !is_listed {
        wanted.push((cloud.job.clone(), cloud.job.clone(), None));
    }
    join_all(wanted.into_iter().map(async |(name, job, known)| {
        let definition = connection.cloud_run.definition(&job).await;
        Read {
            name,
            job,
            known,
            definition,
        }
    }))
    .await
}

pub(super) async fn examine(connection: &Connection, all: &[Read]) -> Vec<Finding> {
    let each = join_all(all.iter().map(|read| one(connection, read))).await;
    let running: usize = each.iter().map(|(_, running)| running).sum();
    let mut findings: Vec<Finding> = each.into_iter().flat_map(|(f, _)| f).collect();
    findings.push(headroom(running));
    findings
}

/// What is found of a job, and how many of its executions run.
async fn one(connection: &Connection, read: &Read) -> (Vec<Finding>, usize) {
    let check = format!("job.{}", read.name);
    let job = &read.job;
    let definition = match &read.definition {
        Ok(definition) => definition,
        Err(error) if error.kind == ErrorKind::NotFound => {
            let missing = Finding::failure(check, format!("there is no job `{job}`"))
                .with_hint("`terraform -chdir=terraform apply` makes it; or the settings are old: `make config`");
            return (vec![missing], 0);
        }
        Err(error) => {
            let error = again(error);
            return (vec![Finding::of_call(check, error)], 0);
        }
    };
    let mut findings = vec![shape(&check, read, definition)];
    let (rights, executions) = tokio::join!(rights(connection, job), executions(connection, job));
    let check = format!("{check}.rights");
    let mut running = 0;
    match (rights, executions) {
        (Ok(answer), Ok(count)) => {
            running = count;
            let role = "roles/run.jobsExecutorWithOverrides";
            findings.push(held(&check, RIGHTS, &answer, role, "the job"));
        }
        (Err(error), _) | (_, Err(error)) => findings.push(Finding::of_call(&check, error)),
    }
    (findings, running)
}

/// An error is told where it stands in the way, too.
fn again(error: &ApiError) -> ApiError {
    let source = crate::error::chain(error);
    let said = source.strip_prefix(&format!("{}: ", error.action));
    let mut copy = ApiError::new(&error.action, error.kind);
    copy.hint.clone_from(&error.hint);
    match said {
        Some(said) => copy.with_source(said.to_owned()),
        None => copy,
    }
}

/// As gcloud is told of it: `projects/P/locations/R/jobs/J`.
fn place(definition: &Value) -> String {
    let name = definition["name"].as_str().unwrap_or_default();
    match name.split('/').collect::<Vec<_>>()[..] {
        ["projects", project, "locations", region, ..] => {
            format!(" --region={region} --project={project}")
        }
        _ => String::new(),
    }
}

fn shape(check: &str, read: &Read, definition: &Value) -> Finding {
    let job = &read.job;
    let task = read.task().unwrap_or(&Value::Null);
    let container = &task["containers"][0];
    if definition["terminalCondition"]["state"] == "CONDITION_FAILED" {
        let why = definition["terminalCondition"]["message"].as_str();
        return Finding::failure(
            check,
            format!(
                "`{job}` cannot run: {}",
                why.unwrap_or("Cloud Run does not say why")
            ),
        )
        .with_hint(format!(
            "`gcloud run jobs describe {job}{}` says more",
            place(definition)
        ));
    }
    if let Some(broken) = broken(read, container) {
        let hint = "`terraform -chdir=terraform apply` makes the job anew";
        return Finding::failure(check, format!("`{job}` {broken}")).with_hint(hint);
    }
    let odd = oddities(read, task, container);
    let image = container["image"].as_str().unwrap_or("no image");
    let account = task["serviceAccount"].as_str().unwrap_or("no account");
    if odd.is_empty() {
        return Finding::ok(check, format!("`{job}`: `{image}` as `{account}`"));
    }
    let hint = "settings that are old: `make config`; a job that was changed by hand: `terraform -chdir=terraform apply`";
    Finding::warning(check, format!("`{job}`: {}", odd.join("; "))).with_hint(hint)
}

/// What no run survives.
fn broken(read: &Read, container: &Value) -> Option<String> {
    for part in ["command", "args"] {
        if container[part]
            .as_array()
            .is_some_and(|words| !words.is_empty())
        {
            return Some(format!(
                "has `{part}` of its own, so that the entrypoint does not start"
            ));
        }
    }
    if read
        .variables()
        .any(|variable| variable["name"] == SORTIE_RUN)
    {
        return Some(format!("sets `{SORTIE_RUN}` itself"));
    }
    let secrets = read.known.iter().flat_map(|known| &known.secrets);
    let lacks = |name: &&String| {
        let mut all = read.variables();
        !all.any(|variable| variable["name"] == **name && !variable["valueSource"].is_null())
    };
    let missing: Vec<&str> = secrets.filter(lacks).map(String::as_str).collect();
    if missing.is_empty() {
        return None;
    }
    Some(format!(
        "lacks the secrets `{}` that the settings list",
        missing.join("`, `")
    ))
}

/// What is not as the kit makes it, or not as the settings say.
fn oddities(read: &Read, task: &Value, container: &Value) -> Vec<String> {
    let mut odd = Vec::new();
    // Zero is left out of JSON.
    let retries = task["maxRetries"].as_u64().unwrap_or(0);
    if retries > 0 {
        odd.push(format!(
            "Cloud Run tries a task {retries} times more, which sortie does itself where it is right"
        ));
    }
    match task["serviceAccount"].as_str() {
        None | Some("") => odd.push("its tasks are the project's default account".to_owned()),
        Some(account) if account.ends_with("-compute@developer.gserviceaccount.com") => {
            odd.push(format!(
                "its tasks are `{account}`, who may do much more than they should"
            ));
        }
        Some(_) => {}
    }
    let Some(known) = &read.known else {
        return odd;
    };
    let timeout = known.timeout_seconds.map(|seconds| format!("{seconds}s"));
    let limits = &container["resources"]["limits"];
    for (what, said, is) in [
        ("image", known.image.as_ref(), &container["image"]),
        ("cpu", known.cpu.as_ref(), &limits["cpu"]),
        ("memory", known.memory.as_ref(), &limits["memory"]),
        ("timeout", timeout.as_ref(), &task["timeout"]),
    ] {
        let is = is.as_str();
        if let (Some(said), Some(is)) = (said, is)
            && said != is
        {
            odd.push(format!(
                "its {what} is `{is}`, and the settings say `{said}`"
            ));
        }
    }
    odd
}

async fn rights(connection: &Connection, job: &str) -> Result<Value, ApiError> {
    let url = connection.job_url(job, ":testIamPermissions");
    let body = json!({ "permissions": RIGHTS });
    let action = format!("cannot see the rights on the job `{job}`");
    let api = &connection.run.api;
    api.json(&action, Method::POST, url, Some(&body), true)
        .await
}

/// Those that run now, of the last day.
async fn executions(connection: &Connection, job: &str) -> Result<usize, ApiError> {
    let since = Timestamp::now() - SignedDuration::from_hours(24);
    let newest = connection.cloud_run.executions_since(job, since).await?;
    Ok(newest.iter().filter(|execution| !execution.ended()).count())
}

fn headroom(running: usize) -> Finding {
    const CHECK: &str = "quota";
    let says = format!(
        "{running} executions of these jobs, begun in the last day, run now; a region allows {EXECUTIONS} at once, and 180 starts a minute, unless raised"
    );
    if running * 10 < EXECUTIONS * 9 {
        return Finding::ok(CHECK, says);
    }
    Finding::warning(CHECK, says)
        .with_hint("`sortie ps --all` shows whose they are; `sortie cancel RUN` ends one")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Status;

    fn shaped(definition: &Value) -> Finding {
        let read = Read {
            name: "default".to_owned(),
            job: "crew".to_owned(),
            known: None,
            definition: Ok(definition.clone()),
        };
        shape("job.default", &read, definition)
    }

    fn definition() -> Value {
        json!({
            "name": "projects/team/locations/europe-west1/jobs/crew",
            "terminalCondition": {"type": "Ready", "state": "CONDITION_SUCCEEDED"},
            "template": {"template": {
                "serviceAccount": "crew@team.iam.gserviceaccount.com",
                "containers": [{"image": "pkg.test/base@sha256:00"}],
            }},
        })
    }

    #[test]
    fn a_region_that_is_nearly_full_is_told() {
        let room = headroom(899);
        assert_eq!(room.status, Status::Ok);
        assert!(room.says.starts_with("899 executions"), "{}", room.says);
        let full = headroom(900);
        assert_eq!(full.status, Status::Warning);
        assert!(full.says.contains("allows 1000 at once"), "{}", full.says);
        assert!(full.hint.unwrap().contains("sortie cancel"));
    }

    #[test]
    fn a_job_that_cannot_run_is_told_in_cloud_runs_words() {
        assert_eq!(shaped(&definition()).status, Status::Ok);
        let mut failed = definition();
        failed["terminalCondition"] = json!({
            "type": "Ready", "state": "CONDITION_FAILED",
            "message": "Image 'pkg.test/base@sha256:00' not found.",
        });
        let finding = shaped(&failed);
        assert_eq!(finding.status, Status::Failure);
        assert!(
            finding
                .says
                .ends_with("cannot run: Image 'pkg.test/base@sha256:00' not found."),
            "{}",
            finding.says
        );
        let typed = "gcloud run jobs describe crew --region=europe-west1 --project=team";
        assert!(finding.hint.unwrap().contains(typed));
        failed["terminalCondition"] = json!({"state": "CONDITION_FAILED"});
        assert!(shaped(&failed).says.contains("does not say why"));
    }

    #[test]
    fn a_job_without_an_account_or_with_the_runs_variable_is_told() {
        let mut job = definition();
        job["template"]["template"]["serviceAccount"] = json!("");
        let finding = shaped(&job);
        assert_eq!(finding.status, Status::Warning);
        assert!(finding.says.contains("the project's default account"));
        job["template"]["template"]["containers"][0]["env"] =
            json!([{"name": SORTIE_RUN, "value": "x"}]);
        let finding = shaped(&job);
        assert_eq!(finding.status, Status::Failure);
        assert!(finding.says.contains("sets `SORTIE_RUN` itself"));
    }
}
