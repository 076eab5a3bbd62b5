//! Everything that can be typed.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};

use super::claude::ClaudeArguments;
use super::doctor::DoctorArguments;
use super::image::ImageArguments;
use super::init::InitArguments;
use super::report::ReportArguments;
use super::returning_arguments::{
    CancelArguments, FetchArguments, GcArguments, LogsArguments, PsArguments, RmArguments,
    StatusArguments, WaitArguments,
};
use super::shape::ShapeArguments;
use crate::error::Error;
use crate::local::Serve;
use crate::settings::{Environment, Sandbox, Settings, Wishes};

/// Send local files to an ephemeral Cloud Run Jobs container, run a command there, bring the results home.
///
/// With no `sortie.toml` and no flags it does all that on this machine: no account, no Docker, no network.
#[derive(Debug, Parser)]
#[command(
    name = "sortie",
    version,
    disable_help_subcommand = true,
    max_term_width = 100
)]
pub(super) struct Arguments {
    #[command(subcommand)]
    pub(super) verb: Verb,
}

#[derive(Debug, Subcommand)]
pub(super) enum Verb {
    /// Run a command, or the tasks of a file, and bring the results home.
    Run(Box<RunArguments>),
    /// Give Claude Code a prompt, and bring home what it said and made.
    Claude(Box<ClaudeArguments>),
    /// List the newest runs.
    Ps(PsArguments),
    /// Tell how a run stands, task by task.
    Status(StatusArguments),
    /// Show what a task has written.
    Logs(LogsArguments),
    /// Come back to a run that another sortie left, wait for its end, and bring its results home.
    Wait(WaitArguments),
    /// Bring home what a run has brought so far.
    Fetch(FetchArguments),
    /// Write one HTML page about a run, conversations included.
    Report(ReportArguments),
    /// Cancel a run; what it has saved can be fetched.
    Cancel(CancelArguments),
    /// Remove runs: their objects, and their executions where you may.
    Rm(RmArguments),
    /// Remove what you left behind: old runs, and jobs made for a single definition.
    Gc(GcArguments),
    /// Write `sortie.toml` here, with the settings that the kit has left in its bucket.
    Init(InitArguments),
    /// Look at all that a run needs, change nothing, and say what to type where something is wrong.
    Doctor(DoctorArguments),
    /// Make images that sortie can use.
    Image(ImageArguments),
    /// Serve Cloud Storage, Cloud Run jobs and the metadata server on loopback, for any client.
    Emulator(EmulatorArguments),
}

const EXIT_CODES: &str = "Exit code: the command's own; 128+n if signal n ended it; 124 its timeout; 125 sortie's own \
failure; 126 and 127 the command cannot be run or found; 130 interrupted. Several tasks: 0 if all exited with 0, else 1.";

/// What to run, with what, and what becomes of it.
#[derive(Debug, Args)]
#[command(after_help = EXIT_CODES)]
pub(super) struct RunArguments {
    /// A task file (TOML, or JSON lines), instead of a command.
    #[arg(value_name = "TASKFILE.toml", conflicts_with_all = ["command", "shell_file", "tasks"])]
    pub(super) task_file: Option<PathBuf>,

    /// Tasks as JSON lines, one object each, with the keys of a task file; `-` is standard input.
    #[arg(long, value_name = "FILE.jsonl", conflicts_with_all = ["command", "shell_file"])]
    pub(super) tasks: Option<PathBuf>,

    /// The command, after `--`: executed as it stands, no shell sees it.
    #[arg(last = true, value_name = "CMD")]
    pub(super) command: Vec<OsString>,

    /// Text for /bin/sh instead of a command, of any size; `-` is standard input.
    #[arg(long, value_name = "FILE", conflicts_with = "command")]
    pub(super) shell_file: Option<PathBuf>,

    /// A file the command reads as its standard input; `-` is sortie's own.
    #[arg(long, value_name = "FILE")]
    pub(super) stdin: Option<PathBuf>,

    /// Take TASK, CMD and INPUTS from `SORTIE_MAKE_*`: how `make run` hands them over unharmed.
    #[arg(long, hide = true)]
    pub(super) from_make: bool,

