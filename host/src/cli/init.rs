//! `sortie init`.

use super::arguments::InitArguments;
use super::run_command::here;
use super::{block_on, human};
use crate::error::Error;
use crate::exit_code;
use crate::settings::{Environment, bucket_alone};

pub(super) fn init(arguments: InitArguments, env: &Environment) -> Result<i32, Error> {
    let cloud = bucket_alone(&arguments.bucket, arguments.storage_endpoint, env)?;
    if cloud.bucket.is_empty() || cloud.bucket.contains('/') {
        return Err(
            Error::usage(format!("`{}` is no bucket", arguments.bucket)).with_hint(
                "`gs://` and the bucket's name: `terraform -chdir=terraform output bucket` tells it",
            ),
        );
    }
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
