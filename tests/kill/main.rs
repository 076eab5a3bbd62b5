//! Whatever is killed, wherever it is: afterwards there is the right result or a clear failure, and nothing half.
#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]
#![expect(clippy::print_stdout, reason = "what was done and measured")]

mod audit;
mod clocks;
mod ends;
mod full;
mod gate;
#[path = "../e2e/harness.rs"]
#[expect(dead_code, reason = "another test program uses the rest of it")]
mod harness;
mod host;
mod local;
mod many;
mod memory;
mod points;
mod scenario;
mod site;
mod task;
