//! Which timeouts a run has: the command's own, and the platform's behind it.

use wire::contract::Spec;

use crate::error::Error;

/// Cloud Run's limit for a task, in seconds: 168 hours.
const LONGEST_S: u64 = 168 * 3600;

/// For starting, and for saving outputs after the command.
const RESERVE_S: u64 = 120;

/// Bytes that surely move in a second, there and back.
const SURE_RATE: u64 = 5_000_000;

/// Refuses a timeout that is too long whatever the inputs, before they are sent.
pub(crate) fn check(spec: &Spec) -> Result<(), Error> {
    let needed = spec
        .timeout_ms
        .map_or(0, |ms| ms.saturating_add(around_ms(spec)));
    fits(needed.saturating_add(RESERVE_S * 1000)).map(drop)
}

/// What a task may take around its command's own time: the steps before and after, and the grace.
fn around_ms(spec: &Spec) -> u64 {
    let steps = u64::try_from(spec.steps_time().as_millis()).unwrap_or(u64::MAX);
    steps.saturating_add(spec.grace_ms)
}

/// Whole seconds that a task may have.
fn fits(needed_ms: u64) -> Result<u64, Error> {
    let seconds = needed_ms.div_ceil(1000);
    if seconds > LONGEST_S {
        return Err(Error::usage("the timeout is longer than Cloud Run allows")
            .with_hint("a task ends after 168 hours, the time to save its outputs included"));
    }
    Ok(seconds)
}

/// Gives every spec a timeout that leaves time to save the outputs, and says what to override the job's
/// task timeout with (seconds; `None` = nothing).
///
/// A spec's timeout counts from the command's start; the platform's from the container's.
pub(crate) fn settle(
    specs: &mut [&mut Spec],
    job_timeout_ms: Option<u64>,
    input_bytes: u64,
) -> Result<Option<u64>, Error> {
    let reserve_ms = (RESERVE_S + input_bytes / SURE_RATE) * 1000;
    // Only a timeout that was asked for may stretch the job's.
    let longest = specs
        .iter()
        .filter_map(|spec| {
            Some(
                spec.timeout_ms?
                    .saturating_add(around_ms(spec))
                    .saturating_add(reserve_ms),
            )
        })
        .max();
    for spec in specs.iter_mut().filter(|spec| spec.timeout_ms.is_none()) {
        let behind = reserve_ms.saturating_add(around_ms(spec));
        spec.timeout_ms = job_timeout_ms.map(|whole| whole.saturating_sub(behind).max(whole / 2));
    }
    let Some(needed_ms) = longest else {
        return Ok(None);
    };
    if job_timeout_ms.is_some_and(|whole| needed_ms <= whole) {
        return Ok(None);
    }
    fits(needed_ms).map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;
    use wire::contract::Command;

    fn spec(timeout_ms: Option<u64>) -> Spec {
        let mut spec = Spec::new(Command::Shell("true".into()));
        spec.timeout_ms = timeout_ms;
        spec
    }

    #[test]
    fn without_a_timeout_the_jobs_counts_less_the_reserve() {
        let mut spec = spec(None);
        assert_eq!(settle(&mut [&mut spec], Some(3_600_000), 0).unwrap(), None);
        assert_eq!(spec.timeout_ms, Some(3_470_000));
    }

    #[test]
    fn a_longer_one_overrides_the_jobs() {
        let mut spec = spec(Some(3_600_000));
        assert_eq!(
            settle(&mut [&mut spec], Some(600_000), 50_000_000).unwrap(),
            Some(3_740)
        );
    }

    #[test]
    fn a_short_job_still_leaves_the_command_half() {
        let mut spec = spec(None);
        assert_eq!(settle(&mut [&mut spec], Some(60_000), 0).unwrap(), None);
        assert_eq!(spec.timeout_ms, Some(30_000));
    }

    #[test]
    fn more_than_a_week_is_refused() {
        let mut spec = spec(Some(168 * 3_600_000));
        assert!(settle(&mut [&mut spec], Some(600_000), 0).is_err());
    }
}
