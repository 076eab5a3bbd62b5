//! Where to run: flags, then `SORTIE_*`, then `sortie.toml`, then local mode.
//!
//! The only module that reads the environment and settings files.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use etcetera::BaseStrategy;
use serde::Deserialize;
use url::Url;
use wire::token::Token;

use crate::error::Error;
use crate::record::{LocalRecord, Recorded};

/// Bytes of a `PATH` that fit into a job.
const PATH_LIMIT: usize = 30_000;

/// The file a team commits, found upward from the working directory.
pub const FILE: &str = "sortie.toml";

/// The environment as it was when sortie started.
#[derive(Clone, Default)]
pub struct Environment(BTreeMap<OsString, OsString>);

impl std::fmt::Debug for Environment {
    /// Names alone: values may be secrets.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

impl Environment {
    /// This process's.
    pub fn of_process() -> Self {
        Self(std::env::vars_os().collect())
    }

    /// A value as it is; an empty one counts as none.
    pub fn bytes(&self, name: &str) -> Option<&OsString> {
        self.0
            .get(std::ffi::OsStr::new(name))
            .filter(|value| !value.is_empty())
    }

    /// A value, even an empty one.
    pub fn exact(&self, name: &str) -> Option<&OsString> {
        self.0.get(std::ffi::OsStr::new(name))
    }

    /// A value that is text.
    pub fn text(&self, name: &str) -> Option<String> {
        self.bytes(name)
            .map(|value| value.to_string_lossy().into_owned())
    }
}

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
                self.job.get_or_insert_with(|| record.job.clone());
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
    /// Who runs it: `user@machine`.
    pub owner: String,
}

/// The cloud, or this machine.
#[derive(Debug, Clone)]
pub enum Place {
    /// A project's jobs.
    Cloud(Box<Cloud>),
    /// The emulator of the data directory.
    Local(Local),
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
    /// Billed for calls made with a user's own credentials.
    pub quota_project: Option<String>,
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
}

/// `sortie.toml`. It holds no secrets, and is meant to be committed. It never names an endpoint:
/// a file from a repository must not say where a token goes.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    project: Option<String>,
    region: Option<String>,
    bucket: Option<String>,
    #[serde(default)]
    environments: BTreeMap<String, FileEnvironment>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct FileEnvironment {
    job: String,
}

