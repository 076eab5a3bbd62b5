//! A transcript as a conversation: what was said, and each tool call with what came of it.

use std::collections::HashMap;
use std::io::{self, BufRead};

use serde_json::Value;

use crate::line::{self, Line};
use crate::page::text::cut;
use crate::transcript::SUBAGENT;

/// Of one text so many bytes are kept: who wants the rest has the transcript.
const TEXT: usize = 64 << 10;

/// So many turns of one conversation are kept.
const TURNS: usize = 5_000;

/// Agents of agents, so deep.
const DEEPEST: usize = 16;

/// What was said, in order.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Conversation {
    /// In order.
    pub turns: Vec<Turn>,
    /// How many there were beyond those that are kept.
    pub left_out: usize,
}

/// A piece of a conversation.
#[derive(Debug, Clone, PartialEq)]
pub enum Turn {
    /// Said by whoever asked.
    User(String),
    /// Said by the model.
    Assistant(String),
    /// Thought by the model.
    Thinking(String),
    /// Told by the CLI.
    Note(String),
    /// A tool was used.
    Tool {
        /// Its name.
        name: String,
        /// What it was given: one line that says it, if there is one.
        gist: String,
        /// What it was given, as JSON.
        input: String,
        /// What came of it.
        result: Option<ToolResult>,
        /// What the agent said that did it.
        agent: Option<Conversation>,
    },
}

/// What came of a tool's use.
#[derive(Debug, Clone, PartialEq)]
pub struct ToolResult {
    /// What the model was told.
    pub text: String,
    /// Whether it failed, or was not allowed.
    pub failed: bool,
}

impl Conversation {
    /// Reads what [`transcript::write`](crate::transcript::write) wrote, an entry at a time.
    pub fn read(transcript: impl BufRead) -> io::Result<Self> {
        let mut reading = Reading::default();
        line::each_of_array(transcript, |line| {
            if let Line::Object(entry) = line {
                reading.entry(&Value::Object(entry), DEEPEST);
            }
            Ok(())
        })?;
        Ok(reading.conversation)
    }
}

#[derive(Default)]
struct Reading {
    conversation: Conversation,
    /// Where the calls are whose results may come.
    calls: HashMap<String, usize>,
}

impl Reading {
    fn entry(&mut self, entry: &Value, depth: usize) {
        if let Some(agent) = entry.get(SUBAGENT) {
            let agent = agent_of(agent, depth);
            let (name, gist) = ("an agent whose result never came".to_owned(), String::new());
            let (input, result) = (String::new(), None);
            return self.push(Turn::Tool {
                name,
                gist,
                input,
                result,
                agent,
            });
        }
        let content = &entry["message"]["content"];
        let kind = entry["type"].as_str().unwrap_or_default();
        if let Some(text) = content.as_str().or(entry["content"].as_str()) {
            self.say(kind, entry, text);
        }
        for block in content.as_array().into_iter().flatten() {
            self.block(kind, entry, block, depth);
        }
    }

    fn block(&mut self, kind: &str, entry: &Value, block: &Value, depth: usize) {
        match block["type"].as_str() {
            Some("text") => self.say(kind, entry, block["text"].as_str().unwrap_or_default()),
            Some("thinking") => {
                let thought = block["thinking"].as_str().unwrap_or_default();
                if !thought.is_empty() {
                    self.push(Turn::Thinking(kept(thought)));
                }
            }
            Some("tool_use" | "server_tool_use") => self.call(block),
            Some("tool_result") => self.result(block, depth),
            Some(other) => self.push(Turn::Note(format!("[{}]", label(other)))),
            None => {}
        }
    }

    fn say(&mut self, kind: &str, entry: &Value, text: &str) {
        if text.trim().is_empty() {
            return;
        }
        let text = kept(text);
        let turn = match kind {
            "assistant" => Turn::Assistant(text),
            "user" if entry["isMeta"] != true => Turn::User(text),
            _ => Turn::Note(text),
        };
        self.push(turn);
    }

    fn call(&mut self, block: &Value) {
        if let Some(id) = block["id"].as_str() {
            self.calls
                .insert(id.to_owned(), self.conversation.turns.len());
        }
        let input = serde_json::to_string_pretty(&block["input"]).unwrap_or_default();
        self.push(Turn::Tool {
            name: kept(block["name"].as_str().unwrap_or("?")),
            gist: gist(&block["input"]),
            input: kept(&input),
            result: None,
            agent: None,
        });
    }

    fn result(&mut self, block: &Value, depth: usize) {
        let came = ToolResult {
            text: kept(&result_text(&block["content"])),
            failed: block["is_error"] == true,
        };
        let said_by = block.get(SUBAGENT).and_then(|agent| agent_of(agent, depth));
        let at = block["tool_use_id"]
            .as_str()
            .and_then(|id| self.calls.remove(id));
        let call = at.and_then(|at| self.conversation.turns.get_mut(at));
        if let Some(Turn::Tool { result, agent, .. }) = call {
            *result = Some(came);
            *agent = said_by;
            return;
        }
        self.push(Turn::Tool {
            name: "a tool".to_owned(),
            gist: String::new(),
            input: String::new(),
            result: Some(came),
            agent: said_by,
        });
    }

    fn push(&mut self, turn: Turn) {
        if self.conversation.turns.len() < TURNS {
            self.conversation.turns.push(turn);
        } else {
            self.conversation.left_out += 1;
        }
    }
}

fn agent_of(entries: &Value, depth: usize) -> Option<Conversation> {
    let mut reading = Reading::default();
    for entry in entries.as_array().filter(|_| depth > 0)? {
        reading.entry(entry, depth - 1);
    }
    Some(reading.conversation)
}

/// The line of a tool's input that says what is done; empty where none does.
pub fn gist(input: &Value) -> String {
    let telling = [
        "command",
        "file_path",
        "path",
        "pattern",
        "url",
        "query",
        "description",
        "prompt",
    ];
    let said = telling.iter().find_map(|name| input[*name].as_str());
    first_line(said.unwrap_or_default(), 200).to_owned()
}

/// A kind's name, which is short unless somebody means harm.
fn label(kind: &str) -> &str {
    first_line(kind, 40)
}

fn first_line(text: &str, most: usize) -> &str {
    cut(text.lines().next().unwrap_or_default(), most).0
}

fn result_text(content: &Value) -> String {
    if let Some(text) = content.as_str() {
        return text.to_owned();
    }
    let text = |block: &Value| match block["text"].as_str() {
        Some(text) => text.to_owned(),
        None => format!("[{}]", label(block["type"].as_str().unwrap_or("?"))),
    };
    let blocks = content.as_array().into_iter().flatten();
    blocks.map(text).collect::<Vec<_>>().join("\n")
}

fn kept(text: &str) -> String {
    match cut(text, TEXT) {
        (text, 0) => text.to_owned(),
        (text, left) => format!("{text}\n[… {left} more bytes: they are in the transcript]"),
    }
}
