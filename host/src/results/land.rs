//! One task's results into their directory.

use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use archive::{LeftOut, Policy, Unpacked, Unpacker};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use wire::bucket::{Bucket, List};
use wire::contract::{Archive, Captured, Report};
use wire::names::{AttemptObjects, RunId, Stream};

use super::explain::explain;
use super::find::Found;
use super::landing::Landing;
use super::logs::Logs;
use super::tail::Tail;
use super::{Ending, Phases, TaskResult, exit_code};
use crate::clock;
use crate::cloud_run::{Execution, Task};
use crate::error::{Error, chain};
use crate::event::{Event, Reporter};
use crate::session::Session;
use crate::stage::blocking;

/// A checkpoint has no report that tells its size: a tebibyte of files is no honest one's.
const CHECKPOINT_LIMIT: u64 = 1 << 40;

/// Lands what a task reported.
pub async fn land(
    session: &Session,
    found: Found,
    name: &str,
    target: &Path,
    tail: &mut Tail,
    reporter: &mut dyn Reporter,
) -> Result<TaskResult, Error> {
    let Found {
        objects,
        report,
        read_ms,
    } = found;
    let (landing, logs, shown) = resume(tail, target, &objects)?;
    let begun = Instant::now();
    finish_logs(session, logs, &report, shown.then_some(&mut *reporter)).await?;
    let logs_ms = clock::ms(begun);
    let outputs = fetch_outputs(&session.bucket, &objects, &report, landing.path()).await?;
    write_report(landing.path(), &report)?;
    let stored = matches!(report.outputs.archive, Archive::Object { .. });
    let directory = landing.settle(stored)?;
    if stored {
        forget_outputs(&session.bucket, &objects, &report, reporter).await;
    }
    Ok(TaskResult {
        index: objects.attempt.task,
        name: name.to_owned(),
        outcome: report.outcome.into(),
        exit_code: exit_code(&report),
        directory,
        bytes: outputs.unpacked.bytes,
        phases: Phases {
            fetch: report.phases.fetch_ms,
            command: report.phases.command_ms,
            collect: report.phases.collect_ms,
            download: read_ms + logs_ms + outputs.download_ms,
            unpack: outputs.unpack_ms,
            ..Phases::default()
        },
        left_out: left_out(&report, &outputs.unpacked),
        problem: report.problem.map(|problem| problem.message),
    })
}

/// Goes on with what was followed live, if it was this attempt; says whether its output is to be shown.
fn resume(
    tail: &mut Tail,
    target: &Path,
    objects: &AttemptObjects,
) -> Result<(Landing, Logs, bool), Error> {
    if let Some((landing, logs)) = tail.take() {
        let logs = match logs.filter(|logs| logs.reads(objects)) {
            Some(logs) => logs,
            None => Logs::begin(landing.path(), objects.clone())?,
        };
        return Ok((landing, logs, true));
    }
    let landing = Landing::begin(target, objects.run)?;
    let logs = Logs::begin(landing.path(), objects.clone())?;
    Ok((landing, logs, false))
}

async fn finish_logs(
    session: &Session,
    mut logs: Logs,
    report: &Report,
    mut reporter: Option<&mut (dyn Reporter + '_)>,
) -> Result<(), Error> {
    let task = report.attempt.task;
    let mut show = |stream, bytes: &[u8]| {
        if let Some(reporter) = &mut reporter {
            reporter.event(&Event::Output {
                task,
                stream,
                bytes,
            });
        }
    };
    if report.stdout.chunks + report.stderr.chunks > logs.chunks() {
        logs.catch_up(&session.bucket, &mut show).await?;
    }
    for (stream, captured) in [
        (Stream::Stdout, &report.stdout),
        (Stream::Stderr, &report.stderr),
    ] {
        if let Captured {
            inline: Some(bytes),
            ..
        } = captured
            && !bytes.0.is_empty()
        {
            logs.append(stream, &bytes.0)?;
            show(stream, &bytes.0);
        }
    }
    logs.settle()
}

/// Outputs that are home.
#[derive(Default)]
struct Outputs {
    unpacked: Unpacked,
    download_ms: u64,
    unpack_ms: u64,
}

async fn fetch_outputs(
    bucket: &Bucket,
    objects: &AttemptObjects,
    report: &Report,
    dir: &Path,
) -> Result<Outputs, Error> {
    let task = objects.attempt.task;
    let output = dir.join("output");
    fs_err::create_dir(&output).map_err(|error| Error::local("cannot make `output`", error))?;
    let refuse = |source| Error::Result { task, source };
    // More than it was packed from is a bomb.
    let max_bytes = report.outputs.bytes;
    match &report.outputs.archive {
        Archive::None => Ok(Outputs::default()),
        Archive::Inline(text) => {
            let bytes = STANDARD
                .decode(text)
                .map_err(|error| refuse(error.into()))?;
            unpack(task, io::Cursor::new(bytes), &output, None, max_bytes).await
        }
        Archive::Object {
            generation, sha256, ..
        } => {
            let name = objects.outputs();
            let download = bucket
                .download(&name, Some(*generation))
                .await
                .map_err(Error::api("cannot download the outputs"))?;
            let reader = download.into_reader(&tokio::runtime::Handle::current());
            unpack(task, reader, &output, Some(sha256.clone()), max_bytes).await
        }
    }
}

/// Unpacks a stranger's archive. Nothing outside `output` is touched, whatever it says.
async fn unpack<R: Read + Send + 'static>(
    task: u32,
    reader: R,
    output: &Path,
    sha256: Option<String>,
    max_bytes: u64,
) -> Result<Outputs, Error> {
    let output = output.to_owned();
    blocking(move || {
        let begun = Instant::now();
        let waited = Arc::new(AtomicU64::new(0));
        let reader = Timed {
            reader,
            waited: waited.clone(),
        };
        let refuse = |source: archive::Error| Error::Result {
            task,
            source: source.into(),
        };
        let unpacker = Unpacker::new(&output, Policy::output(max_bytes)).map_err(refuse)?;
        let digest = unpacker.unpack(reader).map_err(refuse)?;
        if sha256.is_some_and(|expected| expected != digest.sha256) {
            let source = "the outputs' bytes are not those that were sent".into();
            return Err(Error::Result { task, source });
        }
        let landed = unpacker.finish().map_err(refuse)?;
        let download_ms = waited.load(Ordering::Relaxed) / 1000;
        let unpack_ms = clock::ms(begun).saturating_sub(download_ms);
        Ok(Outputs {
            unpacked: landed,
            download_ms,
            unpack_ms,
        })
    })
    .await?
}

