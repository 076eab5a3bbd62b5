//! Where to run: flags, then `SORTIE_*`, then `sortie.toml`, then local mode.
//!
//! The only module that reads the environment and settings files.

mod cloud;
mod credentials;
mod environment;
mod file;
mod machine;
mod shape;

pub(crate) use cloud::bucket_alone;
pub use cloud::no_environment;
pub use credentials::Credentials;
pub use environment::Environment;
pub use file::{TeamEnvironment, parse_toml};
pub(crate) use machine::{data_dir, static_entrypoint, tool_path};
pub use shape::Shape;
pub(crate) use shape::bytes as memory_bytes;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use url::Url;
use wire::api::Haste;
use wire::token::Token;

use crate::cost::Prices;
use crate::error::Error;
use crate::record::{LocalRecord, Recorded};
use cloud::cloud;
use file::find_file;
use machine::{index_dir, local, owner};

/// The file a team commits, found upward from the working directory.
pub const FILE: &str = "sortie.toml";

/// What the command line says of where to run.
#[derive(Debug, Clone, Default)]
pub struct Wishes {
    /// Local mode, whatever the settings say.
    pub local: bool,
    /// The team's environment to run in.
    pub environment: Option<String>,
    /// The Google project.
    pub project: Option<String>,
    /// Its region.
    pub region: Option<String>,
    /// The bucket, with or without `gs://`.
    pub bucket: Option<String>,
    /// The job's short name.
    pub job: Option<String>,
    /// Another server for the Cloud Run API.
    pub run_endpoint: Option<String>,
    /// Another server for the Cloud Storage API.
    pub storage_endpoint: Option<String>,
    /// How a local task is fenced in.
    pub sandbox: Option<Sandbox>,
    /// Directories a local task may read beside the machine's tools.
    pub mounts: Vec<PathBuf>,
    /// At most so many tasks at once.
    pub parallel: Option<u32>,
    /// Variables whose values are secrets.
    pub secrets: Vec<String>,
    /// What tasks run in, where it is not as an environment has it.
    pub shape: Shape,
    /// Nothing is to be made or started.
    pub dry_run: bool,
    /// Nothing will be started: no job has to be named.
    pub any_job: bool,
}

/// Variables that ask for the cloud.
const PLACE_VARIABLES: &[&str] = &[
    "SORTIE_BUCKET",
    "SORTIE_ENVIRONMENT",
    "SORTIE_JOB",
    "SORTIE_PROJECT",
    "SORTIE_REGION",
    "SORTIE_RUN_ENDPOINT",
];

impl Wishes {
    /// A run is waited for where it was started, wherever that is typed.
    pub fn follow(&mut self, record: &LocalRecord) {
        match &record.place {
            Recorded::Local => self.local = true,
            Recorded::Cloud {
                project,
                region,
                bucket,
            } => {
                self.project.get_or_insert_with(|| project.clone());
                self.region.get_or_insert_with(|| region.clone());
                self.bucket.get_or_insert_with(|| bucket.clone());
            }
        }
    }

    /// Whether they ask for the cloud, or for another server.
    fn name_a_place(&self) -> bool {
        let flags = [
            &self.environment,
            &self.project,
            &self.region,
            &self.bucket,
            &self.job,
            &self.run_endpoint,
            &self.storage_endpoint,
        ];
        flags.iter().any(|flag| flag.is_some())
    }
}

/// How a local task is fenced in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum Sandbox {
    /// Namespaces where the kernel allows them, else none with a warning.
    #[default]
    Auto,
    /// Linux namespaces, or an error.
    Namespaces,
    /// A private directory and no isolation.
    None,
}

/// Where to run, completely.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The cloud, or this machine.
    pub place: Place,
    /// Where that was read, for the line that says so.
    pub source: String,
    /// Where sortie keeps its own state.
    pub data_dir: PathBuf,
    /// Where it keeps what inputs were when they were last read; nowhere where `SORTIE_INDEX` is `off`.
    pub index_dir: Option<PathBuf>,
    /// Who runs it: `user@machine`.
    pub owner: String,
}

