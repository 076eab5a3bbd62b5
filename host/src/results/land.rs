//! One task's results into their directory.

use std::io;
use std::path::Path;
use std::time::Instant;

use archive::{LeftOut, Unpacked, printable};
use fs_err as fs;
use serde_json::json;
use wire::api::ApiError;
use wire::bucket::{Bucket, List};
use wire::contract::{Archive, Report};
use wire::names::{AttemptObjects, RunId, Stream};

use super::claims::Claims;
use super::collected;
use super::explain::{Cause, Explanation};
use super::landing::{Landed, REPORT};
use super::logs::{self, Gaps, Logs};
use super::outputs::{self, Fetched};
use super::reports::Found;
use super::tail::{Live, Tail};
use super::{Ending, Phases, TaskResult, exit_code};
use crate::claude_code::{self, ClaudeOutcome};
use crate::clock;
use crate::cloud_run::Task;
use crate::error::{Error, chain};
use crate::event::{Event, Reporter};
use crate::session::Session;
use crate::stage::blocking;

/// A checkpoint is not taken in a command's first second.
const FIRST_CHECKPOINT_MS: u64 = 1000;

/// Which task lands where.
#[derive(Debug, Clone, Copy)]
pub struct Place<'a> {
    /// The run.
    pub run: RunId,
    /// The task's number.
    pub task: u32,
    /// Its name.
    pub name: &'a str,
    /// Its directory.
    pub target: &'a Path,
    /// Whether it is a run of Claude Code.
    pub claude: bool,
    /// Whether what is brought home stays in the bucket, too.
    pub keep: bool,
}

impl Place<'_> {
    /// Tells what the task has printed; the events of Claude Code are no words for people.
    fn show(&self, reporter: &mut dyn Reporter, stream: Stream, bytes: &[u8]) {
        reporter.event(&Event::printed(self.claude, self.task, stream, bytes));
    }

    /// What lies there, if it is what this report tells of.
    fn landed(&self, report: &Report) -> Option<Landed> {
        let landed = Landed::read(self.target, self.run, self.task);
        landed.filter(|landed| landed.is(report.attempt))
    }

    /// Whether what lies there is as good as a landing of the same report; one without its outputs, or
    /// some of the rest, is no reason to give up one with them.
    fn knows_as_much(&self, report: &Report, usable: bool, lost: &[String]) -> bool {
        let landed = self.landed(report);
        landed.is_some_and(|landed| {
            (landed.outputs_problem.is_none() || !usable)
                && (landed.lost.is_empty() || !lost.is_empty())
        })
    }

    /// Whether an attempt's report lies there: it says more than that there is none.
    fn has_a_report(&self) -> bool {
        let landed = Landed::read(self.target, self.run, self.task);
        landed.is_some_and(|landed| landed.is_a_report())
    }
}

/// What came home with a report.
#[derive(Debug, Default)]
struct Cargo {
    fetched: Fetched,
    /// What did not.
    lost: Vec<String>,
    claude: Option<Box<ClaudeOutcome>>,
    /// Until its logs were there, in milliseconds.
    before_ms: u64,
}

impl Cargo {
    /// What somebody has brought home before.
    fn landed(
        place: Place<'_>,
        report: &Report,
        landed: Landed,
        before_ms: u64,
    ) -> Result<Self, Error> {
        let end = claude_code::end_of(report);
        let claude = place.claude.then(|| claude_code::read(place.target, end));
        Ok(Self {
            fetched: Fetched::of_report(report, landed.outputs_problem),
            lost: landed.lost,
            claude: claude.transpose()?.map(Box::new),
            before_ms,
        })
    }
}

