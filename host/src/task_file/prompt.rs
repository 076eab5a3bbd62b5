//! What a task file says of how Claude Code is asked.

use claude::Options;
use serde::Deserialize;
use wire::contract::ByteString;

/// How Claude Code is asked.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Claude {
    model: Option<String>,
    max_turns: Option<u32>,
    system_prompt: Option<ByteString>,
    append_system_prompt: Option<ByteString>,
    #[serde(default)]
    allowed_tools: Vec<String>,
    #[serde(default)]
    disallowed_tools: Vec<String>,
    #[serde(default)]
    skip_permissions: bool,
    output_instructions: Option<bool>,
    pub(super) config_dir: Option<String>,
}

/// What a task's `claude` may have.
pub(super) const CLAUDE_KEYS: &[&str] = &[
    "model",
    "max_turns",
    "system_prompt",
    "append_system_prompt",
    "allowed_tools",
    "disallowed_tools",
    "skip_permissions",
    "output_instructions",
    "config_dir",
];

impl Claude {
    pub(super) fn options(self) -> Options {
        let defaults = Options::default();
        Options {
            model: self.model.unwrap_or(defaults.model),
            max_turns: self.max_turns.unwrap_or(defaults.max_turns),
            system_prompt: self.system_prompt.map(|text| text.0),
            append_system_prompt: self.append_system_prompt.map(|text| text.0),
            allowed_tools: self.allowed_tools,
            disallowed_tools: self.disallowed_tools,
            skip_permissions: self.skip_permissions,
            output_instructions: self.output_instructions.unwrap_or(true),
            ..Options::default()
        }
    }
}
