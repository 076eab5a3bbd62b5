//! What ends an attempt before its command, and how an error reads in a report.

use std::error::Error;

use wire::contract::{Outcome, Problem, Reason, Report};

/// Why no command was run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Stop {
    /// We could not make what the command needs.
    Setup(Problem),
    /// We were asked to end.
    Cancelled,
}

impl Stop {
    /// A setup that failed of an error.
    pub(crate) fn setup(reason: Reason, error: &dyn Error) -> Self {
        Self::Setup(problem(reason, error))
    }

    /// Enters it into the report.
    pub(crate) fn enter(self, report: &mut Report) {
        match self {
            Self::Setup(problem) => {
                report.outcome = Outcome::Setup;
                report.problem = Some(problem);
            }
            Self::Cancelled => report.outcome = Outcome::Cancelled,
        }
    }
}

/// An error as a report has it.
pub(crate) fn problem(reason: Reason, error: &dyn Error) -> Problem {
    Problem {
        reason,
        message: chain(error),
    }
}

/// An error with its causes, joined by `: `.
pub(crate) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
