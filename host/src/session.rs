//! A connection to where tasks run: the one place that knows the cloud from this machine.

use std::path::PathBuf;
use std::sync::Arc;

use wire::api::{Api, RetryConfig, http_client};
use wire::bucket::Bucket;
use wire::token::{StaticToken, TokenSource, Tokens};

use crate::cloud_run::CloudRun;
use crate::credentials::GoogleCredentials;
use crate::error::Error;
use crate::local;
use crate::record::Recorded;
use crate::settings::{Cloud, Place, Settings};

/// A connection to where tasks run. Shared by any number of runs.
#[derive(Debug, Clone)]
pub struct Session {
    /// The bucket.
    pub bucket: Bucket,
    /// Cloud Run.
    pub cloud_run: CloudRun,
    /// The job that runs tasks, by its short name.
    pub job: String,
    /// Where that was settled.
    pub source: String,
    /// Who runs.
    pub owner: String,
    /// Where sortie keeps its own state.
    pub data_dir: PathBuf,
    /// Where that is, for coming back.
    pub place: Recorded,
    keeper: Option<local::Keeper>,
    /// Said once, before anything else.
    pub warnings: Vec<String>,
}

impl Session {
    /// Connects; in local mode this starts the emulator if there is none.
    pub async fn open(settings: &Settings) -> Result<Self, Error> {
        let mut keeper = None;
        let (cloud, warnings) = match &settings.place {
            Place::Cloud(cloud) => ((**cloud).clone(), Vec::new()),
            Place::Local(place) => {
                keeper = Some(local::Keeper::of(place, &settings.data_dir)?);
                local::connect(place, &settings.data_dir).await?
            }
        };
        let retry = if keeper.is_some() {
            local::Keeper::retry()
        } else {
            RetryConfig::default()
        };
        let (bucket, cloud_run) = clients(&cloud, retry)?;
        let session = Self {
            bucket,
            cloud_run,
            job: cloud.job,
            source: settings.source.clone(),
            owner: settings.owner.clone(),
            data_dir: settings.data_dir.clone(),
            place: Recorded::of(settings),
            keeper,
            warnings,
        };
        if let Place::Local(place) = &settings.place {
            local::ensure_job(&session, place).await?;
        }
        Ok(session)
    }

    /// Brings back a server that is gone, where that is ours to do; elsewhere it does nothing.
    pub async fn revive(&self) -> Result<(), Error> {
        match &self.keeper {
            Some(keeper) => keeper.revive().await,
            None => Ok(()),
        }
    }
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
        (api(tokens(&storage)), storage, api(tokens(&run)), run)
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