/// Lands what a task reported.
pub async fn land(
    session: &Session,
    place: Place<'_>,
    found: Found,
    tail: &mut Tail,
    reporter: &mut dyn Reporter,
) -> Result<TaskResult, Error> {
    let Found {
        objects,
        report,
        read_ms,
    } = found;
    let end = claude_code::end_of(&report);
    if let Some(landed) = place.landed(&report) {
        let cargo = Cargo::landed(place, &report, landed, read_ms)?;
        return Ok(result(place, report, cargo));
    }
    let Live {
        landing,
        logs,
        shown,
        ..
    } = tail.live(place)?;
    let logs = Logs::of(logs, landing.path(), &objects)?;
    let begun = Instant::now();
    let mut show = |stream, bytes: &[u8]| {
        if *shown {
            place.show(reporter, stream, bytes);
        }
    };
    let (bucket, dir) = (&session.bucket, landing.path());
    let mut lost = logs.complete(bucket, &report, &mut show).await?;
    let before_ms = read_ms + clock::ms(begun);
    let fetched = outputs::fetch(bucket, &objects, &report, dir).await?;
    let collected = collected::fetch(bucket, &objects, &report, dir).await?;
    lost.extend(collected.lost);
    let claude = converse(place, dir, end).await?;
    write_report(dir, &report, fetched.problem.as_deref(), &lost)?;
    let mut done = collected.done;
    // Outputs that could not be used stay in the bucket, for whoever wants to look.
    let usable = fetched.problem.is_none();
    if let (true, Archive::Object { generation, .. }) = (usable, &report.outputs.archive) {
        done.push((objects.outputs(), *generation));
    }
    let knows_more = |_: &Path| place.knows_as_much(&report, usable, &lost);
    if !tail.settle(!done.is_empty(), knows_more)?
        && let Some(landed) = place.landed(&report)
    {
        let cargo = Cargo::landed(place, &report, landed, before_ms)?;
        return Ok(result(place, report, cargo));
    }
    if usable && !place.keep {
        let ran_ms = report.phases.command_ms;
        forget(bucket, &objects, &done, ran_ms, reporter).await;
    }
    let cargo = Cargo {
        fetched,
        lost,
        claude,
        before_ms,
    };
    Ok(result(place, report, cargo))
}

/// Where the task is a run of Claude Code, its conversation.
async fn converse(
    place: Place<'_>,
    dir: &Path,
    end: claude::End,
) -> Result<Option<Box<ClaudeOutcome>>, Error> {
    if !place.claude {
        return Ok(None);
    }
    let dir = dir.to_owned();
    let outcome = blocking(move || claude_code::settle(&dir, end)).await??;
    Ok(Some(Box::new(outcome)))
}

fn result(place: Place<'_>, report: Report, cargo: Cargo) -> TaskResult {
    let Cargo {
        fetched,
        lost,
        claude,
        before_ms,
    } = cargo;
    let mut left_out = left_out(&report, &fetched.unpacked);
    left_out.extend(lost);
    let (outcome, code) = match &fetched.problem {
        Some(_) => (Ending::Collect, crate::exit_code::FAILURE),
        None => (report.outcome.into(), exit_code(&report)),
    };
    TaskResult {
        index: place.task,
        name: place.name.to_owned(),
        outcome,
        exit_code: code,
        directory: place.target.to_owned(),
        bytes: fetched.unpacked.bytes,
        phases: Phases {
            fetch: report.phases.fetch_ms,
            command: report.phases.command_ms,
            collect: report.phases.collect_ms,
            download: before_ms + fetched.download_ms,
            unpack: fetched.unpack_ms,
            ..Phases::default()
        },
        lived_ms: lived_ms(report.started_at, report.finished_at),
        cost: None,
        retries: 0,
        problem: fetched
            .problem
            .or(report.problem.map(|problem| problem.message)),
        left_out,
        claude,
    }
}

fn lived_ms(from: jiff::Timestamp, to: jiff::Timestamp) -> Option<u64> {
    u64::try_from(to.duration_since(from).as_millis()).ok()
}

