//! What this machine remembers of a run, so that another shell can come back to it.

use std::io::Write;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use wire::contract::ByteString;
use wire::names::RunId;

use crate::error::Error;
use crate::request::Out;
use crate::settings::{Place, Settings};

/// What this machine remembers of a run. Written before the run is started: nothing that runs is forgotten.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct LocalRecord {
    /// The run.
    pub run: RunId,
    /// Which of its starts is the newest.
    pub start: u32,
    /// That start's execution, in full; absent while Cloud Run has not answered.
    pub execution: Option<String>,
    /// Its job's short name.
    pub job: String,
    /// Its tasks' names.
    pub names: Vec<String>,
    /// Where it runs.
    pub place: Recorded,
    /// Where its results go; absent = `sortie-results` in `base`.
    out: Option<ByteString>,
    /// The directory it was started in.
    base: ByteString,
}

/// Where a run runs. Endpoints are not remembered: no file may say where a token goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Recorded {
    /// On this machine.
    Local,
    /// In a project.
    Cloud {
        /// Its id.
        project: String,
        /// The jobs' region.
        region: String,
        /// The bucket.
        bucket: String,
    },
}

impl Recorded {
    /// As the settings have it.
    pub fn of(settings: &Settings) -> Self {
        match &settings.place {
            Place::Local(_) => Self::Local,
            Place::Cloud(cloud) => Self::Cloud {
                project: cloud.project.clone(),
                region: cloud.region.clone(),
                bucket: cloud.bucket.clone(),
            },
        }
    }
}

impl LocalRecord {
    /// Of a run that is about to be started.
    pub fn new(run: RunId, place: &Recorded, job: &str, names: &[String], out: &Out) -> Self {
        let bytes = |path: &Path| ByteString::from(path.as_os_str());
        let (out, base) = match out {
            Out::Default(base) => (None, bytes(base)),
            Out::Dir(dir) => (Some(bytes(dir)), ByteString::default()),
        };
        Self {
            run,
            start: 0,
            execution: None,
            job: job.to_owned(),
            names: names.to_vec(),
            place: place.clone(),
            out,
            base,
        }
    }

    /// Where its results go.
    pub fn out(&self) -> Out {
        let path =
            |bytes: &ByteString| PathBuf::from(std::ffi::OsString::from_vec(bytes.0.clone()));
        match &self.out {
            Some(dir) => Out::Dir(path(dir)),
            None => Out::Default(path(&self.base)),
        }
    }

    /// Sends the results elsewhere.
    pub fn set_out(&mut self, out: &Out) {
        let moved = Self::new(self.run, &self.place, &self.job, &self.names, out);
        self.out = moved.out;
        self.base = moved.base;
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
            .with_hint("set `SORTIE_DATA_DIR` to a directory that can be written")
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
            _ => {
                return Err(Error::usage(format!("`{name}` means several runs"))
                    .with_hint("give more of its name"));
            }
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
        let out = Out::Dir(PathBuf::from(std::ffi::OsString::from_vec(
            b"/out\xff".to_vec(),
        )));
        LocalRecord::new(run, &Recorded::Local, "j", &["only".to_owned()], &out)
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
            let found = LocalRecord::find(dir.path(), name).unwrap();
            assert_eq!((found.run, found.out()), (run, record(run).out()), "{name}");
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
