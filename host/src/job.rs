//! The library, in the words of the Python module it replaces.
//!
//! ```no_run
//! # async fn example() -> Result<(), sortie::Error> {
//! use sortie::{CloudRunJob, CloudRunJobConfig};
//!
//! let mut job = CloudRunJob::new(CloudRunJobConfig::default()).await?;
//! job.send_inputs([("repo", "./my_repo"), ("data.json", "./config.json")])?;
//! let result = job.run("cd input/repo && python script.py", None).await?;
//! let outputs = job.receive_outputs()?;
//! println!("exit code {}, outputs at {}", result.returncode, outputs.display());
//! # Ok(())
//! # }
//! ```

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use wire::contract::{Command, Spec};

use crate::error::Error;
use crate::event::Silent;
use crate::interrupts::Interrupts;
use crate::request::{Manner, Out, Request, TaskRequest, Work};
use crate::results::TaskResult;
use crate::session::Session;
use crate::settings::{Environment, Settings, Shape, Wishes};
use crate::stage::InputSource;
use crate::stream::RunStream;

/// Where and how to run. What is not set comes from `SORTIE_*`, `sortie.toml`, or is local mode.
#[derive(Debug, Clone, Default)]
pub struct CloudRunJobConfig {
    /// Google project.
    pub project_id: Option<String>,
    /// Bucket for files, with or without `gs://`.
    pub gcs_bucket: Option<String>,
    /// Region of the job.
    pub region: Option<String>,
    /// The team's environment: job, image, cpu and memory.
    pub environment: Option<String>,
    /// The job, instead of an environment's.
    pub job: Option<String>,
    /// The image, instead of the environment's.
    pub image: Option<String>,
    /// vCPUs, instead of the environment's: 1, 2, 4, 6 or 8.
    pub cpu: Option<String>,
    /// Memory, instead of the environment's: `4Gi`.
    pub memory: Option<String>,
    /// On this machine, whatever the settings say.
    pub local: bool,
    /// Ends a command that was given no timeout of its own.
    pub timeout: Option<Duration>,
    /// For every command. Readable in the bucket: no secrets.
    pub env: BTreeMap<String, String>,
    /// Where results go, a directory for each run; default `sortie-results` in the working directory.
    pub output_dir: Option<PathBuf>,
}

/// What a command came to.
#[derive(Debug, Clone)]
pub struct CloudRunJobResult {
    /// The command's exit code; 124 its timeout, 125 sortie's own failure, 130 cancelled.
    pub returncode: i32,
    /// The command's standard output.
    pub stdout: Vec<u8>,
    /// The command's standard error.
    pub stderr: Vec<u8>,
    /// How long the command itself took.
    pub duration: Duration,
    /// What went wrong on sortie's side, or on the platform's.
    pub error: Option<String>,
    /// The run's name.
    pub run: String,
    /// What Cloud Run bills, in US dollars by list prices; absent where nothing is billed.
    pub cost: Option<f64>,
    /// Where the results are: `output/`, `stdout`, `stderr`, `report.json`.
    pub directory: PathBuf,
}

/// A place to run commands in, one container each.
#[derive(Debug, Clone)]
pub struct CloudRunJob {
    session: Session,
    config: CloudRunJobConfig,
    inputs: Vec<InputSource>,
    last: Option<PathBuf>,
}

