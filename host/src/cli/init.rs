//! `sortie init`.

use clap::Args;

use super::run_command::here;
use super::{block_on, human};
use crate::error::Error;
use crate::exit_code;
use crate::settings::{Environment, bucket_alone};

#[derive(Debug, Args)]
pub(super) struct InitArguments {
    /// The team's bucket.
    #[arg(value_name = "gs://BUCKET")]
    pub(super) bucket: String,

    /// Replace a `sortie.toml` that says something else.
    #[arg(short, long)]
    pub(super) force: bool,

    /// Another server for the Cloud Storage API.
    #[arg(long, value_name = "URL")]
    pub(super) storage_endpoint: Option<String>,
}

/// Says what it wrote, and what to type next.
pub(super) fn init(arguments: InitArguments, env: &Environment) -> Result<i32, Error> {
    let cloud = bucket_alone(&arguments.bucket, arguments.storage_endpoint, env)?;
    if cloud.bucket.is_empty() || cloud.bucket.contains('/') {
        return Err(
            Error::usage(format!("`{}` is no bucket", arguments.bucket)).with_hint(
                "`gs://` and the bucket's name: `terraform -chdir=terraform output bucket` tells it",
            ),
        );
    }
    crate::core_files::forbid();
    let made = block_on(crate::init::init(&cloud, &here()?, arguments.force))?;
    let verb = if made.was_there {
        "says so already"
    } else {
        "is written"
    };
    human::say(&format!(
        "`{}` {verb}: project `{}`, environments `{}`",
        made.path.display(),
        made.project,
        made.environments.join("`, `"),
    ));
    human::say("next: sortie run -- echo hello");
    Ok(exit_code::SUCCESS)
}
