//! One task on the page, from its result and the files that came home.

use std::io::{BufReader, Read, Seek, SeekFrom};
use std::path::Path;

use claude::Verdict;
use claude::page::{Conversation, Fact, Log, OutputFile, Phase, Row, StepView, Task, Tone};
use fs_err as fs;
use jiff::Timestamp;
use walkdir::WalkDir;
use wire::contract::{Document, Report, Stage, StepReport};

use super::fact;
use crate::claude_code::{RESPONSE, TRANSCRIPT};
use crate::results::{Ending, TaskResult};
use crate::text::size;

/// Of a task that has no result.
pub(super) const NOT_ENDED: &str = "not ended";

/// Of a stream's end so many bytes are shown.
const LOG: u64 = 64 << 10;

/// So many outputs are named.
const FILES: usize = 500;

/// Of a larger transcript the page tells where it is.
const TRANSCRIPT_LIMIT: u64 = 64 << 20;

/// A task without a result.
pub(super) fn not_ended(name: &str) -> Task {
    Task {
        name: name.to_owned(),
        ending: NOT_ENDED.to_owned(),
        ..Task::default()
    }
}

/// Its line in the table and the timeline; `began`: when the run did.
pub(super) fn row(result: &TaskResult, began: Timestamp) -> Row {
    let files = Files::of(&result.directory);
    let report = read_report(&result.directory);
    let phases = report.map(|report| phases(result, &report, began));
    let phases = phases.unwrap_or_default();
    let first = phases.first().map(|phase| phase.start_ms);
    let last = phases
        .last()
        .map(|p| p.start_ms.saturating_add(p.length_ms));
    let costs = [result.cost, api_cost(result)];
    Row {
        name: result.name.clone(),
        ending: ending(result),
        tone: tone(result),
        duration_ms: first
            .zip(last)
            .map(|(first, last)| last.saturating_sub(first)),
        phases,
        turns: result.claude.as_ref().map(|claude| claude.summary.turns),
        cost_usd: costs.into_iter().flatten().reduce(|sum, cost| sum + cost),
        output_files: files.count,
        output_bytes: files.bytes,
    }
}

/// All there is of it.
pub(super) fn details(result: &TaskResult) -> Task {
    let dir = &result.directory;
    let files = Files::of(dir);
    let report = read_report(dir);
    let mut problems: Vec<String> = result.problem.iter().cloned().collect();
    let left_out = result.left_out.iter();
    problems.extend(left_out.map(|what| format!("left out of the outputs: {what}")));
    let claude = result.claude.as_deref();
    problems.extend(
        claude
            .into_iter()
            .flat_map(|claude| claude.summary.errors.clone()),
    );
    let steps = report.map(|report| report.steps).unwrap_or_default();
    Task {
        name: result.name.clone(),
        ending: ending(result),
        tone: tone(result),
        facts: facts(result),
        problems,
        response: claude.and_then(|_| fs::read_to_string(dir.join(RESPONSE)).ok()),
        conversation: claude.and_then(|_| conversation(dir)),
        steps: steps.iter().map(step).collect(),
        outputs: files.first,
        output_files: files.count,
        stdout: log(&dir.join("stdout")),
        stderr: log(&dir.join("stderr")),
    }
}

fn read_report(dir: &Path) -> Option<Report> {
    // One that was never written has a note in its place.
    Report::from_json(&fs::read(dir.join("report.json")).ok()?).ok()
}

fn ending(result: &TaskResult) -> String {
    match (&result.claude, result.outcome) {
        (Some(claude), _) if result.exit_code == 0 => claude.verdict.to_string(),
        (Some(claude), _) => format!("{}, code {}", claude.verdict, result.exit_code),
        (None, Ending::Exited) => format!("exit code {}", result.exit_code),
        (None, outcome) => outcome.word().to_owned(),
    }
}

fn tone(result: &TaskResult) -> Tone {
    let done = |claude: &crate::claude_code::ClaudeOutcome| claude.verdict == Verdict::Done;
    if result.exit_code == 0 && result.claude.as_deref().is_none_or(done) {
        Tone::Good
    } else {
        Tone::Bad
    }
}

/// What the API cost, as Claude Code reckons.
pub(super) fn api_cost(result: &TaskResult) -> Option<f64> {
    result.claude.as_ref()?.summary.cost_usd
}

pub(super) fn money(dollars: f64) -> String {
    format!("${dollars:.4}")
}

