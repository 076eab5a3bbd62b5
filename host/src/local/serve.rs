//! The emulator's side: for local mode in the background, and as `sortie emulator` for other programs.

use std::ffi::OsString;
use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use emulator::{Account, Config, Emulator, Grant, Options, Permission};
use url::Url;

use super::lock::{open_lock, take, write_holder};
use super::record::{Record, program_identity};
use super::{ACCOUNT, BUCKET, PROJECT, REGION, contained, lifecycle};
use crate::error::Error;

/// What `sortie emulator` was asked to serve.
pub(crate) struct Serve {
    /// Where its state lies.
    pub state: PathBuf,
    /// 0 = any free one.
    pub port: u16,
    /// The project it knows.
    pub project: String,
    /// The region it knows.
    pub region: String,
    /// A bucket to make.
    pub bucket: Option<String>,
    /// Whether storage asks for no token.
    pub anonymous: bool,
    /// What plays a job's container; empty = the job's command as a process.
    pub runner: Vec<OsString>,
    /// The token with all rights, where the caller wants to know it beforehand.
    pub token: Option<String>,
    /// Where to write down what is asked and answered.
    pub record: Option<PathBuf>,
}

/// `sortie emulator`: serves until SIGINT or SIGTERM, after printing the environment for its clients.
pub(crate) async fn serve(serve: Serve) -> Result<(), Error> {
    let terminated = terminated()?;
    let token = serve.token.clone().map_or_else(new_token, Ok)?;
    let config = Config {
        state: serve.state.clone(),
        listen: SocketAddr::from((Ipv4Addr::LOCALHOST, serve.port)),
        project: serve.project.clone(),
        region: serve.region.clone(),
        runner: serve.runner.clone(),
        owner_token: token.clone(),
        anonymous_storage: serve.anonymous,
        container_account: account(&serve.project),
        idle_exit: None,
    };
    let hint = "another `--port` may be free, and `--port 0` takes any that is";
    let emulator = Emulator::start_with(config, options(serve.record.clone()))
        .await
        .map_err(|error| cannot_serve(error).with_hint(hint))?;
    if let Some(bucket) = &serve.bucket {
        emulator.ensure_bucket(bucket).await.map_err(cannot_serve)?;
    }
    print_environment(&serve, &emulator, &token);
    emulator.serve(terminated).await.map_err(cannot_serve)
}

fn print_environment(serve: &Serve, emulator: &Emulator, token: &str) {
    // A reader that has left is not our trouble.
    let mut out = std::io::stdout().lock();
    let endpoint = format!("http://{}", emulator.address());
    let metadata = emulator.metadata_address().to_string();
    let port = emulator.address().port().to_string();
    let storage = format!("{endpoint}/storage/v1/");
    for (name, value) in [
        ("STORAGE_EMULATOR_HOST", endpoint.as_str()),
        ("SORTIE_RUN_ENDPOINT", &endpoint),
        ("SORTIE_EMULATOR_TOKEN", token),
        ("SORTIE_PROJECT", &serve.project),
        ("SORTIE_REGION", &serve.region),
        ("GCE_METADATA_HOST", &metadata),
        ("CLOUDSDK_API_ENDPOINT_OVERRIDES_STORAGE", &storage),
        // gcloud puts the region before this host's name, so it must be a name, which only a proxy finds.
        ("CLOUDSDK_API_ENDPOINT_OVERRIDES_RUN", "http://run.test/"),
        ("CLOUDSDK_PROXY_TYPE", "http"),
        ("CLOUDSDK_PROXY_ADDRESS", "127.0.0.1"),
        ("CLOUDSDK_PROXY_PORT", &port),
        ("CLOUDSDK_RUN_REGION", &serve.region),
        ("CLOUDSDK_AUTH_ACCESS_TOKEN", token),
    ] {
        let _ = writeln!(out, "export {name}='{value}'");
    }
    let _ = out.flush();
}

