//! What was typed, as tasks.

use std::ffi::{OsStr, OsString};
use std::io::Read;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use wire::contract::{ByteString, Command, Spec, Step};

use super::arguments::{HowArguments, RunArguments, StepArguments};
use super::run_command::absolute;
use crate::claude_code::Ask;
use crate::error::Error;
use crate::request::{TaskRequest, Work};
use crate::settings::Environment;
use crate::stage::InputSource;
use crate::task_file::{self, Described};

/// What `make run` was given.
enum FromMake {
    TaskFile(PathBuf),
    Shell {
        text: OsString,
        inputs: Vec<OsString>,
    },
    Prompt {
        prompt: OsString,
        inputs: Vec<OsString>,
    },
}

impl FromMake {
    fn read(env: &Environment) -> Result<Self, Error> {
        let usage = "make run CMD='wc -w input/text' INPUTS='text=README.md', or make run TASK=examples/wordcount.toml, \
            or make run TASK='List what is in input/' INPUTS=examples";
        let task = env.bytes("SORTIE_MAKE_TASK");
        let text = env.bytes("SORTIE_MAKE_CMD");
        let inputs = env.text("SORTIE_MAKE_INPUTS").unwrap_or_default();
        match (task, text) {
            (Some(task), None) if is_task_file(task) => Ok(Self::TaskFile(PathBuf::from(task))),
            (Some(prompt), None) => Ok(Self::Prompt {
                prompt: prompt.clone(),
                inputs: inputs.split_whitespace().map(OsString::from).collect(),
            }),
            (None, Some(text)) => Ok(Self::Shell {
                text: text.clone(),
                inputs: inputs.split_whitespace().map(OsString::from).collect(),
            }),
            _ => Err(Error::usage("one of TASK and CMD says what to run").with_hint(usage)),
        }
    }
}

/// A prompt may well end in the name of a file.
fn is_task_file(name: &OsStr) -> bool {
    let path = Path::new(name);
    let kind = path.extension();
    let looks_so = kind.is_some_and(|kind| kind == "toml" || kind == "jsonl");
    looks_so && (path.is_file() || !name.as_bytes().iter().any(u8::is_ascii_whitespace))
}

/// The tasks that the flags, or a task file, describe.
pub(super) fn tasks(
    arguments: &RunArguments,
    env: &Environment,
    warnings: &mut Vec<String>,
) -> Result<Vec<TaskRequest>, Error> {
    let made = arguments
        .from_make
        .then(|| FromMake::read(env))
        .transpose()?;
    let task_file = match &made {
        Some(FromMake::TaskFile(path)) => Some(path),
        _ => arguments.task_file.as_ref(),
    };
    let described = if let Some(path) = task_file.or(arguments.tasks.as_ref()) {
        check_kind(path, arguments.tasks.is_some())?;
        task_file::read(path)?
    } else {
        vec![only(work(arguments, made)?)]
    };
    let given = Given {
        inputs: inputs(&arguments.how.inputs)?,
        stdin: stdin(arguments, &described)?,
    };
    finish(described, &arguments.how, given, env, warnings)
}

/// The only task there is.
pub(super) fn only(work: Work) -> Described {
    Described {
        name: "0".to_owned(),
        work,
        copies: None,
    }
}

/// Everything that is said of all tasks alike, and the copies.
pub(super) fn finish(
    mut described: Vec<Described>,
    how: &HowArguments,
    given: Given,
    env: &Environment,
    warnings: &mut Vec<String>,
) -> Result<Vec<TaskRequest>, Error> {
    let post_given = inputs(&how.steps.post_inputs)?;
    let flags = Flags::read(how, given.stdin, env, warnings)?;
    for Described { work, .. } in &mut described {
        if work.claude && given.inputs.iter().any(|input| input.name.0 == b".claude") {
            return Err(
                Error::usage("`.claude` is the name of Claude Code's configuration").with_hint(
                    "`config_dir` in the task, or `sortie claude --claude-config-dir`, sends one",
                ),
            );
        }
        work.inputs.extend(given.inputs.iter().cloned());
        work.post_inputs.extend(post_given.iter().cloned());
        work.secrets.extend(how.secrets.iter().cloned());
        work.secrets.sort();
        work.secrets.dedup();
        flags.refine(&mut work.spec);
        add_steps(&mut work.spec, &how.steps);
    }
    Ok(task_file::copies(described, how.copies))
}