fn facts(result: &TaskResult) -> Vec<Fact> {
    let mut facts = Vec::new();
    if let Some(claude) = &result.claude {
        let summary = &claude.summary;
        let told = [
            ("model", &summary.model),
            ("session", &summary.session_id),
            ("stopped", &summary.stop_reason),
            ("ended", &summary.terminal_reason),
            ("Claude Code", &summary.cli_version),
        ];
        let told = told.into_iter();
        facts.extend(told.filter_map(|(name, value)| Some(fact(name, value.as_ref()?))));
        facts.push(fact("turns", &summary.turns));
        facts.extend(
            summary
                .cost_usd
                .map(|cost| fact("cost of the API", &money(cost))),
        );
        let denied = summary.denied_tools.iter();
        let denied: Vec<String> = denied.map(|(tool, n)| format!("{tool} {n}×")).collect();
        if !denied.is_empty() {
            facts.push(fact("not allowed", &denied.join(", ")));
        }
    }
    facts.extend(
        result
            .cost
            .map(|cost| fact("cost of Cloud Run", &money(cost))),
    );
    if result.retries > 0 {
        facts.push(fact("tried again", &result.retries));
    }
    facts.push(fact("outputs", &size(result.bytes)));
    facts
}

/// Where its time went: each phase begins where the one before ended.
fn phases(result: &TaskResult, report: &Report, began: Timestamp) -> Vec<Phase> {
    let since = report.started_at.duration_since(began).as_millis();
    let claimed = u64::try_from(since).unwrap_or(0) + report.phases.claim_ms;
    let of_stage = |stage| {
        let steps = report.steps.iter().filter(move |step| step.stage == stage);
        steps.map(|step| step.duration_ms).sum()
    };
    let lengths = [
        ("start", result.phases.start),
        ("fetch", report.phases.fetch_ms),
        ("setup", of_stage(Stage::Setup)),
        ("pre", of_stage(Stage::Pre)),
        ("command", report.phases.command_ms),
        ("post", of_stage(Stage::Post)),
        ("collect", report.phases.collect_ms),
    ];
    let mut at = claimed.saturating_sub(result.phases.start);
    let mut phases = Vec::new();
    for (name, length_ms) in lengths.into_iter().filter(|(_, length)| *length > 0) {
        phases.push(Phase {
            name: name.to_owned(),
            start_ms: at,
            length_ms,
        });
        at = at.saturating_add(length_ms);
    }
    phases
}

fn step(step: &StepReport) -> StepView {
    let ending = match (step.code, step.signal) {
        (_, Some(signal)) => format!("signal {signal}"),
        (Some(code), None) => format!("exit code {code}"),
        (None, None) => step.outcome.as_str().to_owned(),
    };
    StepView {
        name: format!("{} {}", step.stage.as_str(), step.index + 1),
        ending,
        tone: if step.succeeded() {
            Tone::Good
        } else {
            Tone::Bad
        },
        tail: step.tail.lossy(),
    }
}

fn conversation(dir: &Path) -> Option<Conversation> {
    let file = fs::File::open(dir.join(TRANSCRIPT)).ok()?;
    if file.metadata().ok()?.len() > TRANSCRIPT_LIMIT {
        return None;
    }
    Conversation::read(BufReader::new(file)).ok()
}

fn log(path: &Path) -> Log {
    let read = || -> std::io::Result<Log> {
        let mut file = fs::File::open(path)?;
        let bytes = file.metadata()?.len();
        file.seek(SeekFrom::Start(bytes.saturating_sub(LOG)))?;
        let mut tail = Vec::new();
        file.take(LOG).read_to_end(&mut tail)?;
        Ok(Log { tail, bytes })
    };
    read().unwrap_or_default()
}

/// The files that came home.
#[derive(Default)]
struct Files {
    first: Vec<OutputFile>,
    count: u64,
    bytes: u64,
}

impl Files {
    fn of(dir: &Path) -> Self {
        let mut files = Self::default();
        let output = dir.join("output");
        let entries = WalkDir::new(&output).sort_by_file_name();
        for entry in entries.into_iter().flatten() {
            let Ok(metadata) = entry.metadata() else {
                continue;
            };
            if metadata.is_dir() {
                continue;
            }
            files.count += 1;
            files.bytes = files.bytes.saturating_add(metadata.len());
            if files.first.len() < FILES {
                let path = entry.path().strip_prefix(&output).unwrap_or(entry.path());
                files.first.push(OutputFile {
                    path: path.display().to_string(),
                    size: metadata.len(),
                });
            }
        }
        files
    }
}