/// The cloud, or this machine.
#[derive(Debug, Clone)]
pub enum Place {
    /// A project's jobs.
    Cloud(Box<Cloud>),
    /// The emulator of the data directory.
    Local(Box<Local>),
}

/// A project's jobs.
#[derive(Debug, Clone)]
pub struct Cloud {
    /// Project id.
    pub project: String,
    /// Region of the jobs.
    pub region: String,
    /// Bucket, without `gs://`.
    pub bucket: String,
    /// Short name of the job to run.
    pub job: String,
    /// What tasks run in, where it is not as that job has it.
    pub shape: Shape,
    /// Whether no job of that shape is to be made.
    pub dry_run: bool,
    /// The team's environments.
    pub environments: BTreeMap<String, TeamEnvironment>,
    /// What Cloud Run bills there.
    pub prices: Prices,
    /// Billed for calls made with a user's own credentials.
    pub quota_project: Option<String>,
    /// Where the user's own credentials are looked for.
    pub credentials: Credentials,
    /// Instead of Google's servers.
    pub endpoints: Option<Endpoints>,
}

/// Servers that are not Google's: from a flag or the environment, never from a file.
#[derive(Debug, Clone)]
pub struct Endpoints {
    /// Of the Cloud Run API.
    pub run: Url,
    /// Of the Cloud Storage API.
    pub storage: Url,
    /// Sent to these two origins alone.
    pub token: Option<Token>,
    /// For tests: by how much the waiting for them is shortened.
    pub haste: Haste,
}

/// This machine.
#[derive(Debug, Clone)]
pub struct Local {
    /// How tasks are fenced in.
    pub sandbox: Sandbox,
    /// Directories tasks may read.
    pub mounts: Vec<PathBuf>,
    /// The caller's, whose tools tasks may use.
    pub path: String,
    /// The caller's, which tasks do not see.
    pub home: OsString,
    /// `sortie` itself, whose process serves; a program that uses the library is another.
    pub program: Option<PathBuf>,
    /// How long the emulator waits for work before it leaves.
    pub idle: Duration,
    /// The image and resources of a container for each task.
    pub shape: Shape,
    /// docker or podman, where it is said which.
    pub container_tool: Option<OsString>,
    /// What of the caller's environment these look at.
    pub container_env: Vec<(String, OsString)>,
    /// The static entrypoint's file, if it is found.
    pub static_entrypoint: Option<PathBuf>,
    /// At most so many tasks at once.
    pub parallel: Option<u32>,
    /// Secrets for the tasks, from the caller's environment.
    pub secrets: Vec<LocalSecret>,
}

/// A secret for the tasks on this machine.
#[derive(Clone, PartialEq, Eq)]
pub struct LocalSecret {
    /// The variable.
    pub name: String,
    /// Its value.
    pub value: OsString,
}

impl std::fmt::Debug for LocalSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LocalSecret")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

impl Settings {
    /// Settles where runs are, for verbs that start none: no job has to be named.
    pub fn resolve_place(wishes: &Wishes, env: &Environment, from: &Path) -> Result<Self, Error> {
        let wishes = Wishes {
            any_job: true,
            ..wishes.clone()
        };
        Self::resolve(&wishes, env, from)
    }

