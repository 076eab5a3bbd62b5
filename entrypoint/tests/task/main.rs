//! The real entrypoint against the emulator: what a task may be, and how it may end.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
#![expect(clippy::print_stdout, reason = "shown if the test fails")]

mod claims;
mod commands;
mod ends;
mod grading;
mod inputs;
mod logs;
mod memory;
mod outputs;
mod overlap;
mod processes;
mod proxy;
#[expect(dead_code, reason = "the end to end tests use more of it")]
#[path = "../../../tests/relay/mod.rs"]
mod relay;
mod site;
mod steps;
mod task;

use wire::contract::{Command, Spec};

/// Text for the shell.
fn shell(text: impl Into<Vec<u8>>) -> Spec {
    Spec::new(Command::Shell(text.into().into()))
}

/// No shell.
fn argv<T: AsRef<[u8]>>(argv: &[T]) -> Spec {
    Spec::new(Command::Argv(
        argv.iter()
            .map(|one| one.as_ref().to_vec().into())
            .collect(),
    ))
}