/// The container's report, and what was found wrong here with its outputs and the rest.
fn write_report(
    dir: &Path,
    report: &Report,
    outputs_problem: Option<&str>,
    lost: &[String],
) -> Result<(), Error> {
    // The streams and the outputs lie beside it as files.
    let mut report = report.clone();
    report.stdout.inline = None;
    report.stderr.inline = None;
    let collected = report.collected.iter_mut().map(|one| &mut one.outputs);
    for outputs in std::iter::once(&mut report.outputs).chain(collected) {
        if matches!(outputs.archive, Archive::Inline(_)) {
            outputs.archive = Archive::None;
        }
    }
    let mut json = json!(report);
    if let Some(problem) = outputs_problem {
        json["outputs_problem"] = json!(problem);
    }
    if !lost.is_empty() {
        json["lost"] = json!(lost);
    }
    write_json(dir, &json)
}

fn write_json(dir: &Path, value: &serde_json::Value) -> Result<(), Error> {
    let write = || -> io::Result<()> {
        let mut text = serde_json::to_vec_pretty(value)?;
        text.push(b'\n');
        fs::write(dir.join(REPORT), text)
    };
    write().map_err(|error| Error::local(format!("cannot write `{REPORT}`"), error))
}

/// What came home is synced: its copies in the bucket, and the checkpoints, can go.
async fn forget(
    bucket: &Bucket,
    objects: &AttemptObjects,
    copies: &[(String, u64)],
    ran_ms: u64,
    reporter: &mut dyn Reporter,
) {
    let forgotten = async {
        for (object, generation) in copies {
            bucket.delete(object, Some(*generation)).await?;
        }
        if ran_ms >= FIRST_CHECKPOINT_MS {
            forget_checkpoints(bucket, objects).await?;
        }
        Ok::<(), ApiError>(())
    };
    if let Err(error) = forgotten.await {
        let text = format!("the outputs' copy stays in the bucket: {}", chain(&error));
        reporter.event(&Event::Warning(&text));
    }
}

async fn forget_checkpoints(bucket: &Bucket, objects: &AttemptObjects) -> Result<(), ApiError> {
    let prefix = objects.checkpoints();
    loop {
        let list = List {
            prefix: &prefix,
            ..List::default()
        };
        let page = bucket.list(&list).await?;
        for object in &page.objects {
            bucket.delete(&object.name, Some(object.generation)).await?;
        }
        if page.next.is_none() {
            return Ok(());
        }
    }
}

fn left_out(report: &Report, unpacked: &Unpacked) -> Vec<String> {
    let there = report
        .outputs
        .skipped
        .iter()
        .map(|skipped| format!("`{}` {}", printable(&skipped.path.0), skipped.reason));
    let here = unpacked
        .left_out
        .iter()
        .map(|LeftOut { path, reason }| format!("`{}` {reason}", printable(path)));
    let mut all: Vec<String> = there.chain(here).collect();
    let total = report
        .outputs
        .skipped_total
        .saturating_add(unpacked.left_out_total);
    if total > all.len() as u64 {
        all.push(format!("and {} more", total - all.len() as u64));
    }
    all
}

