//! A user's machine with Claude Code installed, and an API for it to talk to.

use std::ffi::OsStr;
use std::os::unix::fs::symlink;
use std::path::PathBuf;

use serde_json::{Value, json};

use crate::harness::{Machine, Typed};
use crate::messages_api::{Answer, MessagesApi};

/// The key of the API.
pub(crate) const KEY: &str = "sk-ant-api03-a-key-of-this-very-test-0123456789";

#[expect(clippy::disallowed_methods, reason = "the settings of this test")]
fn program() -> PathBuf {
    let name = "SORTIE_CLAUDE_CLI";
    let path = std::env::var_os(name).unwrap_or_else(|| panic!("`{name}` does not name the CLI"));
    let path = PathBuf::from(path);
    assert!(
        path.is_file(),
        "`{name}` is `{}`, which is no file",
        path.display()
    );
    path
}

/// Claude Code is installed as its own installer does it: a link in `~/.local/bin` to a version elsewhere.
pub(crate) struct Desk {
    pub(crate) machine: Machine,
    pub(crate) api: MessagesApi,
}

impl Desk {
    pub(crate) fn new(answers: Vec<Answer>) -> Self {
        Self::with(MessagesApi::start(answers))
    }

    pub(crate) fn with(api: MessagesApi) -> Self {
        let machine = Machine::new();
        install(&machine);
        Self { machine, api }
    }

    /// `sortie claude` with these words.
    pub(crate) fn claude<S: AsRef<OsStr>>(&self, words: &[S]) -> Typed {
        let base = format!("ANTHROPIC_BASE_URL={}", self.api.url());
        let mut all: Vec<&OsStr> = [
            "claude",
            "--env",
            &base,
            "--env",
            "CLAUDE_CODE_MAX_RETRIES=0",
        ]
        .into_iter()
        .map(OsStr::new)
        .collect();
        all.extend(words.iter().map(AsRef::as_ref));
        self.sortie(&all)
    }

    /// Any verb, with the key and Claude Code at hand.
    pub(crate) fn sortie<S: AsRef<OsStr>>(&self, words: &[S]) -> Typed {
        with_claude(&self.machine, words)
    }

    pub(crate) fn json(&self, path: &str) -> Value {
        serde_json::from_slice(&self.machine.read(path)).unwrap()
    }
}

pub(crate) fn install(machine: &Machine) {
    let local = machine.home().join(".local");
    std::fs::create_dir_all(local.join("bin")).unwrap();
    std::fs::create_dir_all(local.join("share/claude/versions")).unwrap();
    let version = local.join("share/claude/versions/2.1");
    symlink(program(), &version).unwrap();
    symlink(&version, local.join("bin/claude")).unwrap();
}

pub(crate) fn with_claude<S: AsRef<OsStr>>(machine: &Machine, words: &[S]) -> Typed {
    let bin = machine.home().join(".local/bin");
    machine
        .sortie(words)
        .env(
            "PATH",
            format!("{}:/usr/local/bin:/usr/bin:/bin", bin.display()),
        )
        .env("ANTHROPIC_API_KEY", KEY)
}

pub(crate) fn said(text: &str) -> Answer {
    Answer::Text(text.to_owned())
}

pub(crate) fn bash(command: &str) -> Answer {
    Answer::Tool(
        "Bash",
        json!({"command": command, "description": "as the test wants"}),
    )
}
