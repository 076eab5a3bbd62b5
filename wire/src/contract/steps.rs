//! What comes before and after a task's command.

use std::collections::BTreeSet;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::spec::{check_input_name, invalid};
use super::{ByteString, Command, ContractError, Outcome};

/// How long a step may take, where nothing else is said: ten minutes, in milliseconds.
const STEP_TIMEOUT_MS: u64 = 600_000;

/// Between a step's SIGTERM and its SIGKILL, in milliseconds.
pub const STEP_GRACE_MS: u64 = 3_000;

/// Names that a result has already.
const TAKEN: [&[u8]; 8] = [
    b"output",
    b"stdout",
    b"stderr",
    b"report.json",
    b"events.jsonl",
    b"transcript.json",
    b"response.md",
    b"claude.json",
];

/// A command that comes before the task's own, or after it: in the workspace, in the same environment, with nothing
/// to read. What it prints goes to the task's standard error, so that the command's own output stays its own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// What to run.
    pub command: Command,
    /// From its start to its SIGTERM, in milliseconds.
    pub timeout_ms: u64,
}

impl Step {
    /// A step that may take ten minutes.
    pub fn new(command: Command) -> Self {
        Self {
            command,
            timeout_ms: STEP_TIMEOUT_MS,
        }
    }

    /// Its time limit.
    pub fn timeout(&self) -> Duration {
        Duration::from_millis(self.timeout_ms)
    }

    /// At the most so long, from its start to its death, in milliseconds.
    pub(super) fn longest_ms(&self) -> u64 {
        self.timeout_ms.saturating_add(STEP_GRACE_MS)
    }
}

/// A file that is there before any step: the command's user owns it, and nobody else may read it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PreparedFile {
    /// Relative to the workspace. Directories on the way are made; no link is followed.
    pub path: ByteString,
    /// Its content.
    pub content: ByteString,
}

/// A directory below the workspace that comes home beside `output/`, in an archive of its own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Collect {
    /// Relative to the workspace. No link is followed on the way; what is not there comes home empty.
    pub path: ByteString,
    /// What it is called at home: one path component, and none that a result has anyway.
    pub name: ByteString,
}

/// Where a step stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stage {
    /// As root, before the command's user is anybody.
    Setup,
    /// As the command's user, before the command.
    Pre,
    /// As the command's user, after the command and everything it started are gone.
    Post,
}

impl Stage {
    /// As JSON and messages have it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Setup => "setup",
            Self::Pre => "pre",
            Self::Post => "post",
        }
    }
}

/// What became of a step that was begun.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepReport {
    /// Where it stands.
    pub stage: Stage,
    /// Its number among those of its stage, from 0.
    pub index: u32,
    /// How it ended: never [`Outcome::Setup`] or [`Outcome::Collect`].
    pub outcome: Outcome,
    /// As a shell gives it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<i32>,
    /// The signal that ended it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signal: Option<i32>,
    /// How long it took, in milliseconds.
    pub duration_ms: u64,
    /// The last of what it printed, both streams together; all of it is in the task's standard error.
    pub tail: ByteString,
}

impl StepReport {
    /// Whether it ended by itself, with code 0.
    pub fn succeeded(&self) -> bool {
        self.outcome == Outcome::Exited && self.code == Some(0)
    }
}

/// Refuses files that would lie outside the workspace, or one in the place of another.
pub(super) fn check_files(files: &[PreparedFile]) -> Result<(), ContractError> {
    let mut paths = BTreeSet::new();
    for file in files {
        check_path(&file.path)?;
        if !paths.insert(&file.path) {
            let path = file.path.lossy();
            return Err(invalid(format!("two files are prepared as `{path}`")));
        }
    }
    Ok(())
}

/// Refuses what could not be told apart at home.
pub(super) fn check_collect(collect: &[Collect]) -> Result<(), ContractError> {
    let mut names = BTreeSet::new();
    for Collect { path, name } in collect {
        check_path(path)?;
        check_collect_name(name)?;
        if !names.insert(name) {
            let shown = name.lossy();
            return Err(invalid(format!("two directories come home as `{shown}`")));
        }
    }
    Ok(())
}

/// Refuses a name that cannot stand beside a result's own.
pub fn check_collect_name(name: &ByteString) -> Result<(), ContractError> {
    let taken = name.0.starts_with(b".") || TAKEN.contains(&&name.0[..]);
    if check_input_name(&name.0).is_err() || taken {
        let shown = name.lossy();
        return Err(invalid(format!(
            "what comes home cannot be named `{shown}`"
        )));
    }
    Ok(())
}

/// Refuses what does not lie below the workspace.
pub(super) fn check_path(path: &ByteString) -> Result<(), ContractError> {
    let plain = |part: &[u8]| !matches!(part, b"" | b"." | b"..") && !part.contains(&0);
    if path.0.split(|&byte| byte == b'/').all(plain) && path.0.len() < 4096 {
        return Ok(());
    }
    let shown = path.lossy();
    Err(invalid(format!(
        "`{shown}` does not lie below the workspace"
    )))
}
