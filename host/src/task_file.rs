//! Task files: TOML that a team checks in.
//!
//! ```toml
//! [[task]]
//! name = "wordcount"                    # names the results' directory; default: its number
//! command = "wc -w input/text > output/count.txt"   # for /bin/sh; or argv = ["wc", "-w", "input/text"]
//! inputs = { text = "alice.txt" }       # name = path, relative to this file
//! env = { LANG = "C" }
//! timeout = "10m"
//! stdin = "…"                           # text
//! ```

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;
use wire::contract::{ByteString, Command, Spec};

use crate::error::Error;
use crate::request::TaskRequest;
use crate::settings::parse_toml;
use crate::stage::InputSource;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    task: Vec<Task>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Task {
    name: Option<String>,
    command: Option<String>,
    argv: Option<Vec<String>>,
    #[serde(default)]
    inputs: BTreeMap<String, String>,
    #[serde(default)]
    env: BTreeMap<String, String>,
    timeout: Option<String>,
    stdin: Option<String>,
}

/// Reads a task file.
pub(crate) fn read(path: &Path) -> Result<Vec<TaskRequest>, Error> {
    let refuse = |source: Box<dyn std::error::Error + Send + Sync>| Error::File {
        path: path.to_owned(),
        source,
    };
    let text = fs_err::read_to_string(path).map_err(|error| refuse(error.into()))?;
    let file: File = parse_toml(&text).map_err(|why| refuse(why.into()))?;
    let base = path.parent().unwrap_or(Path::new("."));
    let tasks = file.task.into_iter().enumerate();
    tasks
        .map(|(i, task)| {
            task.into_request(i, base)
                .map_err(|what| refuse(what.into()))
        })
        .collect()
}

impl Task {
    fn into_request(self, number: usize, base: &Path) -> Result<TaskRequest, String> {
        let name = self.name.unwrap_or_else(|| number.to_string());
        check_name(&name)?;
        let command = match (self.command, self.argv) {
            (Some(text), None) => Command::Shell(text.into()),
            (None, Some(argv)) => Command::Argv(argv.into_iter().map(ByteString::from).collect()),
            _ => return Err(format!("task `{name}` needs one of `command` and `argv`")),
        };
        let mut spec = Spec::new(command);
        spec.env = self
            .env
            .into_iter()
            .map(|(name, value)| (name, value.into()))
            .collect();
        spec.stdin = self.stdin.map(ByteString::from);
        if let Some(text) = self.timeout {
            let timeout = humantime::parse_duration(&text)
                .map_err(|error| format!("task `{name}`: `{text}` is no timeout: {error}"))?;
            spec.timeout_ms = Some(u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX));
        }
        let inputs = self.inputs.into_iter().map(|(name, path)| InputSource {
            name: name.into(),
            path: base.join(path),
        });
        Ok(TaskRequest {
            inputs: inputs.collect(),
            name,
            spec,
        })
    }
}

/// A task's name becomes a directory's.
pub(crate) fn check_name(name: &str) -> Result<(), String> {
    wire::contract::check_input_name(name.as_bytes())
        .map_err(|_| format!("`{name}` cannot name a task: its results' directory is named so"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Vec<TaskRequest>, Error> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("t.toml");
        std::fs::write(&path, text).unwrap();
        read(&path)
    }

    #[test]
    fn a_task_is_read_whole() {
        let tasks = parse(
            "[[task]]\nname = 'a'\ncommand = 'true'\ninputs = { x = 'y/z' }\ntimeout = '90s'\nenv = { K = 'v' }\n[[task]]\nargv = ['ls', '-l']\n",
        )
        .unwrap();
        assert_eq!(tasks[0].spec.timeout_ms, Some(90_000));
        assert!(tasks[0].inputs[0].path.ends_with("y/z"));
        assert_eq!(tasks[0].spec.env["K"], "v".into());
        assert_eq!(tasks[1].name, "1");
        assert_eq!(
            tasks[1].spec.command,
            Command::Argv(vec!["ls".into(), "-l".into()])
        );
    }

    #[test]
    fn what_cannot_be_is_refused() {
        for (text, word) in [
            ("[[task]]\ncommand = 'a'\nargv = ['b']\n", "one of"),
            ("[[task]]\n", "one of"),
            ("[[task]]\ncommand = 'a'\ntimeot = '1s'\n", "timeot"),
            ("[[task]]\ncommand = 'a'\ntimeout = 'soon'\n", "no timeout"),
            (
                "[[task]]\ncommand = 'a'\nname = '../x'\n",
                "cannot name a task",
            ),
        ] {
            let error = parse(text).unwrap_err();
            let said = crate::error::chain(&error);
            assert!(said.contains(word), "{text}: {said}");
        }
    }
}