    #[command(flatten)]
    pub(super) how: HowArguments,
}

/// With what, how often, how long, and where.
#[derive(Debug, Args)]
pub(super) struct HowArguments {
    /// A file or directory that appears at `input/NAME`; NAME is its own name if not given. Repeatable.
    #[arg(short, long = "input", value_name = "[NAME=]PATH")]
    pub(super) inputs: Vec<OsString>,

    /// A variable for the command; K alone takes the value it has here. Readable in the bucket: no secrets.
    #[arg(short, long = "env", value_name = "K[=V]")]
    pub(super) env: Vec<OsString>,

    /// End the command after so long, and bring home what it has written: `90s`, `10m`, `2h`.
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    pub(super) timeout: Option<Duration>,

    /// From a timeout's SIGTERM to its SIGKILL.
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration, default_value = "10s")]
    pub(super) grace: Duration,

    /// Upload the output directory so often while the command runs, for what cannot be caught.
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    pub(super) checkpoint: Option<Duration>,

    /// A variable whose value is a secret of the environment, or, on this machine, the value it has here. Repeatable.
    #[arg(long = "secret", value_name = "NAME")]
    pub(super) secrets: Vec<String>,

    /// How many times to run it, side by side.
    #[arg(short = 'n', value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(super) copies: Option<u32>,

    /// At most so many tasks at once.
    #[arg(long, value_name = "K", value_parser = clap::value_parser!(u32).range(1..))]
    pub(super) parallel: Option<u32>,

    /// Try again so often what the platform has failed; what the command has failed is never tried again.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(super) retries: u32,

    /// When a task fails, cancel the others.
    #[arg(long)]
    pub(super) fail_fast: bool,

    /// Refuse, or cancel, what would cost more, in US dollars by Cloud Run's list prices.
    #[arg(long, value_name = "USD")]
    pub(super) max_cost: Option<f64>,

    /// Start it, print the run's name, and leave: `sortie wait` comes back, from any machine, and does the rest as told.
    #[arg(short, long, conflicts_with = "out")]
    pub(super) detach: bool,

    /// Say what would be sent and started, and what it would cost; send nothing.
    #[arg(long)]
    pub(super) dry_run: bool,

    /// Where the results go [default: sortie-results/RUN/TASK]; must be empty or new.
    #[arg(short, long, value_name = "DIR")]
    pub(super) out: Option<PathBuf>,

    #[command(flatten)]
    pub(super) output: OutputArguments,

    #[command(flatten)]
    pub(super) steps: StepArguments,

    #[command(flatten)]
    pub(super) place: PlaceArguments,

    #[command(flatten)]
    pub(super) shape: ShapeArguments,
}

/// What comes before and after the command.
#[derive(Debug, Args)]
#[command(next_help_heading = "Before and after")]
pub(super) struct StepArguments {
    /// Shell text to run as root before anything else, where the image starts as root. Repeatable.
    #[arg(long = "root-setup", value_name = "CMD")]
    pub(super) setup: Vec<OsString>,

    /// Shell text to run before the command; the first that fails ends the task. Repeatable.
    #[arg(long = "pre", value_name = "CMD")]
    pub(super) pre: Vec<OsString>,

    /// Shell text to run when the command and all it started are gone. Repeatable.
    #[arg(long = "post", value_name = "CMD")]
    pub(super) post: Vec<OsString>,

    /// The post commands' exit code is the task's.
    #[arg(long, requires = "post")]
    pub(super) post_decides: bool,

    /// An input that only the post commands see, also at `input/NAME`. Repeatable.
    #[arg(long = "post-input", value_name = "[NAME=]PATH", requires = "post")]
    pub(super) post_inputs: Vec<OsString>,
}

#[derive(Debug, Clone, Copy, Args)]
pub(super) struct OutputArguments {
    /// One JSON object a line on standard output, the last being the result.
    #[arg(long)]
    pub(super) json: bool,

    /// Only the command's own output, warnings and errors.
    #[arg(short, long)]
    pub(super) quiet: bool,
}

impl OutputArguments {
    /// For verbs whose standard output is their answer.
    pub(super) fn warnings_only() -> Self {
        Self {
            json: false,
            quiet: true,
        }
    }
}

