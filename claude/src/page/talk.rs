//! A conversation as HTML.

use std::io::{self, Write};

use super::conversation::{Conversation, ToolResult, Turn};
use super::text::{count, escape};

/// A note shorter than this is one line.
const SHORT_NOTE: usize = 120;

pub(super) fn write(out: &mut dyn Write, conversation: &Conversation) -> io::Result<()> {
    out.write_all(b"<div class=\"talk\">\n")?;
    for turn in &conversation.turns {
        write_turn(out, turn)?;
    }
    if conversation.left_out > 0 {
        let more = count(conversation.left_out as u64, "more item");
        writeln!(
            out,
            "<p class=\"note\">{more}: they are in the transcript.</p>"
        )?;
    }
    out.write_all(b"</div>\n")
}

fn write_turn(out: &mut dyn Write, turn: &Turn) -> io::Result<()> {
    match turn {
        Turn::User(text) => said(out, "user", "user", text),
        Turn::Assistant(text) => said(out, "assistant", "claude", text),
        Turn::Thinking(text) => folded(out, "thinking", text),
        Turn::Note(text) if text.len() <= SHORT_NOTE && !text.contains('\n') => {
            writeln!(out, "<p class=\"note\">{}</p>", escape(text))
        }
        Turn::Note(text) => folded(out, "from the harness", text),
        Turn::Tool {
            name,
            gist,
            input,
            result,
            agent,
        } => {
            let failed = result.as_ref().is_some_and(|result| result.failed);
            let class = if failed { "tool failed" } else { "tool" };
            let (name, gist) = (escape(name), escape(gist));
            let mark = if failed { " <em>failed</em>" } else { "" };
            writeln!(
                out,
                "<details class=\"{class}\"><summary><b>{name}</b>{mark} <code>{gist}</code></summary>"
            )?;
            if !input.is_empty() {
                writeln!(out, "<pre>{}</pre>", escape(input))?;
            }
            came(out, result.as_ref())?;
            if let Some(agent) = agent {
                agent_talk(out, agent)?;
            }
            out.write_all(b"</details>\n")
        }
    }
}

fn said(out: &mut dyn Write, class: &str, who: &str, text: &str) -> io::Result<()> {
    let text = escape(text);
    writeln!(
        out,
        "<article class=\"{class}\"><h4>{who}</h4><div class=\"said\">{text}</div></article>"
    )
}

fn folded(out: &mut dyn Write, what: &str, text: &str) -> io::Result<()> {
    let text = escape(text);
    writeln!(
        out,
        "<details class=\"aside\"><summary>{what}</summary><div class=\"said\">{text}</div></details>"
    )
}

fn came(out: &mut dyn Write, result: Option<&ToolResult>) -> io::Result<()> {
    match result {
        None => writeln!(out, "<p class=\"note\">No result came.</p>"),
        Some(result) if result.text.is_empty() => {
            writeln!(out, "<p class=\"note\">The result is empty.</p>")
        }
        Some(result) => writeln!(out, "<pre class=\"result\">{}</pre>", escape(&result.text)),
    }
}

fn agent_talk(out: &mut dyn Write, agent: &Conversation) -> io::Result<()> {
    let turns = count((agent.turns.len() + agent.left_out) as u64, "item");
    writeln!(
        out,
        "<details class=\"agent\" open><summary>sub-agent <small>{turns}</small></summary>"
    )?;
    write(out, agent)?;
    out.write_all(b"</details>\n")
}
