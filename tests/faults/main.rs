//! Every call, every fault: a real `sortie`, a real entrypoint, and between them and the emulator a proxy that breaks one
//! call. What came of each is `docs/faults.md`.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod calls;
#[expect(dead_code, reason = "the end to end tests use more of it")]
#[path = "../e2e/harness.rs"]
mod harness;
mod proxy;
mod scene;
mod server;
mod stage;
mod table;
mod verdict;

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::calls::{ROWS, Row};
use crate::proxy::Fault;
use crate::server::Server;
use crate::verdict::{Verdict, play};

/// Cases that are played at once: most of a case is waiting.
const AT_ONCE: usize = 12;

#[test]
fn every_call_through_every_fault() {
    let directory = tempfile::tempdir().unwrap();
    let server = Server::start(directory.path());
    let cases = cases();
    let (next, verdicts, wrong) = (
        AtomicUsize::new(0),
        Mutex::default(),
        Mutex::new(Vec::new()),
    );
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                while let Some((at, fault)) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let row: &Row = &ROWS[*at];
                    let begun = std::time::Instant::now();
                    let played = play(&server, row, *fault);
                    println!(
                        "{:.1} {} × {} {}",
                        begun.elapsed().as_secs_f32(),
                        row.name,
                        fault.name(),
                        match &played {
                            Ok(v) => format!("{} {}", v.outcome.sign(), v.said),
                            Err(why) => format!("!! {why}"),
                        }
                    );
                    match played {
                        Ok(verdict) => {
                            let mut verdicts = verdicts.lock().unwrap();
                            let _: &mut BTreeMap<(usize, String), Verdict> = &mut verdicts;
                            verdicts.insert((*at, fault.name()), verdict);
                        }
                        Err(why) => {
                            let case = format!("## {} × {}\n{why}", row.name, fault.name());
                            wrong.lock().unwrap().push(case);
                        }
                    }
                }
            });
        }
    });
    let wrong = wrong.into_inner().unwrap();
    assert!(
        wrong.is_empty(),
        "{}\n{} of {} cases",
        wrong.join("\n\n"),
        wrong.len(),
        cases.len()
    );
    assert_eq!(server.panics(), Vec::<String>::new());
    table::compare(&verdicts.into_inner().unwrap());
}

/// What takes longest first.
fn cases() -> Vec<(usize, Fault)> {
    let only = variable("SORTIE_FAULTS_ONLY").unwrap_or_default();
    let rows = ROWS.iter().enumerate();
    let all = rows.flat_map(|(at, row)| row.faults().into_iter().map(move |fault| (at, fault)));
    let wanted = |(at, fault): &(usize, Fault)| {
        format!("{} × {}", ROWS[*at].name, fault.name()).contains(&only)
    };
    let mut cases: Vec<_> = all.filter(wanted).collect();
    cases.sort_by_key(|(_, fault)| std::cmp::Reverse(fault.lasts()));
    cases
}

#[expect(clippy::disallowed_methods, reason = "a test has no settings to read")]
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}
