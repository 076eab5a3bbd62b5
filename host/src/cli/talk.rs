//! What Claude Code is doing, from its events, while it does it.

use claude::page::gist;
use serde_json::Value;

/// A line that is longer is not worth waiting for its end.
const LONGEST: usize = 1 << 20;

/// Listens to a run's events as they come in.
#[derive(Debug, Default)]
pub(super) struct Talk {
    rest: Vec<u8>,
    /// Up to the next end of a line, nothing can be made of it.
    lost: bool,
}

impl Talk {
    /// Takes in more of the events; gives a line for each tool that is used.
    pub(super) fn hear(&mut self, bytes: &[u8]) -> Vec<String> {
        let mut lines = Vec::new();
        for piece in bytes.split_inclusive(|&byte| byte == b'\n') {
            if !self.lost {
                self.rest.extend_from_slice(piece);
            }
            if piece.ends_with(b"\n") {
                lines.extend(tools(&self.rest));
                self.rest.clear();
                self.lost = false;
            } else if self.rest.len() > LONGEST {
                self.rest.clear();
                self.lost = true;
            }
        }
        lines
    }
}

fn tools(line: &[u8]) -> Vec<String> {
    let Ok(event) = serde_json::from_slice::<Value>(line) else {
        return Vec::new();
    };
    if event["type"] != "assistant" {
        return Vec::new();
    }
    let indent = if event["parent_tool_use_id"].is_null() {
        ""
    } else {
        "  "
    };
    let blocks = event["message"]["content"].as_array();
    let tool = |block: &Value| {
        let name = block["name"].as_str()?;
        let used = block["type"] == "tool_use";
        used.then(|| format!("{indent}{name}: {}", gist(&block["input"])))
    };
    blocks.into_iter().flatten().filter_map(tool).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tools_are_told_however_the_bytes_come() {
        let events = concat!(
            r#"{"type":"assistant","message":{"content":[{"type":"text","text":"x"},{"type":"tool_use","name":"Bash","input":{"command":"ls\nrm"}}]}}"#,
            "\nno event\n",
            r#"{"type":"assistant","parent_tool_use_id":"t","message":{"content":[{"type":"tool_use","name":"Read","input":{"file_path":"a"}}]}}"#,
            "\n{\"type\":\"assi",
        );
        for size in [1, 7, 10_000] {
            let mut talk = Talk::default();
            let pieces = events.as_bytes().chunks(size);
            let lines: Vec<String> = pieces.flat_map(|piece| talk.hear(piece)).collect();
            assert_eq!(lines, ["Bash: ls", "  Read: a"]);
        }
    }

    #[test]
    fn a_line_without_an_end_is_passed_over() {
        let mut talk = Talk::default();
        for _ in 0..3 {
            assert!(talk.hear(&vec![b'x'; LONGEST]).is_empty());
            assert!(talk.rest.len() <= LONGEST);
        }
        let next = r#"{"type":"assistant","message":{"content":[{"type":"tool_use","name":"Read","input":{}}]}}"#;
        assert_eq!(talk.hear(format!("\n{next}\n").as_bytes()), ["Read: "]);
    }
}
