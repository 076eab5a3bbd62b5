//! For people: the command's output where it belongs, everything else on standard error.

use std::io::{IsTerminal, Write};

use wire::names::Stream;

use crate::event::{Event, Reporter};
use crate::results::{Ending, TaskResult};
use crate::text::{count, duration, size};

/// For people.
#[derive(Debug)]
pub(super) struct Human {
    quiet: bool,
    dim: bool,
}

impl Human {
    /// `quiet`: no word that is not a warning.
    pub(super) fn new(quiet: bool) -> Self {
        Self {
            quiet,
            dim: std::io::stderr().is_terminal(),
        }
    }

    fn note(&self, text: &str) {
        if self.quiet {
            return;
        }
        if self.dim {
            let _ = writeln!(std::io::stderr().lock(), "\x1b[2m{}\x1b[0m", tame(text));
        } else {
            say(text);
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
            say(&format!(
                "warning: left out of the outputs of task `{}`: {entry}",
                result.name
            ));
        }
        if let Some(problem) = &result.problem {
            say(&format!("error: task `{}`: {problem}", result.name));
        }
        self.note(&format!("task `{}`: {}", result.name, ending(result)));
    }
}

impl Reporter for Human {
    fn event(&mut self, event: &Event<'_>) {
        match event {
            Event::Settled { source, job } => {
                self.note(&format!("settings: {source}; job `{job}`"));
            }
            Event::Warning(text) => say(&format!("warning: {text}")),
            Event::Staged { .. } => self.staged(event),
            Event::Started {
                run,
                execution,
                tasks,
            } => self.note(&format!(
                "run {run}: {}, execution `{execution}`",
                count(u64::from(*tasks), "task", "tasks")
            )),
            Event::Output { stream, bytes, .. } => pass_on(*stream, bytes),
            Event::Cancelling => {
                say("cancelling; what is saved comes home (Ctrl-C again leaves it)");
            }
            Event::Landed(result) => self.landed(result),
            Event::Finished { dir, tasks, .. } => {
                let failed = tasks.iter().filter(|task| task.exit_code != 0).count();
                if tasks.len() > 1 {
                    self.note(&format!("{} of {} tasks failed", failed, tasks.len()));
                }
                let dir = match tasks {
                    [only] => &only.directory,
                    _ => *dir,
                };
                self.note(&format!("results: {}", relative(dir)));
            }
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
        Ending::Signaled => format!("ended by signal {} {after}", result.exit_code - 128),
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

/// A line on standard error. What comes from a task or a server must not steer the terminal.
pub(super) fn say(text: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{}", tame(text));
}

fn tame(text: &str) -> String {
    let tame = |c: char| if c.is_control() { '\u{fffd}' } else { c };
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
    }
}
