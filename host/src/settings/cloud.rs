//! A project's settings, from flags, environment and file.

use std::collections::BTreeMap;
use url::Url;
use wire::api::Haste;
use wire::token::Token;

use super::credentials::quota_project;
use super::file::{File, TeamEnvironment};
use super::{Cloud, Credentials, Endpoints, Environment, FILE, Shape, Wishes};
use crate::cost::Prices;
use crate::error::Error;

/// The cloud's settings.
pub(super) fn cloud(wishes: &Wishes, env: &Environment, file: &File) -> Result<Cloud, Error> {
    let pick = |flag: &Option<String>, name: &str, file: &Option<String>| {
        flag.clone()
            .or_else(|| env.text(name))
            .or_else(|| file.clone())
    };
    let need = |value: Option<String>, what: &str| {
        value.ok_or_else(|| {
            Error::usage(format!("no {what} is set")).with_hint(format!(
                "give `--{what}`, set `SORTIE_{}`, or write it into `{FILE}`",
                what.to_uppercase()
            ))
        })
    };
    let bucket = need(
        pick(&wishes.bucket, "SORTIE_BUCKET", &file.bucket),
        "bucket",
    )?;
    check_shape(wishes, env, file)?;
    let region = pick(&wishes.region, "SORTIE_REGION", &file.region);
    let region = region.unwrap_or_else(|| "us-central1".to_owned());
    Ok(Cloud {
        project: need(
            pick(&wishes.project, "SORTIE_PROJECT", &file.project),
            "project",
        )?,
        prices: file.prices.unwrap_or_else(|| Prices::of_region(&region)),
        environments: file.environments.clone(),
        shape: wishes.shape.clone(),
        dry_run: wishes.dry_run,
        region,
        bucket: bucket_name(&bucket),
        job: job(wishes, env, file)?,
        quota_project: quota_project(env),
        credentials: Credentials::of(env),
        endpoints: endpoints(wishes, env)?,
    })
}

/// A bucket and no more: for who does not know yet what else there is.
pub(crate) fn bucket_alone(
    bucket: &str,
    storage_endpoint: Option<String>,
    env: &Environment,
) -> Result<Cloud, Error> {
    let storage = storage_endpoint.or_else(|| env.text("STORAGE_EMULATOR_HOST"));
    let endpoints = storage.map(|text| {
        let storage = parse_endpoint(&text)?;
        Ok::<_, Error>(Endpoints {
            run: storage.clone(),
            storage,
            token: emulator_token(env),
            haste: haste(env)?,
        })
    });
    Ok(Cloud {
        project: String::new(),
        region: String::new(),
        bucket: bucket_name(bucket),
        job: String::new(),
        environments: BTreeMap::new(),
        shape: Shape::default(),
        dry_run: false,
        prices: Prices::of_region(""),
        quota_project: quota_project(env),
        credentials: Credentials::of(env),
        endpoints: endpoints.transpose()?,
    })
}

fn bucket_name(text: &str) -> String {
    text.trim_start_matches("gs://")
        .trim_end_matches('/')
        .to_owned()
}

fn emulator_token(env: &Environment) -> Option<Token> {
    env.text("SORTIE_EMULATOR_TOKEN")
        .map(|text| Token::new(text, None))
}

fn haste(env: &Environment) -> Result<Haste, Error> {
    let Some(text) = env.text("SORTIE_HASTE") else {
        return Ok(Haste::NONE);
    };
    let divisor = text.parse().map(Haste);
    divisor.map_err(|_| Error::usage(format!("`SORTIE_HASTE={text}` is no divisor")))
}

fn job(wishes: &Wishes, env: &Environment, file: &File) -> Result<String, Error> {
    if let Some(job) = named_job(wishes, env) {
        return Ok(job);
    }
    let wanted = environment(wishes, env);
    match file.environments.get(&wanted) {
        Some(environment) => Ok(environment.job.clone()),
        None if wishes.any_job => Ok(String::new()),
        None => Err(no_environment(&wanted, &file.environments)),
    }
}

/// A flag that names an environment is stronger than a variable that names a job.
fn named_job(wishes: &Wishes, env: &Environment) -> Option<String> {
    let of_variable = || {
        env.text("SORTIE_JOB")
            .filter(|_| wishes.environment.is_none())
    };
    wishes.job.clone().or_else(of_variable)
}

fn environment(wishes: &Wishes, env: &Environment) -> String {
    let named = wishes.environment.clone();
    named
        .or_else(|| env.text("SORTIE_ENVIRONMENT"))
        .unwrap_or_else(|| "default".to_owned())
}

/// What is known here is held against what is asked for; what is not, when the job has been read.
fn check_shape(wishes: &Wishes, env: &Environment, file: &File) -> Result<(), Error> {
    let shape = &wishes.shape;
    let is_named = named_job(wishes, env).is_some();
    let known = file.environments.get(&environment(wishes, env));
    let known = known.filter(|_| !is_named);
    let cpu = known.and_then(|environment| environment.cpu.as_deref());
    let memory = known.and_then(|environment| environment.memory.as_deref());
    let all = |given: &Option<String>, known: Option<&str>| given.is_some() || known.is_some();
    if shape.is_none() || !all(&shape.cpu, cpu) || !all(&shape.memory, memory) {
        return Ok(());
    }
    shape.check(cpu, memory)
}

/// No environment has this name.
pub fn no_environment(wanted: &str, all: &BTreeMap<String, TeamEnvironment>) -> Error {
    let error = Error::usage(format!("no environment is named `{wanted}`"));
    if all.is_empty() {
        return error.with_hint(format!("give `--job`, or list environments in `{FILE}`"));
    }
    let names: Vec<&str> = all.keys().map(String::as_str).collect();
    error.with_hint(format!("`{FILE}` has `{}`", names.join("`, `")))
}

fn endpoints(wishes: &Wishes, env: &Environment) -> Result<Option<Endpoints>, Error> {
    let run = wishes
        .run_endpoint
        .clone()
        .or_else(|| env.text("SORTIE_RUN_ENDPOINT"));
    let storage = wishes
        .storage_endpoint
        .clone()
        .or_else(|| env.text("STORAGE_EMULATOR_HOST"));
    match (run, storage) {
        (None, None) => Ok(None),
        (Some(run), Some(storage)) => Ok(Some(Endpoints {
            run: parse_endpoint(&run)?,
            storage: parse_endpoint(&storage)?,
            token: emulator_token(env),
            haste: haste(env)?,
        })),
        (run, _) => {
            let (have, lack, flag) = if run.is_some() {
                (
                    "Cloud Run",
                    "Cloud Storage",
                    "`--storage-endpoint` or `STORAGE_EMULATOR_HOST`",
                )
            } else {
                (
                    "Cloud Storage",
                    "Cloud Run",
                    "`--run-endpoint` or `SORTIE_RUN_ENDPOINT`",
                )
            };
            Err(Error::usage(format!(
                "{have} has an endpoint of its own, and {lack} has none"
            ))
            .with_hint(format!("give both, or neither: {flag}")))
        }
    }
}

fn parse_endpoint(text: &str) -> Result<Url, Error> {
    let full = if text.contains("://") {
        text.to_owned()
    } else {
        format!("http://{text}")
    };
    Url::parse(&full)
        .ok()
        .filter(Url::has_host)
        .ok_or_else(|| Error::usage(format!("`{text}` is no endpoint")))
}
