//! Cloud Storage, Cloud Run jobs and the metadata server of one machine, on loopback.
//!
//! [`Emulator`] answers the storage JSON API, of the XML API what Google's clients need (reads, and uploads in parallel
//! parts), the Cloud Run Admin API (jobs) in both its versions, a small Secret Manager, and of the APIs around these what
//! Terraform asks for, on one listener; and the metadata server on a second, because `GCE_METADATA_HOST` has no room for
//! a path. It is strict where Google is strict, and everything it holds (secrets and unfinished XML uploads excepted)
//! survives a restart in [`Config::state`].
//!
//! # The runner
//!
//! A task's container is started as
//!
//! ```text
//! <runner…> --image=<image> --cpu=<limit> --memory=<limit> -- <command…> <args…>
//! ```
//!
//! with nothing after `--` where the job sets neither command nor args, and with exactly the container's environment: the job's, the
//! execution's overrides over it, the `CLOUD_RUN_*` variables, `GCE_METADATA_HOST`, `STORAGE_EMULATOR_HOST`, and a `PATH` if
//! none was set. It leads a session of its own; its standard input is empty, and both output streams go to
//! `<state>/logs/<execution>/<task>.<attempt>.log`. Its exit code is the container's. At the task's timeout, or when the
//! execution is cancelled, it gets SIGTERM, and ten seconds later it and everything it started get SIGKILL. What it leaves
//! behind when it exits is killed too: what descends from it, is of its session, has its `CLOUD_RUN_*` variables, or has
//! its log open for writing. With an empty [`Config::runner`] the container's own command is the process. [`Options`] can
//! have it run inside this process instead, for tests of many tasks.

mod activity;
mod answer;
mod around;
mod body;
mod call;
mod caller;
mod clock;
mod config;
mod disk;
mod door;
mod error;
mod exchange;
mod fields;
#[cfg(fuzzing)]
#[doc(hidden)]
pub mod fuzzing;
mod listener;
mod lock;
mod metadata;
mod options;
mod policy;
mod refusal;
mod router;
mod run;
mod schema;
mod secret;
mod server;
mod storage;

pub use config::{Account, Config, Grant, Permission};
pub use error::Error;
pub use options::{Container, Containers, Options};
pub use server::Emulator;
