//! Ending a run before its end.

use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::join_all;

use super::{Course, Stop};
use crate::error::{Error, chain};
use crate::event::{Event, Reporter};
use crate::interrupts::Interrupts;

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
        let mut cancelling = std::pin::pin!(self.cancel());
        let failures = tokio::select! {
            failures = &mut cancelling => Some(failures),
            () = interrupts.next() => None,
        };
        let left = failures.is_none();
        // Even then the question that was asked is seen through for a moment: who pressed Ctrl-C twice must not
        // find the command running on.
        let failures = match failures {
            Some(failures) => failures,
            None => tokio::time::timeout(LAST_WORD, cancelling)
                .await
                .unwrap_or_else(|_| vec!["no answer yet".to_owned()]),
        };
        tell(&failures, reporter);
        if left {
            return Err(Error::Left { run });
        }
        Ok(())
    }

    /// Cancels everything under way; returns what went wrong.
    async fn cancel(&self) -> Vec<String> {
        let under_way = self.flights.iter().filter(|flight| !flight.has_ended());
        let names = under_way.filter_map(|flight| Some(flight.execution.as_ref()?.name.clone()));
        let names: Vec<String> = names.collect();
        let cancels: Vec<_> = names
            .iter()
            .map(|name| self.session.cloud_run.cancel(name).boxed())
            .collect();
        let answers = join_all(cancels).await.into_iter();
        answers
            .filter_map(|answer| Some(chain(&answer.err()?)))
            .collect()
    }

    /// A task has failed, and that was to end the others.
    pub(super) async fn fail_fast(&mut self, reporter: &mut dyn Reporter) {
        reporter.event(&Event::Warning(
            "a task has failed: the others are cancelled",
        ));
        let failures = self.cancel().await;
        tell(&failures, reporter);
    }

    /// Ends what would cost more than it may.
    pub(super) async fn mind_the_cost(&mut self, reporter: &mut dyn Reporter) {
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
        let failures = self.cancel().await;
        tell(&failures, reporter);
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

fn tell(failures: &[String], reporter: &mut dyn Reporter) {
    for why in failures {
        let text = format!("the cancel did not go through: {why}");
        reporter.event(&Event::Warning(&text));
    }
}
