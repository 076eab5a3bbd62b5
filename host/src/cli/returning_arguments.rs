//! What can be typed of runs that are started already.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::arguments::{OutputArguments, PlaceArguments};

#[derive(Debug, Args)]
pub(super) struct WaitArguments {
    /// The run: in full, by a unique beginning, or by its last eight characters.
    #[arg(value_name = "RUN")]
    pub(super) run: String,

    /// Where the results go, instead of where the run was told; must be empty or new.
    #[arg(short, long, value_name = "DIR")]
    pub(super) out: Option<PathBuf>,

    /// Try again so often what the platform has failed [default: as the run was told].
    #[arg(long, value_name = "N")]
    pub(super) retries: Option<u32>,

    /// Start what waits for its turn, although another machine has started the run and the bucket alone says what it is.
    #[arg(long)]
    pub(super) start_the_rest: bool,

    #[command(flatten)]
    pub(super) output: OutputArguments,

    #[command(flatten)]
    pub(super) place: PlaceArguments,
}

#[derive(Debug, Args)]
pub(super) struct FetchArguments {
    /// The run, or one of its tasks, by name or number.
    #[arg(value_name = "RUN[/TASK]")]
    pub(super) run: String,

    /// Where the results go, instead of where the run was told; must be empty or new.
    #[arg(short, long, value_name = "DIR")]
    pub(super) out: Option<PathBuf>,

    #[command(flatten)]
    pub(super) output: OutputArguments,

    #[command(flatten)]
    pub(super) place: PlaceArguments,
}

#[derive(Debug, Args)]
pub(super) struct PsArguments {
    /// Everybody's, not only those you started.
    #[arg(short, long)]
    pub(super) all: bool,

    /// So many, the newest first.
    #[arg(long, value_name = "N", default_value_t = 20)]
    pub(super) last: usize,

    #[command(flatten)]
    pub(super) output: OutputArguments,

    #[command(flatten)]
    pub(super) place: PlaceArguments,
}

#[derive(Debug, Args)]
pub(super) struct StatusArguments {
    /// The run.
    #[arg(value_name = "RUN")]
    pub(super) run: String,

    /// A line for every task, however many.
    #[arg(short, long)]
    pub(super) all: bool,

    #[command(flatten)]
    pub(super) output: OutputArguments,

    #[command(flatten)]
    pub(super) place: PlaceArguments,
}

#[derive(Debug, Args)]
pub(super) struct LogsArguments {
    /// The run, and, of several, the task by name or number.
    #[arg(value_name = "RUN[/TASK]")]
    pub(super) run: String,

    /// Go on until the task ends.
    #[arg(short, long)]
    pub(super) follow: bool,

    #[command(flatten)]
    pub(super) place: PlaceArguments,
}

#[derive(Debug, Args)]
pub(super) struct CancelArguments {
    /// The run.
    #[arg(value_name = "RUN")]
    pub(super) run: String,

    #[command(flatten)]
    pub(super) place: PlaceArguments,
}

#[derive(Debug, Args)]
pub(super) struct RmArguments {
    /// The runs.
    #[arg(value_name = "RUN", required = true)]
    pub(super) runs: Vec<String>,

    /// Even what is running: it is cancelled first.
    #[arg(short, long)]
    pub(super) force: bool,

    #[command(flatten)]
    pub(super) place: PlaceArguments,
}

#[derive(Debug, Args)]
pub(super) struct GcArguments {
    /// What began earlier than so long ago.
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration, default_value = "7days")]
    pub(super) older_than: Duration,

    /// Say what would go; remove nothing.
    #[arg(long)]
    pub(super) dry_run: bool,

    #[command(flatten)]
    pub(super) place: PlaceArguments,
}
