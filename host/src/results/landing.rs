//! A task's directory: made beside its place, and moved into it whole.

use std::io;
use std::path::{Path, PathBuf};

use fs_err as fs;
use serde::Deserialize;
use wire::names::RunId;

use crate::error::Error;

/// Moved last: where it lies, the rest does.
pub(super) const REPORT: &str = "report.json";

/// A directory of results that is not in place yet. Dropped = removed: no half result is ever seen.
#[derive(Debug)]
pub struct Landing {
    target: PathBuf,
    beside: PathBuf,
    settled: bool,
}

impl Landing {
    /// Makes the directory: beside its place, or inside it if that is there already and empty (it may be a mount
    /// point, or the shell's own working directory).
    pub fn begin(target: &Path, run: RunId, task: u32) -> Result<Self, Error> {
        let name = format!(".sortie-{run}-{task}.partial");
        let beside = if target.is_dir() {
            target.join(name)
        } else {
            target.with_file_name(name)
        };
        let make = || {
            // Left by a sortie that was killed: it is ours by its name, and no result.
            match fs::remove_dir_all(&beside) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            fs::create_dir_all(&beside)
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

    /// Moves it into place. `sync`: what it holds is about to be deleted elsewhere.
    pub fn settle(mut self, sync: bool) -> Result<PathBuf, Error> {
        let settle = || -> io::Result<()> {
            if sync {
                let dir = fs::File::open(&self.beside)?;
                rustix::fs::syncfs(dir.file())?;
            }
            if self.beside.parent() == Some(&self.target) {
                move_up(&self.beside, &self.target)
            } else {
                fs::rename(&self.beside, &self.target)
            }
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
            let _ = fs::remove_dir_all(&self.beside);
        }
    }
}

fn move_up(from: &Path, into: &Path) -> io::Result<()> {
    for entry in fs::read_dir(from)? {
        let name = entry?.file_name();
        if name != REPORT {
            fs::rename(from.join(&name), into.join(&name))?;
        }
    }
    fs::rename(from.join(REPORT), into.join(REPORT))?;
    fs::remove_dir(from)
}

/// Whether this very task's results are in place already, as they are when a run is waited for twice.
pub(crate) fn is_landed(target: &Path, run: RunId, task: u32) -> bool {
    #[derive(Deserialize)]
    struct Landed {
        run: RunId,
        attempt: Attempt,
    }
    #[derive(Deserialize)]
    struct Attempt {
        task: u32,
    }
    let Ok(json) = fs::read(target.join(REPORT)) else {
        return false;
    };
    serde_json::from_slice::<Landed>(&json)
        .is_ok_and(|landed| landed.run == run && landed.attempt.task == task)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn land(target: &Path, content: &str) -> Result<PathBuf, Error> {
        let landing = Landing::begin(target, RunId::new(), 0)?;
        fs::write(landing.path().join("stdout"), content).unwrap();
        fs::write(landing.path().join(REPORT), "{}").unwrap();
        landing.settle(false)
    }

    #[test]
    fn it_lands_in_a_new_and_in_an_empty_directory() {
        let dir = tempfile::tempdir().unwrap();
        let new = dir.path().join("new");
        let empty = dir.path().join("empty");
        fs::create_dir(&empty).unwrap();
        for target in [new, empty] {
            land(&target, "x").unwrap();
            let mut names: Vec<_> = fs::read_dir(&target)
                .unwrap()
                .map(|entry| entry.unwrap().file_name())
                .collect();
            names.sort();
            assert_eq!(names, [REPORT, "stdout"]);
        }
        assert_eq!(
            fs::read_dir(dir.path()).unwrap().count(),
            2,
            "nothing is left beside"
        );
    }

    #[test]
    fn dropped_it_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let landing = Landing::begin(&dir.path().join("o"), RunId::new(), 0).unwrap();
        fs::write(landing.path().join("half"), "x").unwrap();
        drop(landing);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }
}
