//! What the CLI is started with: argv, standard input, files, environment. No shell sees any of it.

use std::collections::BTreeMap;
use std::time::Duration;

/// The model, where none is named.
pub const DEFAULT_MODEL: &str = "claude-opus-4-5-20251101";

/// The limit of turns, where none is named.
pub const DEFAULT_MAX_TURNS: u32 = 100;

/// How long a run may take, where no time is named.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_mins(5);

/// Found in `PATH`.
pub const PROGRAM: &str = "claude";

/// The CLI's own directory below the workspace, where none is sent.
///
/// Not `.claude`: that would be the settings of a project that lies in the workspace.
pub const CONFIG_DIR: &str = ".claude-config";

/// Where the system prompts lie below the workspace.
const PROMPTS: &str = ".claude-prompts";

/// Comes before the prompt, so that the model knows where things are.
const OUTPUT_INSTRUCTIONS: &str = "\
The files you are given, if any, are in the directory `input/` below your working directory. Put every file you are \
asked to make into the directory `output/` below your working directory: only what lies there is kept.

";

/// What a run of the CLI is to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// A name that `--model` takes.
    pub model: String,
    /// The run ends after so many turns; at least 1.
    pub max_turns: u32,
    /// Takes the place of the CLI's own system prompt. Of any size.
    pub system_prompt: Option<Vec<u8>>,
    /// Follows the CLI's own system prompt. Of any size.
    pub append_system_prompt: Option<Vec<u8>>,
    /// Tools that may be used unasked, as `--allowedTools` takes them: `Read`, `Bash(git log:*)`.
    pub allowed_tools: Vec<String>,
    /// Tools that may not be used at all.
    pub disallowed_tools: Vec<String>,
    /// No tool is asked about. The CLI refuses this to root.
    pub skip_permissions: bool,
    /// Whether the prompt is preceded by where inputs are and outputs go.
    pub output_instructions: bool,
    /// The CLI's directory (settings, agents, sessions), relative to the workspace.
    pub config_dir: String,
    /// A UUID for the session; without one the CLI makes its own, and tells it in its first event.
    pub session_id: Option<String>,
    /// Added to the command line as they stand, last.
    pub extra_args: Vec<String>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            model: DEFAULT_MODEL.to_owned(),
            max_turns: DEFAULT_MAX_TURNS,
            system_prompt: None,
            append_system_prompt: None,
            allowed_tools: Vec::new(),
            disallowed_tools: Vec::new(),
            skip_permissions: false,
            output_instructions: true,
            config_dir: CONFIG_DIR.to_owned(),
            session_id: None,
            extra_args: Vec::new(),
        }
    }
}

/// Everything that a run of the CLI is started with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invocation {
    /// Program first.
    pub argv: Vec<Vec<u8>>,
    /// What it reads: the prompt.
    pub stdin: Vec<u8>,
    /// To be there before it starts.
    pub files: Vec<PreparedFile>,
    /// Added to its environment.
    pub env: BTreeMap<String, String>,
    /// Added to its environment too: paths relative to the workspace, to be made absolute where it runs.
    pub workspace_env: BTreeMap<String, String>,
    /// Where the sessions will lie, relative to the workspace. All else in the config directory may hold
    /// credentials.
    pub projects: String,
}

/// A file the CLI reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PreparedFile {
    /// Relative to the workspace.
    pub path: String,
    /// Its content.
    pub content: Vec<u8>,
}

/// Options that no run can be made of.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OptionsError {
    /// Nothing to do.
    #[error("the prompt is empty")]
    EmptyPrompt,
    /// Zero turns.
    #[error("the limit of turns must be at least 1")]
    Turns,
    /// Would be read as another option, or as nothing.
    #[error("`{value}` cannot be {what}: {why}")]
    Value {
        /// Which option: `a model`, `an allowed tool`.
        what: &'static str,
        /// As given.
        value: String,
        /// A fragment.
        why: &'static str,
    },
}