/// Where to run. Flags beat `SORTIE_*` variables, those beat `sortie.toml`, and without any it is this machine.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Where to run")]
pub(super) struct PlaceArguments {
    /// On this machine, whatever the settings say.
    #[arg(long)]
    local: bool,

    /// The team's environment (job, image and resources) to run in [default: default].
    #[arg(long, value_name = "NAME")]
    environment: Option<String>,

    /// How a task on this machine is fenced in.
    #[arg(long, value_enum)]
    sandbox: Option<Sandbox>,

    /// A directory of this machine that a local task may read. Repeatable.
    #[arg(long = "mount", value_name = "DIR")]
    mounts: Vec<PathBuf>,

    /// Google project.
    #[arg(long, value_name = "ID")]
    project: Option<String>,

    /// Its region [default: us-central1].
    #[arg(long, value_name = "REGION")]
    region: Option<String>,

    /// The bucket.
    #[arg(long, value_name = "NAME")]
    bucket: Option<String>,

    /// The job, instead of an environment's.
    #[arg(long, value_name = "NAME")]
    job: Option<String>,

    /// Another server for the Cloud Run API.
    #[arg(long, value_name = "URL")]
    run_endpoint: Option<String>,

    /// Another server for the Cloud Storage API.
    #[arg(long, value_name = "URL")]
    storage_endpoint: Option<String>,
}

impl PlaceArguments {
    /// As the settings take them.
    pub(super) fn into_wishes(self) -> Result<Wishes, Error> {
        let absolute = |path: PathBuf| {
            std::path::absolute(&path)
                .map_err(|error| Error::local(format!("cannot find `{}`", path.display()), error))
        };
        Ok(Wishes {
            local: self.local,
            environment: self.environment,
            project: self.project,
            region: self.region,
            bucket: self.bucket,
            job: self.job,
            run_endpoint: self.run_endpoint,
            storage_endpoint: self.storage_endpoint,
            sandbox: self.sandbox,
            mounts: self
                .mounts
                .into_iter()
                .map(absolute)
                .collect::<Result<_, _>>()?,
            ..Wishes::default()
        })
    }
}

#[derive(Debug, Args)]
pub(super) struct EmulatorArguments {
    /// The port to listen on, on 127.0.0.1; 0 is any free one.
    #[arg(long, default_value_t = 0)]
    port: u16,

    /// Where its state lies, across restarts [default: in sortie's data directory].
    #[arg(long, value_name = "DIR")]
    state: Option<PathBuf>,

    /// The project it knows.
    #[arg(long, value_name = "ID", default_value = "sortie-local")]
    project: String,

    /// The region it knows.
    #[arg(long, value_name = "REGION", default_value = "us-central1")]
    region: String,

    /// A bucket to make at the start.
    #[arg(long, value_name = "NAME")]
    bucket: Option<String>,

    /// Let storage be used without a token, as Google's clients do with STORAGE_EMULATOR_HOST. Cloud Run always needs one.
    #[arg(long)]
    anonymous: bool,

    /// A word of the command that plays a job's container, as often as it has words. It is given `--image=I --cpu=C --memory=M -- COMMAND…`; without it, the
    /// job's command is started as a process.
    #[arg(long, value_name = "WORD", allow_hyphen_values = true)]
    runner: Vec<OsString>,
}

impl EmulatorArguments {
    /// As the emulator takes them.
    pub(super) fn into_serve(self, env: &Environment) -> Result<Serve, Error> {
        let state = if let Some(state) = self.state {
            state
        } else {
            let wishes = Wishes {
                local: true,
                ..Wishes::default()
            };
            let settings = Settings::resolve(&wishes, env, std::path::Path::new("/"))?;
            settings.data_dir.join("served")
        };
        Ok(Serve {
            state,
            port: self.port,
            project: self.project,
            region: self.region,
            bucket: self.bucket,
            anonymous: self.anonymous,
            runner: self.runner,
            token: env.text("SORTIE_EMULATOR_TOKEN"),
            record: env.bytes(super::EMULATOR_RECORD).map(PathBuf::from),
        })
    }
}
