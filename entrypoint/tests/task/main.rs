//! The real entrypoint against the emulator: what a task may be, and how it may end.

mod claims;
mod commands;
mod ends;
mod inputs;
mod logs;
mod outputs;
mod processes;
mod proxy;
mod site;
#[expect(
    clippy::module_inception,
    reason = "the test's subject and its noun are one"
)]
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
