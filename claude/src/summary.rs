//! What a run came to.

use std::collections::BTreeMap;

use serde::Serialize;

/// What the CLI's events say of a run. Times are milliseconds, costs US dollars as the CLI reckons them from list
/// prices; what the events do not tell is absent.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Summary {
    /// The final answer. Absent where the run was cut short.
    pub response: Option<String>,
    /// The last text of the main conversation: all there is of a run that was cut short.
    pub last_text: Option<String>,
    /// Of the whole session, sub-agents included.
    pub cost_usd: Option<f64>,
    /// Turns of the main conversation: the CLI's count, or ours of a run that was cut short.
    pub turns: u64,
    /// From the CLI's start to its result.
    pub duration_ms: Option<u64>,
    /// Why the model stopped: `end_turn`, `tool_use`.
    pub stop_reason: Option<String>,
    /// Why the CLI stopped: `completed`, `max_turns`, `api_error`.
    pub terminal_reason: Option<String>,
    /// Names the session's file.
    pub session_id: Option<String>,
    /// As the CLI understood it.
    pub model: Option<String>,
    /// The CLI's version.
    pub cli_version: Option<String>,
    /// Tools that were asked for and not allowed, and how often: the CLI calls such a run a success.
    pub denied_tools: BTreeMap<String, u64>,
    /// What the CLI says went wrong.
    pub errors: Vec<String>,
    /// Of all models.
    pub tokens: Tokens,
    /// How the CLI's result says it ended.
    pub result: Option<ResultKind>,
    /// Events of kinds that we do not know.
    pub unknown: u64,
    /// Lines that are no events: halves of some, or what others printed.
    pub torn: u64,
    /// Lines too long to be looked at.
    pub giant: u64,
}

/// How the CLI's last `result` event says the run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ResultKind {
    /// The model had said its last word.
    Success,
    /// The limit of turns.
    MaxTurns,
    /// Anything else.
    Error,
}

/// Tokens of all models.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Tokens {
    /// Read, and not from a cache.
    pub input: u64,
    /// Written.
    pub output: u64,
    /// Read from a cache.
    pub cache_read: u64,
    /// Written to a cache.
    pub cache_creation: u64,
}
