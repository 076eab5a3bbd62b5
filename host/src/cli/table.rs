//! Tables on standard output.

use std::collections::BTreeMap;

use serde_json::json;

use super::coming_back::print_json;
use super::human::{print, say};
use crate::runs::{Overview, Standing, TaskState};
use crate::text::{age, count};

/// So many tasks have a line each.
const LINES: usize = 40;

/// The runs there are.
pub(super) fn runs(listed: &[Overview], json: bool, owner: Option<&str>) {
    if json {
        print_json("runs", json!({ "runs": listed }));
        return;
    }
    if listed.is_empty() {
        match owner {
            Some(owner) => say(&format!("no runs of `{owner}`; `--all` shows everybody's")),
            None => say("no runs"),
        }
        return;
    }
    let rows = listed.iter().map(|run| {
        [
            run.run.to_string(),
            age(run.created_at),
            run.owner.clone(),
            run.tasks.to_string(),
            summary(run),
        ]
    });
    columns(["RUN", "AGE", "OWNER", "TASKS", "STATE"], rows);
}

fn summary(run: &Overview) -> String {
    let parts = [
        (run.running, "running"),
        (run.succeeded, "succeeded"),
        (run.failed, "failed"),
        (run.cancelled, "cancelled"),
    ];
    let parts = parts.iter().filter(|(n, _)| *n > 0);
    let parts: Vec<String> = parts.map(|(n, what)| format!("{n} {what}")).collect();
    match (run.known, parts.is_empty()) {
        (false, _) => "over, or never started".to_owned(),
        (true, true) => "starting".to_owned(),
        (true, false) => parts.join(", "),
    }
}

/// How a run stands.
pub(super) fn standing(standing: &Standing, json: bool, all: bool) {
    if json {
        print_json("status", json!(standing));
        return;
    }
    let state = if standing.running { "running" } else { "over" };
    print(&format!(
        "run {}: {state}, started {} ago by {}",
        standing.run,
        age(standing.created_at),
        standing.owner
    ));
    let mut states: BTreeMap<TaskState, u64> = BTreeMap::new();
    for task in &standing.tasks {
        *states.entry(task.state).or_default() += 1;
    }
    let failed = standing
        .tasks
        .iter()
        .filter(|task| has_failed(task))
        .count();
    let states: Vec<String> = states
        .iter()
        .map(|(s, n)| format!("{n} {}", word(*s)))
        .collect();
    let tasks = count(standing.tasks.len() as u64, "task", "tasks");
    print(&format!("{tasks}: {}; {failed} failed", states.join(", ")));
    let few = all || standing.tasks.len() <= LINES;
    let shown = standing.tasks.iter().filter(|task| few || has_failed(task));
    let rows = shown
        .take(if all { usize::MAX } else { LINES })
        .map(|task| {
            [
                task.name.clone(),
                word(task.state).to_owned(),
                task.outcome.clone().unwrap_or_default(),
                task.code.map(|code| code.to_string()).unwrap_or_default(),
            ]
        });
    columns(["TASK", "STATE", "OUTCOME", "CODE"], rows);
}

fn has_failed(task: &crate::runs::TaskStanding) -> bool {
    match task.state {
        TaskState::Ended => task.code != Some(0) || task.outcome.as_deref() != Some("exited"),
        TaskState::Lost => true,
        _ => false,
    }
}

fn word(state: TaskState) -> &'static str {
    match state {
        TaskState::Running => "running",
        TaskState::Pending => "pending",
        TaskState::Waiting => "waiting",
        TaskState::Ended => "ended",
        TaskState::Lost => "lost",
    }
}

/// Prints rows under headings.
fn columns<const N: usize>(headings: [&str; N], rows: impl Iterator<Item = [String; N]>) {
    for line in lines(headings, rows) {
        print(&line);
    }
}

/// Rows under headings, as wide as they need; nothing where there are no rows.
pub(super) fn lines<const N: usize>(
    headings: [&str; N],
    rows: impl Iterator<Item = [String; N]>,
) -> Vec<String> {
    let mut all = vec![headings.map(str::to_owned)];
    all.extend(rows);
    if all.len() == 1 {
        return Vec::new();
    }
    let width = |column: usize| {
        let cells = all.iter().filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..N).map(width).collect();
    let line = |row: &[String; N]| {
        let cells = row.iter().zip(&widths);
        let cells: Vec<String> = cells
            .map(|(cell, width)| format!("{cell:<width$}"))
            .collect();
        cells.join("  ").trim_end().to_owned()
    };
    all.iter().map(line).collect()
}
