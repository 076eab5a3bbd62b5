//! Everything that can be typed.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};

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
    /// Come back to a run that another sortie left, and bring its results home.
    Wait(WaitArguments),
    /// Serve Cloud Storage, Cloud Run jobs and the metadata server on loopback, for any client.
    Emulator(EmulatorArguments),
}

const EXIT_CODES: &str = "Exit code: the command's own; 128+n if signal n ended it; 124 its timeout; 125 sortie's own \
failure; 126 and 127 the command cannot be run or found; 130 interrupted. Several tasks: 0 if all exited with 0, else 1.";

/// What to run, with what, and what becomes of it.
#[derive(Debug, Args)]
#[command(after_help = EXIT_CODES)]
pub(super) struct RunArguments {
    /// A task file (TOML), instead of a command.
    #[arg(value_name = "TASKFILE.toml", conflicts_with_all = ["command", "shell_file"])]
    pub(super) task_file: Option<PathBuf>,

    /// The command, after `--`: executed as it stands, no shell sees it.
    #[arg(last = true, value_name = "CMD")]
    pub(super) command: Vec<OsString>,

    /// Text for /bin/sh instead of a command, of any size; `-` is standard input.
    #[arg(long, value_name = "FILE", conflicts_with = "command")]
    pub(super) shell_file: Option<PathBuf>,

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

    /// A file the command reads as its standard input; `-` is sortie's own.
    #[arg(long, value_name = "FILE")]
    pub(super) stdin: Option<PathBuf>,

    /// How many times to run it, side by side.
    #[arg(short = 'n', value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(super) copies: u32,

    /// Where the results go [default: sortie-results/RUN/TASK]; must be empty or new.
    #[arg(short, long, value_name = "DIR")]
    pub(super) out: Option<PathBuf>,

    #[command(flatten)]
    pub(super) output: OutputArguments,

    #[command(flatten)]
    pub(super) place: PlaceArguments,

    /// Take TASK, CMD and INPUTS from `SORTIE_MAKE_*`: how `make run` hands them over unharmed.
    #[arg(long, hide = true)]
    pub(super) from_make: bool,
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

#[derive(Debug, Args)]
pub(super) struct WaitArguments {
    /// The run: in full, by a unique beginning, or by its last eight characters.
    #[arg(value_name = "RUN")]
    pub(super) run: String,

    /// Where the results go, instead of where the run was told; must be empty or new.
    #[arg(short, long, value_name = "DIR")]
    pub(super) out: Option<PathBuf>,

    #[command(flatten)]
    pub(super) output: OutputArguments,

    #[command(flatten)]
    pub(super) place: PlaceArguments,
}

/// Where to run. Flags beat `SORTIE_*` variables, those beat `sortie.toml`, and without any it is this machine.
#[derive(Debug, Args)]
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
        })
    }
}
