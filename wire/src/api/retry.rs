use std::num::NonZeroU32;
use std::time::Duration;

use tokio::time::Instant;

use super::ApiError;

/// A server may ask for a longer pause than ours, but not for an endless one.
const LONGEST_RETRY_AFTER: Duration = Duration::from_mins(1);

/// Bytes that are damaged so often in a row are damaged where they lie.
const DAMAGED: u32 = 2;

/// How long to try.
#[derive(Debug, Clone, Copy)]
pub struct RetryConfig {
    /// Tries after the first.
    pub retries: u32,
    /// From the first try; no new one is begun after it.
    pub budget: Duration,
    /// The first pause's upper bound; doubles each time.
    pub first_pause: Duration,
    /// No pause is longer, `Retry-After` apart.
    pub longest_pause: Duration,
}

impl Default for RetryConfig {
    /// Ten retries within three minutes, pauses from 100 ms to 15 s.
    fn default() -> Self {
        Self {
            retries: 10,
            budget: Duration::from_mins(3),
            first_pause: Duration::from_millis(100),
            longest_pause: Duration::from_secs(15),
        }
    }
}

impl RetryConfig {
    /// For what must not be lost, and for a network that is still coming up: 40 retries within ten minutes.
    pub fn patient() -> Self {
        Self {
            retries: 40,
            budget: Duration::from_mins(10),
            longest_pause: Duration::from_secs(30),
            ..Self::default()
        }
    }
}

/// By how much all waiting for servers is shortened: a test that stalls a connection cannot wait a minute for what comes
/// of it. The number of tries stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Haste(pub NonZeroU32);

impl Haste {
    /// As long as it takes.
    pub const NONE: Self = Self(NonZeroU32::MIN);

    pub(crate) fn shorten(self, time: Duration) -> Duration {
        time / self.0.get()
    }

    pub(crate) fn shorten_all(self, config: RetryConfig) -> RetryConfig {
        RetryConfig {
            retries: config.retries,
            budget: self.shorten(config.budget),
            first_pause: self.shorten(config.first_pause),
            longest_pause: self.shorten(config.longest_pause),
        }
    }
}

/// Whether a failed try may be followed by another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Again {
    /// It would fail again.
    Never,
    /// The server did not act on it.
    Unacted,
    /// The server may have acted on it.
    Unclear,
    /// The bytes were others than were sent, and nobody acted on them: on their way, which another try tells.
    Damaged,
}

/// A try that failed.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) error: Box<ApiError>,
    pub(crate) again: Again,
    pub(crate) after: Option<Duration>,
}

impl Failure {
    pub(crate) fn new(error: ApiError, again: Again) -> Self {
        Self {
            error: Box::new(error),
            again,
            after: None,
        }
    }
}

/// The pauses between tries: full jitter, doubling, two budgets.
#[derive(Debug)]
pub(crate) struct Backoff {
    config: RetryConfig,
    /// Absent = with the next failure.
    started: Option<Instant>,
    failed: u32,
}

impl Backoff {
    pub(crate) fn new(config: RetryConfig) -> Self {
        Self {
            config,
            started: Some(Instant::now()),
            failed: 0,
        }
    }

    /// After a failed try: how long to wait before the next one, or `None` if there is none.
    pub(crate) fn next(&mut self, after: Option<Duration>) -> Option<Duration> {
        let started = *self.started.get_or_insert_with(Instant::now);
        let exponent = self.failed.min(30);
        self.failed = self.failed.saturating_add(1);
        if self.failed > self.config.retries {
            return None;
        }
        let ceiling = self.config.first_pause.saturating_mul(1 << exponent);
        let own = ceiling.min(self.config.longest_pause).mul_f64(jitter());
        let pause = own.max(after.unwrap_or_default().min(LONGEST_RETRY_AFTER));
        (started.elapsed() + pause <= self.config.budget).then_some(pause)
    }
}

