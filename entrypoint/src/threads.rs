//! Threads for blocking work, made ahead of it.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

/// If the system gives fewer threads than that, those that are there go to work after so long.
const WAIT: Duration = Duration::from_millis(20);

/// Makes so many. A thread that is busy does not save the making of the next, so each waits until all are there.
pub(crate) fn make(count: usize) {
    let here = Arc::<(Mutex<usize>, Condvar)>::default();
    for _ in 0..count {
        let here = Arc::clone(&here);
        tokio::task::spawn_blocking(move || meet(&here, count, WAIT));
    }
}

/// Says whether all have come.
fn meet((here, changed): &(Mutex<usize>, Condvar), count: usize, wait: Duration) -> bool {
    let mut here = here.lock().unwrap_or_else(PoisonError::into_inner);
    *here += 1;
    changed.notify_all();
    let waited = changed.wait_timeout_while(here, wait, |here| *here < count);
    !waited.unwrap_or_else(PoisonError::into_inner).1.timed_out()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_waits_longer_than_for_the_last() {
        let here = Arc::<(Mutex<usize>, Condvar)>::default();
        let come = |_| {
            let here = Arc::clone(&here);
            std::thread::spawn(move || meet(&here, 3, Duration::MAX))
        };
        let all: Vec<_> = (0..3).map(come).collect();
        assert!(all.into_iter().all(|one| one.join().unwrap()));
    }

    #[test]
    fn who_does_not_come_is_not_waited_for_for_ever() {
        let here = <(Mutex<usize>, Condvar)>::default();
        assert!(!meet(&here, 2, Duration::ZERO));
    }
}