impl Options {
    /// What to start for a prompt.
    pub fn invocation(&self, prompt: &[u8]) -> Result<Invocation, OptionsError> {
        self.check(prompt)?;
        let mut files = Vec::new();
        let mut argv = self.flags();
        let prompts = [
            ("--system-prompt-file", "system.txt", &self.system_prompt),
            (
                "--append-system-prompt-file",
                "append-system.txt",
                &self.append_system_prompt,
            ),
        ];
        for (flag, name, content) in prompts {
            if let Some(content) = content {
                let path = format!("{PROMPTS}/{name}");
                argv.extend([flag.to_owned(), path.clone()]);
                let content = content.clone();
                files.push(PreparedFile { path, content });
            }
        }
        argv.extend(self.extra_args.iter().cloned());
        let env = [
            // Telemetry, and a look-up of Anthropic's address even where another one is set.
            ("CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC", "1"),
            ("DISABLE_AUTOUPDATER", "1"),
        ];
        let owned = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
        Ok(Invocation {
            argv: argv.into_iter().map(String::into_bytes).collect(),
            stdin: self.stdin(prompt),
            files,
            env: env.into_iter().map(owned).collect(),
            workspace_env: [owned(("CLAUDE_CONFIG_DIR", &self.config_dir))].into(),
            projects: format!("{}/projects", self.config_dir),
        })
    }

    fn flags(&self) -> Vec<String> {
        let mut argv: Vec<String> = [
            PROGRAM,
            "--print",
            "--output-format",
            "stream-json",
            "--verbose",
        ]
        .map(str::to_owned)
        .into();
        // These take all that follows up to the next option, so options must follow.
        for (flag, tools) in [
            ("--allowedTools", &self.allowed_tools),
            ("--disallowedTools", &self.disallowed_tools),
        ] {
            if !tools.is_empty() {
                argv.push(flag.to_owned());
                argv.extend(tools.iter().cloned());
            }
        }
        argv.extend(["--model".to_owned(), self.model.clone()]);
        argv.extend(["--max-turns".to_owned(), self.max_turns.to_string()]);
        if let Some(id) = &self.session_id {
            argv.extend(["--session-id".to_owned(), id.clone()]);
        }
        if self.skip_permissions {
            argv.push("--dangerously-skip-permissions".to_owned());
        }
        argv
    }

    fn stdin(&self, prompt: &[u8]) -> Vec<u8> {
        let before = if self.output_instructions {
            OUTPUT_INSTRUCTIONS
        } else {
            ""
        };
        [before.as_bytes(), prompt].concat()
    }

    fn check(&self, prompt: &[u8]) -> Result<(), OptionsError> {
        if prompt.trim_ascii().is_empty() {
            return Err(OptionsError::EmptyPrompt);
        }
        if self.max_turns == 0 {
            return Err(OptionsError::Turns);
        }
        check("a model", &self.model)?;
        let mut tools = self.allowed_tools.iter().chain(&self.disallowed_tools);
        tools.try_for_each(|tool| check("a tool", tool))?;
        check_path(&self.config_dir)?;
        if let Some(id) = self.session_id.as_deref().filter(|id| !is_uuid(id)) {
            return Err(refuse("a session id", id, "it is no UUID"));
        }
        let mut extra = self.extra_args.iter();
        match extra.find(|argument| argument.contains('\0')) {
            Some(argument) => Err(refuse("an argument", argument, "it has a NUL byte")),
            None => Ok(()),
        }
    }
}

fn check(what: &'static str, value: &str) -> Result<(), OptionsError> {
    let why = if value.trim().is_empty() {
        "it is empty"
    } else if value.starts_with('-') {
        "it reads as an option"
    } else if value.contains('\0') {
        "it has a NUL byte"
    } else {
        return Ok(());
    };
    Err(refuse(what, value, why))
}

fn check_path(path: &str) -> Result<(), OptionsError> {
    check("a directory", path)?;
    let plain = |part: &str| !matches!(part, "" | "." | "..");
    if path.split('/').all(plain) {
        Ok(())
    } else {
        Err(refuse(
            "a directory",
            path,
            "it must lie below the workspace",
        ))
    }
}

