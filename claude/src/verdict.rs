//! What is to be thought of a run.

use std::fmt;

use serde::Serialize;

use crate::summary::{ResultKind, Summary};

/// How the CLI's process ended, which its events may not have lived to tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// By itself, with this code.
    Exited(i32),
    /// It could not be started.
    NotStarted,
    /// At its time limit.
    Deadline,
    /// By a signal, a cancel, or with its machine: nobody let it finish.
    Killed,
}

/// What is to be thought of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// The model said its last word. It may have been denied tools on the way.
    Done,
    /// The limit of turns ended it.
    MaxTurns,
    /// The CLI failed, or the API did.
    Error,
    /// The time limit ended it.
    Deadline,
    /// A signal, a cancel or a lost machine ended it.
    Killed,
    /// The CLI ended by itself, and its events have no result.
    Incomplete,
}

impl Verdict {
    /// From what the events say and how the process ended.
    pub fn of(summary: &Summary, end: End) -> Self {
        match (end, summary.result) {
            (End::Deadline, _) => Self::Deadline,
            (End::Killed, _) => Self::Killed,
            (End::Exited(_), Some(ResultKind::MaxTurns)) => Self::MaxTurns,
            (End::Exited(0), Some(ResultKind::Success)) => Self::Done,
            (End::NotStarted, _) | (End::Exited(_), Some(_)) => Self::Error,
            (End::Exited(_), None) => Self::Incomplete,
        }
    }

    /// As JSON has it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::MaxTurns => "max_turns",
            Self::Error => "error",
            Self::Deadline => "deadline",
            Self::Killed => "killed",
            Self::Incomplete => "incomplete",
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(result: Option<ResultKind>, end: End) -> &'static str {
        let summary = Summary {
            result,
            ..Summary::default()
        };
        Verdict::of(&summary, end).as_str()
    }

    #[test]
    fn the_end_and_the_result_decide_together() {
        let success = Some(ResultKind::Success);
        assert_eq!(verdict(success, End::Exited(0)), "done");
        assert_eq!(verdict(success, End::Exited(1)), "error");
        assert_eq!(verdict(success, End::Deadline), "deadline");
        assert_eq!(verdict(success, End::Killed), "killed");
        assert_eq!(
            verdict(Some(ResultKind::MaxTurns), End::Exited(1)),
            "max_turns"
        );
        assert_eq!(verdict(Some(ResultKind::Error), End::Exited(1)), "error");
        assert_eq!(verdict(None, End::Exited(0)), "incomplete");
        assert_eq!(verdict(None, End::NotStarted), "error");
    }

    #[test]
    fn json_has_the_same_words() {
        for verdict in [Verdict::Done, Verdict::MaxTurns, Verdict::Incomplete] {
            assert_eq!(serde_json::to_value(verdict).unwrap(), verdict.as_str());
        }
    }
}
