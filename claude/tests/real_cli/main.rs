//! The real CLI against a stub of the Messages API: what it takes, and what its events and sessions look like.
//!
//! `tests/claude/fetch_cli.sh` gets the CLI, and `SORTIE_CLAUDE_CLI` names it.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
#![expect(clippy::print_stdout, reason = "shown if the test fails")]

mod arrives;
mod cli;
mod ends;
#[path = "../../../tests/claude/messages_api.rs"]
mod messages_api;
mod transcripts;

use claude::Options;

/// Everything allowed.
fn free() -> Options {
    Options {
        skip_permissions: true,
        ..Options::default()
    }
}
