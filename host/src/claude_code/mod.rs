//! Runs of Claude Code: what a task is asked, where it may run, what came of it, and the library for them.

mod ask;
mod job;
mod outcome;
mod place;
mod words;

pub(crate) use ask::Ask;
pub use claude::Verdict;
pub use job::ClaudeCodeJob;
pub use outcome::ClaudeOutcome;
pub(crate) use outcome::{RESPONSE, TRANSCRIPT, end_of, read, settle};
pub(crate) use place::check;
pub use words::{ApiKey, ClaudeCodeJobConfig, ClaudeCodeJobResult, ClaudeCodeTask};

/// The variable that holds the key of the API.
pub(crate) const KEY: &str = "ANTHROPIC_API_KEY";
