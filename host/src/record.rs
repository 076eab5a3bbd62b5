//! What this machine remembers of a run, so that another shell can come back to it.

use std::io::Write;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use wire::names::RunId;

use crate::error::Error;
use crate::request::Out;

/// What this machine remembers of a run.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct LocalRecord {
    /// The run.
    pub run: RunId,
    /// Its newest execution, in full.
    pub execution: String,
    /// Its job's short name.
    pub job: String,
    /// Its tasks' names.
    pub names: Vec<String>,
    /// Where its results go; absent = `sortie-results` in `base`.
    out: Option<PathBuf>,
    /// The directory it was started in.
    base: PathBuf,
}

impl LocalRecord {
    /// Of a run that is started now.
    pub fn new(run: RunId, execution: &str, job: &str, names: &[String], out: &Out) -> Self {
        let (out, base) = match out {
            Out::Default(base) => (None, base.clone()),
            Out::Dir(dir) => (Some(dir.clone()), PathBuf::new()),
        };
        Self {
            run,
            execution: execution.to_owned(),
            job: job.to_owned(),
            names: names.to_vec(),
            out,
            base,
        }
    }

    /// Where its results go.
    pub fn out(&self) -> Out {
        match &self.out {
            Some(dir) => Out::Dir(dir.clone()),
            None => Out::Default(self.base.clone()),
        }
    }

    /// Remembers it: writes beside, renames.
    pub fn write(&self, data_dir: &Path) -> Result<(), Error> {
        let dir = data_dir.join("runs");
        let write = || -> std::io::Result<()> {
            fs_err::create_dir_all(&dir)?;
            let mut file = tempfile::NamedTempFile::new_in(&dir)?;
            file.write_all(&serde_json::to_vec(self)?)?;
            file.persist(dir.join(format!("{}.json", self.run)))?;
            Ok(())
        };
        write().map_err(|error| {
            Error::local(
                format!("cannot remember the run in `{}`", dir.display()),
                error,
            )
        })
    }

    /// Finds a run by its name, by a unique beginning of it, or by its last eight characters.
    pub fn find(data_dir: &Path, name: &str) -> Result<Self, Error> {
        let dir = data_dir.join("runs");
        let all = fs_err::read_dir(&dir).into_iter().flatten().flatten();
        let matching: Vec<PathBuf> = all
            .map(|entry| entry.path())
            .filter(|path| {
                path.file_stem()
                    .is_some_and(|stem| means(&stem.to_string_lossy(), name))
            })
            .collect();
        let path = match &matching[..] {
            [path] => path,
            [] => {
                return Err(Error::usage(format!("no run `{name}` is known here"))
                    .with_hint(format!("`{}` holds those that are", dir.display())));
            }
            _ => return Err(Error::usage(format!("`{name}` means several runs"))),
        };
        let refuse = |source: Box<dyn std::error::Error + Send + Sync>| Error::File {
            path: path.clone(),
            source,
        };
        let json = fs_err::read(path).map_err(|error| refuse(error.into()))?;
        serde_json::from_slice(&json).map_err(|error| refuse(error.into()))
    }
}

fn means(run: &str, name: &str) -> bool {
    let name = name.to_uppercase();
    !name.is_empty() && (run.starts_with(&name) || (name.len() == 8 && run.ends_with(&name)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(run: RunId) -> LocalRecord {
        let names = ["only".to_owned()];
        LocalRecord::new(run, "projects/p/…/e", "j", &names, &Out::Dir("/out".into()))
    }

    #[test]
    fn a_run_is_found_by_beginning_and_by_end() {
        let dir = tempfile::tempdir().unwrap();
        let run = RunId::new();
        record(run).write(dir.path()).unwrap();
        let full = run.to_string();
        for name in [
            &full[..],
            &full[..12],
            &full[18..],
            &full[18..].to_lowercase(),
        ] {
            assert_eq!(
                LocalRecord::find(dir.path(), name).unwrap().run,
                run,
                "{name}"
            );
        }
        assert!(LocalRecord::find(dir.path(), &full[20..]).is_err());
        assert!(LocalRecord::find(dir.path(), "").is_err());
    }

    #[test]
    fn an_ambiguous_name_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        record(RunId::new()).write(dir.path()).unwrap();
        record(RunId::new()).write(dir.path()).unwrap();
        let error = LocalRecord::find(dir.path(), "0").unwrap_err();
        assert!(error.to_string().contains("several"), "{error}");
    }
}
