//! How to reach a data directory's emulator: one file that only its owner may read.

use std::io::Write;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::error::Error;

/// How to reach a data directory's emulator.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Record {
    /// `http://127.0.0.1:PORT`.
    pub(super) endpoint: String,
    /// With full rights; this file is readable by its owner alone.
    pub(super) token: String,
    /// Of the process.
    pub(super) pid: u32,
    /// Which build serves, so that a newer one does not talk to an older.
    pub(super) program: String,
}

impl std::fmt::Debug for Record {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Record")
            .field("endpoint", &self.endpoint)
            .field("pid", &self.pid)
            .finish_non_exhaustive()
    }
}

impl Record {
    /// Where it lies.
    pub(super) fn path(data_dir: &Path) -> PathBuf {
        data_dir.join("emulator.json")
    }

    /// `None` where there is none, or half of one.
    pub(super) fn read(data_dir: &Path) -> Option<Self> {
        let json = fs_err::read(Self::path(data_dir)).ok()?;
        serde_json::from_slice(&json).ok()
    }

    /// Writes it beside, syncs, renames.
    pub(super) fn write(&self, data_dir: &Path) -> Result<(), Error> {
        let path = Self::path(data_dir);
        let beside = path.with_extension("json.new");
        let write = || -> std::io::Result<()> {
            let json = serde_json::to_vec(self)?;
            match fs_err::remove_file(&beside) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            let mut options = std::fs::OpenOptions::new();
            options.write(true).create_new(true).mode(0o600);
            let mut file = options.open(&beside)?;
            file.write_all(&json)?;
            file.sync_all()?;
            fs_err::rename(&beside, &path)
        };
        write().map_err(|error| Error::local(format!("cannot write `{}`", path.display()), error))
    }
}

/// Which build this is: its path, size and time.
pub(super) fn program_identity(program: &Path) -> String {
    let program = fs_err::canonicalize(program).unwrap_or_else(|_| program.to_owned());
    let detail = fs_err::metadata(&program)
        .map(|meta| format!("{}:{}.{}", meta.len(), meta.mtime(), meta.mtime_nsec()))
        .unwrap_or_default();
    format!("{}:{detail}", program.display())
}
