//! What the platform tells us, read once: the only place that looks at the environment.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::num::NonZeroU32;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use url::Url;
use wire::api::Haste;
use wire::contract::SORTIE_RUN;
use wire::names::{NameError, StartUri};

/// Begins the names that are ours; no command ever sees one.
const OURS: &[u8] = b"SORTIE_";

/// The environment of PID 1.
#[derive(Debug, Clone)]
pub(crate) struct Environment {
    /// `SORTIE_RUN`.
    pub(crate) start: StartUri,
    /// `CLOUD_RUN_TASK_INDEX`.
    pub(crate) index: u32,
    /// `CLOUD_RUN_TASK_ATTEMPT`.
    pub(crate) retry: u32,
    /// `GCE_METADATA_HOST`.
    pub(crate) metadata_host: Option<String>,
    /// `STORAGE_EMULATOR_HOST`.
    pub(crate) storage: Option<Url>,
    /// `SORTIE_WORKSPACE`, else `/workspace`.
    pub(crate) workspace: PathBuf,
    /// `SORTIE_USER`: whom the image wants its commands to be, where the spec names nobody.
    pub(crate) user: Option<String>,
    /// `SORTIE_HASTE`: for tests, a divisor of all waiting for servers.
    pub(crate) haste: Haste,
    /// What the command inherits.
    pub(crate) inherited: BTreeMap<OsString, OsString>,
}

/// An environment in which nothing can be done.
#[derive(Debug, thiserror::Error)]
pub(crate) enum EnvironmentError {
    /// Most likely somebody started the image by hand.
    #[error(
        "`{SORTIE_RUN}` is not set: this program is the entrypoint of a container that `sortie run` starts, \
         and does nothing by itself"
    )]
    NoRun,
    /// It is set, and names no start.
    #[error("cannot use `{SORTIE_RUN}`")]
    Run(#[source] NameError),
    /// Not a number.
    #[error("`{name}` is `{value}`, which is no number")]
    Number {
        /// Which variable.
        name: &'static str,
        /// What it holds.
        value: String,
    },
    /// Not an address.
    #[error("`STORAGE_EMULATOR_HOST` is `{0}`, which is no address")]
    Storage(String),
}

impl Environment {
    /// Reads the process's own.
    pub(crate) fn read() -> Result<Self, EnvironmentError> {
        Self::from_variables(std::env::vars_os())
    }

    fn from_variables(
        variables: impl Iterator<Item = (OsString, OsString)>,
    ) -> Result<Self, EnvironmentError> {
        let mut inherited: BTreeMap<_, _> = variables.collect();
        let text = |name: &str| {
            let value = inherited.get(OsStr::new(name))?.to_string_lossy();
            (!value.is_empty()).then(|| value.into_owned())
        };
        let start = text(SORTIE_RUN).ok_or(EnvironmentError::NoRun)?;
        let read = Self {
            start: start.parse().map_err(EnvironmentError::Run)?,
            index: number("CLOUD_RUN_TASK_INDEX", text)?,
            retry: number("CLOUD_RUN_TASK_ATTEMPT", text)?,
            metadata_host: text("GCE_METADATA_HOST"),
            user: text("SORTIE_USER"),
            haste: haste(text)?,
            storage: text("STORAGE_EMULATOR_HOST")
                .map(|host| address(&host))
                .transpose()?,
            workspace: text("SORTIE_WORKSPACE").map_or_else(|| "/workspace".into(), PathBuf::from),
            inherited: BTreeMap::new(),
        };
        inherited.retain(|name, _| !name.as_bytes().starts_with(OURS));
        Ok(Self { inherited, ..read })
    }
}

fn haste(text: impl Fn(&str) -> Option<String>) -> Result<Haste, EnvironmentError> {
    let divisor = NonZeroU32::new(number("SORTIE_HASTE", text)?);
    Ok(divisor.map_or(Haste::NONE, Haste))
}

fn number(
    name: &'static str,
    text: impl Fn(&str) -> Option<String>,
) -> Result<u32, EnvironmentError> {
    match text(name) {
        None => Ok(0),
        Some(value) => value
            .parse()
            .map_err(|_| EnvironmentError::Number { name, value }),
    }
}

/// Google's clients take it with a scheme and without.
fn address(host: &str) -> Result<Url, EnvironmentError> {
    let bad = || EnvironmentError::Storage(host.to_owned());
    let text = if host.contains("://") {
        host.to_owned()
    } else {
        format!("http://{host}")
    };
    let url = Url::parse(&text).map_err(|_| bad())?;
    if url.has_host() && matches!(url.scheme(), "http" | "https") {
        Ok(url)
    } else {
        Err(bad())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RUN: &str = "gs://b/runs/01KAVXA2B3C4D5E6F7G8H9JKMN/starts/3.json";

    fn read(variables: &[(&str, &str)]) -> Result<Environment, EnvironmentError> {
        Environment::from_variables(variables.iter().map(|&(k, v)| (k.into(), v.into())))
    }

    #[test]
    fn the_command_inherits_all_but_ours() {
        let got = read(&[
            ("SORTIE_RUN", RUN),
            ("SORTIE_WORKSPACE", "/w"),
            ("SORTIE_WHATEVER", "x"),
            ("CLOUD_RUN_TASK_INDEX", "7"),
            ("PATH", "/bin"),
        ])
        .unwrap();
        assert_eq!((got.index, got.retry, got.start.start), (7, 0, 3));
        assert_eq!(got.workspace, PathBuf::from("/w"));
        let names: Vec<_> = got
            .inherited
            .keys()
            .map(|name| name.to_str().unwrap())
            .collect();
        assert_eq!(names, ["CLOUD_RUN_TASK_INDEX", "PATH"]);
    }

    #[test]
    fn an_emulator_is_named_with_and_without_a_scheme() {
        for host in [
            "127.0.0.1:9023",
            "http://127.0.0.1:9023",
            "http://127.0.0.1:9023/",
        ] {
            let got = read(&[("SORTIE_RUN", RUN), ("STORAGE_EMULATOR_HOST", host)]).unwrap();
            assert_eq!(got.storage.unwrap().as_str(), "http://127.0.0.1:9023/");
        }
    }

    #[test]
    fn what_cannot_be_used_is_named() {
        assert!(matches!(read(&[]), Err(EnvironmentError::NoRun)));
        assert!(matches!(
            read(&[("SORTIE_RUN", "x")]),
            Err(EnvironmentError::Run(_))
        ));
        let index = read(&[("SORTIE_RUN", RUN), ("CLOUD_RUN_TASK_INDEX", "-1")]).unwrap_err();
        assert!(
            index.to_string().contains("CLOUD_RUN_TASK_INDEX"),
            "{index}"
        );
        let storage = read(&[("SORTIE_RUN", RUN), ("STORAGE_EMULATOR_HOST", "file:///x")]);
        assert!(matches!(storage, Err(EnvironmentError::Storage(_))));
    }
}
