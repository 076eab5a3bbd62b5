//! The emulator as its clients see it: real HTTP, real files, real processes.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
#![expect(
    clippy::needless_pass_by_value,
    reason = "bodies are written where they are passed"
)]

mod around;
mod buckets;
mod content;
mod cut;
mod doors;
mod exchanges;
mod harness;
mod jobs;
mod lifecycle;
mod lists;
mod many;
mod namespaces;
mod objects;
mod parts;
mod processes;
mod runs;
mod siblings;
mod uploads;
