//! Task files: TOML that a team checks in, or JSON lines that a program writes. One schema for both.
//!
//! ```toml
//! [[task]]
//! name = "wordcount"                    # names the results' directory; default: its number
//! command = "wc -w input/text > output/count.txt"   # for /bin/sh; or argv = ["wc", "-w", "input/text"]
//! inputs = { text = "alice.txt" }       # name = path, relative to this file
//! env = { LANG = "C" }                  # readable in the bucket
//! secrets = ["API_KEY"]                 # variables whose values are the environment's secrets
//! environment = "gpu"                   # of `sortie.toml`; default: the one the flags say
//! timeout = "10m"
//! stdin = "…"                           # text
//! n = 3                                 # copies: wordcount-0, wordcount-1, wordcount-2
//! pre = ["…"]                           # shell texts before the command; setup = before all, as root; post = after
//! post_decides = true                   # the exit code is the post commands'
//! post_inputs = { key = "answers" }     # seen by the post commands alone
//!
//! [[task]]
//! prompt = "What is in input/repo?"     # for Claude Code, instead of a command
//! claude = { max_turns = 20, allowed_tools = ["Bash(git log:*)"] }   # as the flags of `sortie claude`
//! ```
//!
//! A JSON line is one task with the same keys: `{"name": "a", "argv": ["echo", "hi"]}`. Bytes that are no text
//! are `{"b64": "…"}`.

mod prompt;

use std::collections::BTreeMap;
use std::io::BufRead;
use std::path::Path;
use std::sync::Arc;

use serde::Deserialize;
use wire::contract::{ByteString, Command, Spec, Step};

use crate::claude_code::Ask;
use crate::error::{Error, chain};
use crate::request::{TaskRequest, Work};
use crate::settings::parse_toml;
use crate::stage::InputSource;
use prompt::{CLAUDE_KEYS, Claude};

/// What a task may have.
const KEYS: &[&str] = &[
    "name",
    "command",
    "argv",
    "inputs",
    "env",
    "secrets",
    "environment",
    "timeout",
    "stdin",
    "n",
    "setup",
    "pre",
    "post",
    "post_decides",
    "post_inputs",
    "prompt",
    "claude",
];

/// How many copies one task may ask for.
pub(crate) const MOST_COPIES: u32 = 100_000;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    task: Vec<Task>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Task {
    name: Option<String>,
    command: Option<ByteString>,
    argv: Option<Vec<ByteString>>,
    #[serde(default)]
    inputs: BTreeMap<String, String>,
    #[serde(default)]
    env: BTreeMap<String, ByteString>,
    #[serde(default)]
    secrets: Vec<String>,
    environment: Option<String>,
    timeout: Option<String>,
    stdin: Option<ByteString>,
    n: Option<u32>,
    #[serde(default)]
    setup: Vec<ByteString>,
    #[serde(default)]
    pre: Vec<ByteString>,
    #[serde(default)]
    post: Vec<ByteString>,
    #[serde(default)]
    post_decides: bool,
    #[serde(default)]
    post_inputs: BTreeMap<String, String>,
    prompt: Option<ByteString>,
    claude: Option<Claude>,
}

/// A task as its file has it, and how many copies of it there are to be.
#[derive(Debug)]
pub(crate) struct Described {
    pub(crate) name: String,
    pub(crate) work: Work,
    pub(crate) copies: Option<u32>,
}

