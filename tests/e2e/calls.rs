//! With which calls, in what order and on how few connections the host does a run: a relay notes what it asks.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use emulator::Container;

use crate::harness::{Done, Machine};
use crate::platform::{Platform, report};
use crate::relay::{Relay, Seen, Until};

/// A machine whose `sortie` asks a platform of its own by way of a relay.
struct Overheard {
    machine: Machine,
    platform: Platform,
    relay: Relay,
    _state: tempfile::TempDir,
}

impl Overheard {
    fn with(hold: impl Fn(&str) -> Option<Until> + Send + Sync + 'static) -> Self {
        Self::counting(Arc::default(), hold)
    }

    /// Likewise, with a count of the tasks that have ended.
    fn counting(
        ended: Arc<AtomicUsize>,
        hold: impl Fn(&str) -> Option<Until> + Send + Sync + 'static,
    ) -> Self {
        let state = tempfile::tempdir().unwrap();
        let platform = Platform::start(state.path(), move |container: Container| {
            let ended = ended.clone();
            async move {
                let code = report(container, 0).await;
                ended.fetch_add(1, Ordering::SeqCst);
                code
            }
        });
        let server = platform.address.trim_start_matches("http://");
        let relay = Relay::before(server, hold);
        Self {
            machine: Machine::new(),
            platform,
            relay,
            _state: state,
        }
    }

    fn sortie<'a>(&self, words: impl IntoIterator<Item = &'a str>) -> Done {
        let address = format!("http://{}", self.relay.address);
        let typed = self.platform.typed_at(&self.machine, words, &address);
        typed.env("STORAGE_EMULATOR_HOST", &address).enter()
    }
}

/// Each request's first line, and the name of what it makes.
fn lines(seen: &Seen) -> Vec<String> {
    let line = |request: String| {
        let first = request.lines().next().unwrap_or_default();
        let name = request.split("\"name\":\"").nth(1);
        let name = name.and_then(|rest| rest.split('"').next());
        format!("{first} {}", name.unwrap_or_default())
    };
    seen.requests().map(line).collect()
}

fn position(lines: &[String], of: &str) -> usize {
    let found = lines.iter().position(|line| line.contains(of));
    found.unwrap_or_else(|| panic!("no `{of}` in {lines:#?}"))
}

/// The job is looked at while the inputs are sent, and what the run needs in the bucket is written at once: each answer
/// is held until the other was asked for.
#[test]
fn the_execution_is_asked_for_as_soon_as_the_inputs_and_the_documents_are_there() {
    let overheard = Overheard::with(|request| {
        let makes = |name: &str| request.starts_with("POST") && request.contains(name);
        let other = if makes("/run.json") {
            "/starts/0.json"
        } else if makes("/starts/0.json") {
            "/run.json"
        } else if request.contains("/jobs/a-job ") {
            "inputs%2F"
        } else if request.contains("inputs%2F") {
            "/jobs/a-job "
        } else {
            return None;
        };
        Some(Box::new(move |seen| seen.count(other) > 0))
    });
    overheard.machine.write("data", "content");
    let words = ["run", "-i", "data", "--out", "o", "--", "true"];
    overheard.sortie(words).code(0);
    let seen = overheard.relay.seen();
    let lines = lines(&seen);
    let before = &lines[..position(&lines, "/jobs/a-job:run ")];
    let [checks @ .., one, other] = before else {
        panic!("{lines:#?}");
    };
    let documents = [one.clone(), other.clone()];
    position(&documents, "/run.json");
    position(&documents, "/starts/0.json");
    assert_eq!(checks.len(), 3, "{lines:#?}");
    position(checks, "/jobs/a-job ");
    assert!(position(checks, "GET /storage/") < position(checks, " inputs/"));
}

#[test]
fn a_whole_run_is_a_dozen_calls_on_a_few_connections() {
    let overheard = Overheard::with(|_| None);
    overheard.machine.write("data", "content");
    let words = ["run", "-i", "data", "--out", "o", "--", "true"];
    overheard.sortie(words).code(0);
    let seen = overheard.relay.seen();
    let (looks, others): (Vec<_>, Vec<_>) =
        lines(&seen).into_iter().partition(|line| is_look(line));
    assert!(!looks.is_empty());
    // Those before the execution, and the claim and the report.
    assert_eq!(others.len(), 8, "{others:#?}");
    // Two, and one more wherever the end of an answer was not yet noticed.
    assert!(seen.connections() <= 4, "{}", seen.connections());
}

/// How often it looks is a matter of how long the tasks take.
fn is_look(line: &str) -> bool {
    line.contains("/executions/") || line.contains("&prefix=")
}

#[test]
fn two_hundred_small_tasks_cost_a_call_each_and_little_else() {
    of_many(200);
}

/// By `make test-many`: it takes a while.
#[test]
#[ignore = "a thousand tasks: `make test-many`"]
fn a_thousand_small_tasks_cost_a_call_each_and_little_else() {
    of_many(1000);
}

/// Every look finds about a hundred more: how quick the tasks are is not the question.
fn of_many(tasks: usize) {
    let (ended, looks) = (Arc::new(AtomicUsize::new(0)), AtomicUsize::new(0));
    let counted = ended.clone();
    let overheard = Overheard::counting(ended, move |request| {
        let looks = match request {
            look if look.contains("/executions/") => looks.fetch_add(1, Ordering::SeqCst) + 1,
            _ => return None,
        };
        let (ended, enough) = (counted.clone(), tasks.min(looks * 100));
        Some(Box::new(move |_| ended.load(Ordering::SeqCst) >= enough))
    });
    let number = tasks.to_string();
    let words = ["run", "--json", "-n", &number, "--out", "o", "--", "true"];
    let done = overheard.sortie(words).code(0);
    assert_eq!(done.result()["tasks"].as_array().unwrap().len(), tasks);
    let seen = overheard.relay.seen();
    let lines = lines(&seen);
    let is_report = |line: &&String| line.contains("reports%2F") && line.contains("?alt=media");
    let reports = lines.iter().filter(is_report).count();
    assert_eq!(reports, tasks, "each is read once");
    assert_eq!(seen.count("/jobs/a-job:run"), 1);
    assert!(lines.len() <= tasks + 100, "{} calls", lines.len());
    // Eight reports at once, and some where the end of an answer was not yet noticed.
    assert!(seen.connections() <= 16, "{}", seen.connections());
}
