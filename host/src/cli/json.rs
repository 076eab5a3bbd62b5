//! For programs: one JSON object a line on standard output, the last being the result, or the error.
//!
//! Every line has `version` and `event`. Within version 1, fields may be added but never change their meaning.

use std::io::Write;

use serde_json::{Value, json};
use wire::contract::ByteString;
use wire::names::Stream;

use crate::error::{Error, chain};
use crate::event::{Event, Progress, Reporter};

/// For programs.
#[derive(Debug, Default)]
pub(super) struct Lines {
    /// A program hears of a change, not of every look.
    progress: Option<Progress>,
}

impl Reporter for Lines {
    fn event(&mut self, event: &Event<'_>) {
        if let Event::Progress(progress) = event
            && self.progress.replace((*progress).clone()).as_ref() == Some(*progress)
        {
            return;
        }
        let mut line = describe(event);
        line["version"] = json!(1);
        let mut out = std::io::stdout().lock();
        let _ = writeln!(out, "{line}").and_then(|()| out.flush());
    }
}

/// The last line of a run that has no result.
pub(super) fn failure(error: &Error) {
    let line = json!({
        "version": 1,
        "event": "error",
        "error": chain(error),
        "hint": error.hint(),
        "run": error.run(),
        "exit_code": error.exit_code(),
    });
    let _ = writeln!(std::io::stdout().lock(), "{line}");
}

fn describe(event: &Event<'_>) -> Value {
    match event {
        Event::Settled { source, job } => {
            json!({ "event": "settled", "source": source, "job": job })
        }
        Event::Warning(text) => json!({ "event": "warning", "text": text }),
        Event::Staged {
            name,
            entries,
            bytes,
            packs,
            sent,
            sent_bytes,
        } => json!({
            "event": "staged", "input": name, "entries": entries, "bytes": bytes,
            "packs": packs, "sent": sent, "sent_bytes": sent_bytes,
        }),
        Event::Started {
            run,
            execution,
            tasks,
        } => json!({
            "event": "started", "run": run, "execution": execution, "tasks": tasks,
        }),
        Event::Output {
            task,
            stream,
            bytes,
        } => json!({
            "event": "output", "task": task,
            "stream": match stream { Stream::Stdout => "stdout", Stream::Stderr => "stderr" },
            "data": ByteString(bytes.to_vec()),
        }),
        Event::Claude { task, bytes } => json!({
            "event": "output", "task": task, "stream": "stdout", "data": ByteString(bytes.to_vec()),
        }),
        Event::Detached { run } => json!({ "event": "detached", "run": run }),
        Event::Progress(progress) => {
            let mut line = json!(progress);
            line["event"] = json!("progress");
            line
        }
        Event::Cancelling => json!({ "event": "cancelling" }),
        Event::Landed { result, .. } => {
            let mut line = json!(result);
            line["event"] = json!("landed");
            line
        }
        Event::Finished {
            run,
            dir,
            tasks,
            cost,
            code,
        } => json!({
            "event": "result", "run": run, "directory": dir, "exit_code": code, "cost": cost,
            "tasks": tasks,
        }),
    }
}
