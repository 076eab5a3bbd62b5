//! What a run was asked to do, checked before anything is sent.

use std::collections::BTreeSet;
use std::path::PathBuf;

use wire::contract::Spec;

use crate::error::Error;
use crate::stage::InputSource;

/// Where results go if nothing else is said, in the working directory.
pub const RESULTS: &str = "sortie-results";

/// What a run was asked to do.
#[derive(Debug, Clone)]
pub struct Request {
    /// Its tasks, in order.
    pub tasks: Vec<TaskRequest>,
    /// Where the results go.
    pub out: Out,
    /// Whether the command's output is shown while it runs.
    pub tail: bool,
}

/// What one task was asked to do.
#[derive(Debug, Clone)]
pub struct TaskRequest {
    /// Names its directory.
    pub name: String,
    /// What lies under `input/`.
    pub inputs: Vec<InputSource>,
    /// All else; its inputs are filled in when they are staged.
    pub spec: Spec,
}

/// Where the results go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Out {
    /// `sortie-results/<run>/<task>/`, in this directory.
    Default(PathBuf),
    /// Here: the task's files themselves if there is one task, else a directory for each.
    Dir(PathBuf),
}

impl Request {
    /// Refuses what cannot work, before anything is sent.
    pub fn check(&self) -> Result<(), Error> {
        if self.tasks.is_empty() {
            return Err(Error::usage("there is no task to run"));
        }
        let mut names = BTreeSet::new();
        for task in &self.tasks {
            task.check()?;
            if !names.insert(&task.name) {
                return Err(Error::usage(format!("two tasks are named `{}`", task.name)));
            }
        }
        self.out.check()
    }

    /// Every input once, however many tasks use it.
    pub fn inputs(&self) -> Vec<InputSource> {
        let mut all: Vec<InputSource> = Vec::new();
        for input in self.tasks.iter().flat_map(|task| &task.inputs) {
            if !all.contains(input) {
                all.push(input.clone());
            }
        }
        all
    }
}

impl TaskRequest {
    fn check(&self) -> Result<(), Error> {
        let mut names = BTreeSet::new();
        for input in &self.inputs {
            wire::contract::check_input_name(&input.name.0).map_err(Error::Spec)?;
            if !names.insert(&input.name) {
                let what = format!("two inputs are named `{}`", input.name.lossy());
                return Err(
                    Error::usage(what).with_hint("give one another name: `--input NAME=PATH`")
                );
            }
            // Not `exists`: a dangling link is an input like any other.
            if let Err(error) = fs_err::symlink_metadata(&input.path) {
                let what = format!("cannot read the input `{}`", input.name.lossy());
                let hint = format!("it is looked for at `{}`", input.path.display());
                return Err(Error::local(what, error).with_hint(hint));
            }
        }
        crate::timeout::check(&self.spec)?;
        self.spec.check().map_err(Error::Spec)
    }
}

impl Out {
    /// A directory with something in it is never written into: nothing of the user's is overwritten.
    pub fn check(&self) -> Result<(), Error> {
        let Self::Dir(dir) = self else {
            return Ok(());
        };
        match fs_err::read_dir(dir).map(|mut entries| entries.next().is_none()) {
            Ok(true) => Ok(()),
            Ok(false) => Err(Error::usage(format!("`{}` is not empty", dir.display()))
                .with_hint("name another directory with `--out`, or remove this one")),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(Error::local(
                format!("cannot use `{}` for results", dir.display()),
                error,
            )),
        }
    }
}
