//! Results on their way home: found, verified, unpacked beside their place, and renamed into it.

pub(crate) mod claims;
mod collected;
mod explain;
mod land;
mod landing;
mod logs;
mod outputs;
mod reports;
mod tail;

pub use explain::{Cause, Explanation, explain};
pub use land::{Place, land, land_lost};
pub use landing::Landing;
pub(crate) use landing::{is_landed, remove_abandoned};
pub use reports::{Found, Reports, Written, read};
pub use tail::{Following, Tail};

use std::path::PathBuf;

use serde::Serialize;
use wire::contract::{Outcome, Report};

use crate::claude_code::ClaudeOutcome;
use crate::exit_code;

/// One task's result.
#[derive(Debug, Clone, Serialize)]
pub struct TaskResult {
    /// Its number within the run.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// How it ended.
    pub outcome: Ending,
    /// What a shell would see: the command's own code, or one of sortie's.
    pub exit_code: i32,
    /// Where its results are.
    pub directory: PathBuf,
    /// Bytes of its outputs' files.
    pub bytes: u64,
    /// Where its time went.
    pub phases: Phases,
    /// How long its container lived, in milliseconds, where that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lived_ms: Option<u64>,
    /// What Cloud Run bills for it, in US dollars, by list prices; absent where nothing is billed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cost: Option<f64>,
    /// How often it was tried again because the platform failed.
    #[serde(skip_serializing_if = "is_zero")]
    pub retries: u32,
    /// What went wrong on sortie's side, or on the platform's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
    /// Entries of the outputs that were left out, here or in the container.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub left_out: Vec<String>,
    /// What came of it, where it is a run of Claude Code.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub claude: Option<Box<ClaudeOutcome>>,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde passes a reference"
)]
fn is_zero(number: &u32) -> bool {
    *number == 0
}

/// How a task ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Ending {
    /// See [`Outcome::Setup`].
    Setup,
    /// See [`Outcome::Exec`].
    Exec,
    /// See [`Outcome::Exited`].
    Exited,
    /// See [`Outcome::Signaled`].
    Signaled,
    /// See [`Outcome::Deadline`].
    Deadline,
    /// See [`Outcome::Cancelled`].
    Cancelled,
    /// See [`Outcome::Collect`].
    Collect,
    /// It left no report.
    Lost,
}

impl Ending {
    /// For people, in a word or two.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Exited => "exited",
            Self::Signaled => "signaled",
            Self::Deadline => "timeout",
            Self::Cancelled => "cancelled",
            Self::Exec => "not runnable",
            Self::Setup => "not run",
            Self::Collect => "outputs lost",
            Self::Lost => "lost",
        }
    }
}

impl From<Outcome> for Ending {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Setup => Self::Setup,
            Outcome::Exec => Self::Exec,
            Outcome::Exited => Self::Exited,
            Outcome::Signaled => Self::Signaled,
            Outcome::Deadline => Self::Deadline,
            Outcome::Cancelled => Self::Cancelled,
            Outcome::Collect => Self::Collect,
        }
    }
}

/// Where a task's time went, in milliseconds.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct Phases {
    /// Scanning, reading and hashing the inputs, here.
    pub pack: u64,
    /// Compressing and sending those that the bucket lacked.
    pub upload: u64,
    /// From the run's first document to Cloud Run's answer.
    pub submit: u64,
    /// From Cloud Run's answer to the claim: capacity, image, container, token.
    pub start: u64,
    /// Downloading, verifying and unpacking the inputs, there.
    pub fetch: u64,
    /// The command.
    pub command: u64,
    /// Ending what was left, packing and sending outputs and logs.
    pub collect: u64,
    /// Downloading the results, here.
    pub download: u64,
    /// Unpacking them.
    pub unpack: u64,
}

/// What a shell would see of a report.
pub fn exit_code(report: &Report) -> i32 {
    match report.outcome {
        Outcome::Exited | Outcome::Signaled | Outcome::Exec => {
            report.code.unwrap_or(exit_code::FAILURE)
        }
        Outcome::Deadline => exit_code::DEADLINE,
        Outcome::Cancelled => exit_code::INTERRUPTED,
        Outcome::Setup | Outcome::Collect => exit_code::FAILURE,
    }
}