fn refuse(what: &'static str, value: &str, why: &'static str) -> OptionsError {
    let value = value.to_owned();
    OptionsError::Value { what, value, why }
}

fn is_uuid(text: &str) -> bool {
    let hex = |part: &str| part.bytes().all(|byte| byte.is_ascii_hexdigit());
    let lengths = text.split('-').map(str::len);
    lengths.eq([8, 4, 4, 4, 12]) && text.split('-').all(hex)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn argv(options: &Options) -> Vec<String> {
        let argv = options.invocation(b"x").unwrap().argv;
        argv.into_iter()
            .map(|one| String::from_utf8(one).unwrap())
            .collect()
    }

    #[test]
    fn the_defaults_are_headless_and_ask_for_permission() {
        assert_eq!(
            argv(&Options::default()).join(" "),
            "claude --print --output-format stream-json --verbose --model claude-opus-4-5-20251101 --max-turns 100"
        );
    }

    #[test]
    fn a_tool_with_spaces_and_brackets_is_one_argument_and_an_option_follows_the_last() {
        let options = Options {
            allowed_tools: vec!["Bash(git log:*)".to_owned(), "Read".to_owned()],
            ..Options::default()
        };
        let argv = argv(&options);
        let at = argv.iter().position(|one| one == "--allowedTools").unwrap();
        assert_eq!(argv[at + 1..at + 4], ["Bash(git log:*)", "Read", "--model"]);
    }

    #[test]
    fn the_prompt_is_standard_input_and_a_system_prompt_is_a_file() {
        let prompt = b"it's \"quoted\"\nTASK_EOF\n$(id)\xff";
        let options = Options {
            system_prompt: Some(vec![b'x'; 300_000]),
            output_instructions: false,
            ..Options::default()
        };
        let invocation = options.invocation(prompt).unwrap();
        assert_eq!(invocation.stdin, prompt);
        assert_eq!(invocation.files[0].content.len(), 300_000);
        assert!(
            invocation
                .argv
                .contains(&invocation.files[0].path.clone().into_bytes())
        );
        assert!(invocation.argv.iter().all(|argument| argument.len() < 100));
        let told = Options::default().invocation(prompt).unwrap().stdin;
        assert!(told.ends_with(prompt) && told.starts_with(b"The files you are given"));
    }

    #[test]
    fn the_config_directory_lies_below_the_workspace() {
        let at = |dir: &str| Options {
            config_dir: dir.to_owned(),
            ..Options::default()
        };
        let invocation = at("input/.claude").invocation(b"x").unwrap();
        assert_eq!(
            invocation.workspace_env["CLAUDE_CONFIG_DIR"],
            "input/.claude"
        );
        assert_eq!(invocation.projects, "input/.claude/projects");
        for bad in ["", "/etc", "a/../..", ".", "a//b"] {
            assert!(at(bad).invocation(b"x").is_err(), "{bad}");
        }
    }

    #[test]
    fn what_the_cli_would_misread_is_refused() {
        let refused = |change: fn(&mut Options)| {
            let mut options = Options::default();
            change(&mut options);
            options.invocation(b"x").unwrap_err().to_string()
        };
        assert_eq!(
            refused(|o| o
                .allowed_tools
                .push("--dangerously-skip-permissions".to_owned())),
            "`--dangerously-skip-permissions` cannot be a tool: it reads as an option"
        );
        assert_eq!(
            refused(|o| o.model = String::new()),
            "`` cannot be a model: it is empty"
        );
        assert_eq!(
            refused(|o| o.max_turns = 0),
            "the limit of turns must be at least 1"
        );
        assert!(refused(|o| o.session_id = Some("no-uuid".to_owned())).contains("UUID"));
        assert!(refused(|o| o.extra_args.push("a\0b".to_owned())).contains("NUL"));
        assert_eq!(
            Options::default().invocation(b" \n"),
            Err(OptionsError::EmptyPrompt)
        );
    }
}
