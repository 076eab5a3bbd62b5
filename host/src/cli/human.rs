//! For people: the command's output where it belongs, everything else on standard error.

use std::io::{IsTerminal, Write};

use wire::names::Stream;

use super::live::Live;
use super::talk::Talk;
use crate::event::{Event, Progress, Reporter};
use crate::results::{Ending, TaskResult};
use crate::text::{count, duration, size};

/// For people.
#[derive(Debug)]
pub(super) struct Human {
    quiet: bool,
    dim: bool,
    /// On a terminal: lines that tell how it stands, below all others.
    live: Option<Live>,
    /// Of a run of Claude Code that is watched.
    talk: Talk,
    /// Beginnings of executions told so far; a run in many tells of the first few.
    started: u32,
}

/// A run in a rolling window has an execution for every few tasks: so many have a line of their own.
const STARTS_TOLD: u32 = 3;

impl Human {
    /// `quiet`: no word that is not a warning.
    pub(super) fn new(quiet: bool) -> Self {
        Self {
            quiet,
            dim: std::io::stderr().is_terminal(),
            live: None,
            talk: Talk::default(),
            started: 0,
        }
    }

    fn note(&self, text: &str) {
        if self.quiet {
            return;
        }
        if self.dim {
            self.above_the_bar(&format!("\x1b[2m{}\x1b[0m", tame(text)));
        } else {
            say(text);
        }
    }

    fn tell(&self, text: &str) {
        self.above_the_bar(&tame(text));
    }

    fn above_the_bar(&self, line: &str) {
        let write = || {
            let _ = writeln!(std::io::stderr().lock(), "{line}");
        };
        match &self.live {
            Some(lines) => lines.aside(write),
            None => write(),
        }
    }

    fn progress(&mut self, progress: &Progress) {
        if !self.quiet && self.dim {
            self.live.get_or_insert_with(Live::new).show(progress);
        }
    }

    fn finished(&mut self, dir: &std::path::Path, tasks: &[TaskResult], cost: Option<f64>) {
        self.live = None;
        if tasks.len() > 1 && !self.quiet {
            self.summary(tasks, cost);
        }
        let dir = match tasks {
            [only] => &only.directory,
            _ => dir,
        };
        match tasks {
            [only] => self.answer(only),
            _ => self.answers(tasks),
        }
        self.note(&format!("results: {}", relative(dir)));
    }

    /// The failures, and enough of the others to see what they are like.
    fn summary(&self, tasks: &[TaskResult], cost: Option<f64>) {
        let failed = tasks.iter().filter(|task| task.exit_code != 0);
        let count_failed = failed.clone().count();
        let few = tasks.len() <= SUMMARY_LINES;
        let shown: Vec<&TaskResult> = if few {
            tasks.iter().collect()
        } else {
            failed.take(SUMMARY_LINES).collect()
        };
        let row = |task: &&TaskResult| {
            [
                task.name.clone(),
                match &task.claude {
                    Some(claude) => claude.verdict.to_string(),
                    None => task.outcome.word().to_owned(),
                },
                task.exit_code.to_string(),
                duration(task.phases.command),
                size(task.bytes),
                task.cost
                    .map(|cost| format!("${cost:.4}"))
                    .unwrap_or_default(),
            ]
        };
        let billed = if cost.is_some() { "COST" } else { "" };
        let headings = ["TASK", "RESULT", "CODE", "DURATION", "OUTPUTS", billed];
        for line in super::table::lines(headings, shown.iter().map(row)) {
            self.note(&line);
        }
        if !few && count_failed > SUMMARY_LINES {
            self.note(&format!(
                "and {} more that failed",
                count_failed - SUMMARY_LINES
            ));
        }
        let cost = cost.map(|cost| {
            format!(
                "; ${cost:.4} by the list prices of {}",
                crate::cost::Prices::DATE
            )
        });
        let total = count(tasks.len() as u64, "task", "tasks");
        let cost = cost.unwrap_or_default();
        self.note(&format!("{count_failed} of {total} failed{cost}"));
    }

    /// What Claude Code said at last, and what it took.
    fn answer(&self, task: &TaskResult) {
        let Some(claude) = &task.claude else {
            return;
        };
        let summary = &claude.summary;
        for error in &summary.errors {
            self.tell(&format!("error: Claude Code: {error}"));
        }
        if !summary.denied_tools.is_empty() {
            let denied = summary.denied_tools.iter();
            let denied: Vec<String> = denied.map(|(tool, n)| format!("`{tool}` {n}×")).collect();
            let denied = denied.join(", ");
            self.tell(&format!("warning: tools that were not allowed: {denied}"));
        }
        self.note(&format!("verdict: {}", claude.verdict));
        self.note(&format!("turns: {}", summary.turns));
        if let Some(cost) = summary.cost_usd {
            self.note(&format!(
                "cost: ${cost:.4} for the API, as Claude Code reckons"
            ));
        }
        if let Some(response) = &summary.response {
            say_response(response);
        }
    }

    fn answers(&self, tasks: &[TaskResult]) {
        let all = || tasks.iter().filter_map(|task| task.claude.as_deref());
        if all().next().is_none() {
            return;
        }
        let turns = all().fold(0, |sum: u64, claude| {
            sum.saturating_add(claude.summary.turns)
        });
        let cost: f64 = all().filter_map(|claude| claude.summary.cost_usd).sum();
        let denied = all().filter(|claude| !claude.summary.denied_tools.is_empty());
        self.note(&format!(
            "Claude Code: {}, ${cost:.4} for the API",
            count(turns, "turn", "turns")
        ));
        if let denied @ 1.. = denied.count() {
            let tasks = count(denied as u64, "task was", "tasks were");
            self.tell(&format!("warning: {tasks} denied tools"));
        }
    }