/// Reads a task file: `.toml`, or JSON lines.
pub(crate) fn read(path: &Path) -> Result<Vec<Described>, Error> {
    let refuse = |source: Box<dyn std::error::Error + Send + Sync>| Error::File {
        path: path.to_owned(),
        source,
    };
    let base = path.parent().unwrap_or(Path::new("."));
    let tasks = if path
        .extension()
        .is_some_and(|extension| extension == "toml")
    {
        let text = fs_err::read_to_string(path).map_err(|error| refuse(error.into()))?;
        let file: File = parse_toml(&text).map_err(|why| refuse(nearest_key(&why).into()))?;
        file.task
    } else if path == Path::new("-") {
        read_lines(std::io::stdin().lock()).map_err(|why| refuse(why.into()))?
    } else {
        let file = fs_err::File::open(path).map_err(|error| refuse(error.into()))?;
        read_lines(std::io::BufReader::new(file)).map_err(|why| refuse(why.into()))?
    };
    let described = tasks.into_iter().enumerate();
    described
        .map(|(i, task)| task.describe(i, base).map_err(|what| refuse(what.into())))
        .collect()
}

fn read_lines(input: impl BufRead) -> Result<Vec<Task>, String> {
    let mut tasks = Vec::new();
    for (number, line) in (1..).zip(input.split(b'\n')) {
        let line = line.map_err(|error| error.to_string())?;
        if line.iter().all(u8::is_ascii_whitespace) {
            continue;
        }
        let task = serde_json::from_slice(&line).map_err(|error| {
            let why = error.to_string();
            // serde counts lines from 1 in each of ours.
            let why = why.split(" at line 1 ").next().unwrap_or(&why);
            format!("line {number}: {}", nearest_key(why))
        })?;
        tasks.push(task);
    }
    Ok(tasks)
}

/// serde lists every key there is; people want the one they meant.
fn nearest_key(why: &str) -> String {
    let Some((before, rest)) = why.split_once("unknown field `") else {
        return why.to_owned();
    };
    let Some((key, _)) = rest.split_once('`') else {
        return why.to_owned();
    };
    let near = KEYS
        .iter()
        .chain(CLAUDE_KEYS)
        .map(|known| (strsim::damerau_levenshtein(key, known), known))
        .min();
    match near {
        Some((distance, known)) if distance <= 3 && distance < known.len() => {
            format!("{before}a task has no key `{key}`: is `{known}` meant?")
        }
        _ => format!(
            "{before}a task has no key `{key}`, but `{}`",
            KEYS.join("`, `")
        ),
    }
}

impl Task {
    fn describe(mut self, number: usize, base: &Path) -> Result<Described, String> {
        let name = self.name.take().unwrap_or_else(|| number.to_string());
        check_name(&name)?;
        let of_task = |why: String| format!("task `{name}`: {why}");
        if self.n.is_some_and(|n| n == 0 || n > MOST_COPIES) {
            return Err(of_task(format!("`n` is from 1 to {MOST_COPIES}")));
        }
        if self.post.is_empty() && (self.post_decides || !self.post_inputs.is_empty()) {
            return Err(of_task("there is no `post` command".to_owned()));
        }
        let copies = self.n;
        let timeout = self.timeout.take().map(|text| timeout_ms(&text));
        let timeout = timeout.transpose().map_err(of_task)?;
        let mut work = self.begin(base).map_err(of_task)?;
        work.spec.env.extend(self.env);
        work.spec.timeout_ms = timeout.or(work.spec.timeout_ms);
        let steps = |texts: Vec<ByteString>| {
            let texts = texts.into_iter();
            texts.map(|text| Step::new(Command::Shell(text))).collect()
        };
        work.spec.setup = steps(self.setup);
        work.spec.pre = steps(self.pre);
        work.spec.post = steps(self.post);
        work.spec.post_decides = self.post_decides;
        work.post_inputs = sources(self.post_inputs, base).collect();
        work.environment = self.environment;
        Ok(Described { name, work, copies })
    }

