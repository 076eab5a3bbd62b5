//! The report: filled in on the way, written once, last.

use std::time::Instant;

use bytes::Bytes;
use jiff::Timestamp;
use wire::api::ApiError;
use wire::bucket::NewObject;
use wire::contract::{Captured, Outcome, Outputs, Phases, Report, VERSION};
use wire::names::AttemptObjects;

use crate::exit;
use crate::storage::{Store, new_object};

/// Tells the phases apart.
#[derive(Debug)]
pub(crate) struct Clock {
    started_at: Timestamp,
    begun: Instant,
    lap: Instant,
}

impl Clock {
    /// Runs from now.
    pub(crate) fn start() -> Self {
        let now = Instant::now();
        Self {
            started_at: Timestamp::now(),
            begun: now,
            lap: now,
        }
    }

    /// As much later than the start as time has passed, whatever was done to the wall's clock meanwhile: it is billed.
    fn now(&self) -> Timestamp {
        let passed = jiff::SignedDuration::try_from(self.begun.elapsed());
        passed
            .ok()
            .and_then(|passed| self.started_at.checked_add(passed).ok())
            .unwrap_or_else(Timestamp::now)
    }

    /// Milliseconds since the last lap.
    pub(crate) fn lap(&mut self) -> u64 {
        let lap = std::mem::replace(&mut self.lap, Instant::now());
        u64::try_from((self.lap - lap).as_millis()).unwrap_or(u64::MAX)
    }
}

/// A report of nothing yet.
pub(crate) fn begin(objects: &AttemptObjects, clock: &Clock) -> Report {
    Report {
        version: VERSION,
        run: objects.run,
        attempt: objects.attempt,
        entrypoint: env!("CARGO_PKG_VERSION").to_owned(),
        outcome: Outcome::Setup,
        code: None,
        signal: None,
        problem: None,
        stdout: Captured::default(),
        stderr: Captured::default(),
        outputs: Outputs::default(),
        steps: Vec::new(),
        command: None,
        collected: Vec::new(),
        phases: Phases::default(),
        started_at: clock.started_at,
        finished_at: clock.started_at,
    }
}

/// The report cannot be written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReportError {
    /// It cannot be put in words.
    #[error("cannot write the report")]
    Json(#[from] serde_json::Error),
    /// It cannot be sent.
    #[error("cannot send the report")]
    Send(#[from] ApiError),
}

/// Writes it, and returns what to exit with.
pub(crate) async fn write(
    store: &Store,
    report: &mut Report,
    clock: &Clock,
) -> Result<u8, ReportError> {
    report.finished_at = clock.now();
    let mut object: NewObject = new_object("application/json");
    let metadata = &mut object.metadata;
    metadata.insert("outcome".to_owned(), report.outcome.as_str().to_owned());
    if let Some(code) = report.code {
        metadata.insert("code".to_owned(), code.to_string());
    }
    let body = serde_json::to_vec(report)?;
    store
        .create(&store.objects.report(), &object, Bytes::from(body))
        .await?;
    Ok(exit::code(report))
}
