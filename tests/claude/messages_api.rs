//! A stub of Anthropic's Messages API on loopback: what the real Claude Code CLI needs to believe that it talks to a
//! model. It answers by script, streams as the CLI asks for, and keeps every request for the test to look at.
//!
//! A file of its own, for `#[path]`: needs std and `serde_json`.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

/// What the model says in one turn.
#[derive(Debug, Clone)]
pub(crate) enum Answer {
    /// Text, and the turn is over.
    Text(String),
    /// A tool is to be used: its name and input.
    Tool(&'static str, Value),
    /// Text, then a tool.
    TextAndTool(String, &'static str, Value),
    /// An HTTP error: status, Anthropic's type of it, message.
    Error(u16, &'static str, &'static str),
    /// The connection stays open and says nothing, until the stub is dropped.
    Stall,
}

/// One conversation: found by a text in its first user message, answered turn by turn. What goes beyond the last
/// answer gets the last one again.
#[derive(Debug, Clone)]
pub(crate) struct Script {
    /// In the first user message; empty fits any.
    pub(crate) marker: &'static str,
    /// By the number of the model's turns so far.
    pub(crate) answers: Vec<Answer>,
}

/// A request as it came.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    /// Method, path and query.
    pub(crate) line: String,
    /// Names in lowercase.
    pub(crate) headers: Vec<(String, String)>,
    /// The body, if it was JSON.
    pub(crate) body: Value,
}

impl Seen {
    /// The text of every user message, tool results included.
    pub(crate) fn user_text(&self) -> String {
        let messages = self.body["messages"].as_array().cloned();
        let of_user = |message: &Value| (message["role"] == "user").then(|| text(message));
        messages.iter().flatten().filter_map(of_user).collect()
    }
}

/// The stub; gone with this value.
#[derive(Debug)]
pub(crate) struct MessagesApi {
    address: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    scripts: Vec<Script>,
    seen: Mutex<Vec<Seen>>,
    stopped: AtomicBool,
}

impl MessagesApi {
    /// One conversation, whatever it begins with.
    pub(crate) fn start(answers: Vec<Answer>) -> Self {
        Self::with_scripts(vec![Script {
            marker: "",
            answers,
        }])
    }

    /// Several: the first script whose marker fits answers.
    pub(crate) fn with_scripts(scripts: Vec<Script>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let shared = Arc::new(Shared {
            scripts,
            seen: Mutex::default(),
            stopped: AtomicBool::new(false),
        });
        let address = listener.local_addr().unwrap();
        let of_threads = shared.clone();
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if of_threads.stopped.load(Ordering::Relaxed) {
                    return;
                }
                let shared = of_threads.clone();
                thread::spawn(move || shared.serve(&stream));
            }
        });
        Self { address, shared }
    }

    /// For `ANTHROPIC_BASE_URL`.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Every request so far.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.shared.seen().clone()
    }
}

impl Drop for MessagesApi {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::Relaxed);
        // Wakes the listener.
        let _ = TcpStream::connect(self.address);
    }
}

impl Shared {
    fn seen(&self) -> MutexGuard<'_, Vec<Seen>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One connection, request after request.
    fn serve(&self, stream: &TcpStream) {
        let mut reader = BufReader::new(stream);
        while let Some(seen) = read(&mut reader, stream) {
            let answered = self.answer(&seen, stream);
            if answered.is_err() {
                return;
            }
        }
    }

    fn answer(&self, seen: &Seen, stream: &TcpStream) -> std::io::Result<()> {
        let answer = self.choose(seen);
        self.seen().push(seen.clone());
        match answer {
            None => respond(
                stream,
                404,
                "application/json",
                &error("not_found_error", "no such path"),
            ),
            Some(Answer::Error(status, kind, message)) => {
                respond(stream, status, "application/json", &error(kind, message))
            }
            Some(Answer::Stall) => {
                while !self.stopped.load(Ordering::Relaxed) {
                    thread::sleep(Duration::from_millis(20));
                }
                Err(std::io::ErrorKind::ConnectionAborted.into())
            }
            Some(answer) if seen.body["stream"] == true => {
                respond(stream, 200, "text/event-stream", &events(seen, &answer))
            }
            Some(answer) => {
                let message = message(seen, &content(&answer), &answer);
                respond(stream, 200, "application/json", &message.to_string())
            }
        }
    }

    fn choose(&self, seen: &Seen) -> Option<Answer> {
        if seen.line.contains("count_tokens") || !seen.line.starts_with("POST /v1/messages") {
            return None;
        }
        let messages = seen.body["messages"].as_array()?;
        let first = messages.iter().find(|message| message["role"] == "user")?;
        let first = text(first);
        let script = self
            .scripts
            .iter()
            .find(|script| first.contains(script.marker))?;
        let of_model = |message: &&Value| message["role"] == "assistant";
        let turn = messages.iter().filter(of_model).count();
        script.answers.get(turn).or(script.answers.last()).cloned()
    }
}

