//! What one task does.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::steps::{check_collect, check_files, check_path};
use super::{ARGUMENT_LIMIT, ByteString, Collect, ContractError, PreparedFile, Step, VERSION};

/// What one task does. Times are whole milliseconds, sizes bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spec {
    /// The contract's version.
    pub version: u32,
    /// What to run, in the workspace.
    pub command: Command,
    /// Added to the container's environment, and stronger than it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, ByteString>,
    /// What lies under `input/`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub inputs: Vec<Input>,
    /// From the command's start to its SIGTERM. Absent = none of our own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_ms: Option<u64>,
    /// From SIGTERM to SIGKILL at a deadline.
    pub grace_ms: u64,
    /// `name`, `uid` or `uid:gid` of the command, where the entrypoint runs as root.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// What the command reads; absent = nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stdin: Option<ByteString>,
    /// Between two log chunks; at least 1.
    pub log_interval_ms: u64,
    /// The unpacked outputs may have so many bytes; the rest is left out and named. Absent = no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output_limit: Option<u64>,
    /// Between two uploads of the output directory while the command runs; at least 1. Absent = none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checkpoint_interval_ms: Option<u64>,
    /// Added to the environment too: paths relative to the workspace, made absolute where it is.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub workspace_env: BTreeMap<String, ByteString>,
    /// To be there before any step.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<PreparedFile>,
    /// Run as root, one after the other, before anything else. The first that fails ends the task, with
    /// [`Outcome::Setup`](super::Outcome::Setup); what came to lie in `output/` comes home.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub setup: Vec<Step>,
    /// Run as the command's user, before it; the first that fails ends the task likewise. What a step leaves running
    /// runs on beside the command.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pre: Vec<Step>,
    /// Run as the command's user when the command, and all that runs, is gone; not after a cancel, and not where the
    /// command could not be started. One that fails does not keep the next from running.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub post: Vec<Step>,
    /// Whether the first post step that fails, or else the last, decides how the task ended.
    #[serde(default, skip_serializing_if = "is_false")]
    pub post_decides: bool,
    /// Fetched only when the command is gone, for the post steps alone: appear at `input/<name>` too, in the place of
    /// whatever is there.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub post_inputs: Vec<Input>,
    /// What comes home beside `output/`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub collect: Vec<Collect>,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde passes a reference"
)]
fn is_false(flag: &bool) -> bool {
    !*flag
}

impl Spec {
    /// A spec with no inputs and no limits.
    pub fn new(command: Command) -> Self {
        Self {
            version: VERSION,
            command,
            env: BTreeMap::new(),
            inputs: Vec::new(),
            timeout_ms: None,
            grace_ms: 10_000,
            user: None,
            stdin: None,
            log_interval_ms: 1_000,
            output_limit: None,
            checkpoint_interval_ms: None,
            workspace_env: BTreeMap::new(),
            files: Vec::new(),
            setup: Vec::new(),
            pre: Vec::new(),
            post: Vec::new(),
            post_decides: false,
            post_inputs: Vec::new(),
            collect: Vec::new(),
        }
    }

    /// The command's own time limit.
    pub fn timeout(&self) -> Option<Duration> {
        self.timeout_ms.map(Duration::from_millis)
    }

    /// At the most so long may all steps take together, beside the command's own time.
    pub fn steps_time(&self) -> Duration {
        let steps = [&self.setup, &self.pre, &self.post].into_iter().flatten();
        let ms = steps.fold(0, |sum: u64, step| sum.saturating_add(step.longest_ms()));
        Duration::from_millis(ms)
    }

    /// Refuses what no kernel or clock would take, so that the host can say so before anything is sent.
    pub fn check(&self) -> Result<(), ContractError> {
        self.command.check()?;
        check_interval("log interval", Some(self.log_interval_ms))?;
        check_interval("checkpoint interval", self.checkpoint_interval_ms)?;
        for (name, value) in &self.env {
            check_env(name, &value.0)?;
        }
        for (name, path) in &self.workspace_env {
            check_env(name, &path.0)?;
            check_path(path)?;
        }
        for step in [&self.setup, &self.pre, &self.post].into_iter().flatten() {
            step.command.check()?;
        }
        check_files(&self.files)?;
        check_collect(&self.collect)?;
        self.check_inputs()
    }