    fn staged(&self, event: &Event<'_>) {
        let Event::Staged {
            name,
            entries,
            bytes,
            packs,
            sent,
            sent_bytes,
        } = event
        else {
            return;
        };
        let what = format!("{}, {}", count(*entries, "entry", "entries"), size(*bytes));
        let fate = match (sent, packs) {
            (0, _) => "already in the bucket".to_owned(),
            (_, 1) => format!("sent {}", size(*sent_bytes)),
            _ => format!("sent {} in {sent} of {packs} packs", size(*sent_bytes)),
        };
        self.note(&format!("input `{name}`: {what}: {fate}"));
    }

    fn landed(&self, result: &TaskResult) {
        for entry in &result.left_out {
            self.tell(&format!(
                "warning: left out of the outputs of task `{}`: {entry}",
                result.name
            ));
        }
        if let Some(problem) = &result.problem {
            self.tell(&format!("error: task `{}`: {problem}", result.name));
        }
        self.note(&format!("task `{}`: {}", result.name, ending(result)));
    }
}

/// So many tasks have a line each in the summary.
const SUMMARY_LINES: usize = 30;

impl Reporter for Human {
    fn wants_rows(&self) -> bool {
        self.dim && !self.quiet
    }

    fn event(&mut self, event: &Event<'_>) {
        match event {
            Event::Settled { source, job } => {
                self.note(&format!("settings: {source}; job `{job}`"));
            }
            Event::Warning(text) => self.tell(&format!("warning: {text}")),
            Event::Staged { .. } => self.staged(event),
            Event::Started {
                run,
                execution,
                tasks,
            } => {
                self.started += 1;
                if self.started <= STARTS_TOLD {
                    self.note(&format!(
                        "run {run}: {}, execution `{execution}`",
                        count(u64::from(*tasks), "task", "tasks")
                    ));
                }
            }
            Event::Detached { run } => {
                print(&run.to_string());
                self.note(&format!(
                    "it goes on by itself; `sortie wait {run}` brings its results home"
                ));
            }
            Event::Progress(progress) => self.progress(progress),
            Event::Output { stream, bytes, .. } => match &self.live {
                Some(lines) => lines.aside(|| pass_on(*stream, bytes)),
                None => pass_on(*stream, bytes),
            },
            // What it comes to is told at the end.
            Event::Claude { bytes, .. } => {
                for line in self.talk.hear(bytes) {
                    self.note(&line);
                }
            }
            Event::Cancelling => {
                self.tell("cancelling; what is saved comes home (Ctrl-C again leaves it)");
            }
            Event::Landed { result, .. } => self.landed(result),
            Event::Finished {
                dir, tasks, cost, ..
            } => self.finished(dir, tasks, *cost),
        }
    }
}

/// As the user would type it.
fn relative(dir: &std::path::Path) -> String {
    let here = std::env::current_dir().unwrap_or_default();
    dir.strip_prefix(here).unwrap_or(dir).display().to_string()
}

fn ending(result: &TaskResult) -> String {
    let after = format!("after {}", duration(result.phases.command));
    match result.outcome {
        Ending::Exited => format!("exit code {} {after}", result.exit_code),
        Ending::Signaled => format!(
            "ended by signal {} {after}",
            result.exit_code.saturating_sub(128)
        ),
        Ending::Deadline => format!("met its timeout {after}"),
        Ending::Cancelled => format!("cancelled {after}"),
        Ending::Exec => "its command could not be run".to_owned(),
        Ending::Setup => "its command was not run".to_owned(),
        Ending::Collect => format!("its outputs are lost {after}"),
        Ending::Lost => "lost".to_owned(),
    }
}

/// The command's bytes, as they are. A reader that has left is not our trouble.
fn pass_on(stream: Stream, bytes: &[u8]) {
    let _ = match stream {
        Stream::Stdout => {
            let mut out = std::io::stdout().lock();
            out.write_all(bytes).and_then(|()| out.flush())
        }
        Stream::Stderr => std::io::stderr().lock().write_all(bytes),
    };
}

/// The answer, where it was asked for. On a terminal it must not steer it.
fn say_response(text: &str) {
    let mut out = std::io::stdout().lock();
    let steers = |c: char| archive::steers(c) && !matches!(c, '\n' | '\t');
    let text = if out.is_terminal() {
        text.replace(steers, "\u{fffd}")
    } else {
        text.to_owned()
    };
    let _ = writeln!(out, "{text}").and_then(|()| out.flush());
}

/// A line on standard error. What comes from a task or a server must not steer the terminal.
pub(super) fn say(text: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{}", tame(text));
}

/// A line on standard output, for whoever asked.
pub(super) fn print(text: &str) {
    let _ = writeln!(std::io::stdout().lock(), "{}", tame(text));
}

pub(super) fn tame(text: &str) -> String {
    let tame = |c: char| if archive::steers(c) { '\u{fffd}' } else { c };
    text.chars().map(tame).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_steers_the_terminal() {
        assert_eq!(
            tame("a\x1b]0;title\x07b\u{9b}c\r\n"),
            "a\u{fffd}]0;title\u{fffd}b\u{fffd}c\u{fffd}\u{fffd}"
        );
        assert_eq!(tame("naïve — `x`"), "naïve — `x`");
        assert_eq!(tame("a\u{202e}b\u{2028}c"), "a\u{fffd}b\u{fffd}c");
    }
}
