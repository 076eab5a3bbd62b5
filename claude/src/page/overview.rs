//! The run as a whole: facts, a table of tasks, a timeline.

use std::io::{self, Write};

use super::text::{count, duration, escape, money, size};

/// The timeline's first tasks; a page is no place for ten thousand bars.
const BARS: usize = 500;

/// What is known of a run as a whole.
#[derive(Debug, Clone, Default)]
pub struct Overview {
    /// The page's title: the run.
    pub title: String,
    /// Whatever else is worth a line: who, when, where.
    pub facts: Vec<Fact>,
    /// The tasks, in the order in which their details follow.
    pub rows: Vec<Row>,
}

/// A name and its value.
#[derive(Debug, Clone, Default)]
pub struct Fact {
    /// `model`.
    pub name: String,
    /// `claude-…`.
    pub value: String,
}

/// A task in the table and the timeline.
#[derive(Debug, Clone, Default)]
pub struct Row {
    /// The task's name.
    pub name: String,
    /// How it ended, in a word or two: `done`, `exit code 3`.
    pub ending: String,
    /// Whether that is good.
    pub tone: Tone,
    /// Where its time went, in order.
    pub phases: Vec<Phase>,
    /// From its first phase to its last, in milliseconds.
    pub duration_ms: Option<u64>,
    /// Turns of its conversation.
    pub turns: Option<u64>,
    /// US dollars.
    pub cost_usd: Option<f64>,
    /// Files that came home.
    pub output_files: u64,
    /// Their bytes.
    pub output_bytes: u64,
}

/// How an ending is meant.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Tone {
    /// As it should.
    Good,
    /// Not as it should.
    Bad,
    /// Neither.
    #[default]
    Plain,
}

impl Tone {
    pub(super) fn class(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Bad => "bad",
            Self::Plain => "plain",
        }
    }
}

/// A piece of a task's time. Milliseconds since the run began.
#[derive(Debug, Clone, Default)]
pub struct Phase {
    /// `fetch`; phases of one name have one colour.
    pub name: String,
    /// When it began.
    pub start_ms: u64,
    /// How long it took.
    pub length_ms: u64,
}

impl Phase {
    fn end(&self) -> u64 {
        self.start_ms.saturating_add(self.length_ms)
    }
}

pub(super) fn write(out: &mut impl Write, overview: &Overview) -> io::Result<()> {
    let title = escape(&overview.title);
    write!(out, "<header>\n<h1>{title}</h1>\n")?;
    facts(out, &overview.facts)?;
    tiles(out, &overview.rows)?;
    out.write_all(b"</header>\n")?;
    table(out, &overview.rows)?;
    timeline(out, &overview.rows)
}

pub(super) fn facts(out: &mut impl Write, facts: &[Fact]) -> io::Result<()> {
    if facts.is_empty() {
        return Ok(());
    }
    out.write_all(b"<dl class=\"facts\">\n")?;
    for Fact { name, value } in facts {
        let (name, value) = (escape(name), escape(value));
        writeln!(out, "<div><dt>{name}</dt><dd>{value}</dd></div>")?;
    }
    out.write_all(b"</dl>\n")
}

fn tiles(out: &mut impl Write, rows: &[Row]) -> io::Result<()> {
    let of = |tone| rows.iter().filter(|row| row.tone == tone).count();
    let cost: Vec<_> = rows.iter().filter_map(|row| row.cost_usd).collect();
    let end = rows
        .iter()
        .flat_map(|row| &row.phases)
        .map(Phase::end)
        .max();
    let bytes = rows
        .iter()
        .fold(0_u64, |sum, row| sum.saturating_add(row.output_bytes));
    out.write_all(b"<ul class=\"tiles\">\n")?;
    tile(out, "tasks", &rows.len().to_string())?;
    tile(out, "succeeded", &of(Tone::Good).to_string())?;
    tile(out, "failed", &of(Tone::Bad).to_string())?;
    if let Some(end) = end {
        tile(out, "from start to end", &duration(end))?;
    }
    if !cost.is_empty() {
        tile(out, "cost", &money(cost.iter().sum()))?;
    }
    tile(out, "outputs", &size(bytes))?;
    out.write_all(b"</ul>\n")
}