/// Adds up the time spent waiting for bytes, in microseconds.
struct Timed<R> {
    reader: R,
    waited: Arc<AtomicU64>,
}

impl<R: Read> Read for Timed<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let begun = Instant::now();
        let read = self.reader.read(buffer);
        let waited = u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.waited.fetch_add(waited, Ordering::Relaxed);
        read
    }
}

fn write_report(dir: &Path, report: &Report) -> Result<(), Error> {
    // The streams and the outputs lie beside it as files.
    let mut report = report.clone();
    report.stdout.inline = None;
    report.stderr.inline = None;
    if matches!(report.outputs.archive, Archive::Inline(_)) {
        report.outputs.archive = Archive::None;
    }
    let write = || -> io::Result<()> {
        let mut json = serde_json::to_vec_pretty(&report)?;
        json.push(b'\n');
        fs_err::write(dir.join("report.json"), json)
    };
    write().map_err(|error| Error::local("cannot write `report.json`", error))
}

/// The outputs are home and synced: their copy in the bucket, and the checkpoints', can go.
async fn forget_outputs(
    bucket: &Bucket,
    objects: &AttemptObjects,
    report: &Report,
    reporter: &mut dyn Reporter,
) {
    let Archive::Object { generation, .. } = &report.outputs.archive else {
        return;
    };
    let forgotten = async {
        bucket.delete(&objects.outputs(), Some(*generation)).await?;
        let prefix = objects.checkpoints();
        let page = bucket
            .list(&List {
                prefix: &prefix,
                ..List::default()
            })
            .await?;
        for object in page.objects {
            bucket.delete(&object.name, Some(object.generation)).await?;
        }
        Ok::<(), wire::api::ApiError>(())
    };
    if let Err(error) = forgotten.await {
        let text = format!("the outputs' copy stays in the bucket: {}", chain(&error));
        reporter.event(&Event::Warning(&text));
    }
}

fn left_out(report: &Report, unpacked: &Unpacked) -> Vec<String> {
    let there = report
        .outputs
        .skipped
        .iter()
        .map(|skipped| format!("`{}` {}", skipped.path.lossy(), skipped.reason));
    let here = unpacked
        .left_out
        .iter()
        .map(|LeftOut { path, reason }| format!("`{}` {reason}", String::from_utf8_lossy(path)));
    let mut all: Vec<String> = there.chain(here).collect();
    let total = report.outputs.skipped_total + unpacked.left_out_total;
    if total > all.len() as u64 {
        all.push(format!("and {} more", total - all.len() as u64));
    }
    all
}

/// Lands what can be had of a task that left no report: its logs, its last checkpoint, an explanation.
pub async fn land_lost(
    session: &Session,
    run: RunId,
    task: (u32, &str),
    target: &Path,
    execution: &Execution,
    platform: Option<&Task>,
    tail: &mut Tail,
) -> Result<TaskResult, Error> {
    let explanation = explain(execution, platform);
    let (landing, logs) = match tail.take() {
        Some(followed) => followed,
        None => (Landing::begin(target, run)?, None),
    };
    let output = landing.path().join("output");
    fs_err::create_dir(&output).map_err(|error| Error::local("cannot make `output`", error))?;
    if let Some(mut logs) = logs.filter(|logs| !logs.is_empty()) {
        logs.catch_up(&session.bucket, &mut |_, _| {}).await?;
        logs.settle()?;
    }
    let saved = super::find::last_checkpoint(&session.bucket, run, task.0).await?;
    let mut outputs = Outputs::default();
    if let Some((name, generation)) = saved {
        let failed = Error::api("cannot download the last checkpoint");
        let download = session
            .bucket
            .download(&name, Some(generation))
            .await
            .map_err(failed)?;
        let reader = download.into_reader(&tokio::runtime::Handle::current());
        outputs = unpack(task.0, reader, &output, None, CHECKPOINT_LIMIT).await?;
    }
    let directory = landing.settle(false)?;
    let cancelled = execution.cancelled();
    let hint = explanation
        .hint
        .map(|hint| format!("; {hint}"))
        .unwrap_or_default();
    Ok(TaskResult {
        index: task.0,
        name: task.1.to_owned(),
        outcome: if cancelled {
            Ending::Cancelled
        } else {
            Ending::Lost
        },
        exit_code: if cancelled {
            crate::exit_code::INTERRUPTED
        } else {
            crate::exit_code::FAILURE
        },
        directory,
        bytes: outputs.unpacked.bytes,
        phases: Phases::default(),
        problem: Some(format!("it left no report: {}{hint}", explanation.why)),
        left_out: Vec::new(),
    })
}
