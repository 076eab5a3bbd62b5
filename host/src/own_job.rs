//! A job like an environment's, but for its image and resources: made where it is missing, and used again by whoever
//! asks for the same.
//!
//! Its name is a digest of the whole definition, so none is ever changed. What guards the environment (its account,
//! network, secrets) guards it too, for all of that is copied.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use wire::api::{ApiError, ErrorKind};

use crate::cloud_run::{CloudRun, Job};
use crate::error::Error;
use crate::local::job_name;
use crate::settings::Shape;

/// Cloud Run looks for the image and the secrets before it calls a job ready.
const PATIENCE: Duration = Duration::from_mins(2);

/// Between two looks.
const PAUSE: Duration = Duration::from_millis(500);

/// The accelerator of `--gpu`.
const GPU: &str = "nvidia-l4";

/// How Kubernetes calls GPUs.
const GPUS: &str = "nvidia.com/gpu";

/// A job runs what a tag meant when the job was made; a digest says the same for ever.
async fn pinned(shape: &Shape, options: &registry::Options) -> Result<Shape, Error> {
    let mut shape = shape.clone();
    if let Some(image) = &shape.image {
        let cannot = |error| Error::image(format!("cannot use the image `{image}`"), error);
        let reference: registry::Reference = image.parse().map_err(cannot)?;
        let pinned = registry::resolve(&reference, options).await;
        shape.image = Some(pinned.map_err(cannot)?.to_string());
    }
    Ok(shape)
}

/// The label that says who made a job of his own.
pub(crate) const OWNER_LABEL: &str = "sortie-owner";

/// A job that is to be made, unless it is there.
pub(crate) struct OwnJob {
    /// The job it is like.
    environment: String,
    pub(crate) name: String,
    definition: Value,
}

/// Settles what the job is; `None` where the shape is the environment's own. Nothing is made.
pub(crate) async fn define(
    cloud_run: &CloudRun,
    environment: &str,
    shape: &Shape,
    options: &registry::Options,
    owner: &str,
) -> Result<Option<OwnJob>, Error> {
    let shape = &pinned(shape, options).await?;
    let base = cloud_run.definition(environment).await;
    let base = base.map_err(Error::api("cannot find the environment's job"))?;
    check(shape, &base)?;
    let template = template(&base, shape);
    if template == base["template"] {
        return Ok(None);
    }
    let mut definition = json!({ "template": template });
    if let Some(policy) = base.get("binaryAuthorization") {
        definition["binaryAuthorization"] = policy.clone();
    }
    let name = job_name("sortie-adhoc", &definition);
    // Whoever else asks for the same uses the same job: whose it was first is no part of its name.
    definition["labels"] = json!({ "app": "sortie", OWNER_LABEL: label(owner) });
    Ok(Some(OwnJob {
        environment: environment.to_owned(),
        name,
        definition,
    }))
}

impl OwnJob {
    /// As it will be, for who only wants to know.
    pub(crate) fn imagined(&self) -> Result<Job, Error> {
        let mut job = self.definition.clone();
        job["name"] = json!(self.name);
        serde_json::from_value(job)
            .map_err(|error| Error::local("cannot read the environment's job", error))
    }

    /// Makes it if it is not there, and waits until it can be run.
    pub(crate) async fn ensure(&self, cloud_run: &CloudRun) -> Result<(), Error> {
        let account = &self.definition["template"]["template"]["serviceAccount"];
        let account = account.as_str().unwrap_or("the environment's account");
        let found = find_or_make(cloud_run, &self.name, &self.definition).await;
        let found = found.map_err(|error| explain(error, account));
        let doing = format!("cannot make a job like `{}`", self.environment);
        await_ready(cloud_run, &self.name, found.map_err(Error::api(doing))?).await
    }
}

fn check(shape: &Shape, base: &Value) -> Result<(), Error> {
    let limits = &base["template"]["template"]["containers"][0]["resources"]["limits"];
    shape.check(limits["cpu"].as_str(), limits["memory"].as_str())
}

/// The environment's, with what is asked for in its place.
fn template(base: &Value, shape: &Shape) -> Value {
    let mut template = base["template"].clone();
    let task = &mut template["template"];
    let container = &mut task["containers"][0];
    if let Some(image) = &shape.image {
        container["image"] = json!(image);
    }
    let limits = &mut container["resources"]["limits"];
    if let Some(cpu) = &shape.cpu {
        limits["cpu"] = json!(cpu);
    }
    if let Some(memory) = &shape.memory {
        limits["memory"] = json!(memory);
    }
    if shape.gpu && limits.get(GPUS).is_none() {
        limits[GPUS] = json!("1");
        task["nodeSelector"] = json!({ "accelerator": GPU });
        task["gpuZonalRedundancyDisabled"] = json!(true);
    }
    template
}

