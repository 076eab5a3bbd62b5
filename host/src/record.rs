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

/// What this machine remembers of a run: all else is in the bucket. Written before the run is started.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct LocalRecord {
    /// The run.
    pub run: RunId,
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
    pub fn new(run: RunId, place: &Recorded, out: &Out) -> Self {
        let bytes = |path: &Path| ByteString::from(path.as_os_str());
        let (out, base) = match out {
            Out::Default(base) => (None, bytes(base)),
            Out::Dir(dir) => (Some(bytes(dir)), ByteString::default()),
        };
        Self {
            run,
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

    /// Remembers it: writes beside, renames.
    pub fn write(&self, data_dir: &Path) -> Result<(), Error> {
        let dir = data_dir.join("runs");
        let write = || -> std::io::Result<()> {
            fs_err::create_dir_all(&dir)?;
            let mut file = tempfile::NamedTempFile::new_in(&dir)?;
            file.write_all(&serde_json::to_vec(self)?)?;
            file.as_file().sync_all()?;
            file.persist(path(data_dir, self.run))?;
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

    /// The runs this machine remembers whose name may be shortened so.
    pub fn named(data_dir: &Path, name: &ShortName) -> Vec<RunId> {
        let mut runs = Self::all(data_dir);
        runs.retain(|run| name.means(*run));
        runs
    }

    /// The runs this machine remembers.
    pub fn all(data_dir: &Path) -> Vec<RunId> {
        let all = fs_err::read_dir(data_dir.join("runs"));
        let names = all.into_iter().flatten().flatten().map(|entry| {
            let path = entry.path();
            path.file_stem()
                .map(|stem| stem.to_string_lossy().into_owned())
        });
        let runs = names.flatten().filter_map(|stem| stem.parse().ok());
        runs.collect()
    }

    /// What this machine remembers of a run, if anything.
    pub fn read(data_dir: &Path, run: RunId) -> Result<Option<Self>, Error> {
        let path = path(data_dir, run);
        let refuse = |source: Box<dyn std::error::Error + Send + Sync>| Error::File {
            path: path.clone(),
            source,
        };
        match fs_err::read(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(refuse(error.into())),
            Ok(json) => serde_json::from_slice(&json)
                .map(Some)
                .map_err(|error| refuse(error.into())),
        }
    }

    /// Forgets a run.
    pub fn remove(data_dir: &Path, run: RunId) -> Result<(), Error> {
        match fs_err::remove_file(path(data_dir, run)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(Error::local("cannot forget the run", error))
            }
            _ => Ok(()),
        }
    }
}

fn path(data_dir: &Path, run: RunId) -> PathBuf {
    data_dir.join("runs").join(format!("{run}.json"))
}

/// A run's name as people type it: in full, a beginning, or the last eight characters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShortName(String);

impl ShortName {
    /// Refuses what no run can be called.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let name = text.to_uppercase();
        let fits = |byte: u8| byte.is_ascii_digit() || byte.is_ascii_uppercase();
        if name.is_empty() || name.len() > 26 || !name.bytes().all(fits) {
            return Err(Error::usage(format!("`{text}` cannot be a run's name"))
                .with_hint("`sortie ps` lists them"));
        }
        Ok(Self(name))
    }

    /// Whether a run may be called so.
    pub fn means(&self, run: RunId) -> bool {
        let run = run.to_string();
        run.starts_with(&self.0) || (self.0.len() == 8 && run.ends_with(&self.0))
    }

    /// The run, if it is its full name.
    pub fn full(&self) -> Option<RunId> {
        self.0.parse().ok()
    }

    /// The one that is meant, of those that may be called so.
    pub fn pick(&self, runs: &[RunId]) -> Result<Option<RunId>, Error> {
        match runs {
            [] => Ok(None),
            [run] => Ok(Some(*run)),
            _ => Err(Error::usage(format!("`{}` means several runs", self.0))
                .with_hint("give more of its name; `sortie ps` lists them")),
        }
    }
}

impl std::fmt::Display for ShortName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_is_remembered_and_forgotten() {
        let dir = tempfile::tempdir().unwrap();
        let out = Out::Dir(PathBuf::from(std::ffi::OsString::from_vec(
            b"/out\xff".to_vec(),
        )));
        let run = RunId::new();
        LocalRecord::new(run, &Recorded::Local, &out)
            .write(dir.path())
            .unwrap();
        let read = LocalRecord::read(dir.path(), run).unwrap().unwrap();
        assert_eq!((read.run, read.out()), (run, out));
        LocalRecord::remove(dir.path(), run).unwrap();
        assert!(LocalRecord::read(dir.path(), run).unwrap().is_none());
    }

    #[test]
    fn a_name_may_be_shortened() {
        let dir = tempfile::tempdir().unwrap();
        let run = RunId::new();
        let out = Out::Default(PathBuf::new());
        for run in [run, RunId::new()] {
            let record = LocalRecord::new(run, &Recorded::Local, &out);
            record.write(dir.path()).unwrap();
        }
        let full = run.to_string();
        for name in [&full[..], &full[18..], &full[18..].to_lowercase()] {
            let name = ShortName::parse(name).unwrap();
            assert_eq!(LocalRecord::named(dir.path(), &name), [run], "{name}");
        }
        let vague = ShortName::parse("0").unwrap();
        let several = vague.pick(&LocalRecord::named(dir.path(), &vague));
        assert!(several.unwrap_err().to_string().contains("several"));
        assert!(!ShortName::parse(&full[20..]).unwrap().means(run));
        for text in ["", "../x", "01KAVXA2B3C4D5E6F7G8H9JKMN0"] {
            assert!(ShortName::parse(text).is_err(), "{text}");
        }
    }
}
