//! What came of all of it, as a page of the documentation.

use std::collections::BTreeMap;
use std::fmt::Write;

use crate::Verdicts;
use crate::calls::rows;
use crate::harness::project;
use crate::verdict::Outcome;

const PAGE: &str = "docs/faults.md";

/// Holds it against the page that is committed, or writes that.
pub(crate) fn compare(verdicts: &Verdicts, update: bool) {
    let made = page(verdicts);
    let path = project(PAGE);
    if update {
        std::fs::write(&path, &made).unwrap();
        return;
    }
    let committed = std::fs::read_to_string(&path).unwrap();
    let lines = |text: &str| text.lines().map(str::to_owned).collect::<Vec<_>>();
    let (made, committed) = (lines(&made), lines(&committed));
    let new: Vec<_> = made
        .iter()
        .filter(|line| !committed.contains(line))
        .collect();
    let gone: Vec<_> = committed
        .iter()
        .filter(|line| !made.contains(line))
        .collect();
    assert!(
        made == committed,
        "`{PAGE}` says otherwise; `UPDATE=1 make test-faults` writes it anew\nobserved: {new:#?}\nwritten: {gone:#?}"
    );
}

fn page(verdicts: &Verdicts) -> String {
    let mut page = include_str!("page.md").to_owned();
    let cases = verdicts.len();
    let quiet = verdicts
        .values()
        .filter(|v| v.outcome == Outcome::AsIfNothing)
        .count();
    let rows = rows();
    let calls = rows.len();
    let _ = writeln!(
        page,
        "{calls} calls, {cases} cases; in {quiet} of them nobody notices anything. What is not named in a call's last \
         column is one of those.\n"
    );
    page.push_str("| call | faults | unnoticed | otherwise |\n| --- | --: | --: | --- |\n");
    for (at, row) in rows.iter().enumerate() {
        let of_row: Vec<_> = verdicts
            .range((at, String::new())..(at + 1, String::new()))
            .collect();
        let mut noticed: BTreeMap<Outcome, Vec<&str>> = BTreeMap::new();
        for ((_, fault), verdict) in &of_row {
            if verdict.outcome != Outcome::AsIfNothing {
                noticed.entry(verdict.outcome).or_default().push(fault);
            }
        }
        let otherwise = noticed
            .iter()
            .map(|(outcome, faults)| format!("**{}** {}", outcome.sign(), faults.join(", ")));
        let otherwise: Vec<_> = otherwise.collect();
        let loud: usize = noticed.values().map(Vec::len).sum();
        let _ = writeln!(
            page,
            "| {} | {} | {} | {} |",
            row.name,
            of_row.len(),
            of_row.len() - loud,
            otherwise.join("; ")
        );
    }
    page
}
