//! Runs of Claude Code for programs, in the words of the Python module this replaces.
//!
//! ```no_run
//! # async fn example() -> Result<(), sortie::Error> {
//! use sortie::{ClaudeCodeJob, ClaudeCodeJobConfig};
//!
//! let job = ClaudeCodeJob::new(ClaudeCodeJobConfig::default()).await?;
//! let task = "List the files in input/repo and describe what this project does";
//! let result = job.run(task, [("repo", "./my_repo")]).await?;
//! println!("{}", result.response.unwrap_or_default());
//! println!("{} entries, {} turns", result.transcript.len(), result.turns);
//! # Ok(())
//! # }
//! ```

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use claude::{Options, Verdict};
use wire::contract::{Command, Step};

use super::words::{ClaudeCodeJobConfig, ClaudeCodeJobResult, ClaudeCodeTask};
use super::{Ask, KEY, TRANSCRIPT};
use crate::error::Error;
use crate::event::Silent;
use crate::interrupts::Interrupts;
use crate::request::{Manner, Out, Request, TaskRequest, Work};
use crate::results::TaskResult;
use crate::session::Session;
use crate::settings::{Environment, Place, Settings, Shape, Wishes};
use crate::stage::InputSource;
use crate::stream::RunStream;

/// A place to give Claude Code prompts in, one container each.
#[derive(Debug, Clone)]
pub struct ClaudeCodeJob {
    session: Session,
    settings: Settings,
    config: ClaudeCodeJobConfig,
}

impl ClaudeCodeJob {
    /// Connects. Clones share the connection: any number of them may run at once.
    pub async fn new(config: ClaudeCodeJobConfig) -> Result<Self, Error> {
        let wishes = Wishes {
            local: config.local,
            environment: config.environment.clone(),
            project: config.project_id.clone(),
            region: config.region.clone(),
            bucket: config.gcs_bucket.clone(),
            job: config.job.clone(),
            shape: Shape {
                image: config.image.clone(),
                cpu: config.cpu.clone(),
                memory: config.memory.clone(),
                gpu: false,
            },
            parallel: config.max_workers,
            secrets: vec![KEY.to_owned()],
            ..Wishes::default()
        };
        let mut env = Environment::of_process();
        if let Some(key) = &config.api_key {
            env = env.with(KEY, key.secret());
        }
        let settings = Settings::resolve(&wishes, &env, &here()?)?;
        if config.api_key.is_some() && matches!(settings.place, Place::Cloud(_)) {
            return Err(Error::usage("in a project the key of the API is a secret of the environment")
                .with_hint(format!("leave `api_key` out, and list `{KEY}` under the environment's `secrets` in Terraform")));
        }
        let session = Session::open(&settings).await?;
        Ok(Self {
            session,
            settings,
            config,
        })
    }

    /// Gives it one prompt, with files that lie at `input/<name>`, and waits for what it comes to.
    pub async fn run<N: Into<String>, P: AsRef<Path>>(
        &self,
        task: &str,
        inputs: impl IntoIterator<Item = (N, P)>,
    ) -> Result<ClaudeCodeJobResult, Error> {
        let inputs = inputs.into_iter();
        let task = ClaudeCodeTask {
            inputs: inputs
                .map(|(name, path)| (name.into(), path.as_ref().to_owned()))
                .collect(),
            ..ClaudeCodeTask::new("0", task)
        };
        let results = self.run_tasks(vec![task]).await?;
        let mut results = results.into_values().flatten();
        results
            .next()
            .ok_or_else(|| Error::usage("the run had no task"))
    }

    /// Runs any number of prompts as one run, and returns each one's results by its id.
    pub async fn run_tasks(
        &self,
        tasks: Vec<ClaudeCodeTask>,
    ) -> Result<BTreeMap<String, Vec<ClaudeCodeJobResult>>, Error> {
        let (request, names) = self.request(tasks)?;
        let mut never = Interrupts::never();
        let ended = crate::run::run(&self.session, &request, &mut Silent, &mut never).await?;
        let ended = ended.ok_or_else(|| Error::usage("the run was left alone"))?;
        let run = ended.run.to_string();
        let mut all: BTreeMap<String, Vec<_>> = BTreeMap::new();
        for result in ended.tasks {
            let read = read(result, &run, &names)?;
            all.entry(read.task.clone()).or_default().push(read);
        }
        Ok(all)
    }

    /// Runs any number of prompts as one run, and gives each result as soon as it is here.
    ///
    /// Dropping the stream cancels what still runs.
    pub fn run_stream(
        &self,
        tasks: Vec<ClaudeCodeTask>,
    ) -> Result<RunStream<ClaudeCodeJobResult>, Error> {
        let (request, names) = self.request(tasks)?;
        let read = move |result: TaskResult, run: &str| read(result, run, &names);
        Ok(RunStream::start(self.session.clone(), request, read))
    }