    /// The command, or the prompt, with what it reads.
    fn begin(&mut self, base: &Path) -> Result<Work, String> {
        let mut inputs: Vec<_> = sources(std::mem::take(&mut self.inputs), base).collect();
        let secrets = std::mem::take(&mut self.secrets);
        let stdin = self.stdin.take();
        let claude = self.claude.take();
        let command = match (self.command.take(), self.argv.take(), self.prompt.take()) {
            (Some(text), None, None) => Command::Shell(text),
            (None, Some(argv), None) => Command::Argv(argv),
            (None, None, Some(prompt)) => {
                if stdin.is_some() {
                    return Err("a prompt is all that Claude Code reads".to_owned());
                }
                let mut claude = claude.unwrap_or_default();
                inputs.extend(claude.config_dir.take().map(|dir| InputSource {
                    name: ".claude".into(),
                    path: base.join(dir),
                }));
                let ask = Ask {
                    prompt: prompt.0,
                    options: claude.options(),
                    inputs,
                    secrets,
                };
                return ask.into_work().map_err(|error| chain(&error));
            }
            _ => return Err("it needs one of `command`, `argv` and `prompt`".to_owned()),
        };
        if claude.is_some() {
            return Err("`claude` goes with a `prompt`".to_owned());
        }
        let mut work = Work::new(Spec::new(command));
        work.spec.stdin = stdin;
        work.inputs = inputs;
        work.secrets = secrets;
        Ok(work)
    }
}

fn sources(named: BTreeMap<String, String>, base: &Path) -> impl Iterator<Item = InputSource> + '_ {
    named.into_iter().map(|(name, path)| InputSource {
        name: name.into(),
        path: base.join(path),
    })
}

fn timeout_ms(text: &str) -> Result<u64, String> {
    let timeout = humantime::parse_duration(text)
        .map_err(|error| format!("`{text}` is no timeout: {error}"))?;
    Ok(u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX))
}

/// `n` copies of every task, named `<name>-<k>`, or by number where there is nothing else. `n` is the flag's; a task's
/// own is stronger.
pub(crate) fn copies(tasks: Vec<Described>, n: Option<u32>) -> Vec<TaskRequest> {
    let alone = tasks.len() == 1;
    let mut all = Vec::new();
    for task in tasks {
        let work = Arc::new(task.work);
        let Some(copies) = task.copies.or(n) else {
            let name = task.name;
            all.push(TaskRequest { name, work });
            continue;
        };
        for k in 0..copies {
            let name = match copies {
                1 => task.name.clone(),
                _ if alone && task.name == "0" => k.to_string(),
                _ => format!("{}-{k}", task.name),
            };
            let work = work.clone();
            all.push(TaskRequest { name, work });
        }
    }
    all
}

