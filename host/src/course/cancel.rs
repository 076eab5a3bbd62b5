//! Ending a run before its end.

use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::join_all;
use wire::api::ApiError;

use super::{Course, Stop};
use crate::error::{Error, chain};
use crate::event::{Event, Reporter};
use crate::interrupts::Interrupts;
use crate::session::Session;

/// A cancel under way when the user leaves gets so long.
const LAST_WORD: Duration = Duration::from_secs(5);

impl Course<'_> {
    /// The first interrupt cancels and goes on following, so that what is saved comes home; a second one, or one
    /// when nothing runs any more, leaves.
    pub(super) async fn interrupted(
        &mut self,
        reporter: &mut dyn Reporter,
        interrupts: &mut Interrupts,
    ) -> Result<(), Error> {
        let run = self.run();
        let all_ended = self.flights.iter().all(super::Flight::has_ended);
        if self.stop == Some(Stop::Interrupted) || (all_ended && self.board.waiting() == 0) {
            return Err(Error::Left { run });
        }
        self.stop = Some(Stop::Interrupted);
        reporter.event(&Event::Cancelling);
        let (failures, left) = {
            let mut cancelling = std::pin::pin!(self.cancel());
            let failures = tokio::select! {
                failures = &mut cancelling => Some(failures),
                () = interrupts.next() => None,
            };
            let left = failures.is_none();
            // Even then the question that was asked is seen through for a moment: who pressed Ctrl-C twice must
            // not find the command running on.
            let failures = match failures {
                Some(failures) => failures,
                None => tokio::time::timeout(LAST_WORD, cancelling)
                    .await
                    .unwrap_or_else(|_| vec!["no answer yet".to_owned()]),
            };
            (failures, left)
        };
        self.tell(failures, reporter);
        if left {
            return Err(Error::Left { run });
        }
        Ok(())
    }

    /// Cancels everything under way that is not cancelled yet; returns what went wrong.
    async fn cancel(&mut self) -> Vec<String> {
        let session = self.session;
        let open = |flight: &&mut super::Flight| !flight.has_ended() && !flight.cancelled;
        let mut open: Vec<_> = self.flights.iter_mut().filter(open).collect();
        let names: Vec<Option<String>> = open
            .iter()
            .map(|flight| Some(flight.execution.as_ref()?.name.clone()))
            .collect();
        let cancels = names
            .iter()
            .map(|name| cancel_one(session, name.as_deref()).boxed());
        let answers = join_all(cancels.collect::<Vec<_>>()).await;
        let mut failures = Vec::new();
        for (flight, answer) in open.iter_mut().zip(answers) {
            match answer {
                Ok(cancelled) => flight.cancelled = cancelled,
                Err(error) => failures.push(chain(&error)),
            }
        }
        failures
    }

    /// A run that is to end is cancelled at every look until all of it is: a cancel may be lost, and what was lost
    /// sight of may turn up. Says how many calls that took.
    pub(super) async fn cancel_the_rest(&mut self, reporter: &mut dyn Reporter) -> u32 {
        let is_open = |f: &&super::Flight| !f.has_ended() && !f.cancelled && f.execution.is_some();
        let open = self.flights.iter().filter(is_open).count();
        if open > 0 {
            let failures = self.cancel().await;
            self.tell(failures, reporter);
        }
        u32::try_from(open).unwrap_or(u32::MAX)
    }

    /// Each once: a refusal is met again at every look.
    fn tell(&mut self, failures: Vec<String>, reporter: &mut dyn Reporter) {
        for why in failures {
            let text = format!("the cancel did not go through: {why}");
            if self.told.insert(why) {
                reporter.event(&Event::Warning(&text));
            }
        }
    }

    /// A task has failed, and that is to end the others.
    pub(super) fn fail_fast(&mut self, reporter: &mut dyn Reporter) {
        self.stop = Some(Stop::FailFast);
        reporter.event(&Event::Warning(
            "a task has failed: the others are cancelled",
        ));
    }

    /// Ends what would cost more than it may.
    pub(super) fn mind_the_cost(&mut self, reporter: &mut dyn Reporter) {
        let Some(most) = self.manner.max_cost else {
            return;
        };
        if self.stop.is_some() {
            return;
        }
        let now = self.spent + self.running_cost();
        if now < most {
            return;
        }
        self.stop = Some(Stop::Cost);
        let text = format!("the run has cost about ${now:.2} of ${most:.2}: the rest is cancelled");
        reporter.event(&Event::Warning(&text));
    }

    /// What runs now has cost at the most so much: as if all of it had run from its execution's beginning.
    fn running_cost(&self) -> f64 {
        let now = jiff::Timestamp::now();
        let of_flight = |flight: &super::Flight| {
            let execution = flight.execution.as_ref()?;
            let since = now.duration_since(execution.create_time?).unsigned_abs();
            let first = flight.start.tasks.first()?.task;
            let rate = self.rate(first)?;
            Some(rate.cost(since) * f64::from(execution.running_count))
        };
        self.flights.iter().filter_map(of_flight).sum()
    }
}

/// False where there is nothing to cancel yet.
async fn cancel_one(session: &Session, name: Option<&str>) -> Result<bool, ApiError> {
    match name {
        Some(name) => session.cloud_run.cancel(name).await.map(|()| true),
        None => Ok(false),
    }
}
