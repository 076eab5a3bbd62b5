//! What a run was asked to do, checked before anything is sent.

use std::collections::{BTreeSet, HashMap};
use std::path::PathBuf;
use std::sync::Arc;

use wire::contract::{Driving, RunRecord, Spec};
use wire::names::RunId;

use crate::error::Error;
use crate::stage::InputSource;

/// Where results go if nothing else is said, in the working directory.
pub const RESULTS: &str = "sortie-results";

/// In a dollar.
const MICROS: f64 = 1_000_000.0;

/// What a run was asked to do.
#[derive(Debug, Clone)]
pub struct Request {
    /// Its tasks, in order.
    pub tasks: Vec<TaskRequest>,
    /// Where the results go.
    pub out: Out,
    /// Whether the command's output is shown while it runs.
    pub tail: bool,
    /// How the tasks are driven.
    pub manner: Manner,
}

/// How a run's tasks are driven.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Manner {
    /// At most so many tasks at once.
    pub parallel: Option<u32>,
    /// How often a task that the platform has failed is tried again.
    pub retries: u32,
    /// Whether the first task that fails ends the others.
    pub fail_fast: bool,
    /// What the run may cost, in US dollars by list prices.
    pub max_cost: Option<f64>,
    /// Whether to leave once everything is started.
    pub detach: bool,
}

impl Manner {
    /// The part of it that a host which comes back to the run must know.
    pub(crate) fn driving(&self) -> Driving {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a checked amount of dollars"
        )]
        let micros = |dollars: f64| (dollars * MICROS).round() as u64;
        Driving {
            retries: self.retries,
            fail_fast: self.fail_fast,
            max_cost_micros: self.max_cost.map(micros),
        }
    }

    /// As a run was begun, with another number of retries if one is given.
    pub(crate) fn coming_back(driving: Driving, retries: Option<u32>) -> Self {
        #[expect(
            clippy::cast_precision_loss,
            reason = "money, and no more of it than anybody has"
        )]
        let dollars = |micros: u64| micros as f64 / MICROS;
        Self {
            retries: retries.unwrap_or(driving.retries),
            fail_fast: driving.fail_fast,
            max_cost: driving.max_cost_micros.map(dollars),
            ..Self::default()
        }
    }
}

/// One task.
#[derive(Debug, Clone)]
pub struct TaskRequest {
    /// Names its directory.
    pub name: String,
    /// What it does; copies share it.
    pub work: Arc<Work>,
}

/// What a task does.
#[derive(Debug, Clone)]
pub struct Work {
    /// What lies under `input/`.
    pub inputs: Vec<InputSource>,
    /// The team's environment it runs in; absent = the one the settings say.
    pub environment: Option<String>,
    /// What appears there too once the command is gone, for the post steps alone.
    pub post_inputs: Vec<InputSource>,
    /// Variables whose values are the environment's secrets.
    pub secrets: Vec<String>,
    /// Whether it is a run of Claude Code, whose standard output is its events.
    pub claude: bool,
    /// All else; its inputs are filled in when they are staged.
    pub spec: Spec,
}

impl Work {
    /// A command with nothing else.
    pub fn new(spec: Spec) -> Self {
        Self {
            inputs: Vec::new(),
            environment: None,
            post_inputs: Vec::new(),
            secrets: Vec::new(),
            claude: false,
            spec,
        }
    }
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
            crate::task_file::check_name(&task.name).map_err(Error::usage)?;
            if !names.insert(&task.name) {
                return Err(Error::usage(format!("two tasks are named `{}`", task.name)));
            }
        }
        for work in self.works().0 {
            work.check()?;
        }
        self.out.check()
    }

    /// Everything that is to be done, once, and which of it each task does.
    pub fn works(&self) -> (Vec<&Arc<Work>>, Vec<u32>) {
        let mut works = Vec::new();
        let mut numbers: HashMap<*const Work, u32> = HashMap::new();
        let of_tasks = self.tasks.iter().map(|task| {
            // Which is as good as equality: copies are made by sharing.
            *numbers.entry(Arc::as_ptr(&task.work)).or_insert_with(|| {
                works.push(&task.work);
                u32::try_from(works.len() - 1).unwrap_or(u32::MAX)
            })
        });
        let of_tasks = of_tasks.collect();
        (works, of_tasks)
    }

    /// Every input once, however many tasks use it.
    pub fn inputs(&self) -> Vec<InputSource> {
        let mut all = Vec::new();
        let mut known = std::collections::HashSet::new();
        for work in self.works().0 {
            for input in work.all_inputs() {
                if known.insert(input) {
                    all.push(input.clone());
                }
            }
        }
        all
    }
}

impl Work {
    fn all_inputs(&self) -> impl Iterator<Item = &InputSource> {
        self.inputs.iter().chain(&self.post_inputs)
    }

    fn check(&self) -> Result<(), Error> {
        let mut names = BTreeSet::new();
        for input in self.all_inputs() {
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
        for name in &self.secrets {
            if self.spec.env.contains_key(name) {
                let what = format!("`{name}` is both a variable and a secret");
                return Err(Error::usage(what).with_hint("leave one of them out"));
            }
        }
        if self.spec.post.is_empty() && (self.spec.post_decides || !self.post_inputs.is_empty()) {
            let what = "there is no post command to decide, or to read post inputs";
            return Err(Error::usage(what).with_hint("give one: `--post CMD`"));
        }
        crate::timeout::check(&self.spec)?;
        self.spec.check().map_err(Error::Spec)
    }
}

impl Out {
    /// Where all of a run lands.
    pub fn of_run(&self, run: RunId) -> PathBuf {
        match self {
            Self::Default(base) => base.join(RESULTS).join(run.to_string()),
            Self::Dir(dir) => dir.clone(),
        }
    }

    /// Where one of its tasks lands.
    pub fn of_task(&self, record: &RunRecord, task: u32) -> PathBuf {
        match self {
            Self::Dir(dir) if record.tasks == 1 => dir.clone(),
            _ => self.of_run(record.run).join(record.name(task)),
        }
    }

    /// A directory with something in it is never written into: nothing of the user's is overwritten.
    pub fn check(&self) -> Result<(), Error> {
        let Self::Dir(dir) = self else {
            return Ok(());
        };
        // Who types a killed one again finds nothing of it in the way.
        crate::results::remove_abandoned(dir);
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