/// Lands what can be had of a task that left no report: its logs, its last checkpoint, an explanation.
///
/// `began`: whether it may have left anything.
pub async fn land_lost(
    session: &Session,
    place: Place<'_>,
    explanation: &Explanation,
    platform: Option<&Task>,
    began: bool,
    tail: &mut Tail,
    reporter: &mut dyn Reporter,
) -> Result<TaskResult, Error> {
    let hint = explanation.hint.as_ref().map(|hint| format!("; {hint}"));
    let problem = format!(
        "it left no report: {}{}",
        explanation.why,
        hint.unwrap_or_default()
    );
    let mut fetched = Fetched::default();
    let end = claude::End::Killed;
    let claude;
    if place.has_a_report() {
        let read = place.claude.then(|| claude_code::read(place.target, end));
        claude = read.transpose()?.map(Box::new);
    } else {
        let live = tail.live(place)?;
        if began || live.logs.is_some() {
            salvage_logs(session, place, live, reporter).await?;
            let dir = live.landing.path();
            fetched = outputs::fetch_checkpoint(&session.bucket, place, dir).await?;
        }
        let dir = live.landing.path();
        claude = converse(place, dir, end).await?;
        let attempt = json!({ "task": place.task });
        let report =
            json!({ "run": place.run, "attempt": attempt, "outcome": "lost", "problem": problem });
        write_json(dir, &report)?;
        tail.settle(false, |_| place.has_a_report())?;
    }
    let (outcome, exit_code) = match explanation.cause {
        Cause::Cancelled => (Ending::Cancelled, crate::exit_code::INTERRUPTED),
        _ => (Ending::Lost, crate::exit_code::FAILURE),
    };
    Ok(TaskResult {
        index: place.task,
        name: place.name.to_owned(),
        outcome,
        exit_code,
        directory: place.target.to_owned(),
        bytes: fetched.unpacked.bytes,
        phases: Phases::default(),
        lived_ms: platform.and_then(|task| lived_ms(task.start_time?, task.completion_time?)),
        cost: None,
        retries: 0,
        problem: Some(problem),
        left_out: fetched.problem.into_iter().collect(),
        claude,
    })
}

async fn salvage_logs(
    session: &Session,
    place: Place<'_>,
    live: &mut Live,
    reporter: &mut dyn Reporter,
) -> Result<(), Error> {
    let bucket = &session.bucket;
    if live.logs.is_none() {
        let mut claims = Claims::default();
        let newest = logs::newest(bucket, &mut claims, place.run, place.task).await?;
        let Some(objects) = newest else {
            return Ok(());
        };
        Logs::of(&mut live.logs, live.landing.path(), &objects)?;
    }
    let (shown, Some(logs)) = (live.shown, &mut live.logs) else {
        return Ok(());
    };
    let mut show = |stream, bytes: &[u8]| {
        if shown {
            place.show(reporter, stream, bytes);
        }
    };
    logs.catch_up(bucket, Gaps::Skip, &mut show).await
}

#[cfg(test)]
mod tests {
    use wire::contract::Captured;

    use super::*;

    #[test]
    fn a_landing_without_outputs_gives_way_to_one_with_them() {
        let target = tempfile::tempdir().unwrap();
        let run = RunId::new();
        let place = Place {
            run,
            task: 0,
            name: "0",
            target: target.path(),
            claude: false,
            keep: false,
        };
        let attempt = json!({ "task": 0, "start": 0, "retry": 0 });
        let report = json!({
            "version": wire::contract::VERSION, "run": run, "attempt": attempt, "entrypoint": "0",
            "outcome": "exited", "code": 0, "stdout": Captured::default(),
            "stderr": Captured::default(), "phases": wire::contract::Phases::default(),
            "outputs": wire::contract::Outputs::default(),
            "started_at": "2026-01-01T00:00:00Z", "finished_at": "2026-01-01T00:00:01Z",
        });
        let report: Report = serde_json::from_value(report).unwrap();
        assert!(
            !place.knows_as_much(&report, true, &[]),
            "nothing lies there"
        );
        for (problem, usable, known) in [
            (None, true, true),
            (None, false, true),
            (Some("damaged"), true, false),
            (Some("damaged"), false, true),
        ] {
            write_report(target.path(), &report, problem, &[]).unwrap();
            assert_eq!(
                place.knows_as_much(&report, usable, &[]),
                known,
                "{problem:?}"
            );
        }
        let piece = ["a piece".to_owned()];
        write_report(target.path(), &report, None, &piece).unwrap();
        assert!(!place.knows_as_much(&report, true, &[]));
        assert!(place.knows_as_much(&report, true, &piece));
        assert_eq!(place.landed(&report).unwrap().lost, ["a piece"]);
    }
}