impl Settings {
    /// Settles where to run.
    ///
    /// `from`: the directory to look for `sortie.toml` in, and above.
    pub fn resolve(wishes: &Wishes, env: &Environment, from: &Path) -> Result<Self, Error> {
        let data_dir = data_dir(env)?;
        let owner = owner(env);
        let found = if wishes.local { None } else { find_file(from)? };
        let named = wishes.name_a_place() || PLACE_VARIABLES.iter().any(|n| env.bytes(n).is_some());
        if wishes.local || (found.is_none() && !named) {
            let why = if wishes.local {
                "--local"
            } else {
                "no `sortie.toml` here or above"
            };
            let place = Place::Local(local(wishes, env)?);
            return Ok(Self {
                place,
                source: format!("local mode ({why})"),
                data_dir,
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
            owner,
        })
    }
}

fn local(wishes: &Wishes, env: &Environment) -> Result<Local, Error> {
    let idle = match env.text("SORTIE_EMULATOR_IDLE") {
        Some(text) => humantime::parse_duration(&text).map_err(|error| {
            Error::usage(format!(
                "`SORTIE_EMULATOR_IDLE={text}` is no duration: {error}"
            ))
            .with_hint("write it like `10min`")
        })?,
        None => Duration::from_mins(10),
    };
    Ok(Local {
        sandbox: wishes.sandbox.unwrap_or_default(),
        mounts: wishes.mounts.clone(),
        path: tool_path(env),
        program: program(env),
        home: env.bytes("HOME").cloned().unwrap_or_else(|| "/root".into()),
        idle,
    })
}

/// The caller's `PATH`: its directories that are there, once each. It travels in a job's environment, which is text and
/// takes 32 KiB.
fn tool_path(env: &Environment) -> String {
    let path = env.bytes("PATH").cloned().unwrap_or_default();
    let mut kept: Vec<String> = Vec::new();
    let mut length = 0;
    for dir in std::env::split_paths(&path) {
        let Some(text) = dir.to_str().filter(|_| dir.is_absolute() && dir.is_dir()) else {
            continue;
        };
        if length + text.len() < PATH_LIMIT && !kept.iter().any(|other| other == text) {
            length += text.len() + 1;
            kept.push(text.to_owned());
        }
    }
    if kept.is_empty() {
        kept.push("/usr/bin:/bin".to_owned());
    }
    kept.join(":")
}

/// `SORTIE_PROGRAM`, or this program if it is sortie, or the one on the `PATH`.
fn program(env: &Environment) -> Option<PathBuf> {
    let named = env.bytes("SORTIE_PROGRAM").map(PathBuf::from);
    let this = || {
        std::env::current_exe()
            .ok()
            .filter(|path| path.file_name().is_some_and(|n| n == "sortie"))
    };
    let on_path = || {
        let path = env.bytes("PATH")?;
        std::env::split_paths(path)
            .map(|dir| dir.join("sortie"))
            .find(|path| path.is_file())
    };
    named.or_else(this).or_else(on_path)
}

fn cloud(wishes: &Wishes, env: &Environment, file: &File) -> Result<Cloud, Error> {
    let pick = |flag: &Option<String>, name: &str, file: &Option<String>| {
        flag.clone()
            .or_else(|| env.text(name))
            .or_else(|| file.clone())
    };
    let need = |value: Option<String>, what: &str| {
        value.ok_or_else(|| {
            Error::usage(format!("no {what} is set")).with_hint(format!(
                "give `--{what}`, set `SORTIE_{}`, or write it into `{FILE}`",
                what.to_uppercase()
            ))
        })
    };
    let bucket = need(
        pick(&wishes.bucket, "SORTIE_BUCKET", &file.bucket),
        "bucket",
    )?;
    Ok(Cloud {
        project: need(
            pick(&wishes.project, "SORTIE_PROJECT", &file.project),
            "project",
        )?,
        region: pick(&wishes.region, "SORTIE_REGION", &file.region)
            .unwrap_or_else(|| "us-central1".to_owned()),
        bucket: bucket
            .trim_start_matches("gs://")
            .trim_end_matches('/')
            .to_owned(),
        job: job(wishes, env, file)?,
        quota_project: env
            .text("GOOGLE_CLOUD_QUOTA_PROJECT")
            .or_else(|| adc_quota_project(env)),
        endpoints: endpoints(wishes, env)?,
    })
}

fn job(wishes: &Wishes, env: &Environment, file: &File) -> Result<String, Error> {
    if let Some(job) = wishes.job.clone().or_else(|| env.text("SORTIE_JOB")) {
        return Ok(job);
    }
    let wanted = wishes
        .environment
        .clone()
        .or_else(|| env.text("SORTIE_ENVIRONMENT"))
        .unwrap_or_else(|| "default".to_owned());
    let names = || {
        file.environments
            .keys()
            .cloned()
            .collect::<Vec<_>>()
            .join("`, `")
    };
    file.environments
        .get(&wanted)
        .map(|environment| environment.job.clone())
        .ok_or_else(|| {
            let error = Error::usage(format!("no environment is named `{wanted}`"));
            if file.environments.is_empty() {
                error.with_hint(format!("give `--job`, or list environments in `{FILE}`"))
            } else {
                error.with_hint(format!("`{FILE}` has `{}`", names()))
            }
        })
}

fn endpoints(wishes: &Wishes, env: &Environment) -> Result<Option<Endpoints>, Error> {
    let run = wishes
        .run_endpoint
        .clone()
        .or_else(|| env.text("SORTIE_RUN_ENDPOINT"));
    let storage = wishes
        .storage_endpoint
        .clone()
        .or_else(|| env.text("STORAGE_EMULATOR_HOST"));
    match (run, storage) {
        (None, None) => Ok(None),
        (Some(run), Some(storage)) => Ok(Some(Endpoints {
            run: parse_endpoint(&run)?,
            storage: parse_endpoint(&storage)?,
            token: env
                .text("SORTIE_EMULATOR_TOKEN")
                .map(|text| Token::new(text, None)),
        })),
        (run, _) => {
            let (have, lack, flag) = if run.is_some() {
                (
                    "Cloud Run",
                    "Cloud Storage",
                    "`--storage-endpoint` or `STORAGE_EMULATOR_HOST`",
                )
            } else {
                (
                    "Cloud Storage",
                    "Cloud Run",
                    "`--run-endpoint` or `SORTIE_RUN_ENDPOINT`",
                )
            };
            Err(Error::usage(format!(
                "{have} has an endpoint of its own, and {lack} has none"
            ))
            .with_hint(format!("give both, or neither: {flag}")))
        }
    }
}

fn parse_endpoint(text: &str) -> Result<Url, Error> {
    let full = if text.contains("://") {
        text.to_owned()
    } else {
        format!("http://{text}")
    };
    Url::parse(&full)
        .ok()
        .filter(Url::has_host)
        .ok_or_else(|| Error::usage(format!("`{text}` is no endpoint")))
}

fn find_file(from: &Path) -> Result<Option<(PathBuf, File)>, Error> {
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

/// Where sortie keeps its own state.
pub(crate) fn data_dir(env: &Environment) -> Result<PathBuf, Error> {
    if let Some(dir) = env.bytes("SORTIE_DATA_DIR") {
        return std::path::absolute(dir)
            .map_err(|error| Error::local("cannot find the data directory", error));
    }
    etcetera::choose_base_strategy()
        .map(|strategy| strategy.data_dir().join("sortie"))
        .map_err(|error| {
            Error::local("cannot find a directory for sortie's state", error)
                .with_hint("set `SORTIE_DATA_DIR`")
        })
}

fn owner(env: &Environment) -> String {
    let user = env.text("USER").or_else(|| env.text("LOGNAME"));
    let machine = rustix::system::uname()
        .nodename()
        .to_string_lossy()
        .into_owned();
    format!("{}@{machine}", user.unwrap_or_else(|| "unknown".to_owned()))
}

/// `gcloud auth application-default set-quota-project` writes it into the credentials file.
fn adc_quota_project(env: &Environment) -> Option<String> {
    #[derive(Deserialize)]
    struct Credentials {
        quota_project_id: Option<String>,
    }
    let file = match env.bytes("GOOGLE_APPLICATION_CREDENTIALS") {
        Some(path) => PathBuf::from(path),
        None => PathBuf::from(env.bytes("HOME")?)
            .join(".config/gcloud/application_default_credentials.json"),
    };
    let json = fs_err::read(file).ok()?;
    serde_json::from_slice::<Credentials>(&json)
        .ok()?
        .quota_project_id
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
