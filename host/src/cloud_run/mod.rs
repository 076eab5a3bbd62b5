//! The client of the Cloud Run Admin API v2: what a run needs of it.

mod answer;
mod client;

pub(crate) use answer::{AttemptResult, Execution, Job, Task};
pub(crate) use client::{CloudRun, Overrides};