fn read(reader: &mut BufReader<&TcpStream>, mut writer: &TcpStream) -> Option<Seen> {
    let mut line = String::new();
    reader.read_line(&mut line).ok().filter(|&read| read > 0)?;
    let mut headers = Vec::new();
    loop {
        let mut header = String::new();
        reader.read_line(&mut header).ok()?;
        let Some((name, value)) = header.trim_end().split_once(':') else {
            break;
        };
        headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    let find = |wanted: &str| headers.iter().find(|(name, _)| name == wanted);
    if find("expect").is_some() {
        writer.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").ok()?;
    }
    let length = find("content-length").and_then(|(_, value)| value.parse().ok());
    let mut body = vec![0; length.unwrap_or(0)];
    reader.read_exact(&mut body).ok()?;
    Some(Seen {
        line: line.trim_end().to_owned(),
        headers,
        body: serde_json::from_slice(&body).unwrap_or_default(),
    })
}

fn respond(mut stream: &TcpStream, status: u16, kind: &str, body: &str) -> std::io::Result<()> {
    let head = format!(
        "HTTP/1.1 {status} Stub\r\ncontent-type: {kind}\r\ncontent-length: {}\r\nrequest-id: req_stub\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes())?;
    stream.write_all(body.as_bytes())
}

fn error(kind: &str, message: &str) -> String {
    json!({"type": "error", "error": {"type": kind, "message": message}}).to_string()
}

/// A message's text, whether it is one string or blocks.
fn text(message: &Value) -> String {
    let content = &message["content"];
    if let Some(text) = content.as_str() {
        return text.to_owned();
    }
    let blocks = content.as_array().cloned().unwrap_or_default();
    let text = |block: &Value| match block["text"].as_str() {
        Some(text) => text.to_owned(),
        None => block["content"].to_string(),
    };
    blocks.iter().map(text).collect()
}

/// No id may come twice: the CLI takes messages of one id for parts of one.
fn next() -> u64 {
    static LAST: AtomicU64 = AtomicU64::new(0);
    LAST.fetch_add(1, Ordering::Relaxed)
}

fn content(answer: &Answer) -> Vec<Value> {
    let said = |text: &str| json!({"type": "text", "text": text});
    let used = |name: &str, input: &Value| json!({"type": "tool_use", "id": format!("toolu_{:04}", next()), "name": name, "input": input});
    match answer {
        Answer::Text(text) => vec![said(text)],
        Answer::Tool(name, input) => vec![used(name, input)],
        Answer::TextAndTool(text, name, input) => vec![said(text), used(name, input)],
        Answer::Error(..) | Answer::Stall => Vec::new(),
    }
}

fn message(seen: &Seen, content: &[Value], answer: &Answer) -> Value {
    let reason = match answer {
        Answer::Text(_) => "end_turn",
        _ => "tool_use",
    };
    json!({
        "id": format!("msg_{:04}", next()), "type": "message", "role": "assistant", "model": seen.body["model"],
        "content": content, "stop_reason": reason, "stop_sequence": null,
        "usage": {"input_tokens": 100, "output_tokens": 10},
    })
}

/// The same message as server-sent events.
fn events(seen: &Seen, answer: &Answer) -> String {
    let whole = message(seen, &[], answer);
    let mut start = whole.clone();
    start["stop_reason"] = Value::Null;
    let mut all = vec![json!({"type": "message_start", "message": start})];
    for (index, block) in content(answer).into_iter().enumerate() {
        let mut empty = block.clone();
        let delta = if let Some(text) = block["text"].as_str() {
            empty["text"] = json!("");
            json!({"type": "text_delta", "text": text})
        } else {
            empty["input"] = json!({});
            json!({"type": "input_json_delta", "partial_json": block["input"].to_string()})
        };
        all.push(json!({"type": "content_block_start", "index": index, "content_block": empty}));
        all.push(json!({"type": "content_block_delta", "index": index, "delta": delta}));
        all.push(json!({"type": "content_block_stop", "index": index}));
    }
    let reason = json!({"stop_reason": whole["stop_reason"], "stop_sequence": null});
    all.push(json!({"type": "message_delta", "delta": reason, "usage": {"output_tokens": 10}}));
    all.push(json!({"type": "message_stop"}));
    let event = |event: Value| {
        let name = event["type"].as_str().unwrap_or_default().to_owned();
        format!("event: {name}\ndata: {event}\n\n")
    };
    all.into_iter().map(event).collect()
}