    fn request(&self, tasks: Vec<ClaudeCodeTask>) -> Result<(Request, Names), Error> {
        let base = self.config.output_dir.clone().map_or_else(here, Ok)?;
        let (mut all, mut names) = (Vec::new(), Vec::new());
        for task in tasks {
            let (id, n) = (task.id.clone(), task.n);
            crate::task_file::check_name(&id).map_err(Error::usage)?;
            let work = Arc::new(self.work(task)?);
            for k in 0..n {
                names.push((id.clone(), k));
                let name = match n {
                    1 => id.clone(),
                    _ => format!("{id}-{k}"),
                };
                let work = work.clone();
                all.push(TaskRequest { name, work });
            }
        }
        let request = Request {
            tasks: all,
            out: Out::Default(base),
            tail: false,
            manner: Manner {
                parallel: self.config.max_workers,
                ..Manner::default()
            },
        };
        super::check(&request, &self.settings)?;
        Ok((request, names))
    }

    fn work(&self, task: ClaudeCodeTask) -> Result<Work, Error> {
        let config = &self.config;
        let ask = Ask {
            prompt: task.task.into_bytes(),
            options: Options {
                model: config.model.clone(),
                max_turns: config.max_turns,
                system_prompt: task.system_prompt.map(String::into_bytes),
                allowed_tools: config.allowed_tools.clone(),
                disallowed_tools: config.disallowed_tools.clone(),
                skip_permissions: config.skip_permissions,
                output_instructions: task.output_instructions,
                ..Options::default()
            },
            inputs: sources(task.inputs)?,
            secrets: Vec::new(),
        };
        let mut work = ask.into_work()?;
        let spec = &mut work.spec;
        let env = config.env.iter();
        spec.env
            .extend(env.map(|(name, value)| (name.clone(), value.as_str().into())));
        spec.timeout_ms = Some(u64::try_from(config.timeout.as_millis()).unwrap_or(u64::MAX));
        let steps = |text: Option<String>| {
            let step = |text: String| Step::new(Command::Shell(text.into()));
            text.map(step).into_iter().collect()
        };
        spec.setup = steps(task.root_setup_command);
        spec.pre = steps(task.pre_claude_command);
        spec.post = steps(task.post_claude_command);
        spec.post_decides = task.post_decides;
        work.post_inputs = sources(task.post_inputs)?;
        Ok(work)
    }
}

/// By the task's number in the run: its id, and which of its copies it is.
type Names = Vec<(String, u32)>;

fn read(result: TaskResult, run: &str, names: &Names) -> Result<ClaudeCodeJobResult, Error> {
    let (task, run_index) = names
        .get(result.index as usize)
        .cloned()
        .unwrap_or_default();
    let path = result.directory.join(TRANSCRIPT);
    let (transcript, unread) = match fs_err::read(&path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => (Vec::new(), None),
        Err(error) => return Err(Error::local("cannot read a transcript", error)),
        // What a task has nested too deep must not cost the results of the others.
        Ok(json) => match serde_json::from_slice(&json) {
            Ok(transcript) => (transcript, None),
            Err(error) => (
                Vec::new(),
                Some(format!("cannot read the transcript: {error}")),
            ),
        },
    };
    // One that was never started left nothing.
    let (verdict, summary) = match result.claude {
        Some(claude) => (claude.verdict, claude.summary),
        None => (Verdict::Killed, claude::Summary::default()),
    };
    let said = (!summary.errors.is_empty()).then(|| summary.errors.join("; "));
    Ok(ClaudeCodeJobResult {
        task,
        run_index,
        response: summary.response,
        transcript,
        output_dir: result.directory.join("output"),
        returncode: result.exit_code,
        duration: Duration::from_millis(result.phases.command),
        cost: summary.cost_usd,
        run_cost: result.cost,
        turns: summary.turns,
        verdict,
        denied_tools: summary.denied_tools,
        error: result.problem.or(said).or(unread),
        run: run.to_owned(),
        directory: result.directory,
    })
}

fn sources(named: Vec<(String, PathBuf)>) -> Result<Vec<InputSource>, Error> {
    let source = |(name, path): (String, PathBuf)| {
        let path = std::path::absolute(path)
            .map_err(|error| Error::local("cannot find an input", error))?;
        let name = name.into();
        Ok(InputSource { name, path })
    };
    named.into_iter().map(source).collect()
}

fn here() -> Result<PathBuf, Error> {
    std::env::current_dir().map_err(|error| Error::local("cannot find this directory", error))
}
