//! `transcript.json`: a session's messages in order, each sub-agent's inlined where its result came.
//!
//! The CLI keeps a session as `projects/<directory>/<session>.jsonl` and its sub-agents as
//! `projects/<directory>/<session>/subagents/agent-<id>.jsonl`, with a `.meta.json` that names the tool call each was
//! started by. Of its many kinds of lines three are messages; the rest (requests, attachments, prompts) stays where it
//! is.

use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, Write};
use std::path::{Path, PathBuf};

use fs_err as fs;
use serde_json::{Map, Value, json};

use crate::line::{self, Line};

/// The field of a `tool_result` that holds a sub-agent's messages.
pub const SUBAGENT: &str = "subagent_transcript";

/// What is a message.
const MESSAGES: [&str; 3] = ["user", "assistant", "system"];

/// What is a message among the events, whose `system` ones are the CLI's own.
const SAID: [&str; 2] = ["user", "assistant"];

/// Sub-agents of sub-agents, so deep.
const DEEPEST: usize = 16;

/// What went into a transcript, and what did not.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Written {
    /// Messages, those of sub-agents included.
    pub messages: u64,
    /// Sub-agents.
    pub subagents: u64,
    /// Lines that are torn or too long.
    pub torn: u64,
}

/// A transcript that cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum TranscriptError {
    /// Only a session's file tells what was said.
    #[error("there is no session `{0}` among those that came back")]
    NoSession(String),
    /// Here.
    #[error("cannot make the transcript")]
    Io(#[from] io::Error),
}

/// Writes the transcript of a session from the `projects` directory that came back, as a JSON array.
///
/// A sub-agent whose call has no result (the run was cut short) comes last, in an entry of type `subagent`.
pub fn write(projects: &Path, session: &str, out: impl Write) -> Result<Written, TranscriptError> {
    let none = || TranscriptError::NoSession(session.to_owned());
    let path = find(projects, session).ok_or_else(none)?;
    let mut agents = Agents::find(&path.with_extension("").join("subagents"));
    let mut array = Array::begin(out)?;
    let mut written = Written::default();
    messages(&path, &mut written, &mut |mut message, written| {
        agents.inline(&mut message, written, DEEPEST)?;
        array.push(&message)
    })?;
    while let Some((call, agent)) = agents.by_call.pop_first() {
        let messages = agents.read(&agent, &mut written, DEEPEST)?;
        array.push(&json!({"type": "subagent", "tool_use_id": call, SUBAGENT: messages}))?;
    }
    array.end()?;
    Ok(written)
}

/// Writes what a transcript can have from the CLI's events alone, where no session came back: an attempt that was
/// killed leaves its output at the most. The prompt is not among the events.
pub fn write_from_events(events: impl BufRead, out: impl Write) -> io::Result<Written> {
    let mut array = Array::begin(out)?;
    let mut written = Written::default();
    let mut agents = Overheard::default();
    line::each(events, |line| {
        let Line::Object(event) = line else {
            written.torn += 1;
            return Ok(());
        };
        let kind = event.get("type").and_then(Value::as_str);
        if !kind.is_some_and(|kind| SAID.contains(&kind)) {
            return Ok(());
        }
        written.messages += 1;
        match agents.hear(Value::Object(event)) {
            Some(message) => array.push(&message),
            None => Ok(()),
        }
    })?;
    written.subagents = agents.heard;
    for (call, messages) in agents.by_call {
        array.push(&json!({"type": "subagent", "tool_use_id": call, SUBAGENT: messages}))?;
    }
    array.end()?;
    Ok(written)
}

/// Sub-agents' messages among the events, until the result comes that they belong to.
#[derive(Default)]
struct Overheard {
    by_call: BTreeMap<String, Vec<Value>>,
    heard: u64,
    bytes: u64,
}

impl Overheard {
    /// Gives a message of the main conversation back, and keeps any other.
    fn hear(&mut self, mut message: Value) -> Option<Value> {
        let parent = message["parent_tool_use_id"].as_str().map(str::to_owned);
        for block in results(&mut message) {
            let call = block.get("tool_use_id").and_then(Value::as_str);
            let agent = call.and_then(|call| self.by_call.remove(call));
            if let (Some(messages), Some(block)) = (agent, block.as_object_mut()) {
                block.insert(SUBAGENT.to_owned(), Value::Array(messages));
            }
        }
        let Some(parent) = parent else {
            return Some(message);
        };
        self.bytes += message.to_string().len() as u64;
        if self.bytes > SUBAGENTS_LIMIT {
            return None;
        }
        let heard = &mut self.heard;
        let messages = self.by_call.entry(parent).or_insert_with(|| {
            *heard += 1;
            Vec::new()
        });
        messages.push(message);
        None
    }
}

/// The blocks of a message among which the results are.
fn results(message: &mut Value) -> impl Iterator<Item = &mut Value> {
    let blocks = message.pointer_mut("/message/content");
    blocks.and_then(Value::as_array_mut).into_iter().flatten()
}

