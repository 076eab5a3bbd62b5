//! `sortie doctor`: looks at everything a run needs, in the order of its data, changes nothing, and says what to type.

mod bucket;
mod cloud;
mod credentials;
mod entrypoint;
mod finding;
mod images;
mod jobs;
mod lifecycle;
mod machine;
mod network;
mod secrets;
mod services;
mod settled;

pub use finding::{Finding, Status};

use std::path::Path;

use crate::settings::{Environment, Place, Settings, Wishes, data_dir};

/// Everything that was looked at. What is of this machine works without a network.
///
/// `before_the_cloud` is called between the two, before there is any token in this process: who may not be dumped
/// cannot try a sandbox, and who holds tokens should not be.
pub async fn examine(
    wishes: &Wishes,
    env: &Environment,
    from: &Path,
    before_the_cloud: impl FnOnce(),
) -> Vec<Finding> {
    let settings = Settings::resolve_place(wishes, env, from);
    let mut findings = vec![settled::program()];
    findings.extend(settled::examine(&settings));
    match data_dir(env) {
        Ok(data_dir) => findings.extend(machine::examine(&data_dir, env).await),
        Err(error) => findings.push(Finding::of_error("data directory", &error)),
    }
    if let Ok(settings) = &settings
        && let Place::Cloud(cloud) = &settings.place
    {
        before_the_cloud();
        findings.extend(Box::pin(cloud::examine(cloud, &settings.data_dir)).await);
    }
    findings
}
