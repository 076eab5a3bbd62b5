//! The CLI's events (`--output-format stream-json`), one JSON object a line.

use std::collections::BTreeSet;
use std::io::{self, BufRead};

use serde_json::{Map, Value};

use crate::line::{self, Line};
use crate::summary::{ResultKind, Summary, Tokens};

/// So many errors are kept; a loop of them says no more.
const ERRORS: usize = 100;

/// Kinds that are known, and tell us nothing.
const SILENT: [&str; 5] = [
    "stream_event",
    "control_request",
    "control_response",
    "rate_limit_event",
    "keep_alive",
];

impl Summary {
    /// Reads a run's events, of whatever is there of them.
    ///
    /// No line is an error; only the reader's own are.
    pub fn read(events: impl BufRead) -> io::Result<Self> {
        let mut reading = Reading::default();
        line::each(events, |line| {
            reading.line(line);
            Ok(())
        })?;
        Ok(reading.finish())
    }
}

#[derive(Default)]
struct Reading {
    summary: Summary,
    /// Ids of the main conversation's messages: one message may come in several events.
    messages: BTreeSet<String>,
    turns: Option<u64>,
    /// What was denied so far, should no result come to tell it.
    denied: Vec<String>,
}

impl Reading {
    fn line(&mut self, line: Line) {
        match line {
            Line::Object(event) => self.event(&event),
            Line::Torn => self.summary.torn += 1,
            Line::Giant => self.summary.giant += 1,
        }
    }

    fn event(&mut self, event: &Map<String, Value>) {
        if let Some(id) = text(event.get("session_id")) {
            self.summary.session_id.get_or_insert(id);
        }
        match event.get("type").and_then(Value::as_str) {
            Some("system") => self.system(event),
            Some("assistant") => self.assistant(event),
            Some("user") => {}
            Some("result") => self.result(event),
            Some(kind) if SILENT.contains(&kind) => {}
            _ => self.summary.unknown += 1,
        }
    }

    fn system(&mut self, event: &Map<String, Value>) {
        match event.get("subtype").and_then(Value::as_str) {
            Some("init") => {
                self.summary.model = text(event.get("model"));
                self.summary.cli_version = text(event.get("claude_code_version"));
            }
            Some("permission_denied") => self.denied.extend(text(event.get("tool_name"))),
            _ => {}
        }
    }

    fn assistant(&mut self, event: &Map<String, Value>) {
        let of_agent = event
            .get("parent_tool_use_id")
            .is_some_and(|id| !id.is_null());
        let message = &event.get("message").unwrap_or(&Value::Null);
        if of_agent {
            return;
        }
        self.messages.extend(text(message.get("id")));
        let blocks = message["content"].as_array().into_iter().flatten();
        let said = blocks
            .filter_map(|block| text(block.get("text")))
            .next_back();
        if said.is_some() {
            self.summary.last_text = said;
        }
    }

    /// There may be several: with an agent in the background, the conversation goes on after the first.
    fn result(&mut self, event: &Map<String, Value>) {
        let summary = &mut self.summary;
        let kind = match event.get("subtype").and_then(Value::as_str) {
            Some("error_max_turns") => ResultKind::MaxTurns,
            // It says so of a failed request too.
            Some("success") if event.get("is_error") != Some(&Value::Bool(true)) => {
                ResultKind::Success
            }
            _ => ResultKind::Error,
        };
        summary.result = Some(kind);
        let said = text(event.get("result"));
        let errors = event
            .get("errors")
            .and_then(Value::as_array)
            .into_iter()
            .flatten();
        summary
            .errors
            .extend(errors.filter_map(|error| text(Some(error)).map(cut)));
        match kind {
            ResultKind::Success => summary.response = said,
            ResultKind::MaxTurns => {}
            ResultKind::Error => summary.errors.extend(said.map(cut)),
        }
        summary.errors.truncate(ERRORS);
        summary.cost_usd = event
            .get("total_cost_usd")
            .and_then(Value::as_f64)
            .or(summary.cost_usd);
        summary.duration_ms = add(summary.duration_ms, number(event.get("duration_ms")));
        summary.stop_reason = text(event.get("stop_reason"));
        summary.terminal_reason = text(event.get("terminal_reason"));
        summary.tokens = tokens(event.get("modelUsage")).unwrap_or(summary.tokens);
        self.turns = add(self.turns, number(event.get("num_turns")));
        self.denied = denials(event.get("permission_denials")).unwrap_or_default();
    }

    fn finish(self) -> Summary {
        let mut summary = self.summary;
        summary.turns = self.turns.unwrap_or(self.messages.len() as u64);
        for tool in self.denied {
            *summary.denied_tools.entry(tool).or_default() += 1;
        }
        summary
    }
}

fn text(value: Option<&Value>) -> Option<String> {
    value.and_then(Value::as_str).map(str::to_owned)
}

/// An error is for people: what a stranger makes longer is cut.
fn cut(mut error: String) -> String {
    const MOST: usize = 16 << 10;
    if error.len() > MOST {
        let end = (0..=MOST).rfind(|&end| error.is_char_boundary(end));
        error.truncate(end.unwrap_or(0));
        error.push('…');
    }
    error
}

fn number(value: Option<&Value>) -> Option<u64> {
    value.and_then(Value::as_u64)
}

fn add(sum: Option<u64>, next: Option<u64>) -> Option<u64> {
    match (sum, next) {
        (Some(sum), Some(next)) => Some(sum.saturating_add(next)),
        (sum, next) => sum.or(next),
    }
}

fn denials(list: Option<&Value>) -> Option<Vec<String>> {
    let tool = |denial: &Value| text(denial.get("tool_name"));
    Some(list?.as_array()?.iter().filter_map(tool).collect())
}

fn tokens(models: Option<&Value>) -> Option<Tokens> {
    let models = models?.as_object()?;
    let sum = |name: &str| {
        let of = models.values().filter_map(|model| number(model.get(name)));
        of.fold(0, u64::saturating_add)
    };
    Some(Tokens {
        input: sum("inputTokens"),
        output: sum("outputTokens"),
        cache_read: sum("cacheReadInputTokens"),
        cache_creation: sum("cacheCreationInputTokens"),
    })
}