    /// Settles where to run.
    ///
    /// `from`: the directory to look for `sortie.toml` in, and above.
    pub fn resolve(wishes: &Wishes, env: &Environment, from: &Path) -> Result<Self, Error> {
        let data_dir = data_dir(env)?;
        let index_dir = index_dir(env, &data_dir)?;
        let owner = owner(env);
        let found = if wishes.local { None } else { find_file(from)? };
        let named = wishes.name_a_place() || PLACE_VARIABLES.iter().any(|n| env.bytes(n).is_some());
        if wishes.local || (found.is_none() && !named) {
            let why = if wishes.local {
                "--local"
            } else {
                "no `sortie.toml` here or above"
            };
            let place = Place::Local(Box::new(local(wishes, env)?));
            return Ok(Self {
                place,
                source: format!("local mode ({why})"),
                data_dir,
                index_dir,
                owner,
            });
        }
        if wishes.sandbox.is_some() || !wishes.mounts.is_empty() {
            return Err(Error::usage("`--sandbox` and `--mount` are for local mode")
                .with_hint("add `--local`, or leave them out"));
        }
        let (path, file) = found.unzip();
        let cloud = cloud(wishes, env, &file.unwrap_or_default())?;
        let source = match path {
            Some(path) => format!("`{}`", path.display()),
            None => "flags and environment".to_owned(),
        };
        Ok(Self {
            place: Place::Cloud(Box::new(cloud)),
            source,
            data_dir,
            index_dir,
            owner,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env(pairs: &[(&str, &str)]) -> Environment {
        let mut all = BTreeMap::from([("SORTIE_DATA_DIR".into(), "/data".into())]);
        all.extend(
            pairs
                .iter()
                .map(|(name, value)| ((*name).into(), (*value).into())),
        );
        Environment(all)
    }

    fn dir_with(text: &str) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join(FILE), text).unwrap();
        dir
    }

    const TEAM: &str = "project = 'p'\nbucket = 'b'\n[environments.default]\njob = 'j'\n";

    fn cloud_of(settings: Settings) -> Cloud {
        match settings.place {
            Place::Cloud(cloud) => *cloud,
            Place::Local(_) => panic!("local"),
        }
    }

    #[test]
    fn nothing_set_is_local_mode() {
        let dir = tempfile::tempdir().unwrap();
        let settings = Settings::resolve(&Wishes::default(), &env(&[]), dir.path()).unwrap();
        assert!(matches!(settings.place, Place::Local(_)));
        assert!(
            settings.source.contains("local mode"),
            "{}",
            settings.source
        );
    }

    #[test]
    fn a_flag_beats_the_environment_beats_the_file() {
        let dir = dir_with(TEAM);
        let below = dir.path().join("a/b");
        std::fs::create_dir_all(&below).unwrap();
        let file = cloud_of(Settings::resolve(&Wishes::default(), &env(&[]), &below).unwrap());
        assert_eq!(
            (file.project.as_str(), file.region.as_str()),
            ("p", "us-central1")
        );
        let env = env(&[("SORTIE_PROJECT", "q")]);
        let set = cloud_of(Settings::resolve(&Wishes::default(), &env, &below).unwrap());
        assert_eq!(set.project, "q");
        let wishes = Wishes {
            project: Some("r".to_owned()),
            ..Wishes::default()
        };
        let flag = cloud_of(Settings::resolve(&wishes, &env, &below).unwrap());
        assert_eq!(flag.project, "r");
    }

    #[test]
    fn a_flags_environment_beats_a_variables_job() {
        let dir = dir_with(TEAM);
        let env = env(&[("SORTIE_JOB", "other")]);
        let of = |environment: Option<&str>| {
            let wishes = Wishes {
                environment: environment.map(str::to_owned),
                ..Wishes::default()
            };
            cloud_of(Settings::resolve(&wishes, &env, dir.path()).unwrap()).job
        };
        assert_eq!(
            (of(None).as_str(), of(Some("default")).as_str()),
            ("other", "j")
        );
    }

    #[test]
    fn a_file_cannot_say_where_tokens_go() {
        let dir = dir_with("run_endpoint = 'http://evil.test'\n");
        let error = Settings::resolve(&Wishes::default(), &env(&[]), dir.path()).unwrap_err();
        assert!(
            crate::error::chain(&error).contains("run_endpoint"),
            "{error:?}"
        );
    }

    #[test]
    fn one_endpoint_of_two_is_refused() {
        let dir = dir_with(TEAM);
        let env = env(&[("SORTIE_RUN_ENDPOINT", "http://127.0.0.1:1")]);
        let error = Settings::resolve(&Wishes::default(), &env, dir.path()).unwrap_err();
        assert!(
            error.hint().unwrap().contains("STORAGE_EMULATOR_HOST"),
            "{error:?}"
        );
    }

    #[test]
    fn an_unknown_environment_names_those_there_are() {
        let dir = dir_with(TEAM);
        let wishes = Wishes {
            environment: Some("gpu".to_owned()),
            ..Wishes::default()
        };
        let error = Settings::resolve(&wishes, &env(&[]), dir.path()).unwrap_err();
        assert!(error.hint().unwrap().contains("`default`"), "{error:?}");
    }
}