impl CloudRunJob {
    /// Connects. Clones share the connection: any number of them may run at once.
    pub async fn new(config: CloudRunJobConfig) -> Result<Self, Error> {
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
            ..Wishes::default()
        };
        let settings = Settings::resolve(&wishes, &Environment::of_process(), &here()?)?;
        let session = Session::open(&settings).await?;
        Ok(Self {
            session,
            config,
            inputs: Vec::new(),
            last: None,
        })
    }

    /// Names files and directories that appear at `input/<name>`; their content is read at each run.
    pub fn send_inputs<N: Into<String>, P: AsRef<Path>>(
        &mut self,
        inputs: impl IntoIterator<Item = (N, P)>,
    ) -> Result<(), Error> {
        for (name, path) in inputs {
            let name = name.into().into();
            let path = std::path::absolute(path.as_ref())
                .map_err(|error| Error::local("cannot find an input", error))?;
            self.inputs.retain(|input| input.name != name);
            self.inputs.push(InputSource { name, path });
        }
        Ok(())
    }

    /// Runs a shell command and waits for its end; a non-zero exit code is a result, not an error.
    pub async fn run(
        &mut self,
        command: &str,
        timeout: Option<Duration>,
    ) -> Result<CloudRunJobResult, Error> {
        let spec = self.spec(command, timeout);
        let mut all = self.run_all(vec![spec]).await?;
        let result = all
            .pop()
            .ok_or_else(|| Error::usage("the run had no task"))?;
        self.last = Some(result.directory.join("output"));
        Ok(result)
    }

    /// What a task of [`CloudRunJob::run_all`] and [`CloudRunJob::run_stream`] is made of: a shell command with this
    /// job's environment.
    pub fn spec(&self, command: &str, timeout: Option<Duration>) -> Spec {
        let mut spec = Spec::new(Command::Shell(command.into()));
        let limit = timeout.or(self.config.timeout);
        spec.timeout_ms = limit.map(|time| u64::try_from(time.as_millis()).unwrap_or(u64::MAX));
        let env = self.config.env.iter();
        spec.env = env
            .map(|(name, value)| (name.clone(), value.as_str().into()))
            .collect();
        spec
    }

    /// Runs any number of tasks as one run, and returns all their results, in the order of the specs.
    pub async fn run_all(&self, specs: Vec<Spec>) -> Result<Vec<CloudRunJobResult>, Error> {
        let request = self.request(specs)?;
        let mut never = Interrupts::never();
        let result = crate::run::run(&self.session, &request, &mut Silent, &mut never).await?;
        let result = result.ok_or_else(|| Error::usage("the run was left alone"))?;
        let run = result.run.to_string();
        let results = result.tasks.into_iter();
        results.map(|task| read_result(task, &run)).collect()
    }

    /// Runs any number of tasks as one run, and gives each result as soon as it is here.
    ///
    /// Dropping the stream cancels what still runs.
    pub fn run_stream(&self, specs: Vec<Spec>) -> Result<RunStream<CloudRunJobResult>, Error> {
        let request = self.request(specs)?;
        Ok(RunStream::start(self.session.clone(), request, read_result))
    }

    fn request(&self, specs: Vec<Spec>) -> Result<Request, Error> {
        let base = self.config.output_dir.clone().map_or_else(here, Ok)?;
        let task = |(number, spec): (usize, Spec)| {
            let mut work = Work::new(spec);
            work.inputs.clone_from(&self.inputs);
            TaskRequest {
                name: number.to_string(),
                work: Arc::new(work),
            }
        };
        Ok(Request {
            tasks: specs.into_iter().enumerate().map(task).collect(),
            out: Out::Default(base),
            tail: false,
            manner: Manner::default(),
        })
    }

    /// Where the last run's outputs are, on this machine.
    pub fn receive_outputs(&self) -> Result<PathBuf, Error> {
        self.last
            .clone()
            .ok_or_else(|| Error::usage("nothing was run yet"))
    }
}

fn here() -> Result<PathBuf, Error> {
    std::env::current_dir().map_err(|error| Error::local("cannot find this directory", error))
}

fn read_result(task: TaskResult, run: &str) -> Result<CloudRunJobResult, Error> {
    let read = |name: &str| {
        let path = task.directory.join(name);
        match fs_err::read(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
            read => read.map_err(|error| Error::local("cannot read a result", error)),
        }
    };
    Ok(CloudRunJobResult {
        returncode: task.exit_code,
        stdout: read("stdout")?,
        stderr: read("stderr")?,
        duration: Duration::from_millis(task.phases.command),
        cost: task.cost,
        error: task.problem,
        run: run.to_owned(),
        directory: task.directory,
    })
}
