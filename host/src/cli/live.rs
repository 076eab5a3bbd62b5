//! Lines on a terminal that tell how a run stands, while it does.

use std::fmt::Write;
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use super::human::tame;
use crate::event::Progress;
use crate::text::duration;

/// So many running tasks have a line each; more are folded into one.
const LINES: usize = 8;

/// The lines, below everything else. Dropped, they are gone.
#[derive(Debug)]
pub(super) struct Live {
    all: MultiProgress,
    head: ProgressBar,
    tasks: Vec<ProgressBar>,
}

impl Live {
    pub(super) fn new() -> Self {
        let all = MultiProgress::new();
        let head = all.add(ProgressBar::new_spinner());
        head.enable_steady_tick(Duration::from_millis(500));
        Self {
            all,
            head,
            tasks: Vec::new(),
        }
    }

    /// Prints something above the lines.
    pub(super) fn aside(&self, print: impl FnOnce()) {
        self.all.suspend(print);
    }

    pub(super) fn show(&mut self, progress: &Progress) {
        if progress.tasks < 2 {
            let phase = match (progress.running, progress.home) {
                (_, 1..) => "bringing its results home",
                (0, 0) => "waiting for a container",
                _ => "running",
            };
            self.head.set_message(phase);
            return;
        }
        let bar = ProgressStyle::with_template("{bar:20} {msg} {elapsed}");
        if let Ok(bar) = bar {
            self.head.set_style(bar);
        }
        self.head.set_length(u64::from(progress.tasks));
        self.head.set_position(u64::from(progress.home));
        self.head.set_message(headline(progress));
        let now = jiff::Timestamp::now();
        let folded = progress.rows.len().saturating_sub(LINES);
        let mut texts: Vec<String> = progress
            .rows
            .iter()
            .take(LINES)
            .map(|row| {
                let ms = now.duration_since(row.since).as_millis();
                let running = duration(u64::try_from(ms).unwrap_or(0));
                tame(&format!("task `{}`: {running}", row.name))
            })
            .collect();
        if folded > 0 {
            texts.push(format!("and {folded} more"));
        }
        while self.tasks.len() > texts.len() {
            if let Some(line) = self.tasks.pop() {
                line.finish_and_clear();
                self.all.remove(&line);
            }
        }
        while self.tasks.len() < texts.len() {
            let line = ProgressBar::new_spinner();
            let plain = ProgressStyle::with_template("  {msg}");
            let line = line.with_style(plain.unwrap_or_else(|_| ProgressStyle::default_spinner()));
            self.tasks.push(self.all.add(line));
        }
        for (line, text) in self.tasks.iter().zip(texts) {
            line.set_message(text);
        }
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        let _ = self.all.clear();
    }
}

fn headline(progress: &Progress) -> String {
    let mut text = format!("{} of {} home", progress.home, progress.tasks);
    let parts = [
        (u64::from(progress.running), "running"),
        (u64::from(progress.waiting), "waiting"),
        (progress.failed as u64, "failed"),
    ];
    for (n, what) in parts.iter().filter(|(n, _)| *n > 0) {
        let _ = write!(text, ", {n} {what}");
    }
    if let Some(cost) = progress.cost {
        let _ = write!(text, ", ${cost:.2}");
    }
    text
}
