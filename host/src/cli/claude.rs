//! `sortie claude`: a prompt as a task.

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use clap::Args;
use claude::Options;

use super::arguments::HowArguments;
use super::run_command::absolute;
use super::tasks::{Given, finish, inputs, only, read_whole};
use crate::claude_code::Ask;
use crate::error::Error;
use crate::request::TaskRequest;
use crate::settings::Environment;
use crate::stage::InputSource;

const CLAUDE_HELP: &str = "The key of the API is `ANTHROPIC_API_KEY`: on this machine the value it has here, in a project the environment's secret of that name. Without `--timeout` it ends after 5 minutes.\n\nExit code: Claude Code's own; 124 its timeout; 125 sortie's own \
failure; 127 there is no Claude Code; 130 interrupted. Several tasks: 0 if all exited with 0, else 1.";

/// What to ask Claude Code, and how.
#[derive(Debug, Args)]
#[command(after_help = CLAUDE_HELP)]
pub(super) struct ClaudeArguments {
    /// The prompt.
    #[arg(value_name = "PROMPT", conflicts_with = "prompt_file")]
    prompt: Option<OsString>,

    /// A file with the prompt, of any size; `-` is standard input.
    #[arg(long, value_name = "FILE")]
    prompt_file: Option<PathBuf>,

    /// The model.
    #[arg(long, value_name = "NAME", default_value = claude::DEFAULT_MODEL)]
    model: String,

    /// Ends it after so many turns.
    #[arg(long, value_name = "N", default_value_t = claude::DEFAULT_MAX_TURNS)]
    max_turns: u32,

    /// In the place of Claude Code's own system prompt.
    #[arg(long, value_name = "TEXT", conflicts_with = "system_prompt_file")]
    system_prompt: Option<OsString>,

    /// A file with it.
    #[arg(long, value_name = "FILE")]
    system_prompt_file: Option<PathBuf>,

    /// After Claude Code's own system prompt.
    #[arg(
        long,
        value_name = "TEXT",
        conflicts_with = "append_system_prompt_file"
    )]
    append_system_prompt: Option<OsString>,

    /// A file with it.
    #[arg(long, value_name = "FILE")]
    append_system_prompt_file: Option<PathBuf>,

    /// A tool it may use unasked: `Read`, `Bash(git log:*)`. Repeatable.
    #[arg(long = "allowed-tool", value_name = "TOOL")]
    allowed_tools: Vec<String>,

    /// A tool it may not use at all. Repeatable.
    #[arg(long = "disallowed-tool", value_name = "TOOL")]
    disallowed_tools: Vec<String>,

    /// It may use every tool unasked.
    #[arg(long)]
    skip_permissions: bool,

    /// Do not tell it where inputs are and outputs go.
    #[arg(long)]
    no_output_instructions: bool,

    /// Its own directory, as `~/.claude` is: settings, agents, skills. No credentials.
    #[arg(long, value_name = "DIR")]
    claude_config_dir: Option<PathBuf>,

    #[command(flatten)]
    pub(super) how: HowArguments,
}

/// The tasks that were typed: one, or its copies.
pub(super) fn tasks(
    arguments: &ClaudeArguments,
    env: &Environment,
    warnings: &mut Vec<String>,
) -> Result<Vec<TaskRequest>, Error> {
    let ClaudeArguments {
        prompt,
        prompt_file,
        how,
        ..
    } = arguments;
    let files = [
        prompt_file,
        &arguments.system_prompt_file,
        &arguments.append_system_prompt_file,
    ];
    let dash = |file: &&&Option<PathBuf>| file.as_deref() == Some(Path::new("-"));
    if files.iter().filter(dash).count() > 1 {
        return Err(Error::usage("standard input can be one prompt only")
            .with_hint("give the others as files"));
    }
    let prompt = text(prompt.as_ref(), prompt_file.as_deref())?.ok_or_else(|| {
        Error::usage("there is no prompt").with_hint(
            "`sortie claude --input repo=. 'What is in input/repo?'`, or `--prompt-file FILE`",
        )
    })?;
    let mut inputs = inputs(&how.inputs)?;
    if let Some(dir) = &arguments.claude_config_dir {
        inputs.push(InputSource {
            name: ".claude".into(),
            path: absolute(dir)?,
        });
    }
    let ask = Ask {
        prompt,
        options: options(arguments)?,
        inputs,
        secrets: how.secrets.clone(),
    };
    let described = vec![only(ask.into_work()?)];
    finish(described, how, Given::default(), env, warnings)
}

fn options(arguments: &ClaudeArguments) -> Result<Options, Error> {
    let prompt =
        |given: &Option<OsString>, file: &Option<PathBuf>| text(given.as_ref(), file.as_deref());
    Ok(Options {
        model: arguments.model.clone(),
        max_turns: arguments.max_turns,
        system_prompt: prompt(&arguments.system_prompt, &arguments.system_prompt_file)?,
        append_system_prompt: prompt(
            &arguments.append_system_prompt,
            &arguments.append_system_prompt_file,
        )?,
        allowed_tools: arguments.allowed_tools.clone(),
        disallowed_tools: arguments.disallowed_tools.clone(),
        skip_permissions: arguments.skip_permissions,
        output_instructions: !arguments.no_output_instructions,
        ..Options::default()
    })
}

fn text(given: Option<&OsString>, file: Option<&Path>) -> Result<Option<Vec<u8>>, Error> {
    match (given, file) {
        (Some(text), _) => Ok(Some(text.as_bytes().to_vec())),
        (None, Some(file)) => read_whole(file).map(Some),
        (None, None) => Ok(None),
    }
}