fn add_steps(spec: &mut Spec, steps: &StepArguments) {
    let step = |text: &OsString| Step::new(Command::Shell(text.as_os_str().into()));
    spec.setup.extend(steps.setup.iter().map(step));
    spec.pre.extend(steps.pre.iter().map(step));
    spec.post.extend(steps.post.iter().map(step));
    spec.post_decides |= steps.post_decides;
}

/// What one task does, as it was typed.
fn work(arguments: &RunArguments, made: Option<FromMake>) -> Result<Work, Error> {
    let (command, made) = match made {
        Some(FromMake::Prompt {
            prompt,
            inputs: made,
        }) => {
            let ask = Ask {
                prompt: prompt.into_vec(),
                inputs: inputs(&made)?,
                ..Ask::default()
            };
            return ask.into_work();
        }
        Some(FromMake::Shell { text, inputs }) => (Command::Shell(text.into()), inputs),
        _ => (command(arguments)?, Vec::new()),
    };
    let mut work = Work::new(Spec::new(command));
    work.inputs = inputs(&made)?;
    Ok(work)
}

pub(super) fn inputs(typed: &[OsString]) -> Result<Vec<InputSource>, Error> {
    typed.iter().map(|text| input(text)).collect()
}

/// What every task reads.
#[derive(Default)]
pub(super) struct Given {
    inputs: Vec<InputSource>,
    stdin: Option<ByteString>,
}

fn stdin(arguments: &RunArguments, described: &[Described]) -> Result<Option<ByteString>, Error> {
    let Some(path) = arguments.stdin.as_deref() else {
        return Ok(None);
    };
    let dash = Path::new("-");
    if path == dash && arguments.shell_file.as_deref() == Some(dash) {
        return Err(
            Error::usage("standard input cannot be both the shell text and its input")
                .with_hint("give one of them as a file"),
        );
    }
    if described.iter().any(|task| task.work.claude) {
        return Err(Error::usage("a prompt is all that Claude Code reads")
            .with_hint("leave `--stdin` out, and give it the file as an input"));
    }
    read_whole(path).map(|bytes| Some(bytes.into()))
}

/// What is named as an argument must look like a task file: it may be a command whose `--` was forgotten.
fn check_kind(path: &Path, by_flag: bool) -> Result<(), Error> {
    let kinds = ["toml", "jsonl"].map(OsStr::new);
    if by_flag || path.extension().is_some_and(|kind| kinds.contains(&kind)) {
        return Ok(());
    }
    Err(
        Error::usage(format!("`{}` is no task file", path.display())).with_hint(format!(
            "to run it as a command, put `--` before it: `sortie run -- {} …`",
            path.display()
        )),
    )
}

fn command(arguments: &RunArguments) -> Result<Command, Error> {
    if let Some(path) = &arguments.shell_file {
        return read_whole(path).map(|text| Command::Shell(text.into()));
    }
    if arguments.command.is_empty() {
        return Err(Error::usage("there is no command to run").with_hint(
            "put it after `--`: `sortie run --input data.csv -- wc -l input/data.csv`",
        ));
    }
    Ok(Command::Argv(
        arguments
            .command
            .iter()
            .map(|word| word.as_os_str().into())
            .collect(),
    ))
}

pub(super) fn read_whole(path: &Path) -> Result<Vec<u8>, Error> {
    let read = || {
        if path == Path::new("-") {
            let mut bytes = Vec::new();
            std::io::stdin().lock().read_to_end(&mut bytes)?;
            return Ok(bytes);
        }
        std::fs::read(path)
    };
    read().map_err(|error: std::io::Error| {
        Error::local(format!("cannot read `{}`", path.display()), error)
    })
}

