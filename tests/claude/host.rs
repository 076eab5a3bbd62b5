//! sortie with the real Claude Code CLI, against a stub of the Messages API.
//!
//! `tests/claude/fetch_cli.sh` gets the CLI, and `SORTIE_CLAUDE_CLI` names it.

#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

#[path = "host/answers.rs"]
mod answers;
#[path = "host/arrives.rs"]
mod arrives;
#[path = "host/batches.rs"]
mod batches;
#[path = "host/desk.rs"]
mod desk;
#[path = "host/ends.rs"]
mod ends;
#[path = "../e2e/harness.rs"]
#[allow(dead_code, reason = "shared with the other end-to-end tests")]
mod harness;
#[path = "host/key.rs"]
mod key;
mod messages_api;
