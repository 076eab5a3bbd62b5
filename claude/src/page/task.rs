//! One task: how it ended, what it said, left and printed.

use std::io::{self, Write};

use super::conversation::Conversation;
use super::overview::{Fact, Tone, facts};
use super::talk;
use super::text::{count, cut, escape, size};

/// Of a stream so many bytes are shown: its last.
const LOG: usize = 64 << 10;

/// So many files are listed.
const FILES: usize = 500;

/// Up to so many tasks stand open.
const OPEN: usize = 3;

/// Of the response so many bytes are shown.
const RESPONSE: usize = 256 << 10;

/// A task's details.
#[derive(Debug, Clone, Default)]
pub struct Task {
    /// As in its row.
    pub name: String,
    /// As in its row.
    pub ending: String,
    /// As in its row.
    pub tone: Tone,
    /// Whatever is worth a line: model, session, stop reason, denied tools, the results' directory.
    pub facts: Vec<Fact>,
    /// What went wrong, in words.
    pub problems: Vec<String>,
    /// The final answer.
    pub response: Option<String>,
    /// What was said.
    pub conversation: Option<Conversation>,
    /// Commands before and after the task's own.
    pub steps: Vec<StepView>,
    /// The files that came home, as many as the caller cares to name.
    pub outputs: Vec<OutputFile>,
    /// How many there are.
    pub output_files: u64,
    /// Standard output.
    pub stdout: Log,
    /// Standard error.
    pub stderr: Log,
}

/// A command before or after the task's own.
#[derive(Debug, Clone, Default)]
pub struct StepView {
    /// `post 1`.
    pub name: String,
    /// `exit code 0`.
    pub ending: String,
    /// Whether that is good.
    pub tone: Tone,
    /// The last it printed.
    pub tail: String,
}

/// A file that came home.
#[derive(Debug, Clone, Default)]
pub struct OutputFile {
    /// Relative to `output/`.
    pub path: String,
    /// Its bytes.
    pub size: u64,
}

/// A stream's end.
#[derive(Debug, Clone, Default)]
pub struct Log {
    /// Its last bytes, as many as the caller cares to give.
    pub tail: Vec<u8>,
    /// How many there are in all.
    pub bytes: u64,
}

pub(super) fn write(
    out: &mut impl Write,
    number: usize,
    tasks: usize,
    task: &Task,
) -> io::Result<()> {
    let open = if tasks <= OPEN { " open" } else { "" };
    begin(out, number, task, open)?;
    for problem in &task.problems {
        writeln!(out, "<p class=\"problem\">{}</p>", escape(problem))?;
    }
    facts(out, &task.facts)?;
    if let Some(response) = &task.response {
        let (shown, left) = cut(response, RESPONSE);
        writeln!(
            out,
            "<h3>Response</h3>\n<div class=\"said response\">{}</div>",
            escape(shown)
        )?;
        left_out(out, left as u64)?;
    }
    if let Some(conversation) = &task.conversation {
        let turns = count(
            (conversation.turns.len() + conversation.left_out) as u64,
            "item",
        );
        writeln!(
            out,
            "<details open><summary><h3>Conversation</h3> <small>{turns}</small></summary>"
        )?;
        talk::write(out, conversation)?;
        out.write_all(b"</details>\n")?;
    }
    task.steps
        .iter()
        .try_for_each(|step| write_step(out, step))?;
    outputs(out, task)?;
    log(out, "Standard output", &task.stdout)?;
    log(out, "Standard error", &task.stderr)?;
    out.write_all(b"</div>\n</details>\n")
}

/// Where the page is long enough.
pub(super) fn write_nothing(out: &mut impl Write, number: usize, task: &Task) -> io::Result<()> {
    begin(out, number, task, "")?;
    out.write_all(b"<p class=\"note\">Left out: the page is long enough. All of it is in the task's directory.</p>\n</div>\n</details>\n")
}

/// The body has the name that links lead to: a browser opens what is folded around a link's target.
fn begin(out: &mut impl Write, number: usize, task: &Task, open: &str) -> io::Result<()> {
    let (name, ending, class) = (escape(&task.name), escape(&task.ending), task.tone.class());
    writeln!(
        out,
        "<details class=\"task\"{open}><summary><h2>{name}</h2> \
         <span class=\"end {class}\">{ending}</span></summary>\n\
         <div id=\"task-{number}\">"
    )
}

fn write_step(out: &mut impl Write, step: &StepView) -> io::Result<()> {
    let (name, ending, class) = (escape(&step.name), escape(&step.ending), step.tone.class());
    let tail = escape(&step.tail);
    writeln!(
        out,
        "<details><summary><h3>{name}</h3> <span class=\"end {class}\">{ending}</span></summary>\n\
         <pre>{tail}</pre></details>"
    )
}

fn outputs(out: &mut impl Write, task: &Task) -> io::Result<()> {
    if task.outputs.is_empty() {
        return Ok(());
    }
    let files = count(task.output_files, "file");
    writeln!(
        out,
        "<details open><summary><h3>Outputs</h3> <small>{files}</small></summary>\n<div class=\"wide\"><table class=\"files\">"
    )?;
    for OutputFile { path, size: bytes } in task.outputs.iter().take(FILES) {
        let (path, bytes) = (escape(path), size(*bytes));
        writeln!(
            out,
            "<tr><td><code>{path}</code></td><td class=\"n\">{bytes}</td></tr>"
        )?;
    }
    out.write_all(b"</table></div>\n")?;
    let more = task
        .output_files
        .saturating_sub(task.outputs.len().min(FILES) as u64);
    if more > 0 {
        writeln!(
            out,
            "<p class=\"note\">{} not listed.</p>",
            count(more, "more file")
        )?;
    }
    out.write_all(b"</details>\n")
}

fn log(out: &mut impl Write, name: &str, log: &Log) -> io::Result<()> {
    if log.bytes == 0 {
        return Ok(());
    }
    let shown = &log.tail[log.tail.len().saturating_sub(LOG)..];
    let (bytes, text) = (size(log.bytes), String::from_utf8_lossy(shown));
    writeln!(
        out,
        "<details><summary><h3>{name}</h3> <small>{bytes}</small></summary>"
    )?;
    left_out(out, log.bytes.saturating_sub(shown.len() as u64))?;
    writeln!(out, "<pre>{}</pre></details>", escape(&text))
}

fn left_out(out: &mut impl Write, bytes: u64) -> io::Result<()> {
    if bytes == 0 {
        return Ok(());
    }
    writeln!(
        out,
        "<p class=\"note\">{} are left out here.</p>",
        size(bytes)
    )
}