/// `NAME=PATH`, or a path that names itself.
fn input(text: &OsStr) -> Result<InputSource, Error> {
    let bytes = text.as_bytes();
    if let Some(at) = bytes.iter().position(|&byte| byte == b'=')
        && at > 0
        && fs_err::symlink_metadata(text).is_err()
    {
        let path = absolute(Path::new(OsStr::from_bytes(&bytes[at + 1..])))?;
        return Ok(InputSource {
            name: ByteString(bytes[..at].to_vec()),
            path,
        });
    }
    let path = absolute(Path::new(text))?;
    // `.` and `..` have no name of their own; the directory they mean has one.
    let named = if path.file_name().is_some() && !text.as_bytes().ends_with(b".") {
        path.clone()
    } else {
        fs_err::canonicalize(&path)
            .map_err(|error| Error::local(format!("cannot read `{}`", path.display()), error))?
    };
    let name = named.file_name().ok_or_else(|| {
        Error::usage(format!("`{}` has no name", path.display()))
            .with_hint("give it one: `--input NAME=PATH`")
    })?;
    Ok(InputSource {
        name: name.into(),
        path,
    })
}

/// What the flags say of every task.
struct Flags {
    env: Vec<(String, ByteString)>,
    stdin: Option<ByteString>,
    timeout_ms: Option<u64>,
    grace_ms: u64,
    checkpoint_ms: Option<u64>,
}

impl Flags {
    fn read(
        arguments: &HowArguments,
        stdin: Option<ByteString>,
        env: &Environment,
        warnings: &mut Vec<String>,
    ) -> Result<Self, Error> {
        let ms = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        let variables = arguments.env.iter().map(|text| variable(text, env));
        let variables = variables.collect::<Result<Vec<_>, _>>()?;
        for (name, _) in variables.iter().filter(|(name, _)| looks_secret(name)) {
            warnings.push(format!(
                "the value of `{name}` travels in the bucket, readable by the team"
            ));
        }
        Ok(Self {
            env: variables,
            stdin,
            timeout_ms: arguments.timeout.map(ms),
            grace_ms: ms(arguments.grace),
            // Rarer than every second: each packs and sends the whole directory.
            checkpoint_ms: arguments.checkpoint.map(|pause| ms(pause).max(1000)),
        })
    }

    fn refine(&self, spec: &mut Spec) {
        spec.env.extend(self.env.iter().cloned());
        if self.stdin.is_some() {
            spec.stdin.clone_from(&self.stdin);
        }
        spec.timeout_ms = self.timeout_ms.or(spec.timeout_ms);
        spec.grace_ms = self.grace_ms;
        spec.checkpoint_interval_ms = self.checkpoint_ms;
    }
}

/// `K=V`, or `K` with the value it has here.
fn variable(text: &OsStr, env: &Environment) -> Result<(String, ByteString), Error> {
    let bytes = text.as_bytes();
    let split = bytes
        .iter()
        .position(|&byte| byte == b'=')
        .unwrap_or(bytes.len());
    let name = String::from_utf8(bytes[..split].to_vec())
        .map_err(|_| Error::usage(format!("`{}` cannot name a variable", text.display())))?;
    let value = match bytes.get(split + 1..) {
        Some(value) => OsString::from_vec(value.to_vec()),
        None => env.exact(&name).cloned().ok_or_else(|| {
            Error::usage(format!("`{name}` has no value here"))
                .with_hint(format!("give it one: `--env {name}=VALUE`"))
        })?,
    };
    Ok((name, value.into()))
}

fn looks_secret(name: &str) -> bool {
    let name = name.to_uppercase();
    [
        "API_KEY",
        "SECRET",
        "PASSWORD",
        "PASSWD",
        "TOKEN",
        "PRIVATE_KEY",
    ]
    .iter()
    .any(|word| name.contains(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_input_is_named_or_names_itself() {
        let named = input(OsStr::new("repo=some/dir")).unwrap();
        assert_eq!(named.name, "repo".into());
        assert!(named.path.ends_with("some/dir"));
        assert_eq!(
            input(OsStr::new("a/data.json")).unwrap().name,
            "data.json".into()
        );
        let dir = tempfile::tempdir().unwrap();
        let odd = dir.path().join("a=b");
        std::fs::write(&odd, "").unwrap();
        assert_eq!(input(odd.as_os_str()).unwrap().name, "a=b".into());
    }

    #[test]
    fn a_variable_is_given_or_taken_from_here() {
        let env = Environment::default();
        let (name, value) = variable(OsStr::new("K=a=b"), &env).unwrap();
        assert_eq!((name.as_str(), value), ("K", "a=b".into()));
        let error = variable(OsStr::new("ABSENT"), &env).unwrap_err();
        assert!(
            error.to_string().contains("`ABSENT` has no value"),
            "{error}"
        );
    }
}
