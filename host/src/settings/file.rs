//! `sortie.toml`, and how TOML's errors are told.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::FILE;
use crate::cost::Prices;
use crate::error::Error;

/// `sortie.toml`. It holds no secrets, and is meant to be committed. It never names an endpoint:
/// a file from a repository must not say where a token goes.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct File {
    pub(super) project: Option<String>,
    pub(super) region: Option<String>,
    pub(super) bucket: Option<String>,
    #[serde(default)]
    pub(super) environments: BTreeMap<String, TeamEnvironment>,
    /// Instead of the list prices.
    pub(super) prices: Option<Prices>,
}

/// A job that the team shares, by the name it has for them. All but the job is there for people and for checks
/// before anything is sent; Terraform writes it.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct TeamEnvironment {
    /// The job's short name.
    pub job: String,
    /// Its image, by digest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// vCPUs of a task.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu: Option<String>,
    /// A task's memory, such as `2Gi`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<String>,
    /// The job's own task timeout.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_seconds: Option<u64>,
    /// Variables whose values are secrets.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub secrets: Vec<String>,
    /// GPUs of a task.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gpu: Option<String>,
}

/// The nearest one, from a directory upward.
pub(super) fn find_file(from: &Path) -> Result<Option<(PathBuf, File)>, Error> {
    let Some(path) = from
        .ancestors()
        .map(|dir| dir.join(FILE))
        .find(|path| path.is_file())
    else {
        return Ok(None);
    };
    let refuse = |source: Box<dyn std::error::Error + Send + Sync>| Error::File {
        path: path.clone(),
        source,
    };
    check_owner(&path).map_err(|why| refuse(why.into()))?;
    let text = fs_err::read_to_string(&path).map_err(|error| refuse(error.into()))?;
    let file = parse_toml(&text).map_err(|why| refuse(why.into()))?;
    Ok(Some((path, file)))
}

/// A file that somebody else has put above our directory would send our inputs, with our credentials, to their bucket.
fn check_owner(path: &Path) -> Result<(), String> {
    let me = rustix::process::geteuid().as_raw();
    let owner = fs_err::metadata(path)
        .map_err(|error| error.to_string())?
        .uid();
    if me == 0 || owner == me || owner == 0 {
        Ok(())
    } else {
        Err("it belongs to another user".to_owned())
    }
}

/// One line for an error, whatever the parser would draw.
pub fn parse_toml<T: serde::de::DeserializeOwned>(text: &str) -> Result<T, String> {
    toml::from_str(text).map_err(|error| {
        let before = error
            .span()
            .and_then(|span| text.get(..span.start))
            .unwrap_or_default();
        let line = before.matches('\n').count() + 1;
        format!(
            "line {line}: {}",
            error.message().trim().replace('\n', ": ")
        )
    })
}
