//! The emulator's process: one per data directory, found or started.

use std::fs::File;
use std::io::{Read, Seek, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use emulator::{Account, Config, Emulator, Grant, Permission};
use rustix::fs::FlockOperation;
use url::Url;
use wire::api::{Api, RetryConfig, http_client};
use wire::token::{StaticToken, Token, Tokens};

use super::record::{Record, program_identity};
use super::{ACCOUNT, BUCKET, PROJECT, REGION};
use crate::cloud_run::{CloudRun, Execution};
use crate::error::Error;

/// A cold start takes some ten milliseconds; a loaded machine may take much longer.
const START_PATIENCE: Duration = Duration::from_secs(30);

/// One that was started and is not seen holding the lock after so long has not got it.
const START_AGAIN: Duration = Duration::from_secs(2);

/// How long a new emulator tries to get the lock: who looks whether it is free holds it for a moment.
const LOCK_PATIENCE: Duration = Duration::from_millis(500);

/// How to reach the emulator.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) endpoint: Url,
    pub(super) token: Token,
    pid: u32,
    program: String,
}

/// Finds the data directory's emulator, or starts one and waits until it answers.
pub(super) async fn find_or_start(
    program: &Path,
    data_dir: &Path,
    idle: Duration,
) -> Result<Found, Error> {
    let lock = open_lock(data_dir)?;
    let deadline = Instant::now() + START_PATIENCE;
    let mut started: Option<Instant> = None;
    while Instant::now() < deadline {
        if is_free(&lock)? {
            // One that we started may not have come so far; or it met another that has left since.
            if started.is_none_or(|begun| begun.elapsed() > START_AGAIN) {
                start(program, data_dir, idle)?;
                started = Some(Instant::now());
            }
        } else if let Some(found) = find(data_dir, &lock) {
            if found.program == program_identity(program) || found.is_busy().await {
                return Ok(found);
            }
            retire(found.pid);
        }
        tokio::time::sleep(Duration::from_millis(3)).await;
    }
    let log = data_dir.join("emulator.log");
    Err(
        Error::local("the local emulator does not start", last_line(&log))
            .with_hint(format!("`{}` says more", log.display())),
    )
}

/// The emulator that holds the lock, if it serves already.
fn find(data_dir: &Path, lock: &File) -> Option<Found> {
    let record = Record::read(data_dir).filter(|record| holder(lock) == Some(record.pid))?;
    let endpoint = Url::parse(&record.endpoint).ok()?;
    let addresses = endpoint.socket_addrs(|| None).ok()?;
    let answers = addresses
        .iter()
        .any(|address| TcpStream::connect(address).is_ok());
    answers.then(|| Found {
        endpoint,
        token: Token::new(record.token, None),
        pid: record.pid,
        program: record.program,
    })
}

impl Found {
    /// Whether it must not be ended: tasks run in it, or it does not say.
    async fn is_busy(&self) -> bool {
        let tokens = Tokens::origin(&self.endpoint, Arc::new(StaticToken(self.token.clone())));
        let Ok(http) = http_client() else {
            return true;
        };
        let api = Api::new(http, tokens, None, RetryConfig::default());
        let cloud_run = CloudRun::new(api, self.endpoint.clone(), PROJECT, REGION);
        match cloud_run.newest_executions("-").await {
            Ok(executions) => !executions.iter().all(Execution::ended),
            Err(_) => true,
        }
    }
}

/// Ends an emulator of another build, in which nothing runs.
fn retire(pid: u32) {
    let pid = i32::try_from(pid)
        .ok()
        .and_then(rustix::process::Pid::from_raw);
    if let Some(pid) = pid {
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
    }
}

fn start(program: &Path, data_dir: &Path, idle: Duration) -> Result<(), Error> {
    let cannot = |error| Error::local("cannot start the local emulator", error);
    let log = File::options()
        .create(true)
        .append(true)
        .open(data_dir.join("emulator.log"))
        .map_err(cannot)?;
    let mut command = Command::new(program);
    command
        .arg("serve-data-dir")
        .arg(data_dir)
        .arg(humantime::format_duration(idle).to_string())
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .process_group(0);
    command.spawn().map(drop).map_err(cannot)
}

/// What `sortie emulator` was asked to serve.
#[derive(Debug)]
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
}

/// `sortie emulator`: serves until SIGINT or SIGTERM, after printing the environment for its clients.
pub(crate) async fn serve(serve: Serve) -> Result<(), Error> {
    let token = new_token()?;
    let config = Config {
        state: serve.state.clone(),
        listen: SocketAddr::from((Ipv4Addr::LOCALHOST, serve.port)),
        project: serve.project.clone(),
        region: serve.region.clone(),
        runner: Vec::new(),
        owner_token: token.clone(),
        anonymous_storage: serve.anonymous,
        container_account: account(&serve.project),
        idle_exit: None,
    };
    let hint = "another `--port` may be free, and `--port 0` takes any that is";
    let emulator = Emulator::start(config)
        .await
        .map_err(|error| cannot_serve(error).with_hint(hint))?;
    if let Some(bucket) = &serve.bucket {
        emulator.ensure_bucket(bucket).await.map_err(cannot_serve)?;
    }
    print_environment(&serve, &emulator, &token);
    emulator.serve(terminated()).await.map_err(cannot_serve)
}

