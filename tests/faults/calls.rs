//! The calls that host and entrypoint make, and a scene in which each is made.

use crate::host_calls::HOST_ROWS;
use crate::proxy::{Call, Fault, Kind, Side};
use crate::scene::Scene;
use crate::task_calls::TASK_ROWS;

/// A call, and what makes it be made.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Row {
    /// As the table calls it.
    pub(crate) name: &'static str,
    pub(crate) call: Call,
    pub(crate) scene: Scene,
    /// What must go wrong first.
    pub(crate) after: Option<(Call, Fault)>,
}

pub(crate) const fn row(
    name: &'static str,
    side: Side,
    kind: Kind,
    about: &'static str,
    scene: Scene,
) -> Row {
    Row {
        name,
        call: Call { side, kind, about },
        scene,
        after: None,
    }
}

impl Row {
    pub(crate) const fn after(
        mut self,
        side: Side,
        kind: Kind,
        about: &'static str,
        fault: Fault,
    ) -> Self {
        self.after = Some((Call { side, kind, about }, fault));
        self
    }

    /// What can go wrong with it.
    pub(crate) fn faults(&self) -> Vec<Fault> {
        let mut faults = vec![
            Fault::Refuse,
            Fault::ResetAtOnce,
            Fault::ResetUnheard,
            Fault::LostAnswer,
            Fault::ResetInAnswer,
            Fault::Truncated,
            Fault::ResetAfter,
            Fault::StallUnheard,
            Fault::StallDone,
            Fault::StallInAnswer,
            Fault::Drip,
            Fault::AnswerTwice,
            Fault::DoneTwice,
            Fault::DoneAnd503,
            Fault::Outage,
            Fault::Forbidden,
        ];
        for code in [408, 429, 500, 502, 503, 504] {
            faults.extend([Fault::Status(code, None), Fault::Status(code, Some(1))]);
        }
        let kind = self.call.kind;
        // No token goes to who gives tokens.
        if kind != Kind::Token {
            faults.extend([Fault::Expired, Fault::Unauthenticated, Fault::RateLimit]);
        }
        if kind.has_body() {
            faults.push(Fault::ResetInRequest);
        }
        if kind.has_media() {
            faults.push(Fault::FlipUp);
        }
        if kind == Kind::Media {
            faults.extend([Fault::FlipDown, Fault::WrongHash]);
        }
        faults
    }
}

/// Calls that no row names, and why none needs to.
const WITHOUT_ROW: &[Call] = &[
    // One loop removes all of a run, and a report of it has a row.
    unrowed(Side::Host, Kind::Delete, "/starts/"),
    unrowed(Side::Host, Kind::Delete, "/claims/"),
];

const fn unrowed(side: Side, kind: Kind, about: &'static str) -> Call {
    Call { side, kind, about }
}

/// Every call that a case may make: one that is new has no row yet, and gets one.
pub(crate) fn known_calls() -> Vec<Call> {
    let rows = rows();
    let after = rows
        .iter()
        .filter_map(|row| row.after.map(|(call, _)| call));
    let named = rows.iter().map(|row| row.call).chain(after);
    named.chain(WITHOUT_ROW.iter().copied()).collect()
}

/// All of them.
pub(crate) fn rows() -> Vec<Row> {
    [HOST_ROWS, TASK_ROWS].concat()
}