fn tile(out: &mut impl Write, name: &str, value: &str) -> io::Result<()> {
    writeln!(out, "<li><b>{value}</b> <span>{name}</span></li>")
}

fn table(out: &mut impl Write, rows: &[Row]) -> io::Result<()> {
    let talks = rows
        .iter()
        .any(|row| row.turns.is_some() || row.cost_usd.is_some());
    let talk_head = if talks {
        "<th class=\"n\">turns</th><th class=\"n\">cost</th>"
    } else {
        ""
    };
    write!(
        out,
        "<section>\n<h2>Tasks</h2>\n<div class=\"wide\"><table>\n<thead><tr><th>task</th><th>ended</th>\
         <th class=\"n\">time</th>{talk_head}<th class=\"n\">outputs</th></tr></thead>\n<tbody>\n"
    )?;
    for (number, row) in rows.iter().enumerate() {
        let (name, ending, class) = (escape(&row.name), escape(&row.ending), row.tone.class());
        let time = row.duration_ms.map(duration).unwrap_or_default();
        write!(
            out,
            "<tr><td><a href=\"#task-{number}\">{name}</a></td><td><span class=\"end {class}\">{ending}</span></td>\
             <td class=\"n\">{time}</td>"
        )?;
        if talks {
            let turns = row.turns.map(|turns| turns.to_string()).unwrap_or_default();
            let cost = row.cost_usd.map(money).unwrap_or_default();
            write!(
                out,
                "<td class=\"n\">{turns}</td><td class=\"n\">{cost}</td>"
            )?;
        }
        let outputs = match row.output_files {
            0 => "–".to_owned(),
            files => format!("{}, {}", count(files, "file"), size(row.output_bytes)),
        };
        writeln!(out, "<td class=\"n\">{outputs}</td></tr>")?;
    }
    out.write_all(b"</tbody>\n</table></div>\n</section>\n")
}

fn timeline(out: &mut impl Write, rows: &[Row]) -> io::Result<()> {
    let phases = || rows.iter().take(BARS).flat_map(|row| &row.phases);
    let Some(end) = phases().map(Phase::end).max().filter(|&end| end > 0) else {
        return Ok(());
    };
    let mut names: Vec<&str> = Vec::new();
    for phase in phases() {
        if !names.contains(&phase.name.as_str()) {
            names.push(&phase.name);
        }
    }
    out.write_all(b"<section>\n<h2>Where the time went</h2>\n<ul class=\"legend\">\n")?;
    for (colour, name) in names.iter().enumerate() {
        let name = escape(name);
        writeln!(
            out,
            "<li><i class=\"p{}\"></i>{name}</li>",
            colour % COLOURS
        )?;
    }
    out.write_all(b"</ul>\n<div class=\"timeline\">\n")?;
    for (number, row) in rows.iter().take(BARS).enumerate() {
        let name = escape(&row.name);
        write!(
            out,
            "<a href=\"#task-{number}\">{name}</a><div class=\"bar\">"
        )?;
        for phase in &row.phases {
            bar(out, phase, end, &names)?;
        }
        out.write_all(b"</div>\n")?;
    }
    write!(
        out,
        "<span></span><div class=\"scale\"><span>0</span><span>{}</span></div>\n</div>\n",
        duration(end)
    )?;
    if rows.len() > BARS {
        let more = rows.len() - BARS;
        writeln!(
            out,
            "<p class=\"note\">{more} more tasks are not drawn.</p>"
        )?;
    }
    out.write_all(b"</section>\n")
}

/// In the style sheet.
const COLOURS: usize = 6;

#[expect(clippy::cast_precision_loss, reason = "a place on a line")]
fn bar(out: &mut impl Write, phase: &Phase, end: u64, names: &[&str]) -> io::Result<()> {
    let percent = |ms: u64| ms as f64 * 100.0 / end as f64;
    let (left, width) = (percent(phase.start_ms), percent(phase.length_ms));
    let colour = names
        .iter()
        .position(|name| *name == phase.name)
        .unwrap_or(0)
        % COLOURS;
    let (name, length) = (escape(&phase.name), duration(phase.length_ms));
    write!(
        out,
        "<i class=\"p{colour}\" style=\"left:{left:.3}%;width:{width:.3}%\" title=\"{name}: {length}\"></i>"
    )
}