fn print_environment(serve: &Serve, emulator: &Emulator, token: &str) {
    // A reader that has left is not our trouble.
    let mut out = std::io::stdout().lock();
    let endpoint = format!("http://{}", emulator.address());
    let metadata = emulator.metadata_address().to_string();
    let storage = format!("{endpoint}/storage/v1/");
    for (name, value) in [
        ("STORAGE_EMULATOR_HOST", endpoint.as_str()),
        ("SORTIE_RUN_ENDPOINT", &endpoint),
        ("SORTIE_EMULATOR_TOKEN", token),
        ("SORTIE_PROJECT", &serve.project),
        ("SORTIE_REGION", &serve.region),
        ("GCE_METADATA_HOST", &metadata),
        ("CLOUDSDK_API_ENDPOINT_OVERRIDES_STORAGE", &storage),
        ("CLOUDSDK_AUTH_ACCESS_TOKEN", token),
    ] {
        let _ = writeln!(out, "export {name}='{value}'");
    }
    let _ = out.flush();
}

/// The process behind local mode: leaves when idle, when told to, or at once if another one serves already.
pub(crate) async fn serve_data_dir(data_dir: &Path, idle: Duration) -> Result<(), Error> {
    let lock = open_lock(data_dir)?;
    if !take(&lock).await {
        return Ok(());
    }
    leave_the_terminal();
    let pid = std::process::id();
    write_holder(&lock, pid)?;
    let scratch = data_dir.join("scratch");
    // What a killed emulator's tasks left behind.
    let _ = fs_err::remove_dir_all(&scratch);
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
    let emulator = match Emulator::start(config(old_port.unwrap_or(0))).await {
        Err(emulator::Error::Listen { .. }) => Emulator::start(config(0)).await,
        started => started,
    };
    let emulator = emulator.map_err(cannot_serve)?;
    emulator.ensure_bucket(BUCKET).await.map_err(cannot_serve)?;
    let endpoint = format!("http://{}", emulator.address());
    let identity = program_identity(&program);
    Record {
        endpoint,
        token,
        pid,
        program: identity,
    }
    .write(data_dir)?;
    emulator.serve(terminated()).await.map_err(cannot_serve)
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

async fn terminated() {
    use tokio::signal::unix::{SignalKind, signal};
    let Ok(mut term) = signal(SignalKind::terminate()) else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = term.recv() => {}
        _ = tokio::signal::ctrl_c() => {}
    }
}

fn program() -> Result<PathBuf, Error> {
    std::env::current_exe().map_err(|error| Error::local("cannot find sortie's own program", error))
}

fn open_lock(data_dir: &Path) -> Result<File, Error> {
    let open = || {
        let mut builder = std::fs::DirBuilder::new();
        builder.recursive(true).mode(0o700).create(data_dir)?;
        let mut options = File::options();
        options.read(true).write(true).create(true).truncate(false);
        options.open(data_dir.join("emulator.lock"))
    };
    open().map_err(|error: std::io::Error| {
        Error::local(
            format!("cannot use the data directory `{}`", data_dir.display()),
            error,
        )
        .with_hint("set `SORTIE_DATA_DIR` to a directory that can be written")
    })
}

/// Whether nobody serves. The lock, not the record, tells: the kernel drops it with its process.
fn is_free(lock: &File) -> Result<bool, Error> {
    match rustix::fs::flock(lock, FlockOperation::NonBlockingLockShared) {
        Ok(()) => {
            let _ = rustix::fs::flock(lock, FlockOperation::Unlock);
            Ok(true)
        }
        Err(rustix::io::Errno::WOULDBLOCK) => Ok(false),
        Err(error) => Err(Error::local("cannot lock the data directory", error)),
    }
}

async fn take(lock: &File) -> bool {
    let deadline = Instant::now() + LOCK_PATIENCE;
    loop {
        if rustix::fs::flock(lock, FlockOperation::NonBlockingLockExclusive).is_ok() {
            return true;
        }
        if Instant::now() > deadline {
            return false;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

fn write_holder(mut lock: &File, pid: u32) -> Result<(), Error> {
    let mut write = || {
        lock.set_len(0)?;
        lock.rewind()?;
        lock.write_all(pid.to_string().as_bytes())
    };
    write().map_err(|error| Error::local("cannot lock the data directory", error))
}

fn holder(mut lock: &File) -> Option<u32> {
    let mut text = String::new();
    lock.rewind().ok()?;
    lock.read_to_string(&mut text).ok()?;
    text.parse().ok()
}

/// 128 random bits.
fn new_token() -> Result<String, Error> {
    let mut bytes = [0_u8; 16];
    getrandom::fill(&mut bytes).map_err(|error| Error::local("no randomness to be had", error))?;
    Ok(crate::text::hex(&bytes))
}

fn last_line(log: &Path) -> String {
    let text = fs_err::read_to_string(log).unwrap_or_default();
    text.lines()
        .next_back()
        .unwrap_or("it says nothing")
        .to_owned()
}
