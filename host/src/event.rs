//! What happens during a run, for whoever tells the user.

use std::path::Path;

use wire::names::{RunId, Stream};

use crate::results::TaskResult;

/// What happens during a run.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// Where it will run, and how that was settled.
    Settled {
        /// Such as ``local mode (no `sortie.toml` here or above)``.
        source: &'a str,
        /// The job.
        job: &'a str,
    },
    /// Something the user should know of, and that stops nothing.
    Warning(&'a str),
    /// An input is in the bucket.
    Staged {
        /// Its name.
        name: &'a str,
        /// Files, links and directories.
        entries: u64,
        /// Bytes of its files.
        bytes: u64,
        /// Its packs.
        packs: u32,
        /// Packs that had to be sent.
        sent: u32,
        /// Bytes that went over the wire.
        sent_bytes: u64,
    },
    /// The execution is started.
    Started {
        /// The run.
        run: RunId,
        /// The execution's short name.
        execution: &'a str,
        /// How many tasks it has.
        tasks: u32,
    },
    /// Everything is started, and sortie leaves it alone.
    Detached {
        /// The run.
        run: RunId,
    },
    /// How the run stands.
    Progress(&'a Progress),
    /// The command wrote something.
    Output {
        /// Which task.
        task: u32,
        /// Where to.
        stream: Stream,
        /// What.
        bytes: &'a [u8],
    },
    /// Claude Code has told something: whole lines of JSON, or parts of some.
    Claude {
        /// Which task.
        task: u32,
        /// What.
        bytes: &'a [u8],
    },
    /// A cancel was asked for.
    Cancelling,
    /// A task's results are home.
    Landed {
        /// The run.
        run: RunId,
        /// The task's.
        result: &'a TaskResult,
    },
    /// All are.
    Finished {
        /// The run.
        run: RunId,
        /// Where the results are.
        dir: &'a Path,
        /// Every task's, in order.
        tasks: &'a [TaskResult],
        /// What Cloud Run bills, in US dollars by list prices; absent where nothing is billed.
        cost: Option<f64>,
        /// What sortie exits with.
        code: i32,
    },
}

impl<'a> Event<'a> {
    /// What a task has printed; `claude`: it is a run of Claude Code, whose standard output is its events.
    pub(crate) fn printed(claude: bool, task: u32, stream: Stream, bytes: &'a [u8]) -> Self {
        if claude && stream == Stream::Stdout {
            return Self::Claude { task, bytes };
        }
        Self::Output {
            task,
            stream,
            bytes,
        }
    }
}

/// How a run stands.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Progress {
    /// How many tasks it has.
    pub tasks: u32,
    /// Those that are in no execution yet.
    pub waiting: u32,
    /// Those that run now.
    pub running: u32,
    /// Those whose results are here.
    pub home: u32,
    /// Those of these that did not exit with 0.
    pub failed: usize,
    /// What those cost, in US dollars by list prices; absent where nothing is billed.
    pub cost: Option<f64>,
    /// Those that run now, by name, where somebody wants to see them and they are few.
    #[serde(skip)]
    pub rows: Vec<Row>,
}

/// A task that runs now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// Its name.
    pub name: String,
    /// When its container started.
    pub since: jiff::Timestamp,
}

/// Tells the user.
pub trait Reporter: Send {
    /// Something happened.
    fn event(&mut self, event: &Event<'_>);

    /// Whether every running task is to be told of, at the price of a call when their number changes.
    fn wants_rows(&self) -> bool {
        false
    }
}

/// Tells nobody.
#[derive(Debug, Default)]
pub struct Silent;

impl Reporter for Silent {
    fn event(&mut self, _event: &Event<'_>) {}
}
