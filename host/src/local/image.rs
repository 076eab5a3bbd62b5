//! What a task's container needs of docker or podman, settled before anything is sent: which of them, the image, and
//! who is its first process.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use super::contained::{CPU, ENTRYPOINT_FILE, IMAGE, MEMORY, MOUNTED, TOOL, TOOL_ENV};
use crate::error::Error;
use crate::settings::Local;

/// How our entrypoint's file is called, in images too.
const ENTRYPOINT: &str = "sortie-entrypoint";

/// The variables that tell the runner what to do.
pub(super) fn variables(
    local: &Local,
    image: &str,
    program: &Path,
    warnings: &mut Vec<String>,
) -> Result<Vec<Value>, Error> {
    let tool = tool(local)?;
    let (id, own_entrypoint) = find(&tool, local, image)?;
    let variable =
        |name: &str, value: &OsStr| json!({ "name": name, "value": value.to_string_lossy() });
    let mut all = vec![variable(TOOL, &tool), variable(IMAGE, OsStr::new(&id))];
    for (name, value) in &local.container_env {
        all.push(variable(&format!("{TOOL_ENV}{name}"), value));
    }
    for (name, value) in [(CPU, &local.shape.cpu), (MEMORY, &local.shape.memory)] {
        all.extend(
            value
                .as_ref()
                .map(|value| variable(name, OsStr::new(value))),
        );
    }
    if !own_entrypoint {
        let is_static = local.static_entrypoint.is_some();
        let file = local.static_entrypoint.as_deref().unwrap_or(program);
        if !is_static {
            warnings.push(format!(
                "the entrypoint for `{image}` is this program, which runs only where the image has this machine's C library: `make entrypoint` builds one for every image"
            ));
        }
        all.push(variable(ENTRYPOINT_FILE, file.as_os_str()));
        all.push(variable(
            MOUNTED,
            OsStr::new(if is_static { "static" } else { "program" }),
        ));
    }
    Ok(all)
}

/// docker where its server answers, else podman.
fn tool(local: &Local) -> Result<OsString, Error> {
    if let Some(named) = &local.container_tool {
        return find_program(local, named)
            .map(PathBuf::into_os_string)
            .ok_or_else(|| {
                Error::usage(format!(
                    "`SORTIE_CONTAINER_TOOL` names `{}`, which is not there",
                    named.display()
                ))
            });
    }
    let docker = find_program(local, OsStr::new("docker")).filter(|docker| {
        let version = ["version", "--format", "{{.Server.Version}}"];
        let asked = command(docker.as_os_str(), local)
            .args(version)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        asked.is_ok_and(|status| status.success())
    });
    docker
        .or_else(|| find_program(local, OsStr::new("podman")))
        .map(PathBuf::into_os_string)
        .ok_or_else(|| {
            Error::usage("`--image` on this machine needs docker or podman, and neither answers")
                .with_hint(
                    "install one of them, or start docker; `SORTIE_CONTAINER_TOOL` names another",
                )
        })
}

fn find_program(local: &Local, name: &OsStr) -> Option<PathBuf> {
    if name.as_bytes().contains(&b'/') {
        return Some(PathBuf::from(name)).filter(|path| path.is_file());
    }
    std::env::split_paths(&local.path)
        .map(|dir| dir.join(name))
        .find(|path| path.is_file())
}

fn command(tool: &OsStr, local: &Local) -> Command {
    let mut command = Command::new(tool);
    command
        .env_clear()
        .envs(
            local
                .container_env
                .iter()
                .map(|(name, value)| (name, value)),
        )
        .stdin(Stdio::null());
    command
}

/// The image's id, which no other image of the same name gets, and whether its entrypoint is ours. It is pulled if it
/// is not here.
fn find(tool: &OsStr, local: &Local, image: &str) -> Result<(String, bool), Error> {
    if let Some(found) = inspect(tool, local, image)? {
        return Ok(found);
    }
    let pulled = command(tool, local)
        .args(["pull", image])
        .stdout(std::io::stderr())
        .status()
        .map_err(|error| cannot_run(tool, error))?;
    match inspect(tool, local, image)? {
        Some(found) if pulled.success() => Ok(found),
        _ => Err(
            Error::usage(format!("there is no image `{image}` to be had")).with_hint(format!(
                "`{} pull {image}` says more",
                Path::new(tool).display()
            )),
        ),
    }
}

fn inspect(tool: &OsStr, local: &Local, image: &str) -> Result<Option<(String, bool)>, Error> {
    if image.starts_with('-') {
        return Err(Error::usage(format!("`{image}` is no image")));
    }
    let format = "{{.Id}} {{json .Config.Entrypoint}}";
    let output = command(tool, local)
        .args(["image", "inspect", "--format", format, image])
        .stderr(Stdio::null())
        .output()
        .map_err(|error| cannot_run(tool, error))?;
    if !output.status.success() {
        return Ok(None);
    }
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let (id, entrypoint) = text.trim().split_once(' ').unwrap_or((text.trim(), "null"));
    let entrypoint: Option<Vec<String>> = serde_json::from_str(entrypoint).unwrap_or_default();
    let first = entrypoint.unwrap_or_default().into_iter().next();
    let is_ours = first.is_some_and(|path| path.rsplit('/').next() == Some(ENTRYPOINT));
    Ok(Some((id.to_owned(), is_ours)))
}

fn cannot_run(tool: &OsStr, error: std::io::Error) -> Error {
    Error::local(format!("cannot run `{}`", tool.display()), error)
}
