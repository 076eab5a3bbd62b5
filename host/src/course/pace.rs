//! How often Cloud Run and the bucket are asked how a run stands.

use std::time::Duration;

/// The first look comes so soon: a task of `true` is over before it.
const FIRST: Duration = Duration::from_millis(10);

/// Looks are never further apart, so that an end is noticed soon, unless one look takes many calls.
const STEADY: Duration = Duration::from_secs(2);

/// What one call costs: about 60 a minute, however many tasks there are.
const PER_CALL: Duration = Duration::from_secs(1);

/// How often to look.
#[derive(Debug)]
pub(super) struct Pace {
    pause: Duration,
    debt: Duration,
}

impl Pace {
    pub(super) fn new() -> Self {
        Self {
            pause: FIRST,
            debt: Duration::ZERO,
        }
    }

    /// Something is about to change.
    pub(super) fn quicken(&mut self) {
        self.pause = FIRST;
    }

    /// How long to wait before the next look, after one that took so many calls.
    ///
    /// A few calls are free: a small run may be looked at often in its first seconds.
    pub(super) fn next(&mut self, calls: u32) -> Duration {
        let pause = self.pause;
        self.pause = (pause * 2).min(STEADY);
        self.debt += PER_CALL * calls;
        let waited = pause.max(self.debt.saturating_sub(FREE));
        self.debt = self.debt.saturating_sub(waited);
        waited
    }
}

/// Debt that is not worth waiting for.
const FREE: Duration = Duration::from_secs(20);

#[cfg(test)]
mod tests {
    use super::*;

    /// Calls in an hour of looks that take so many each.
    fn calls_in_an_hour(each: u32) -> u32 {
        let mut pace = Pace::new();
        let (mut time, mut calls) = (Duration::ZERO, 0);
        while time < Duration::from_hours(1) {
            time += pace.next(each);
            calls += each;
        }
        calls
    }

    #[test]
    fn calls_are_bounded_whatever_a_look_takes() {
        for each in [1, 2, 3, 11, 40] {
            let calls = calls_in_an_hour(each);
            assert!(calls <= 60 * 60 + 30 + each, "{each} a look: {calls}");
        }
    }

    #[test]
    fn a_short_task_is_seen_to_end_at_once() {
        let mut pace = Pace::new();
        let first: Duration = (0..4).map(|_| pace.next(1)).sum();
        assert_eq!(first, Duration::from_millis(150));
    }
}
