//! The exit codes of the entrypoint itself: as `timeout` and `docker run` have them.

use wire::contract::{Outcome, Report};

/// The spec's timeout ended the command.
pub const DEADLINE: u8 = 124;

/// Our own failure: no task, no command, no outputs or no report.
pub const FAILURE: u8 = 125;

/// Another container does this attempt (EX_TEMPFAIL): nothing was run and no report was written.
///
/// Not 0: a task that did nothing must not look like one that succeeded.
pub const TWIN: u8 = 75;

/// SIGTERM ended us: 128 and its number.
pub const CANCELLED: u8 = 143;

/// What to exit with after this report: the command's own code if it had its way.
pub(crate) fn code(report: &Report) -> u8 {
    match report.outcome {
        Outcome::Setup | Outcome::Collect => FAILURE,
        Outcome::Deadline => DEADLINE,
        Outcome::Cancelled => CANCELLED,
        Outcome::Exec | Outcome::Exited | Outcome::Signaled => report
            .code
            .and_then(|code| u8::try_from(code).ok())
            .unwrap_or(FAILURE),
    }
}
