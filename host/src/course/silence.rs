//! A time in which nobody answers.

use std::time::Duration;

use tokio::time::Instant;
use wire::api::ApiError;

use crate::error::chain;
use crate::event::{Event, Reporter};

/// Without an answer for so long, the user is told. There is no deadline.
const QUIET: Duration = Duration::from_secs(30);

/// A time in which nobody answers.
#[derive(Debug, Default)]
pub(super) struct Silence {
    since: Option<Instant>,
    told: bool,
}

impl Silence {
    pub(super) fn broken(&mut self) {
        *self = Self::default();
    }

    pub(super) fn lasts(&mut self, error: &ApiError, reporter: &mut dyn Reporter) {
        let since = *self.since.get_or_insert_with(Instant::now);
        if !self.told && (error.tries > 1 || since.elapsed() > QUIET) {
            self.told = true;
            let text = format!(
                "no answer; the run goes on, and so does the waiting: {}",
                chain(error)
            );
            reporter.event(&Event::Warning(&text));
        }
    }
}
