//! What was measured before: one line of JSON for each time, to be compared by commit.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::Command;

use serde::{Deserialize, Serialize};

use crate::table::{Row, seconds};

/// One time.
#[derive(Debug, Serialize, Deserialize)]
struct Record {
    commit: String,
    /// Whether there was more than that commit.
    changed: bool,
    date: String,
    machine: String,
    /// Of the last minute, before and after.
    load: [String; 2],
    rows: Vec<Row>,
}

/// Adds a line.
pub(crate) fn append(path: &Path, before: String, rows: Vec<Row>) {
    let record = Record {
        commit: git(&["rev-parse", "HEAD"]),
        changed: !git(&["status", "--porcelain", "--untracked-files=no"]).is_empty(),
        date: jiff::Timestamp::now().to_string(),
        machine: machine(),
        load: [before, load()],
        rows,
    };
    let mut line = serde_json::to_vec(&record).unwrap();
    line.push(b'\n');
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let mut file = fs::File::options()
        .create(true)
        .append(true)
        .open(path)
        .unwrap();
    file.write_all(&line).unwrap();
}

/// The machine's name and its processors.
pub(crate) fn machine() -> String {
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info
        .lines()
        .find_map(|line| line.strip_prefix("model name"));
    let model = model.map_or("", |model| model.trim_start_matches(['\t', ' ', ':']));
    let count = std::thread::available_parallelism().map_or(1, usize::from);
    format!("{count} × {model}")
}

/// The load of the last minute.
pub(crate) fn load() -> String {
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    load.split(' ').next().unwrap_or_default().to_owned()
}

fn git(words: &[&str]) -> String {
    let here = env!("CARGO_MANIFEST_DIR");
    let output = Command::new("git").arg("-C").arg(here).args(words).output();
    output.map_or_else(
        |_| String::new(),
        |output| String::from_utf8_lossy(&output.stdout).trim().to_owned(),
    )
}

/// Prints what two commits took, the newest measurement of each. Where both had the same rival in the same phase, its
/// ratio tells more than the seconds, which are of two days.
pub(crate) fn compare(path: &Path, one: &str, other: &str) {
    let text =
        fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let records: Vec<Record> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let newest = |commit: &str| {
        let of = |record: &&Record| record.commit.starts_with(commit);
        let found = records.iter().rev().find(of);
        found.unwrap_or_else(|| panic!("`{commit}` was never measured: see {}", path.display()))
    };
    let (one, other) = (newest(one), newest(other));
    for (name, record) in [("A", one), ("B", other)] {
        let changed = if record.changed { " and more" } else { "" };
        let Record {
            commit,
            date,
            machine,
            load: [before, after],
            ..
        } = record;
        println!("{name}: {commit}{changed}, {date}, {machine}, load {before} to {after}");
    }
    println!(
        "{:<18} {:<11} {:<22} {:>8} {:>8} {:>7} {:>8} {:>8}",
        "phase", "corpus", "theirs", "A s", "B s", "B/A", "A ratio", "B ratio"
    );
    for a in &one.rows {
        let same = |b: &&Row| (&a.phase, &a.corpus, &a.peer) == (&b.phase, &b.corpus, &b.peer);
        let Some(b) = other.rows.iter().find(same) else {
            continue;
        };
        let ratio = |row: &Row| {
            row.ratio
                .map_or_else(String::new, |ratio| format!("{ratio:.2}×"))
        };
        println!(
            "{:<18} {:<11} {:<22} {:>8} {:>8} {:>7.2} {:>8} {:>8}",
            a.phase,
            a.corpus,
            a.peer,
            seconds(a.ours.wall_s),
            seconds(b.ours.wall_s),
            b.ours.wall_s / a.ours.wall_s,
            ratio(a),
            ratio(b),
        );
    }
}
