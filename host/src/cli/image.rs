//! `sortie image`.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use registry::{Added, Arrival, Progress, Reference};
use serde_json::json;

use super::block_on;
use super::coming_back::print_json;
use super::human::{print, say};
use super::run_command::{absolute, here, report_failure};
use crate::error::Error;
use crate::exit_code;
use crate::image::{Wanted, add};
use crate::settings::{Credentials, Environment, Place, Settings, Wishes, static_entrypoint};
use crate::text::{count, size};

#[derive(Debug, Args)]
pub(super) struct ImageArguments {
    #[command(subcommand)]
    pub(super) verb: ImageVerb,
}

#[derive(Debug, Subcommand)]
pub(super) enum ImageVerb {
    /// Put the entrypoint into an image, from registry to registry: no docker, and what is there is not sent.
    Add(ImageAddArguments),
}

#[derive(Debug, Args)]
pub(super) struct ImageAddArguments {
    /// The image to begin with, with its registry: `HOST/NAME:TAG` or `HOST/NAME@sha256:…`.
    #[arg(value_name = "BASE")]
    pub(super) base: String,

    /// Where the new image goes [default: beside the environment's image, by the base's name].
    #[arg(value_name = "TARGET")]
    pub(super) target: Option<String>,

    /// The static entrypoint [default: beside the program, or where `make entrypoint` leaves it].
    #[arg(long, value_name = "FILE")]
    pub(super) entrypoint: Option<PathBuf>,

    /// The environment whose image says where the team's images are [default: default].
    #[arg(long, value_name = "NAME")]
    pub(super) environment: Option<String>,

    /// One JSON object on standard output.
    #[arg(long)]
    pub(super) json: bool,
}

pub(super) fn image(arguments: ImageArguments, env: &Environment) -> Result<i32, Error> {
    let ImageVerb::Add(arguments) = arguments.verb;
    let json = arguments.json;
    let added = image_add(arguments, env).map(|added| {
        print_added(&added, json);
        exit_code::SUCCESS
    });
    report_failure(json, added)
}

fn image_add(arguments: ImageAddArguments, env: &Environment) -> Result<Added, Error> {
    let entrypoint = match &arguments.entrypoint {
        Some(file) => absolute(file)?,
        None => static_entrypoint(env).ok_or_else(|| {
            Error::usage("the static entrypoint is not beside this program")
                .with_hint("`make entrypoint` builds it, and `--entrypoint FILE` says where it is")
        })?,
    };
    let wishes = Wishes {
        environment: arguments.environment.clone(),
        ..Wishes::default()
    };
    let settings = Settings::resolve_place(&wishes, env, &here()?)?;
    let (beside, endpoints) = match settings.place {
        Place::Cloud(cloud) => {
            let wanted = arguments.environment.as_deref().unwrap_or("default");
            let environment = cloud.environments.get(wanted);
            let image = environment.and_then(|environment| environment.image.clone());
            (image, cloud.endpoints)
        }
        Place::Local(_) => (None, None),
    };
    let wanted = Wanted {
        base: arguments.base,
        target: arguments.target,
        beside,
        entrypoint,
    };
    crate::core_files::forbid();
    let options = crate::session::registry_options(endpoints.as_ref(), &Credentials::of(env));
    block_on(add(&wanted, &options, &mut tell))
}

fn tell(progress: Progress) {
    match progress {
        Progress::Base {
            digest,
            layers,
            size: bytes,
        } => {
            let layers = u64::try_from(layers).unwrap_or(u64::MAX);
            say(&format!(
                "base `{digest}`: {} of {}",
                count(layers, "layer", "layers"),
                size(bytes)
            ));
        }
        Progress::Arrived {
            digest,
            size: bytes,
            how,
        } => {
            let how = match how {
                Arrival::Present => "is there already",
                Arrival::Mounted => "is taken over by the registry",
                _ => "is sent",
            };
            say(&format!("{digest} ({}) {how}", size(bytes)));
        }
        _ => {}
    }
}

fn print_added(added: &Added, json: bool) {
    let warnings: Vec<String> = added.warnings.iter().map(ToString::to_string).collect();
    if json {
        let reference = |reference: &Reference| reference.to_string();
        print_json(
            "image",
            json!({
                "reference": reference(&added.reference),
                "digest": added.digest.as_str(),
                "base": reference(&added.base),
                "bytes": added.size,
                "blobs_sent": added.sent_blobs,
                "blobs_reused": added.reused_blobs,
                "warnings": warnings,
            }),
        );
        return;
    }
    for warning in &warnings {
        say(&format!("warning: {warning}"));
    }
    print(&added.reference.to_string());
    say("to use it: sortie run --image with that, or as an environment's `image` in Terraform");
}
