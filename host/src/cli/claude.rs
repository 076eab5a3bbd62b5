//! `sortie claude`: a prompt as a task.

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use claude::Options;

use super::arguments::ClaudeArguments;
use super::run_command::absolute;
use super::tasks::{Given, finish, inputs, only, read_whole};
use crate::claude_code::Ask;
use crate::error::Error;
use crate::request::TaskRequest;
use crate::settings::Environment;
use crate::stage::InputSource;

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
