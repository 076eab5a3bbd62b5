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
use wire::names::{AttemptObjects, RunId};

use super::claims::Claims;
use super::explain::{Cause, Explanation};
use super::landing::{Landed, Landing, REPORT};
use super::logs::{self, Gaps, Logs};
use super::outputs::{self, Fetched};
use super::reports::Found;
use super::tail::Tail;
use super::{Ending, Phases, TaskResult, exit_code};
use crate::clock;
use crate::cloud_run::Task;
use crate::error::{Error, chain};
use crate::event::{Event, Reporter};
use crate::session::Session;

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
    let landed = Landed::read(place.target, place.run, place.task);
    if let Some(landed) = landed.filter(|landed| landed.is(report.attempt)) {
        let fetched = Fetched::of_report(&report, landed.outputs_problem);
        return Ok(result(place, report, fetched, Vec::new(), read_ms));
    }
    let (landing, logs, shown) = resume(tail, place, &objects)?;
    let begun = Instant::now();
    let mut show = |stream, bytes: &[u8]| {
        if shown {
            let task = place.task;
            reporter.event(&Event::Output {
                task,
                stream,
                bytes,
            });
        }
    };
    let lost = logs.complete(&session.bucket, &report, &mut show).await?;
    let logs_ms = clock::ms(begun);
    let fetched = outputs::fetch(&session.bucket, &objects, &report, landing.path()).await?;
    write_report(landing.path(), &report, fetched.problem.as_deref())?;
    let synced = matches!(report.outputs.archive, Archive::Object { .. });
    landing.settle(synced)?;
    // Outputs that could not be used stay in the bucket, for whoever wants to look.
    if fetched.problem.is_none() {
        forget(&session.bucket, &objects, &report, reporter).await;
    }
    Ok(result(place, report, fetched, lost, read_ms + logs_ms))
}

fn result(
    place: Place<'_>,
    report: Report,
    fetched: Fetched,
    lost: Vec<String>,
    before_ms: u64,
) -> TaskResult {
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
    }
}

fn lived_ms(from: jiff::Timestamp, to: jiff::Timestamp) -> Option<u64> {
    u64::try_from(to.duration_since(from).as_millis()).ok()
}

/// Goes on with what was followed live, if it was this attempt; says whether its output is to be shown.
fn resume(
    tail: &mut Tail,
    place: Place<'_>,
    objects: &AttemptObjects,
) -> Result<(Landing, Logs, bool), Error> {
    if let Some((landing, logs)) = tail.take() {
        let logs = match logs.filter(|logs| logs.reads(objects)) {
            Some(logs) => logs,
            None => Logs::begin(landing.path(), objects.clone())?,
        };
        return Ok((landing, logs, true));
    }
    let landing = Landing::begin(place.target, place.run, place.task)?;
    let logs = Logs::begin(landing.path(), objects.clone())?;
    Ok((landing, logs, false))
}

/// The container's report, and what was found wrong with its outputs here.
fn write_report(dir: &Path, report: &Report, outputs_problem: Option<&str>) -> Result<(), Error> {
    // The streams and the outputs lie beside it as files.
    let mut report = report.clone();
    report.stdout.inline = None;
    report.stderr.inline = None;
    if matches!(report.outputs.archive, Archive::Inline(_)) {
        report.outputs.archive = Archive::None;
    }
    let mut json = json!(report);
    if let Some(problem) = outputs_problem {
        json["outputs_problem"] = json!(problem);
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

/// The outputs are home and synced: their copy in the bucket, and the checkpoints, can go.
async fn forget(
    bucket: &Bucket,
    objects: &AttemptObjects,
    report: &Report,
    reporter: &mut dyn Reporter,
) {
    let forgotten = async {
        if let Archive::Object { generation, .. } = &report.outputs.archive {
            bucket.delete(&objects.outputs(), Some(*generation)).await?;
        }
        if report.phases.command_ms >= FIRST_CHECKPOINT_MS {
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
    let landed = Landed::read(place.target, place.run, place.task);
    // A report that is here already says more than that there is none.
    if !landed.is_some_and(|landed| landed.is_a_report()) {
        let (landing, logs, shown) = match tail.take() {
            Some((landing, logs)) => (landing, logs, true),
            None => (
                Landing::begin(place.target, place.run, place.task)?,
                None,
                false,
            ),
        };
        if began || logs.is_some() {
            salvage_logs(session, place, &landing, logs, shown, reporter).await?;
            fetched = outputs::fetch_checkpoint(&session.bucket, place, landing.path()).await?;
        }
        let attempt = json!({ "task": place.task });
        let report =
            json!({ "run": place.run, "attempt": attempt, "outcome": "lost", "problem": problem });
        write_json(landing.path(), &report)?;
        landing.settle(false)?;
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
    })
}

async fn salvage_logs(
    session: &Session,
    place: Place<'_>,
    landing: &Landing,
    followed: Option<Logs>,
    shown: bool,
    reporter: &mut dyn Reporter,
) -> Result<(), Error> {
    let bucket = &session.bucket;
    let logs = match followed {
        Some(logs) => Some(logs),
        None => logs::newest(bucket, &mut Claims::default(), place.run, place.task)
            .await?
            .map(|objects| Logs::begin(landing.path(), objects))
            .transpose()?,
    };
    let Some(mut logs) = logs else {
        return Ok(());
    };
    let task = place.task;
    let mut show = |stream, bytes: &[u8]| {
        if shown {
            reporter.event(&Event::Output {
                task,
                stream,
                bytes,
            });
        }
    };
    logs.catch_up(bucket, Gaps::Skip, &mut show).await
}
