//! One HTML page that tells a run: its tasks, where the time went, what they printed and left, and what was said.
//!
//! The page needs nothing beside it: no network, no script. What it shows is a stranger's, so all of it is escaped,
//! and the page forbids itself to load anything. It is bounded: what is long is cut, with a note.

mod conversation;
mod overview;
mod talk;
mod task;
mod text;

use std::io::{self, Write};

pub use conversation::{Conversation, ToolResult, Turn, gist};
pub use overview::{Fact, Overview, Phase, Row, Tone};
pub use task::{Log, OutputFile, StepView, Task};

use text::{Counted, escape};

/// Bytes after which tasks' details are left out, where nothing else is said: what a browser on a phone still opens.
const LARGEST: u64 = 48 << 20;

const STYLE: &str = include_str!("page/style.css");

/// A page that is being written: [`Page::begin`], [`Page::task`] for each task in the overview's order, [`Page::end`].
///
/// Tasks are written as they come, so that not all need be in memory.
#[derive(Debug)]
pub struct Page<W> {
    out: Counted<W>,
    tasks: usize,
    next: usize,
    limit: u64,
}

impl<W: Write> Page<W> {
    /// Writes the head: what is known of the run as a whole.
    pub fn begin(out: W, overview: &Overview) -> io::Result<Self> {
        let mut out = Counted::new(out);
        let title = escape(&overview.title);
        write!(
            out,
            "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
             <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
             <meta name=\"color-scheme\" content=\"light dark\">\n\
             <title>{title}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n"
        )?;
        overview::write(&mut out, overview)?;
        let tasks = overview.rows.len();
        Ok(Self {
            out,
            tasks,
            next: 0,
            limit: LARGEST,
        })
    }

    /// Leaves further tasks' details out as soon as the page has so many bytes, instead of 48 MiB.
    #[must_use]
    pub fn with_limit(self, limit: u64) -> Self {
        Self { limit, ..self }
    }

    /// Writes the next task's details.
    pub fn task(&mut self, task: &Task) -> io::Result<()> {
        let number = self.next;
        self.next += 1;
        if self.out.written() > self.limit {
            return task::write_nothing(&mut self.out, number, task);
        }
        task::write(&mut self.out, number, self.tasks, task)
    }

    /// Writes the end.
    pub fn end(mut self) -> io::Result<()> {
        self.out.write_all(b"</body>\n</html>\n")?;
        self.out.flush()
    }
}
