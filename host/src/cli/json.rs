//! For programs: one JSON object a line on standard output, the last being the result, or the error.
//!
//! Every line has `version` and `event`. Within version 1, fields may be added but never change their meaning.

use std::fmt::Write as _;
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
        let _ = writeln!(out, "{}", tame(&line)).and_then(|()| out.flush());
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
    let _ = writeln!(std::io::stdout().lock(), "{}", tame(&line));
}

/// On one line, with nothing that steers a terminal: outside of strings JSON is ASCII, and within one any character may
/// be written by its number.
pub(super) fn tame(value: &Value) -> String {
    let text = value.to_string();
    if !text.contains(archive::steers) {
        return text;
    }
    let mut tame = String::with_capacity(text.len());
    for character in text.chars() {
        if archive::steers(character) {
            // Writing to a string cannot fail.
            let _ = write!(tame, "\\u{:04x}", u32::from(character));
        } else {
            tame.push(character);
        }
    }
    tame
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_steers_a_terminal_is_written_by_its_number() {
        let value = json!({ "name": "a\u{9b}2J\u{7f}\u{202e}\u{2069}é\n" });
        let line = tame(&value);
        assert_eq!(line, r#"{"name":"a\u009b2J\u007f\u202e\u2069é\n"}"#);
        assert_eq!(serde_json::from_str::<Value>(&line).unwrap(), value);
    }
}
