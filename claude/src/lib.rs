//! A run of the Claude Code CLI, headless: what to start it with ([`Options`]), what it says while it runs
//! ([`Summary`], [`Verdict`]), the whole conversation afterwards ([`transcript`]), and a page to read it all ([`page`]).
//!
//! Nothing here knows where the CLI runs: it reads bytes and directories, and starts no process.

#![forbid(unsafe_code)]

mod events;
mod line;
mod options;
pub mod page;
mod summary;
pub mod transcript;
mod verdict;

pub use options::{
    CONFIG_DIR, DEFAULT_MAX_TURNS, DEFAULT_MODEL, DEFAULT_TIMEOUT, Invocation, Options,
    OptionsError, PROGRAM, PreparedFile,
};
pub use summary::{ResultKind, Summary, Tokens};
pub use verdict::{End, Verdict};
