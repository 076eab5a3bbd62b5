//! Local mode: the emulator of the data directory stands in for Google.
//!
//! One emulator process serves a data directory, in a session of its own, so that a run goes on when
//! its terminal goes away. It is started by whoever needs it first, and leaves when idle.

mod contained;
mod container;
mod image;
mod lifecycle;
mod lock;
mod process;
mod record;
mod secrets;
mod serve;
mod supervise;

pub(crate) use container::main as container_main;
pub(crate) use process::{Standing, standing};
pub(crate) use serve::{Serve, serve, serve_data_dir};

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};
use wire::api::{Haste, RetryConfig};

use crate::cost::Prices;
use crate::error::Error;
use crate::settings::{Cloud, Credentials, Endpoints, Local, LocalSecret, Sandbox, Shape};

/// Google refuses names that begin with `goog`, so this can never be somebody's real bucket.
const BUCKET: &str = "goog-sortie-local";

const PROJECT: &str = "sortie-local";

const REGION: &str = "local";

/// The account whose token the tasks get.
const ACCOUNT: &str = "task@sortie-local.iam.gserviceaccount.com";

/// For the container runner: how to fence the task in.
const SANDBOX: &str = "SORTIE_SANDBOX";

/// For the container runner: directories to show, joined by `:`.
const MOUNTS: &str = "SORTIE_MOUNTS";

/// For the container runner: the caller's home directory, to be hidden.
const HOME: &str = "SORTIE_HOME";

/// For the container runner: where the task's private directories go.
const SCRATCH: &str = "SORTIE_SCRATCH";

/// As in the cloud: the longest a task may have, so that `--timeout` alone decides.
const TASK_TIMEOUT: &str = "604800s";

/// Keeps an emulator running.
#[derive(Debug, Clone)]
pub(crate) struct Keeper {
    program: PathBuf,
    data_dir: PathBuf,
    idle: Duration,
    secrets: Vec<LocalSecret>,
}

impl Keeper {
    /// The one that these settings mean.
    pub(crate) fn of(local: &Local, data_dir: &Path) -> Result<Self, Error> {
        let program = local.program.clone().ok_or_else(|| {
            Error::usage("local mode needs the program `sortie`, and this is another")
                .with_hint("put `sortie` on the `PATH`, or set `SORTIE_PROGRAM`")
        })?;
        Ok(Self {
            program,
            data_dir: data_dir.to_owned(),
            idle: local.idle,
            secrets: local.secrets.clone(),
        })
    }

    /// It is near, and either answers or is gone.
    pub(crate) fn retry() -> RetryConfig {
        RetryConfig {
            retries: 4,
            budget: Duration::from_secs(5),
            first_pause: Duration::from_millis(50),
            longest_pause: Duration::from_secs(1),
        }
    }

    /// Starts it again if it is gone. It comes back at its old address and with its old token, and knows what ran when
    /// it died: that has failed.
    pub(crate) async fn revive(&self) -> Result<(), Error> {
        let found = self.find_or_start().await?;
        // They were in its memory alone.
        secrets::provide(&found, &self.secrets).await.map(drop)
    }

    async fn find_or_start(&self) -> Result<process::Found, Error> {
        process::find_or_start(&self.program, &self.data_dir, self.idle).await
    }
}

/// The emulator, in the cloud's own terms.
pub(crate) struct Connected {
    /// How to reach it.
    pub(crate) cloud: Cloud,
    /// The job whose tasks run as the settings say, to be made there.
    pub(crate) job: Value,
    /// What the user should know.
    pub(crate) warnings: Vec<String>,
}

/// Finds or starts the emulator, and says how to reach it in the cloud's own terms.
pub(crate) async fn connect(local: &Local, data_dir: &Path) -> Result<Connected, Error> {
    let mut warnings = Vec::new();
    let keeper = Keeper::of(local, data_dir)?;
    let enclosure = enclosure(local, &keeper.program, &mut warnings)?;
    let emulator = keeper.find_or_start().await?;
    let secrets = secrets::provide(&emulator, &local.secrets).await?;
    let job = definition(local, enclosure, &secrets, data_dir);
    let cloud = Cloud {
        project: PROJECT.to_owned(),
        region: REGION.to_owned(),
        bucket: BUCKET.to_owned(),
        job: job_name("local", &job),
        environments: BTreeMap::new(),
        shape: Shape::default(),
        dry_run: false,
        prices: Prices::of_region(REGION),
        quota_project: None,
        credentials: Credentials::default(),
        endpoints: Some(Endpoints {
            run: emulator.endpoint.clone(),
            storage: emulator.endpoint,
            token: Some(emulator.token),
            haste: Haste::NONE,
        }),
    };
    Ok(Connected {
        cloud,
        job,
        warnings,
    })
}

/// `Auto` becomes one of the others.
fn settle_sandbox(wished: Sandbox, warnings: &mut Vec<String>) -> Result<Sandbox, Error> {
    if wished == Sandbox::None {
        return Ok(Sandbox::None);
    }
    match (sandbox::check(), wished) {
        (Ok(()), _) => Ok(Sandbox::Namespaces),
        (Err(refused), Sandbox::Auto) => {
            warnings.push(format!(
                "the task is not isolated from this machine: {}",
                crate::error::chain(&refused)
            ));
            Ok(Sandbox::None)
        }
        (Err(refused), _) => {
            let hint = format!("{}; or `--sandbox none`, without isolation", refused.hint());
            Err(Error::local("cannot isolate the task", refused).with_hint(hint))
        }
    }
}

/// What tells the runner how to fence a task in.
fn enclosure(
    local: &Local,
    program: &Path,
    warnings: &mut Vec<String>,
) -> Result<Vec<Value>, Error> {
    if let Some(image) = &local.shape.image {
        return image::variables(local, image, program, warnings);
    }
    let kind = match settle_sandbox(local.sandbox, warnings)? {
        Sandbox::None => "none",
        Sandbox::Auto | Sandbox::Namespaces => "namespaces",
    };
    Ok(vec![
        json!({ "name": "PATH", "value": local.path }),
        json!({ "name": SANDBOX, "value": kind }),
        json!({ "name": HOME, "value": local.home.to_string_lossy() }),
    ])
}

fn definition(
    local: &Local,
    enclosure: Vec<Value>,
    secrets: &[secrets::Reference],
    data_dir: &Path,
) -> Value {
    let mounts: Vec<_> = local
        .mounts
        .iter()
        .map(|path| path.to_string_lossy())
        .collect();
    let mut env = enclosure;
    env.extend([
        json!({ "name": MOUNTS, "value": mounts.join(":") }),
        json!({ "name": SCRATCH, "value": data_dir.join("scratch").to_string_lossy() }),
    ]);
    env.extend(secrets.iter().map(secrets::Reference::variable));
    let image = local.shape.image.as_deref();
    json!({ "template": {
        "parallelism": local.parallel.unwrap_or(0),
        "template": {
            "maxRetries": 0,
            "timeout": TASK_TIMEOUT,
            "serviceAccount": ACCOUNT,
            "containers": [{ "image": image.unwrap_or("sortie-local/machine"), "env": env }],
        },
    }})
}

/// A job's name tells its definition, so that another shell's `PATH` makes another job and none is ever changed.
pub(crate) fn job_name(kind: &str, definition: &Value) -> String {
    use sha2::{Digest, Sha256};
    let digest = Sha256::digest(definition.to_string().as_bytes());
    format!("{kind}-{}", crate::text::hex(&digest[..6]))
}
