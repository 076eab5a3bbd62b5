//! A connection to where tasks run: the one place that knows the cloud from this machine.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use wire::api::{Api, ApiError, ErrorKind, RetryConfig, http_client};
use wire::bucket::Bucket;
use wire::token::{StaticToken, TokenSource, Tokens};

use crate::cloud_run::{CloudRun, Job};
use crate::cost::Prices;
use crate::credentials::GoogleCredentials;
use crate::error::Error;
use crate::local;
use crate::own_job::{self, OWNER_LABEL};
use crate::record::Recorded;
use crate::settings::{Cloud, Endpoints, Place, Settings, TeamEnvironment, no_environment};

/// What a task's `environment` can mean.
#[derive(Debug, Clone)]
enum Environments {
    /// Whatever it says, there is one place to run.
    One,
    /// The team's.
    Named(BTreeMap<String, TeamEnvironment>),
}

/// A connection to where tasks run. Shared by any number of runs.
#[derive(Debug, Clone)]
pub struct Session {
    /// The bucket.
    pub bucket: Bucket,
    /// Cloud Run.
    pub cloud_run: CloudRun,
    /// The job that runs tasks, by its short name.
    pub job: String,
    /// The project of the jobs.
    pub project: String,
    /// Their region.
    pub region: String,
    /// What Cloud Run bills; absent where nothing is billed.
    pub prices: Option<Prices>,
    /// Whether the job itself sees to it that no more tasks run at once than were asked for.
    pub keeps_parallelism: bool,
    environments: Environments,
    /// Whether `job` is like an environment's, but not it.
    is_own_job: bool,
    /// That one, where it is not to be made.
    imagined: Option<Job>,
    /// Where that was settled.
    pub source: String,
    /// Who runs.
    pub owner: String,
    /// Where sortie keeps its own state.
    pub data_dir: PathBuf,
    /// Where it keeps what inputs were when they were last read, if it does.
    pub(crate) index_dir: Option<PathBuf>,
    /// Where that is, for coming back.
    pub place: Recorded,
    keeper: Option<local::Keeper>,
    /// Said once, before anything else.
    pub warnings: Vec<String>,
}

impl Session {
    /// Connects; in local mode this starts the emulator if there is none.
    pub async fn open(settings: &Settings) -> Result<Self, Error> {
        match Self::open_once(settings).await {
            // The emulator that was found was about to leave, or being killed: there is none now.
            Err(Error::Api { source, .. })
                if source.kind == ErrorKind::Unavailable
                    && matches!(settings.place, Place::Local(_)) =>
            {
                Self::open_once(settings).await
            }
            opened => opened,
        }
    }

    async fn open_once(settings: &Settings) -> Result<Self, Error> {
        let mut keeper = None;
        let (cloud, job, warnings) = match &settings.place {
            Place::Cloud(cloud) => ((**cloud).clone(), None, Vec::new()),
            Place::Local(place) => {
                keeper = Some(local::Keeper::of(place, &settings.data_dir)?);
                let connected = local::connect(place, &settings.data_dir).await?;
                (connected.cloud, Some(connected.job), connected.warnings)
            }
        };
        let retry = if keeper.is_some() {
            local::Keeper::retry()
        } else {
            RetryConfig::default()
        };
        let (bucket, cloud_run) = clients(&cloud, retry)?;
        let is_billed = keeper.is_none();
        let shape = cloud.shape.clone();
        let endpoints = cloud.endpoints.clone();
        let mut session = Self {
            is_own_job: false,
            imagined: None,
            bucket,
            cloud_run,
            prices: is_billed.then_some(cloud.prices),
            keeps_parallelism: keeper.is_some(),
            environments: if is_billed {
                Environments::Named(cloud.environments)
            } else {
                Environments::One
            },
            project: cloud.project,
            region: cloud.region,
            job: cloud.job,
            source: settings.source.clone(),
            owner: settings.owner.clone(),
            data_dir: settings.data_dir.clone(),
            index_dir: settings.index_dir.clone(),
            place: Recorded::of(settings),
            keeper,
            warnings,
        };
        if let Some(definition) = job {
            let made = session
                .cloud_run
                .create_job(&session.job, &definition)
                .await;
            made.map_err(Error::api("cannot prepare the job"))?;
        } else if !shape.is_none() {
            let options = registry_options(endpoints.as_ref());
            let Self { job, owner, .. } = &session;
            let own = own_job::define(&session.cloud_run, job, &shape, &options, owner).await?;
            if let Some(own) = &own {
                session.use_own_job(own, cloud.dry_run).await?;
            }
            session.is_own_job = true;
        }
        Ok(session)
    }