    fn check_inputs(&self) -> Result<(), ContractError> {
        let mut names = BTreeSet::new();
        for input in self.inputs.iter().chain(&self.post_inputs) {
            check_input_name(&input.name.0)?;
            if !names.insert(&input.name.0) {
                return Err(invalid(format!(
                    "two inputs are named `{}`",
                    input.name.lossy()
                )));
            }
        }
        Ok(())
    }
}

/// What a task runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Command {
    /// Executed as it stands; no shell sees it.
    Argv(Vec<ByteString>),
    /// Text for `/bin/sh`, given to it as a file and never as an argument: of any size.
    Shell(ByteString),
}

impl Command {
    fn check(&self) -> Result<(), ContractError> {
        match self {
            Self::Argv(argv) if argv.first().is_none_or(|program| program.0.is_empty()) => {
                Err(invalid("the command is empty".to_owned()))
            }
            Self::Argv(argv) => argv.iter().enumerate().try_for_each(|(i, argument)| {
                check_string(&argument.0, || format!("argument {i} of the command"))
            }),
            Self::Shell(_) => Ok(()),
        }
    }
}

/// Whether an input is one file or a tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum InputKind {
    /// `input/<name>` is a regular file, or a link.
    File,
    /// `input/<name>` is a directory.
    Directory,
}

/// One input: appears at `input/<name>`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Input {
    /// One path component.
    pub name: ByteString,
    /// Whether it is one file or a tree.
    pub kind: InputKind,
    /// Its packs, which may be unpacked in any order.
    pub packs: Vec<Pack>,
}

/// One tarball of (part of) an input.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Pack {
    /// MD5 of the uncompressed tar, lowercase hex: its address.
    pub md5: String,
    /// SHA-256 of the same bytes, lowercase hex: what the entrypoint verifies.
    pub sha256: String,
    /// Bytes of the uncompressed tar.
    pub size: u64,
}

/// Refuses an input name that is not one plain path component.
pub fn check_input_name(name: &[u8]) -> Result<(), ContractError> {
    let shown = String::from_utf8_lossy(name);
    let why = match name {
        b"" => "is empty",
        b"." | b".." => "means a directory, not a name",
        [b'-', ..] => "begins with a dash, and would read as an option",
        _ if name.contains(&b'/') => "has a path separator",
        _ if name.contains(&0) => "has a NUL byte",
        _ if name.len() > 255 => "is longer than 255 bytes",
        _ => return Ok(()),
    };
    Err(invalid(format!("the input name `{shown}` {why}")))
}

/// Work begun anew without a pause would leave no time for anything else.
fn check_interval(what: &str, interval_ms: Option<u64>) -> Result<(), ContractError> {
    match interval_ms {
        Some(0) => Err(invalid(format!("the {what} must be at least 1 ms"))),
        _ => Ok(()),
    }
}

fn check_env(name: &str, value: &[u8]) -> Result<(), ContractError> {
    if name.is_empty() || name.contains(['=', '\0']) {
        return Err(invalid(format!(
            "`{name}` cannot name an environment variable"
        )));
    }
    if name.len() + value.len() + 2 > ARGUMENT_LIMIT {
        return Err(too_long(
            &format!("environment variable `{name}`"),
            value.len(),
        ));
    }
    check_string(value, || format!("environment variable `{name}`"))
}

fn check_string(value: &[u8], what: impl Fn() -> String) -> Result<(), ContractError> {
    if value.len() + 1 > ARGUMENT_LIMIT {
        return Err(too_long(&what(), value.len()));
    }
    if value.contains(&0) {
        return Err(invalid(format!("{} has a NUL byte", what())));
    }
    Ok(())
}

fn too_long(what: &str, length: usize) -> ContractError {
    invalid(format!(
        "{what} has {length} bytes, and Linux takes {} at the most: send it as an input file",
        ARGUMENT_LIMIT - 1
    ))
}