/// Evenly from 0 to 1.
fn jitter() -> f64 {
    let mut bytes = [0; 4];
    // Without randomness the pauses are whole, which is only less polite.
    match getrandom::fill(&mut bytes) {
        Ok(()) => f64::from(u32::from_ne_bytes(bytes)) / f64::from(u32::MAX),
        Err(_) => 1.0,
    }
}

/// The tries of one call.
#[derive(Debug)]
pub(crate) struct Retry {
    backoff: Backoff,
    unclear: bool,
    damaged: u32,
}

impl Retry {
    pub(crate) fn new(config: RetryConfig) -> Self {
        Self {
            backoff: Backoff::new(config),
            unclear: false,
            damaged: 0,
        }
    }

    /// Which try this is, from 1.
    pub(crate) fn tries(&self) -> u32 {
        self.backoff.failed + 1
    }

    /// Whether the server may have acted on a try that failed.
    pub(crate) fn is_unclear(&self) -> bool {
        self.unclear
    }

    /// Something moved: what fails from here on has full budgets, and the time until it fails is not counted.
    pub(crate) fn progressed(&mut self) {
        self.backoff.failed = 0;
        self.backoff.started = None;
    }

    /// Waits for the next try, or gives the error back if there is none.
    pub(crate) async fn pause(
        &mut self,
        failure: Failure,
        idempotent: bool,
    ) -> Result<(), ApiError> {
        let mut error = *failure.error;
        error.tries = self.tries();
        self.unclear |= failure.again == Again::Unclear;
        self.damaged += u32::from(failure.again == Again::Damaged);
        let allowed = match failure.again {
            Again::Never => false,
            Again::Unacted => true,
            Again::Unclear => idempotent,
            Again::Damaged => self.damaged <= DAMAGED,
        };
        let pause = if allowed {
            self.backoff.next(failure.after)
        } else {
            None
        };
        let Some(pause) = pause else {
            return Err(error);
        };
        tracing::debug!(
            tries = error.tries,
            status = error.status,
            cause = error.source.as_deref().map(tracing::field::display),
            pause_ms = pause.as_millis(),
            "{error}, trying again",
        );
        tokio::time::sleep(pause).await;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(retries: u32, budget_ms: u64) -> RetryConfig {
        RetryConfig {
            retries,
            budget: Duration::from_millis(budget_ms),
            first_pause: Duration::from_millis(100),
            longest_pause: Duration::from_millis(400),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn pauses_double_up_to_the_longest() {
        for (failed, longest) in [100, 200, 400, 400, 400].into_iter().enumerate() {
            for _ in 0..50 {
                let mut backoff = Backoff::new(config(10, 10_000));
                backoff.failed = u32::try_from(failed).unwrap();
                assert!(backoff.next(None).unwrap() <= Duration::from_millis(longest));
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn both_budgets_end_it() {
        let mut counted = Backoff::new(config(2, 10_000));
        assert!(counted.next(None).is_some() && counted.next(None).is_some());
        assert_eq!(counted.next(None), None);
        let mut timed = Backoff::new(config(100, 1_000));
        tokio::time::advance(Duration::from_millis(1_001)).await;
        assert_eq!(timed.next(None), None);
    }

    #[tokio::test(start_paused = true)]
    async fn after_progress_only_failing_counts() {
        let mut retry = Retry::new(config(2, 1_000));
        let late = Duration::from_millis(1_001);
        assert!(retry.backoff.next(None).is_some() && retry.backoff.next(None).is_some());
        retry.progressed();
        tokio::time::advance(late).await;
        assert!(retry.backoff.next(None).is_some());
        tokio::time::advance(late).await;
        assert_eq!(retry.backoff.next(None), None);
    }

    #[tokio::test(start_paused = true)]
    async fn retry_after_is_respected_and_capped() {
        let mut backoff = Backoff::new(config(10, 300_000));
        let asked = Duration::from_secs(7);
        assert_eq!(backoff.next(Some(asked)), Some(asked));
        let endless = Some(Duration::from_hours(24));
        assert_eq!(backoff.next(endless), Some(LONGEST_RETRY_AFTER));
    }
}