    async fn use_own_job(&mut self, own: &own_job::OwnJob, dry_run: bool) -> Result<(), Error> {
        if dry_run {
            self.imagined = Some(own.imagined()?);
        } else {
            own.ensure(&self.cloud_run).await?;
        }
        own.name.clone_into(&mut self.job);
        Ok(())
    }

    /// What is known of a job, by its short name.
    pub(crate) async fn look_at(&self, name: &str) -> Result<Job, ApiError> {
        match &self.imagined {
            Some(job) if job.name == name => Ok(job.clone()),
            _ => self.cloud_run.job(name).await,
        }
    }

    /// The job of a team's environment; without one, the job that the settings say.
    pub fn job_for(&self, environment: Option<&str>) -> Result<String, Error> {
        match (environment, &self.environments) {
            (None, _) | (_, Environments::One) => Ok(self.job.clone()),
            (Some(name), _) if self.is_own_job => Err(Error::usage(format!(
                "a task names the environment `{name}`, and the flags another image or other resources"
            ))
            .with_hint("leave one of them out")),
            (Some(name), Environments::Named(all)) => match all.get(name) {
                Some(environment) => Ok(environment.job.clone()),
                None => Err(no_environment(name, all)),
            },
        }
    }

    /// Whether a job was made for a single definition by this user, and can be made again.
    pub(crate) fn made_for_one_definition(&self, job: &Job) -> bool {
        let short = job.name.rsplit('/').next().unwrap_or_default();
        let hex = |digest: &str| {
            digest
                .bytes()
                .all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
        };
        match short.rsplit_once('-') {
            Some(("local", digest)) => self.keeper.is_some() && hex(digest),
            Some(("sortie-adhoc", _)) => {
                job.labels.get(OWNER_LABEL) == Some(&own_job::label(&self.owner))
            }
            _ => false,
        }
    }

    /// Brings back a server that is gone, where that is ours to do; elsewhere it does nothing.
    pub async fn revive(&self) -> Result<(), Error> {
        match &self.keeper {
            Some(keeper) => keeper.revive().await,
            None => Ok(()),
        }
    }
}

/// Who has other servers than Google's has no credentials for Google's registries.
pub(crate) fn registry_options(endpoints: Option<&Endpoints>) -> registry::Options {
    let google = || Arc::new(GoogleCredentials::default()) as Arc<dyn TokenSource>;
    registry::Options {
        tokens: endpoints.is_none().then(google),
        ..registry::Options::default()
    }
}

/// The bucket alone.
pub(crate) fn bucket(cloud: &Cloud) -> Result<Bucket, Error> {
    clients(cloud, RetryConfig::default()).map(|(bucket, _)| bucket)
}

fn clients(cloud: &Cloud, retry: RetryConfig) -> Result<(Bucket, CloudRun), Error> {
    let http = http_client().map_err(|error| Error::local("cannot set up TLS", error))?;
    let api = |tokens| Api::new(http.clone(), tokens, cloud.quota_project.clone(), retry);
    let google = |address: &str| {
        url::Url::parse(address).map_err(|error| Error::local("cannot parse an address", error))
    };
    let (storage_api, storage, run_api, run) = if let Some(endpoints) = &cloud.endpoints {
        let tokens = |origin: &url::Url| match &endpoints.token {
            Some(token) => Tokens::origin(origin, Arc::new(StaticToken(token.clone()))),
            None => Tokens::anonymous(),
        };
        let storage = endpoints.storage.clone();
        let run = endpoints.run.clone();
        let api = |origin: &url::Url| api(tokens(origin)).with_haste(endpoints.haste);
        (api(&storage), storage, api(&run), run)
    } else {
        let source: Arc<dyn TokenSource> = Arc::new(GoogleCredentials::default());
        let shared = api(Tokens::google(source));
        let storage = google("https://storage.googleapis.com")?;
        (
            shared.clone(),
            storage,
            shared,
            google("https://run.googleapis.com")?,
        )
    };
    Ok((
        Bucket::new(storage_api, &storage, &cloud.bucket),
        CloudRun::new(run_api, run, &cloud.project, &cloud.region),
    ))
}
