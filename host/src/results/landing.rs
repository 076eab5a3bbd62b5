//! A task's directory: made beside its place, and renamed into it whole.

use std::path::{Path, PathBuf};

use wire::names::RunId;

use crate::error::Error;

/// A directory of results that is not in place yet. Dropped = removed: no half result is ever seen.
#[derive(Debug)]
pub struct Landing {
    target: PathBuf,
    beside: PathBuf,
    settled: bool,
}

impl Landing {
    /// Makes the directory beside its place.
    pub fn begin(target: &Path, run: RunId) -> Result<Self, Error> {
        let name = target.file_name().unwrap_or_default().to_string_lossy();
        let beside = target.with_file_name(format!(".{name}.{run}.partial"));
        let make = || {
            // Left by a sortie that was killed: it is ours by its name, and no result.
            match fs_err::remove_dir_all(&beside) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            fs_err::create_dir_all(&beside)
        };
        make().map_err(|error| {
            Error::local(format!("cannot make `{}`", target.display()), error)
                .with_hint("name a directory that can be written with `--out`")
        })?;
        Ok(Self {
            target: target.to_owned(),
            beside,
            settled: false,
        })
    }

    /// Where to write until it is settled.
    pub fn path(&self) -> &Path {
        &self.beside
    }

    /// Renames it into place. `sync`: what it holds is about to be deleted elsewhere.
    pub fn settle(mut self, sync: bool) -> Result<PathBuf, Error> {
        let settle = || -> std::io::Result<()> {
            if sync {
                let dir = fs_err::File::open(&self.beside)?;
                rustix::fs::syncfs(dir.file())?;
            }
            fs_err::rename(&self.beside, &self.target)
        };
        settle().map_err(|error| {
            Error::local(
                format!("cannot put the results into `{}`", self.target.display()),
                error,
            )
        })?;
        self.settled = true;
        Ok(self.target.clone())
    }
}

impl Drop for Landing {
    fn drop(&mut self) {
        if !self.settled {
            let _ = fs_err::remove_dir_all(&self.beside);
        }
    }
}
