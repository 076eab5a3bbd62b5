//! What the entrypoint says of one attempt.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{ByteString, StepReport};
use crate::names::{Attempt, RunId};

/// The custom metadata of a claim's object that repeats its `key_sha256`.
pub const CLAIM_KEY: &str = "key_sha256";

/// Written before anything else: who else starts the same attempt finds it, and leaves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claim {
    /// The contract's version.
    pub version: u32,
    /// SHA-256 of the key's 32 hex digits, in lowercase hex.
    ///
    /// The key itself is known to the entrypoint alone until it writes under it, so what lies under
    /// a key that does not match its claim is a forgery.
    pub key_sha256: String,
    /// The entrypoint's version.
    pub entrypoint: String,
    /// When.
    pub created_at: Timestamp,
}

/// What the entrypoint says of one attempt: written once, last, on every path that can still write.
///
/// `outcome` and `code` stand in the object's custom metadata too, so that a list page tells of
/// 1,000 tasks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// The contract's version.
    pub version: u32,
    /// The run.
    pub run: RunId,
    /// The attempt.
    pub attempt: Attempt,
    /// The entrypoint's version.
    pub entrypoint: String,
    /// How it ended.
    pub outcome: Outcome,
    /// The command's code as a shell would give it: 128+n for signal n, 126 or 127 where it did not start.
    /// Absent where no command ran to an end of its own or by our hand.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<i32>,
    /// The signal that ended the command.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signal: Option<i32>,
    /// What went wrong on our side.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<Problem>,
    /// The command's standard output.
    pub stdout: Captured,
    /// The command's standard error.
    pub stderr: Captured,
    /// The output directory.
    pub outputs: Outputs,
    /// The steps that were begun, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub steps: Vec<StepReport>,
    /// How the command itself ended, where a post step decided `outcome` and `code`, or a cancel came after its end and
    /// cut off its outputs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<CommandEnd>,
    /// The spec's `collect`, in its order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub collected: Vec<Collected>,
    /// Where the time went.
    pub phases: Phases,
    /// When the entrypoint began.
    pub started_at: Timestamp,
    /// When it wrote this.
    pub finished_at: Timestamp,
}

impl Report {
    /// How the command itself ended, whatever decided how the task did.
    pub fn command_end(&self) -> CommandEnd {
        self.command.unwrap_or(CommandEnd {
            outcome: self.outcome,
            code: self.code,
            signal: self.signal,
        })
    }
}

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommandEnd {
    /// Whose doing it was.
    pub outcome: Outcome,
    /// As a shell gives it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<i32>,
    /// The signal that ended it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signal: Option<i32>,
}

/// What became of a collected directory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Collected {
    /// As in the spec.
    pub name: ByteString,
    /// What was packed. An archive that is an object is
    /// [`AttemptObjects::collected`](crate::names::AttemptObjects::collected), with this entry's place in the list.
    pub outputs: Outputs,
    /// Why it is lost, if it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

/// How an attempt ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// Before the command: fetching, verifying, unpacking, the user, a setup or pre step. Or before a post step that
    /// was to decide: then `command` says how the command ended.
    Setup,
    /// The command could not be started: code 126 or 127.
    Exec,
    /// The command ended by itself.
    Exited,
    /// A signal that we did not send ended the command.
    Signaled,
    /// The spec's timeout.
    Deadline,
    /// SIGTERM to the entrypoint: a cancel, or the platform's own timeout.
    Cancelled,
    /// The command ended, but its outputs are lost; `code` is still the command's.
    Collect,
}

impl Outcome {
    /// As JSON and object metadata have it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Setup => "setup",
            Self::Exec => "exec",
            Self::Exited => "exited",
            Self::Signaled => "signaled",
            Self::Deadline => "deadline",
            Self::Cancelled => "cancelled",
            Self::Collect => "collect",
        }
    }
}

/// What went wrong on our side.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// For programs.
    pub reason: Reason,
    /// For people: the error with its causes, each a fragment, joined by `: `.
    pub message: String,
}

/// Why a report has a problem.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// A pack is not in the bucket, or may not be read: the host uploads it again.
    InputMissing,
    /// A pack's bytes are not those the spec names.
    InputMismatch,
    /// The bucket did not answer.
    Storage,
    /// The workspace cannot be written.
    Workspace,
    /// The spec names a user that cannot be had.
    User,
    /// The spec, or the start, cannot be read.
    Spec,
    /// The command could not be started.
    Exec,
    /// The outputs could not be packed or sent.
    Outputs,
    /// A setup or pre step failed, or the post steps could not be run.
    Step,
}

/// One stream of the command.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Captured {
    /// How many bytes the command wrote.
    pub bytes: u64,
    /// How many log chunks hold them, numbered from 0 together with the other stream's.
    pub chunks: u32,
    /// All of them, where there are no chunks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inline: Option<ByteString>,
    /// Bytes that could not be sent.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub lost: u64,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde passes a reference"
)]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// What became of the output directory.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Outputs {
    /// Entries packed, directories included.
    pub entries: u64,
    /// Bytes of the files packed.
    pub bytes: u64,
    /// Where the archive is.
    pub archive: Archive,
    /// The first hundred of what was left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub skipped: Vec<Skipped>,
    /// How many were left out.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub skipped_total: u64,
}

/// An entry of the output directory that was left out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Skipped {
    /// Relative to the output directory.
    pub path: ByteString,
    /// A fragment: `is a socket`, `is beyond the output limit`.
    pub reason: String,
}

/// Where the outputs' archive is.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Archive {
    /// There is none: the directory was empty, removed, or could not be sent.
    #[default]
    None,
    /// A gzip'd tar in base64, here.
    Inline(String),
    /// In the attempt's outputs object.
    Object {
        /// Bytes of the object.
        size: u64,
        /// Its generation.
        generation: u64,
        /// SHA-256 of the uncompressed tar, lowercase hex.
        sha256: String,
    },
}

/// Where an attempt's time went, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Phases {
    /// From the entrypoint's start to its claim: token, start, spec.
    pub claim_ms: u64,
    /// Downloading, verifying and unpacking the inputs.
    pub fetch_ms: u64,
    /// The command.
    pub command_ms: u64,
    /// Ending what is left, packing and uploading outputs and logs.
    pub collect_ms: u64,
}
