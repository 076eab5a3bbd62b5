//! What this machine is to local mode: its tools, its user, its directories.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use etcetera::BaseStrategy;

use super::{Environment, Local, LocalSecret, Shape, Wishes};
use crate::error::Error;

/// Bytes of a `PATH` that fit into a job.
const PATH_LIMIT: usize = 30_000;

/// What docker and podman look at in their environment: where their servers, settings and images are.
const CONTAINER_ENV: &[&str] = &[
    "HOME",
    "TMPDIR",
    "XDG_CONFIG_HOME",
    "XDG_DATA_HOME",
    "XDG_RUNTIME_DIR",
    "DBUS_SESSION_BUS_ADDRESS",
    "CONTAINERS_CONF",
    "CONTAINERS_REGISTRIES_CONF",
    "CONTAINERS_STORAGE_CONF",
    "CONTAINER_HOST",
    "DOCKER_CONFIG",
    "DOCKER_CONTEXT",
    "DOCKER_HOST",
    "REGISTRY_AUTH_FILE",
];

/// Local mode's settings.
pub(super) fn local(wishes: &Wishes, env: &Environment) -> Result<Local, Error> {
    let idle = match env.text("SORTIE_EMULATOR_IDLE") {
        Some(text) => humantime::parse_duration(&text).map_err(|error| {
            Error::usage(format!(
                "`SORTIE_EMULATOR_IDLE={text}` is no duration: {error}"
            ))
            .with_hint("write it like `10min`")
        })?,
        None => Duration::from_mins(10),
    };
    let secret = |name: &String| {
        let value = env.bytes(name).cloned().ok_or_else(|| {
            Error::usage(format!("the secret `{name}` has no value here"))
                .with_hint(format!("set it: `export {name}=…`"))
        })?;
        let name = name.clone();
        Ok(LocalSecret { name, value })
    };
    check_shape(&wishes.shape)?;
    Ok(Local {
        shape: wishes.shape.clone(),
        container_tool: env.bytes("SORTIE_CONTAINER_TOOL").cloned(),
        container_env: container_env(env),
        static_entrypoint: static_entrypoint(env),
        parallel: wishes.parallel,
        secrets: wishes
            .secrets
            .iter()
            .map(secret)
            .collect::<Result<_, _>>()?,
        sandbox: wishes.sandbox.unwrap_or_default(),
        mounts: wishes.mounts.clone(),
        path: tool_path(env),
        program: program(env),
        home: env.bytes("HOME").cloned().unwrap_or_else(|| "/root".into()),
        idle,
    })
}

fn container_env(env: &Environment) -> Vec<(String, OsString)> {
    let named = |name: &&str| Some(((*name).to_owned(), env.bytes(name)?.clone()));
    let path = ("PATH".to_owned(), tool_path(env).into());
    CONTAINER_ENV
        .iter()
        .filter_map(named)
        .chain([path])
        .collect()
}

/// A container can be held to less than the machine has; a process of the machine's own is not.
fn check_shape(shape: &Shape) -> Result<(), Error> {
    if shape.gpu {
        return Err(Error::usage("tasks on this machine have no GPU")
            .with_hint("leave `--gpu` out, or name a project"));
    }
    if shape.image.is_none() && !shape.is_none() {
        return Err(Error::usage("tasks on this machine have all it has")
            .with_hint("`--cpu` and `--memory` go with `--image`, in a container"));
    }
    match (&shape.cpu, &shape.memory) {
        (None, None) => Ok(()),
        (Some(_), Some(_)) => shape.check(None, None),
        _ => Err(Error::usage("one of `--cpu` and `--memory` is missing")
            .with_hint("give both, or neither for all that the machine has")),
    }
}

/// The caller's `PATH`: its directories that are there, once each. It travels in a job's environment, which is text and
/// takes 32 KiB.
pub(crate) fn tool_path(env: &Environment) -> String {
    let path = env.bytes("PATH").cloned().unwrap_or_default();
    let mut kept: Vec<String> = Vec::new();
    let mut length = 0;
    for dir in std::env::split_paths(&path) {
        let Some(text) = dir.to_str().filter(|_| dir.is_absolute() && dir.is_dir()) else {
            continue;
        };
        if length + text.len() < PATH_LIMIT && !kept.iter().any(|other| other == text) {
            length += text.len() + 1;
            kept.push(text.to_owned());
        }
    }
    if kept.is_empty() {
        kept.push("/usr/bin:/bin".to_owned());
    }
    kept.join(":")
}

/// `SORTIE_PROGRAM`, or this program if it is sortie, or the one on the `PATH`.
fn program(env: &Environment) -> Option<PathBuf> {
    let named = env.bytes("SORTIE_PROGRAM").map(PathBuf::from);
    let this = || {
        std::env::current_exe()
            .ok()
            .filter(|path| path.file_name().is_some_and(|n| n == "sortie"))
    };
    let on_path = || {
        let path = env.bytes("PATH")?;
        std::env::split_paths(path)
            .map(|dir| dir.join("sortie"))
            .find(|path| path.is_file())
    };
    named.or_else(this).or_else(on_path)
}

/// The static entrypoint: what `SORTIE_STATIC_ENTRYPOINT` names, or the one beside the program, or the one that
/// `make entrypoint` has built beside what `make build` has built.
pub(crate) fn static_entrypoint(env: &Environment) -> Option<PathBuf> {
    if let Some(named) = env.bytes("SORTIE_STATIC_ENTRYPOINT") {
        return std::path::absolute(named).ok();
    }
    let program = fs_err::canonicalize(program(env)?).ok()?;
    let beside = program.parent()?;
    [
        "sortie-entrypoint",
        "../x86_64-unknown-linux-gnu/static/sortie-entrypoint",
    ]
    .into_iter()
    .find_map(|name| fs_err::canonicalize(beside.join(name)).ok())
}

/// Where sortie keeps its own state.
pub(crate) fn data_dir(env: &Environment) -> Result<PathBuf, Error> {
    if let Some(dir) = env.bytes("SORTIE_DATA_DIR") {
        return std::path::absolute(dir)
            .map_err(|error| Error::local("cannot find the data directory", error));
    }
    etcetera::choose_base_strategy()
        .map(|strategy| strategy.data_dir().join("sortie"))
        .map_err(|error| {
            Error::local("cannot find a directory for sortie's state", error)
                .with_hint("set `SORTIE_DATA_DIR`")
        })
}

/// Where the index is kept, unless inputs are to be read however they look.
pub(super) fn index_dir(env: &Environment, data_dir: &Path) -> Result<Option<PathBuf>, Error> {
    match env.text("SORTIE_INDEX").as_deref() {
        None | Some("on") => Ok(Some(data_dir.join("index"))),
        Some("off") => Ok(None),
        Some(other) => Err(Error::usage(format!("`SORTIE_INDEX` is `{other}`"))
            .with_hint("say `on` or `off`; without it, it is on")),
    }
}

/// `user@machine`.
pub(super) fn owner(env: &Environment) -> String {
    let user = env.text("USER").or_else(|| env.text("LOGNAME"));
    let machine = rustix::system::uname()
        .nodename()
        .to_string_lossy()
        .into_owned();
    format!("{}@{machine}", user.unwrap_or_else(|| "unknown".to_owned()))
}
