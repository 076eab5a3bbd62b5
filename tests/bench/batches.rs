//! What a run costs as its tasks grow in number: calls, wall time, memory.

use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::harness::Machine;
use crate::platform::{Platform, report};
use crate::table::{Row, alone};
use crate::trial::peak_memory;

/// What the stub of an entrypoint asks for each task: its start, its claim, its report.
const CALLS_OF_A_TASK: usize = 3;

/// What one run took.
struct Measured {
    tasks: usize,
    wall: Duration,
    cloud_run: usize,
    status: usize,
    storage: usize,
    peak_kb: u64,
}

/// Prints it for 1 to 10,000 tasks.
pub(crate) fn print() -> Vec<Row> {
    let mut rows = Vec::new();
    println!("\nbatches: containers without a process, 16 at once; calls are sortie's own");
    println!(
        "{:>6} {:>9} {:>9} {:>11} {:>13} {:>13} {:>9}",
        "tasks", "wall s", "tasks/s", "Run calls", "status/min", "storage calls", "peak MB"
    );
    for tasks in [1, 100, 1_000, 10_000] {
        let measured = measure(tasks);
        let seconds = measured.wall.as_secs_f64();
        #[expect(clippy::cast_precision_loss, reason = "for people")]
        let rate = measured.tasks as f64 / seconds;
        #[expect(clippy::cast_precision_loss, reason = "for people")]
        let per_minute = measured.status as f64 / (seconds / 60.0).max(1.0);
        println!(
            "{:>6} {seconds:>9.2} {rate:>9.0} {:>11} {per_minute:>13.0} {:>13} {:>9}",
            measured.tasks,
            measured.cloud_run,
            measured.storage,
            measured.peak_kb / 1000,
        );
        let corpus = format!("{tasks} tasks");
        rows.push(alone("batches", corpus, seconds, 0.0, measured.peak_kb));
    }
    rows
}

fn measure(tasks: usize) -> Measured {
    let machine = Machine::new();
    let state = tempfile::tempdir().unwrap();
    let record = state.path().join("exchanges.jsonl");
    let platform = Platform::recorded(
        &state.path().join("state"),
        |container| report(container, 0),
        Some(record.clone()),
    );
    let n = tasks.to_string();
    let words = ["run", "--json", "-n", &n, "--out", "o", "--", "true"];
    let begun = Instant::now();
    let mut running = platform.sortie(&machine, words).start();
    let mut peak_kb = 0;
    for landed in 0..tasks {
        running.event("landed");
        if landed % 200 == 0 {
            peak_kb = peak_kb.max(peak_memory(running.pid()));
        }
    }
    running.end().code(0);
    let wall = begun.elapsed();
    drop(platform);
    let paths = paths(&record);
    let cloud_run = paths.iter().filter(|path| path.starts_with("/v2/")).count();
    let lists = |path: &&String| path.starts_with("/storage/") && path.ends_with("/o");
    Measured {
        tasks,
        wall,
        cloud_run,
        status: cloud_run + paths.iter().filter(lists).count(),
        storage: (paths.len() - cloud_run).saturating_sub(tasks * CALLS_OF_A_TASK),
        peak_kb,
    }
}

/// The paths of every exchange.
fn paths(record: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(record).unwrap();
    let path = |line: &str| {
        let exchange: Value = serde_json::from_str(line).unwrap();
        let path = exchange["url"].as_str().unwrap_or_default();
        path.split('?').next().unwrap_or_default().to_owned()
    };
    text.lines().map(path).collect()
}
