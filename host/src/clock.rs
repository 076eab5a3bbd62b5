//! Time as phases have it.

use std::time::Instant;

/// Whole milliseconds since.
pub(crate) fn ms(begun: Instant) -> u64 {
    u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX)
}
