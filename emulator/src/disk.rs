//! Files that are whole or absent.

use std::io::{self, Write};
use std::path::Path;

use fs_err as fs;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Whether a write must survive a power loss, or only the process.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Durability {
    Synced,
    Unsynced,
}

/// Replaces `path` by the concatenation of `parts`: written beside, synced if asked, renamed.
pub(crate) fn replace(path: &Path, parts: &[&[u8]], durability: Durability) -> io::Result<()> {
    let directory = path.parent().ok_or(io::ErrorKind::InvalidInput)?;
    let mut file = tempfile::Builder::new()
        .prefix(".new-")
        .tempfile_in(directory)?;
    for part in parts {
        file.write_all(part)?;
    }
    if durability == Durability::Synced {
        file.as_file().sync_data()?;
    }
    file.persist(path).map_err(|failure| failure.error)?;
    Ok(())
}

pub(crate) fn replace_json(
    path: &Path,
    value: &impl Serialize,
    durability: Durability,
) -> io::Result<()> {
    let text = serde_json::to_vec(value)?;
    replace(path, &[&text], durability)
}

/// All values of the `*.json` files of a directory. A file that does not parse is set aside under another name, so that
/// one damaged record does not keep everything else from being served.
pub(crate) fn read_all<T: DeserializeOwned>(directory: &Path) -> io::Result<Vec<T>> {
    let mut values = Vec::new();
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if path.extension().is_none_or(|extension| extension != "json") {
            continue;
        }
        match serde_json::from_slice(&fs::read(&path)?) {
            Ok(value) => values.push(value),
            Err(reason) => set_aside(&path, &reason)?,
        }
    }
    Ok(values)
}

pub(crate) fn set_aside(path: &Path, reason: &dyn std::error::Error) -> io::Result<()> {
    tracing::warn!(path = %path.display(), %reason, "set aside a damaged record");
    let mut damaged = path.as_os_str().to_owned();
    damaged.push(".damaged");
    fs::rename(path, damaged)
}

/// Removes a file, or is content that it is gone already.
pub(crate) fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(failure) if failure.kind() == io::ErrorKind::NotFound => Ok(()),
        outcome => outcome,
    }
}