/// The process behind local mode: leaves when idle, when told to, or at once if another one serves already.
pub(crate) async fn serve_data_dir(
    data_dir: &Path,
    idle: Duration,
    record: Option<PathBuf>,
) -> Result<(), Error> {
    let lock = open_lock(data_dir)?;
    if !take(&lock).await {
        return Ok(());
    }
    leave_the_terminal();
    let terminated = terminated()?;
    let pid = std::process::id();
    write_holder(&lock, pid)?;
    let program = program()?;
    let before = Record::read(data_dir);
    let token = match &before {
        Some(record) => record.token.clone(),
        None => new_token()?,
    };
    let config = |port| Config {
        state: data_dir.join("emulator"),
        listen: SocketAddr::from((Ipv4Addr::LOCALHOST, port)),
        project: PROJECT.to_owned(),
        region: REGION.to_owned(),
        runner: vec![program.clone().into_os_string(), "container".into()],
        owner_token: token.clone(),
        anonymous_storage: false,
        container_account: account(PROJECT),
        idle_exit: Some(idle),
    };
    // Who waits for a run goes on asking at the old address.
    let old_port = before.and_then(|record| Url::parse(&record.endpoint).ok()?.port());
    let start = |port| Emulator::start_with(config(port), options(record.clone()));
    let emulator = match start(old_port.unwrap_or(0)).await {
        Err(emulator::Error::Listen { .. }) => start(0).await,
        started => started,
    };
    let emulator = emulator.map_err(cannot_serve)?;
    // What a killed emulator's tasks left behind. Their runners, who would see to it themselves, have just been ended.
    let scratch = data_dir.join("scratch");
    contained::sweep(&scratch);
    let _ = archive::remove_tree(&scratch);
    emulator.ensure_bucket(BUCKET).await.map_err(cannot_serve)?;
    let endpoint = format!("http://{}", emulator.address());
    let rules = lifecycle::set(endpoint.clone(), token.clone());
    let identity = program_identity(&program);
    Record {
        endpoint,
        token,
        pid,
        program: identity,
    }
    .write(data_dir)?;
    let (served, ()) = tokio::join!(emulator.serve(terminated), rules);
    served.map_err(cannot_serve)
}

fn options(record: Option<PathBuf>) -> Options {
    Options {
        record,
        core_files: crate::core_files::users_limit(),
        ..Options::default()
    }
}

/// As the kit gives it in the cloud: what it knows by name it may get, and it may create under `runs/`.
fn account(project: &str) -> Account {
    let grant = |permission, prefix: &str| Grant {
        permission,
        prefix: prefix.to_owned(),
    };
    Account {
        email: if project == PROJECT {
            ACCOUNT.to_owned()
        } else {
            format!("task@{project}.iam.gserviceaccount.com")
        },
        grants: vec![
            grant(Permission::Get, wire::names::INPUTS),
            grant(Permission::Get, wire::names::RUNS),
            grant(Permission::Create, wire::names::RUNS),
        ],
    }
}

fn cannot_serve(error: emulator::Error) -> Error {
    Error::local("cannot serve the emulator", error)
}

/// Ctrl-C in the terminal that started us must not reach us.
fn leave_the_terminal() {
    // Fails only where we lead a session already, which is as good.
    let _ = rustix::process::setsid();
}

/// Listens from now on: whoever reads our first word may send a signal in answer.
fn terminated() -> Result<impl Future<Output = ()>, Error> {
    use tokio::signal::unix::{SignalKind, signal};
    let failed = |error| Error::local("cannot listen for signals", error);
    let mut term = signal(SignalKind::terminate()).map_err(failed)?;
    let mut int = signal(SignalKind::interrupt()).map_err(failed)?;
    Ok(async move {
        tokio::select! {
            _ = term.recv() => {}
            _ = int.recv() => {}
        }
    })
}

fn program() -> Result<PathBuf, Error> {
    std::env::current_exe().map_err(|error| Error::local("cannot find sortie's own program", error))
}

/// 128 random bits.
fn new_token() -> Result<String, Error> {
    let mut bytes = [0_u8; 16];
    getrandom::fill(&mut bytes).map_err(|error| Error::local("no randomness to be had", error))?;
    Ok(crate::text::hex(&bytes))
}
