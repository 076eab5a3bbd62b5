//! A connection to where tasks run: the one place that knows the cloud from this machine.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use wire::api::{Api, ApiError, ErrorKind, RetryConfig, http_client};
use wire::bucket::Bucket;
use wire::token::{StaticToken, Tokens};

use crate::cloud_run::{CloudRun, Job};
use crate::cost::Prices;
use crate::credentials::GoogleCredentials;
use crate::error::Error;
use crate::local;
use crate::own_job::{self, OWNER_LABEL};
use crate::record::Recorded;
use crate::settings::{
    Cloud, Credentials, Endpoints, Place, Settings, TeamEnvironment, no_environment,
};

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
        let Connection {
            bucket, cloud_run, ..
        } = Connection::new(&cloud, retry)?;
        let is_billed = keeper.is_none();
        let shape = cloud.shape.clone();
        let endpoints = cloud.endpoints.clone();
        let credentials = cloud.credentials.clone();
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
            session.make_job(&definition).await?;
        } else if !shape.is_none() {
            let options = registry_options(endpoints.as_ref(), &credentials);
            let Self { job, owner, .. } = &session;
            let own = own_job::define(&session.cloud_run, job, &shape, &options, owner).await?;
            if let Some(own) = &own {
                session.use_own_job(own, cloud.dry_run).await?;
            }
            session.is_own_job = true;
        }
        Ok(session)
    }

    async fn make_job(&self, definition: &serde_json::Value) -> Result<(), Error> {
        let made = self.cloud_run.create_job(&self.job, definition).await;
        made.map_err(Error::api("cannot prepare the job"))
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
pub(crate) fn registry_options(
    endpoints: Option<&Endpoints>,
    credentials: &Credentials,
) -> registry::Options {
    let google = || GoogleCredentials::new(credentials.clone()).into();
    registry::Options {
        tokens: endpoints.is_none().then(google),
        ..registry::Options::default()
    }
}

/// The bucket alone.
pub(crate) fn bucket(cloud: &Cloud) -> Result<Bucket, Error> {
    Connection::new(cloud, RetryConfig::default()).map(|connection| connection.bucket)
}

/// A server, and how to call it.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) api: Api,
    pub(crate) url: url::Url,
}

/// Clients for one project: what a session is made of, and what the doctor looks through.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) http: reqwest::Client,
    pub(crate) storage: Server,
    pub(crate) run: Server,
    pub(crate) bucket: Bucket,
    pub(crate) cloud_run: CloudRun,
    /// Absent where the servers are not Google's.
    pub(crate) google: Option<Arc<GoogleCredentials>>,
    location: String,
}

impl Connection {
    /// Nothing is asked yet.
    pub(crate) fn new(cloud: &Cloud, retry: RetryConfig) -> Result<Self, Error> {
        let http = http_client().map_err(|error| Error::local("cannot set up TLS", error))?;
        let google = cloud.endpoints.is_none();
        let google = google.then(|| Arc::new(GoogleCredentials::new(cloud.credentials.clone())));
        let (storage, run) = servers(cloud, &http, google.as_ref(), retry)?;
        let Cloud {
            project, region, ..
        } = cloud;
        Ok(Self {
            bucket: Bucket::new(storage.api.clone(), &storage.url, &cloud.bucket),
            cloud_run: CloudRun::new(run.api.clone(), run.url.clone(), project, region),
            http,
            storage,
            run,
            google,
            location: format!("/v2/projects/{project}/locations/{region}"),
        })
    }

    /// Of another of Google's APIs.
    pub(crate) fn google_url(host: &'static str, path: &str) -> url::Url {
        let mut url = url::Url::parse("https://googleapis.com")
            .unwrap_or_else(|_| unreachable!("a constant"));
        // Every host named here is one.
        let _ = url.set_host(Some(host));
        url.set_path(path);
        url
    }

    /// Of a job, by its short name, and what is asked of it.
    pub(crate) fn job_url(&self, job: &str, verb: &str) -> url::Url {
        let mut url = self.run.url.clone();
        url.set_path(&format!("{}/jobs/{job}{verb}", self.location));
        url
    }
}

fn servers(
    cloud: &Cloud,
    http: &reqwest::Client,
    google: Option<&Arc<GoogleCredentials>>,
    retry: RetryConfig,
) -> Result<(Server, Server), Error> {
    let api = |tokens| Api::new(http.clone(), tokens, cloud.quota_project.clone(), retry);
    let at = |url: &url::Url, Endpoints { token, haste, .. }: &Endpoints| {
        let tokens = match token {
            Some(token) => Tokens::origin(url, Arc::new(StaticToken(token.clone()))),
            None => Tokens::anonymous(),
        };
        Server {
            api: api(tokens).with_haste(*haste),
            url: url.clone(),
        }
    };
    if let Some(endpoints) = &cloud.endpoints {
        return Ok((
            at(&endpoints.storage, endpoints),
            at(&endpoints.run, endpoints),
        ));
    }
    let tokens = match google {
        Some(google) => Tokens::google(Arc::<GoogleCredentials>::clone(google)),
        None => Tokens::anonymous(),
    };
    let shared = api(tokens);
    let known = |address: &str| {
        let url = url::Url::parse(address);
        let url = url.map_err(|error| Error::local("cannot parse an address", error))?;
        Ok::<_, Error>(Server {
            api: shared.clone(),
            url,
        })
    };
    Ok((
        known("https://storage.googleapis.com")?,
        known("https://run.googleapis.com")?,
    ))
}