/// A task's name becomes a directory's.
pub(crate) fn check_name(name: &str) -> Result<(), String> {
    wire::contract::check_input_name(name.as_bytes())
        .map_err(|_| format!("`{name}` cannot name a task: its results' directory is named so"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(name: &str, text: &str) -> Result<Vec<Described>, Error> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        read(&path)
    }

    #[test]
    fn a_task_is_read_whole() {
        let tasks = parse(
            "t.toml",
            "[[task]]\nname = 'a'\ncommand = 'true'\ninputs = { x = 'y/z' }\ntimeout = '90s'\nenv = { K = 'v' }\nsecrets = ['S']\nenvironment = 'gpu'\nn = 2\n[[task]]\nargv = ['ls', '-l']\n",
        )
        .unwrap();
        let Work {
            inputs,
            environment,
            secrets,
            spec,
            ..
        } = &tasks[0].work;
        assert_eq!(spec.timeout_ms, Some(90_000));
        assert!(inputs[0].path.ends_with("y/z"));
        assert_eq!(spec.env["K"], "v".into());
        assert_eq!(
            (environment.as_deref(), &secrets[..]),
            (Some("gpu"), &["S".to_owned()][..])
        );
        assert_eq!(tasks[1].name, "1");
        assert_eq!(
            tasks[1].work.spec.command,
            Command::Argv(vec!["ls".into(), "-l".into()])
        );
        let names: Vec<_> = copies(tasks, None)
            .into_iter()
            .map(|task| task.name)
            .collect();
        assert_eq!(names, ["a-0", "a-1", "1"]);
    }

    #[test]
    fn lines_are_tasks_too() {
        let text =
            "{\"name\":\"a\",\"argv\":[\"echo\",{\"b64\":\"/w==\"}]}\n\n{\"command\":\"true\"}\n";
        let tasks = parse("t.jsonl", text).unwrap();
        let expected = Command::Argv(vec!["echo".into(), ByteString(vec![0xff])]);
        assert_eq!(tasks[0].work.spec.command, expected);
        assert_eq!(tasks[1].name, "1");
    }

    #[test]
    fn a_prompt_is_a_task_for_claude_code() {
        let tasks = parse(
            "t.toml",
            "[[task]]\nprompt = 'do it'\nn = 2\npost = ['true']\npost_decides = true\npost_inputs = { key = 'k' }\n\
             claude = { max_turns = 3, allowed_tools = ['Bash(git log:*)'] }\n",
        )
        .unwrap();
        let work = &tasks[0].work;
        assert!(work.claude && work.spec.post_decides);
        assert_eq!(
            (tasks[0].copies, work.spec.timeout_ms),
            (Some(2), Some(300_000))
        );
        assert!(work.post_inputs[0].path.ends_with("k"));
        let Command::Argv(argv) = &work.spec.command else {
            panic!("a shell");
        };
        for word in ["3", "Bash(git log:*)"] {
            assert!(argv.contains(&word.into()), "{argv:?}");
        }
    }

    #[test]
    fn what_cannot_be_is_refused() {
        for (name, text, words) in [
            (
                "t.toml",
                "[[task]]\ncommand = 'a'\nargv = ['b']\n",
                "one of",
            ),
            ("t.toml", "[[task]]\n", "one of"),
            (
                "t.toml",
                "[[task]]\ncommand = 'a'\ntimeot = '1s'\n",
                "line 3: a task has no key `timeot`: is `timeout` meant?",
            ),
            (
                "t.toml",
                "[[task]]\ncommand = 'a'\ntimeout = 'soon'\n",
                "no timeout",
            ),
            (
                "t.toml",
                "[[task]]\ncommand = 'a'\nn = 0\n",
                "`n` is from 1",
            ),
            (
                "t.toml",
                "[[task]]\ncommand = 'a'\nname = '../x'\n",
                "cannot name a task",
            ),
            (
                "t.toml",
                "[[task]]\ncommand = 'a'\npost_decides = true\n",
                "no `post` command",
            ),
            (
                "t.toml",
                "[[task]]\ncommand = 'a'\nclaude = {}\n",
                "goes with a `prompt`",
            ),
            (
                "t.toml",
                "[[task]]\nprompt = 'a'\nclaude = { modle = 'x' }\n",
                "is `model` meant?",
            ),
            (
                "t.jsonl",
                "{\"command\":\"a\"}\n{\"comand\":\"a\"}\n",
                "line 2: a task has no key `comand`: is `command` meant?",
            ),
            (
                "t.jsonl",
                "{\"frobnicate\":1}\n",
                "has no key `frobnicate`, but `name`",
            ),
            ("t.jsonl", "nonsense\n", "line 1"),
        ] {
            let error = parse(name, text).unwrap_err();
            let said = crate::error::chain(&error);
            assert!(said.contains(words), "{text}: {said}");
        }
    }

    #[test]
    fn copies_have_names_of_their_own() {
        let task = |name: &str| Described {
            name: name.to_owned(),
            work: Work::new(Spec::new(Command::Shell("true".into()))),
            copies: None,
        };
        let names = |tasks: Vec<TaskRequest>| -> Vec<String> {
            tasks.into_iter().map(|task| task.name).collect()
        };
        assert_eq!(names(copies(vec![task("0")], Some(3))), ["0", "1", "2"]);
        assert_eq!(names(copies(vec![task("0")], None)), ["0"]);
        assert_eq!(
            names(copies(vec![task("a"), task("b")], Some(2))),
            ["a-0", "a-1", "b-0", "b-1"]
        );
    }
}
