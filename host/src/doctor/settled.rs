//! Which sortie this is, and where it was told to run.

use super::Finding;
use crate::error::Error;
use crate::settings::{Cloud, FILE, Place, Settings};

pub(super) fn program() -> Finding {
    let version = env!("CARGO_PKG_VERSION");
    let path = std::env::current_exe().map_or_else(
        |_| "a program that is gone".to_owned(),
        |path| format!("`{}`", path.display()),
    );
    Finding::ok("program", format!("sortie {version}, {path}"))
}

pub(super) fn examine(settings: &Result<Settings, Error>) -> Vec<Finding> {
    let settings = match settings {
        Ok(settings) => settings,
        Err(error) => return vec![Finding::of_error("settings", error)],
    };
    let Settings { source, place, .. } = settings;
    match place {
        Place::Local(_) => vec![Finding::ok("settings", source)],
        Place::Cloud(cloud) => {
            let Cloud {
                project,
                region,
                bucket,
                ..
            } = &**cloud;
            let place = format!("project `{project}`, region `{region}`, bucket `{bucket}`");
            vec![
                Finding::ok("settings", format!("{source}: {place}")),
                environments(cloud),
            ]
        }
    }
}

fn environments(cloud: &Cloud) -> Finding {
    let names: Vec<&str> = cloud.environments.keys().map(String::as_str).collect();
    match (names.is_empty(), cloud.job.is_empty()) {
        (false, false) => Finding::ok("environments", format!("`{}`", names.join("`, `"))),
        (false, true) => Finding::warning(
            "environments",
            format!(
                "`{}`; the one that a run would take is not among them",
                names.join("`, `")
            ),
        )
        .with_hint("name one with `--environment` or `SORTIE_ENVIRONMENT`"),
        (true, false) => Finding::ok("environments", format!("none; the job is `{}`", cloud.job)),
        (true, true) => Finding::failure(
            "environments",
            format!("no environment is listed in `{FILE}`, and no job is named"),
        )
        .with_hint(format!("`sortie init --force gs://{}`", cloud.bucket)),
    }
}