/// The session's file. Names are a stranger's, and a link may lead anywhere.
fn find(projects: &Path, session: &str) -> Option<PathBuf> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    if session.is_empty() || !session.bytes().all(plain) {
        return None;
    }
    let directories = fs::read_dir(projects).ok()?;
    let file = |directory: std::io::Result<fs::DirEntry>| {
        let directory = directory.ok()?;
        directory.file_type().ok()?.is_dir().then_some(())?;
        let path = directory.path().join(format!("{session}.jsonl"));
        let size = size(&path)?;
        Some((size, path))
    };
    directories.filter_map(file).max().map(|(_, path)| path)
}

/// Of a file that is one.
fn size(path: &Path) -> Option<u64> {
    let metadata = fs::symlink_metadata(path).ok()?;
    metadata.is_file().then_some(metadata.len())
}

/// Calls `each` for every message of a session's file.
fn messages(
    path: &Path,
    written: &mut Written,
    each: &mut dyn FnMut(Value, &mut Written) -> io::Result<()>,
) -> io::Result<()> {
    // Its mode is a stranger's, too: what cannot be read is left out, and counted.
    let Ok(file) = fs::File::open(path) else {
        written.torn += 1;
        return Ok(());
    };
    line::each(BufReader::new(file), |line| match line {
        Line::Object(line) if is_message(&line) => {
            written.messages += 1;
            each(Value::Object(line), written)
        }
        Line::Object(_) => Ok(()),
        Line::Torn | Line::Giant => {
            written.torn += 1;
            Ok(())
        }
    })
}

fn is_message(line: &Map<String, Value>) -> bool {
    let kind = line.get("type").and_then(Value::as_str);
    kind.is_some_and(|kind| MESSAGES.contains(&kind))
}

/// So many bytes of sub-agents' messages are inlined; what is beyond is left out, and counted.
const SUBAGENTS_LIMIT: u64 = 128 << 20;

/// A file that tells an agent's call has some hundred bytes.
const META_LIMIT: u64 = 64 << 10;

/// Sub-agents that are not inlined yet.
struct Agents {
    by_call: BTreeMap<String, PathBuf>,
    budget: u64,
}

impl Agents {
    fn find(directory: &Path) -> Self {
        let entries = fs::read_dir(directory).into_iter().flatten().flatten();
        let agent = |entry: fs::DirEntry| {
            let path = entry.path();
            (path.extension()? == "jsonl" && size(&path).is_some()).then_some(())?;
            // Without the file beside it, which tells the call, the agent has its own name.
            let own = || Some(path.file_stem()?.to_string_lossy().into_owned());
            Some((call(&path).or_else(own)?, path))
        };
        Self {
            by_call: entries.filter_map(agent).collect(),
            budget: SUBAGENTS_LIMIT,
        }
    }

    /// Puts the messages of those agents whose results a message holds beside these.
    fn inline(
        &mut self,
        message: &mut Value,
        written: &mut Written,
        depth: usize,
    ) -> io::Result<()> {
        let agent_of_message = agent_name(message);
        for block in results(message) {
            let Some(call) = block.get("tool_use_id").and_then(Value::as_str) else {
                continue;
            };
            let agent = self.by_call.remove(call);
            let agent = agent.or_else(|| self.by_call.remove(agent_of_message.as_deref()?));
            if let (Some(agent), Some(block)) = (agent, block.as_object_mut()) {
                let messages = self.read(&agent, written, depth)?;
                block.insert(SUBAGENT.to_owned(), Value::Array(messages));
            }
        }
        Ok(())
    }

    fn read(
        &mut self,
        agent: &Path,
        written: &mut Written,
        depth: usize,
    ) -> io::Result<Vec<Value>> {
        written.subagents += 1;
        // They are held in memory until their result is written.
        let size = size(agent).unwrap_or(0);
        let Some(left) = self.budget.checked_sub(size) else {
            written.torn += 1;
            return Ok(Vec::new());
        };
        self.budget = left;
        let mut all = Vec::new();
        messages(agent, written, &mut |mut message, written| {
            if depth > 0 {
                self.inline(&mut message, written, depth - 1)?;
            }
            all.push(message);
            Ok(())
        })?;
        Ok(all)
    }
}

/// The call that started an agent.
fn call(agent: &Path) -> Option<String> {
    let meta = agent.with_extension("meta.json");
    size(&meta).filter(|&size| size <= META_LIMIT)?;
    let meta: Value = serde_json::from_slice(&fs::read(meta).ok()?).ok()?;
    Some(meta.get("toolUseId")?.as_str()?.to_owned())
}

/// The name of the agent's file, as the message with its result tells it.
fn agent_name(message: &Value) -> Option<String> {
    let id = message.pointer("/toolUseResult/agentId")?.as_str()?;
    Some(format!("agent-{id}"))
}

/// A JSON array written element by element, one a line.
struct Array<W> {
    out: W,
    empty: bool,
}

impl<W: Write> Array<W> {
    fn begin(mut out: W) -> io::Result<Self> {
        out.write_all(b"[")?;
        Ok(Self { out, empty: true })
    }

    fn push(&mut self, value: &Value) -> io::Result<()> {
        let between: &[u8] = if self.empty { b"\n" } else { b",\n" };
        self.empty = false;
        self.out.write_all(between)?;
        serde_json::to_writer(&mut self.out, value).map_err(io::Error::from)
    }

    fn end(mut self) -> io::Result<()> {
        self.out.write_all(b"\n]\n")?;
        self.out.flush()
    }
}
