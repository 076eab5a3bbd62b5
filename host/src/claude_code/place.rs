//! Where Claude Code can run on this machine.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use wire::contract::{ByteString, Command};

use crate::error::Error;
use crate::request::{Request, Work};
use crate::settings::{Local, Place, Sandbox, Settings};

/// The flag that lets the CLI do everything unasked.
const SKIP: &str = "--dangerously-skip-permissions";

/// Refuses what cannot work on this machine, before anything is sent.
pub(crate) fn check(request: &Request, settings: &Settings) -> Result<(), Error> {
    let Place::Local(local) = &settings.place else {
        return Ok(());
    };
    let (works, _) = request.works();
    let works: Vec<&Work> = works.into_iter().map(AsRef::as_ref).collect();
    let works: Vec<&Work> = works.into_iter().filter(|work| work.claude).collect();
    // An image has its own Claude Code, and is a place of its own.
    if works.is_empty() || local.shape.image.is_some() {
        return Ok(());
    }
    check_program(local)?;
    if works.iter().any(|work| skips_permissions(work)) {
        check_isolation(local)?;
    }
    Ok(())
}

fn check_program(local: &Local) -> Result<(), Error> {
    let is_program = |path: &Path| {
        let metadata = fs_err::metadata(path);
        metadata.is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
    };
    let mut directories = std::env::split_paths(&local.path);
    if directories.any(|dir| is_program(&dir.join(claude::PROGRAM))) {
        return Ok(());
    }
    let what = format!("there is no `{}` on the `PATH`", claude::PROGRAM);
    Err(Error::usage(what).with_hint(
        "on this machine a task runs the Claude Code that is installed here: install it, or name an image that has it \
         with `--image`",
    ))
}

fn skips_permissions(work: &Work) -> bool {
    match &work.spec.command {
        Command::Argv(argv) => argv.contains(&ByteString::from(SKIP)),
        Command::Shell(_) => false,
    }
}

/// What may do everything unasked must have a place of its own, unless its user says otherwise.
fn check_isolation(local: &Local) -> Result<(), Error> {
    if local.sandbox == Sandbox::None {
        if rustix::process::geteuid().is_root() {
            return Err(
                Error::usage("Claude Code does not skip permissions as root")
                    .with_hint("leave `--sandbox none` out, or run sortie as another user"),
            );
        }
        return Ok(());
    }
    sandbox::check().map_err(|refused| {
        let hint = format!(
            "{}; or allow single tools with `--allowed-tool`; or, if it may do anything to this machine, \
             `--sandbox none`",
            refused.hint()
        );
        Error::local("cannot isolate Claude Code, which is to skip permissions", refused)
            .with_hint(hint)
    })
}
