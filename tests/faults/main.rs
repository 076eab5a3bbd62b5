//! Every call that has a row, every fault: a real `sortie`, a real entrypoint, and between them and the emulator a proxy that breaks one
//! call. What came of each is `docs/faults.md`.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod calls;
mod counts;
#[expect(dead_code, reason = "the end to end tests use more of it")]
#[path = "../e2e/harness.rs"]
mod harness;
mod host_calls;
mod proxy;
mod scene;
mod server;
mod stage;
mod table;
mod task_calls;
mod verdict;

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use crate::calls::rows;
use crate::proxy::Fault;
use crate::server::Server;
use crate::verdict::{Verdict, play};

/// Plays only cases whose name has these words; there is no table then.
const ONLY: &str = "SORTIE_FAULTS_ONLY";

/// Cases that are played at once: most of a case is waiting.
const AT_ONCE: usize = 20;

/// What came of every case.
type Verdicts = BTreeMap<(usize, String), Verdict>;

#[test]
#[ignore = "it takes minutes: `make test-faults`"]
fn every_call_through_every_fault() {
    let directory = tempfile::tempdir().unwrap();
    let server = Server::start(directory.path());
    let (rows, cases) = (rows(), cases());
    let (next, verdicts, wrong) = (
        AtomicUsize::new(0),
        Mutex::new(Verdicts::new()),
        Mutex::new(Vec::new()),
    );
    let work = || {
        while let Some((at, fault)) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
            let case = format!("{} × {}", rows[*at].name, fault.name());
            let begun = Instant::now();
            let played = play(&server, &rows[*at], *fault);
            let took = begun.elapsed().as_secs_f32();
            match played {
                Ok(verdict) => {
                    let sign = verdict.outcome.sign();
                    println!("{took:.1} {case} {sign} {}", verdict.said);
                    verdicts
                        .lock()
                        .unwrap()
                        .insert((*at, fault.name()), verdict);
                }
                Err(why) => {
                    println!("{took:.1} {case} !! {why}");
                    wrong.lock().unwrap().push(format!("## {case}\n{why}"));
                }
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(work);
        }
    });
    let wrong = wrong.into_inner().unwrap();
    let count = wrong.len();
    assert!(
        wrong.is_empty(),
        "{}\n{count} of {} cases",
        wrong.join("\n\n"),
        cases.len()
    );
    assert_eq!(server.panics(), Vec::<String>::new());
    if variable(ONLY).is_none() {
        table::compare(
            &verdicts.into_inner().unwrap(),
            variable("UPDATE").is_some(),
        );
    }
}

/// What takes longest first.
fn cases() -> Vec<(usize, Fault)> {
    let only = variable(ONLY).unwrap_or_default();
    let rows = rows();
    let all = rows
        .iter()
        .enumerate()
        .flat_map(|(at, row)| row.faults().into_iter().map(move |fault| (at, fault)));
    let wanted = |(at, fault): &(usize, Fault)| {
        format!("{} × {}", rows[*at].name, fault.name()).contains(&only)
    };
    let mut cases: Vec<_> = all.filter(wanted).collect();
    cases.sort_by_key(|(_, fault)| std::cmp::Reverse(fault.lasts()));
    cases
}

#[expect(clippy::disallowed_methods, reason = "a test has no settings to read")]
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|text| !text.is_empty())
}