async fn find_or_make(
    cloud_run: &CloudRun,
    name: &str,
    definition: &Value,
) -> Result<Option<Job>, ApiError> {
    match cloud_run.job(name).await {
        Ok(job) if job.has_failed() => cloud_run.delete(&job.name).await?,
        Ok(job) => return Ok(Some(job)),
        Err(error) if error.kind == ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    cloud_run.create_job(name, definition).await?;
    Ok(None)
}

/// One that cannot become ready is removed again: the next who asks may have mended what it lacked.
async fn await_ready(cloud_run: &CloudRun, name: &str, mut job: Option<Job>) -> Result<(), Error> {
    let begun = Instant::now();
    loop {
        let seen = match job.take() {
            Some(job) => job,
            None => cloud_run
                .job(name)
                .await
                .map_err(Error::api("cannot look at the job that was made"))?,
        };
        if seen.is_ready() {
            return Ok(());
        }
        if seen.has_failed() {
            let why = seen.terminal_condition.and_then(|is| is.message);
            let _ = cloud_run.delete(&seen.name).await;
            return Err(Error::local(
                "Cloud Run cannot use the job that was made",
                why.unwrap_or_else(|| "it does not say why".to_owned()),
            )
            .with_hint("is the image there, and may Cloud Run read it?"));
        }
        if begun.elapsed() > PATIENCE {
            let what = format!("the job `{name}` does not become ready");
            return Err(Error::local(what, "Cloud Run is still looking at it")
                .with_hint("type it again: the job is used when it is ready"));
        }
        tokio::time::sleep(PAUSE).await;
    }
}

fn explain(mut error: ApiError, account: &str) -> ApiError {
    error.hint = match error.kind {
        ErrorKind::Forbidden => Some(format!(
            "a job of your own takes `roles/run.developer` on the project and `roles/iam.serviceAccountUser` on `{account}`, \
             which the kit's `developers` have"
        )),
        _ if error.status == Some(429) || error.reason.as_deref() == Some("RESOURCE_EXHAUSTED") => {
            Some("a region has room for 1,000 jobs of a project: `sortie gc` removes what was made like this and is not used".to_owned())
        }
        _ => error.hint,
    };
    error
}

/// What a label's value may be.
pub(crate) fn label(text: &str) -> String {
    let fit = |c: char| {
        let c = c.to_ascii_lowercase();
        if c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_' {
            c
        } else {
            '-'
        }
    };
    text.chars().take(63).map(fit).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn base() -> Value {
        json!({ "template": { "taskCount": 1, "template": {
            "serviceAccount": "a@p.test",
            "timeout": "600s",
            "vpcAccess": { "egress": "ALL_TRAFFIC" },
            "containers": [{
                "image": "i@sha256:00",
                "env": [{ "name": "KEY", "valueSource": { "secretKeyRef": { "secret": "s", "version": "1" } } }],
                "resources": { "limits": { "cpu": "1", "memory": "2Gi" } },
            }],
        }}})
    }

    #[test]
    fn all_but_what_is_asked_for_is_the_environments() {
        let shape = Shape {
            image: Some("j@sha256:01".to_owned()),
            cpu: Some("4".to_owned()),
            memory: Some("16Gi".to_owned()),
            gpu: true,
        };
        let made = template(&base(), &shape);
        let mut expected = base()["template"].clone();
        let task = &mut expected["template"];
        task["containers"][0]["image"] = json!("j@sha256:01");
        task["containers"][0]["resources"]["limits"] =
            json!({ "cpu": "4", "memory": "16Gi", "nvidia.com/gpu": "1" });
        task["nodeSelector"] = json!({ "accelerator": "nvidia-l4" });
        task["gpuZonalRedundancyDisabled"] = json!(true);
        assert_eq!(made, expected);
        let same = Shape {
            image: Some("i@sha256:00".to_owned()),
            cpu: Some("1".to_owned()),
            ..Shape::default()
        };
        assert_eq!(template(&base(), &same), base()["template"]);
    }

    #[test]
    fn a_label_has_no_other_characters() {
        assert_eq!(label("Ann.B@host-1.example"), "ann-b-host-1-example");
    }

    #[test]
    fn a_refusal_names_the_roles_and_a_full_region_the_way_out() {
        let hint = |kind, status| {
            let mut error = ApiError::new("cannot create the job `j`", kind);
            error.status = Some(status);
            explain(error, "a@p.test").hint.unwrap()
        };
        let refused = hint(ErrorKind::Forbidden, 403);
        assert!(refused.contains("roles/run.developer"), "{refused}");
        assert!(
            refused.contains("`roles/iam.serviceAccountUser` on `a@p.test`"),
            "{refused}"
        );
        assert!(hint(ErrorKind::Unavailable, 429).contains("sortie gc"));
    }
}