pub(super) fn invalid(what: String) -> ContractError {
    ContractError::Invalid { what }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::Document;

    fn argv(argv: &[&str]) -> Spec {
        Spec::new(Command::Argv(argv.iter().map(|&a| a.into()).collect()))
    }

    #[test]
    fn a_spec_reads_back() {
        let mut spec = argv(&["sh", "-c", "it's \"quoted\"\n"]);
        spec.env
            .insert("RAW".to_owned(), ByteString(vec![0xfe, 0xff]));
        spec.timeout_ms = Some(1500);
        let json = serde_json::to_vec(&spec).unwrap();
        assert_eq!(Spec::from_json(&json).unwrap(), spec);
    }

    #[test]
    fn another_version_is_refused_by_its_version() {
        let error = Spec::from_json(br#"{"version":3,"anything":[]}"#).unwrap_err();
        assert!(error.to_string().contains("version 3"), "{error}");
    }

    #[test]
    fn what_no_kernel_takes_is_refused() {
        assert!(argv(&["true"]).check().is_ok());
        assert!(argv(&[]).check().is_err());
        assert!(argv(&[""]).check().is_err());
        assert!(argv(&["a", "b\0c"]).check().is_err());
        let longest = "x".repeat(ARGUMENT_LIMIT - 1);
        assert!(argv(&["a", &longest]).check().is_ok());
        assert!(argv(&["a", &(longest + "x")]).check().is_err());
        let mut spec = argv(&["true"]);
        spec.env.insert("A=B".to_owned(), "x".into());
        assert!(spec.check().is_err());
    }

    #[test]
    fn what_lies_outside_the_workspace_is_refused() {
        let refused = |change: &dyn Fn(&mut Spec, ByteString)| {
            for bad in [
                "",
                "/etc/passwd",
                "../x",
                "a/../../x",
                "a//b",
                "a/.",
                "a\0b",
            ] {
                let mut spec = argv(&["true"]);
                change(&mut spec, bad.into());
                assert!(spec.check().is_err(), "{bad}");
            }
            let mut spec = argv(&["true"]);
            change(&mut spec, "a/b.c".into());
            assert!(spec.check().is_ok());
        };
        let (content, name) = (ByteString::default(), ByteString::from("sessions"));
        refused(&|spec, path| {
            let content = content.clone();
            spec.files.push(PreparedFile { path, content });
        });
        refused(&|spec, path| {
            let name = name.clone();
            spec.collect.push(Collect { path, name });
        });
        refused(&|spec, path| drop(spec.workspace_env.insert("DIR".to_owned(), path)));
    }

    #[test]
    fn what_comes_home_has_names_of_its_own() {
        for bad in ["output", "stdout", "report.json", ".partial", "a/b", ""] {
            let mut spec = argv(&["true"]);
            let (path, name) = ("a".into(), bad.into());
            spec.collect.push(Collect { path, name });
            assert!(spec.check().is_err(), "{bad}");
        }
        let mut spec = argv(&["true"]);
        let twice = Collect {
            path: "a".into(),
            name: "sessions".into(),
        };
        spec.collect = vec![twice.clone(), twice];
        let words = spec.check().unwrap_err().to_string();
        assert_eq!(words, "two directories come home as `sessions`");
    }

    #[test]
    fn a_post_input_has_a_name_of_its_own_and_steps_are_commands() {
        let input = Input {
            name: "repo".into(),
            kind: InputKind::File,
            packs: Vec::new(),
        };
        let mut spec = argv(&["true"]);
        (spec.inputs, spec.post_inputs) = (vec![input.clone()], vec![input]);
        assert!(spec.check().is_err());
        let mut spec = argv(&["true"]);
        spec.post.push(Step::new(Command::Argv(Vec::new())));
        assert!(spec.check().is_err());
        spec.post = vec![Step::new(Command::Shell("true".into()))];
        assert!(spec.check().is_ok());
        assert_eq!(spec.steps_time(), Duration::from_secs(603));
    }

    #[test]
    fn an_interval_is_at_least_a_millisecond() {
        let refused = |spec: &Spec| spec.check().unwrap_err().to_string();
        let mut spec = argv(&["true"]);
        (spec.log_interval_ms, spec.checkpoint_interval_ms) = (1, Some(1));
        assert!(spec.check().is_ok());
        spec.log_interval_ms = 0;
        let words = refused(&spec);
        assert!(
            words.contains("the log interval must be at least 1 ms"),
            "{words}"
        );
        (spec.log_interval_ms, spec.checkpoint_interval_ms) = (1, Some(0));
        let words = refused(&spec);
        assert!(
            words.contains("the checkpoint interval must be at least 1 ms"),
            "{words}"
        );
    }

    #[test]
    fn an_input_name_is_one_component() {
        for good in ["repo", "data.json", "a b", "…"] {
            assert!(check_input_name(good.as_bytes()).is_ok(), "{good}");
        }
        for bad in ["", ".", "..", "../evil", "/abs", "a/b", "-rf", "a\0b"] {
            assert!(check_input_name(bad.as_bytes()).is_err(), "{bad}");
        }
    }
}
