use std::time::Duration;

use tokio::time::Instant;
use wire::api::RetryConfig;

use crate::RegistryError;

/// A server may ask for a longer pause than ours, but not for an endless one.
const LONGEST_RETRY_AFTER: Duration = Duration::from_mins(1);

/// A try that failed.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) error: RegistryError,
    /// Whether another try may help. All calls to a registry may be repeated.
    pub(crate) again: bool,
    /// The pause the server asks for.
    pub(crate) after: Option<Duration>,
}

impl Failure {
    pub(crate) fn again(error: impl Into<RegistryError>) -> Self {
        Self {
            error: error.into(),
            again: true,
            after: None,
        }
    }

    pub(crate) fn last(error: impl Into<RegistryError>) -> Self {
        Self {
            error: error.into(),
            again: false,
            after: None,
        }
    }
}

impl From<RegistryError> for Failure {
    fn from(error: RegistryError) -> Self {
        Self::last(error)
    }
}

/// The tries of one step.
#[derive(Debug)]
pub(crate) struct Retry {
    config: RetryConfig,
    started: Instant,
    failed: u32,
}

impl Retry {
    pub(crate) fn new(config: RetryConfig) -> Self {
        Self {
            config,
            started: Instant::now(),
            failed: 0,
        }
    }

    /// Bytes moved: what fails from here on has the whole time.
    pub(crate) fn progressed(&mut self) {
        self.started = Instant::now();
    }

    /// Waits for the next try, or gives the error back if there is none.
    pub(crate) async fn pause(&mut self, failure: Failure) -> Result<(), RegistryError> {
        let Failure {
            mut error,
            again,
            after,
        } = failure;
        self.failed = self.failed.saturating_add(1);
        if let RegistryError::Call(call) = &mut error {
            call.tries = self.failed;
        }
        let Some(pause) = self.next(after).filter(|_| again) else {
            return Err(error);
        };
        let pause_ms = pause.as_millis();
        tracing::debug!(tries = self.failed, pause_ms, "{error}, trying again");
        tokio::time::sleep(pause).await;
        Ok(())
    }

    fn next(&self, after: Option<Duration>) -> Option<Duration> {
        if self.failed > self.config.retries {
            return None;
        }
        let exponent = (self.failed - 1).min(30);
        let ceiling = self.config.first_pause.saturating_mul(1 << exponent);
        let own = ceiling.min(self.config.longest_pause).mul_f64(jitter());
        let pause = own.max(after.unwrap_or_default().min(LONGEST_RETRY_AFTER));
        (self.started.elapsed() + pause <= self.config.budget).then_some(pause)
    }
}

/// Evenly from 0 to 1; without randomness the pauses are whole, which is only less polite.
fn jitter() -> f64 {
    getrandom::u32().map_or(1.0, |bits| f64::from(bits) / f64::from(u32::MAX))
}
