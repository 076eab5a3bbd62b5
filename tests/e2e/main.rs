//! The real binary, a home of its own, real bytes over real HTTP: what a user sees.
#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

mod again;
mod arguments;
mod calls;
mod claude;
mod collected;
mod coming_back;
mod core_files;
mod credentials;
mod doctor;
mod emulator;
mod examples;
mod faults;
mod forgeries;
mod google;
mod harness;
mod hostile;
mod images;
mod inputs;
mod isolation;
mod library;
mod many;
mod outputs;
mod platform;
mod refusals;
#[path = "../relay/mod.rs"]
mod relay;
mod report;
mod returning;
mod sandbox;
mod submitting;
mod team;
