//! The emulator's process: one per data directory, found or started.

use std::fs::File;
use std::net::TcpStream;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use url::Url;
use wire::api::{Api, RetryConfig, http_client};
use wire::token::{StaticToken, Token, Tokens};

use super::lock::{holder, is_free, lock_path, open_lock};
use super::record::{Record, program_identity};
use super::{PROJECT, REGION};
use crate::cloud_run::{CloudRun, Execution};
use crate::core_files;
use crate::error::Error;

/// A cold start takes some ten milliseconds; a loaded machine may take much longer.
const START_PATIENCE: Duration = Duration::from_secs(30);

/// One that was started and is not seen holding the lock after so long has not got it.
const START_AGAIN: Duration = Duration::from_secs(2);

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
    // One that was asked to leave may answer for a while: it is no place to go.
    let mut retired = None;
    while Instant::now() < deadline {
        if is_free(&lock)? {
            // One that we started may not have come so far; or it met another that has left since.
            if started.is_none_or(|begun| begun.elapsed() > START_AGAIN) {
                start(program, data_dir, idle)?;
                started = Some(Instant::now());
            }
        } else if let Some(found) = find(data_dir, &lock)
            && retired != Some(found.pid)
        {
            if found.program == program_identity(program) || found.is_busy().await {
                return Ok(found);
            }
            retire(found.pid);
            retired = Some(found.pid);
        }
        tokio::time::sleep(Duration::from_millis(3)).await;
    }
    let log = data_dir.join("emulator.log");
    Err(
        Error::local("the local emulator does not start", last_line(&log))
            .with_hint(format!("`{}` says more", log.display())),
    )
}

/// How a data directory's emulator stands.
#[derive(Debug)]
pub(crate) enum Standing {
    /// It answers.
    Serves {
        /// `http://127.0.0.1:PORT/`.
        endpoint: Url,
        /// Its process.
        pid: u32,
    },
    /// There is one, and it does not answer.
    Silent,
    /// There is none.
    Absent,
}

/// Looks, and neither makes nor starts anything.
pub(crate) fn standing(data_dir: &Path) -> Result<Standing, Error> {
    if !lock_path(data_dir).exists() {
        return Ok(Standing::Absent);
    }
    let lock = open_lock(data_dir)?;
    if is_free(&lock)? {
        return Ok(Standing::Absent);
    }
    Ok(match find(data_dir, &lock) {
        Some(found) => Standing::Serves {
            endpoint: found.endpoint,
            pid: found.pid,
        },
        None => Standing::Silent,
    })
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
    /// A client of its own APIs.
    pub(super) fn api(&self) -> Result<Api, Error> {
        let tokens = Tokens::origin(&self.endpoint, Arc::new(StaticToken(self.token.clone())));
        let http = http_client().map_err(|error| Error::local("cannot set up TLS", error))?;
        Ok(Api::new(http, tokens, None, RetryConfig::default()))
    }

    /// Whether it must not be ended: tasks run in it, or it does not say.
    async fn is_busy(&self) -> bool {
        let Ok(api) = self.api() else {
            return true;
        };
        let cloud_run = CloudRun::new(api, self.endpoint.clone(), PROJECT, REGION);
        match cloud_run.executions_since("-", jiff::Timestamp::MAX).await {
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
    core_files::give_back(&mut command);
    command.spawn().map(drop).map_err(cannot)
}

fn last_line(log: &Path) -> String {
    let text = fs_err::read_to_string(log).unwrap_or_default();
    text.lines()
        .next_back()
        .unwrap_or("it says nothing")
        .to_owned()
}
