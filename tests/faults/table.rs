//! What came of all of it, as a page of the documentation.

use std::collections::BTreeMap;

use crate::verdict::Verdict;

pub(crate) fn compare(verdicts: &BTreeMap<(usize, String), Verdict>) {
    for ((at, fault), verdict) in verdicts {
        println!(
            "{} × {fault}: {} {}",
            crate::ROWS[*at].name,
            verdict.outcome.sign(),
            verdict.said
        );
    }
}
