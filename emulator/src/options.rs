//! What an emulator can be told beyond what every one must be.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::time::SystemTime;

use jiff::Timestamp;
use tokio::sync::watch;

/// Everything that has a default.
#[derive(Clone, Default)]
pub struct Options {
    /// How many tasks run at once on this machine, those of all executions together; the others wait for capacity. An
    /// execution's own `parallelism` may make it fewer. 0 is four for each core, at least 4 and at most 16.
    pub concurrency: usize,
    /// Runs containers inside this process; [`Config::runner`](crate::Config::runner) is then not asked.
    pub containers: Option<Arc<dyn Containers>>,
    /// A file to which every exchange is appended as a line of JSON: method, path and query, status, and the JSON of
    /// request and answer. Of an upload only its metadata, of media nothing; tokens and upload sessions neither. Given a
    /// directory, it is a new file in that, ending in `.jsonl`.
    pub record: Option<PathBuf>,
    /// The soft limit on core files, in bytes, of the processes that it starts, where they are not to have its own.
    pub core_files: Option<u64>,
    /// Tells the time by which objects grow old, for the lifecycle rules of their buckets; the system's clock if there is
    /// none.
    pub clock: Option<Arc<dyn Fn() -> SystemTime + Send + Sync>>,
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("concurrency", &self.concurrency)
            .field("containers", &self.containers.is_some())
            .field("record", &self.record)
            .field("core_files", &self.core_files)
            .field("clock", &self.clock.is_some())
            .finish()
    }
}

/// What tells the time.
pub(crate) type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

impl Options {
    pub(crate) fn clock(&self) -> Clock {
        match self.clock.clone() {
            // A time beyond all calendars makes nothing old.
            Some(clock) => Arc::new(move || Timestamp::try_from(clock()).unwrap_or(Timestamp::MIN)),
            None => Arc::new(Timestamp::now),
        }
    }

    pub(crate) fn slots(&self) -> usize {
        if self.concurrency > 0 {
            return self.concurrency;
        }
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        (4 * cores).clamp(4, 16)
    }
}

/// What runs containers inside the emulator's own process. Any function from a [`Container`] to a future of its exit
/// code is one.
pub trait Containers: Send + Sync {
    /// Runs one attempt of one task, and returns its exit code. It is dropped where a process would get SIGKILL; one that
    /// panics is an attempt that could not be started.
    fn run(&self, container: Container) -> Pin<Box<dyn Future<Output = i32> + Send>>;
}

impl<F, R> Containers for F
where
    F: Fn(Container) -> R + Send + Sync,
    R: Future<Output = i32> + Send + 'static,
{
    fn run(&self, container: Container) -> Pin<Box<dyn Future<Output = i32> + Send>> {
        Box::pin(self(container))
    }
}

/// One attempt of one task, to be run by [`Containers`].
pub struct Container {
    /// The image, as the job names it.
    pub image: String,
    /// The command and its arguments, as job and overrides have them; empty where they leave it to the image.
    pub argv: Vec<OsString>,
    /// Exactly what a process would get as its environment.
    pub environment: BTreeMap<OsString, OsString>,
    pub(crate) terminated: watch::Receiver<bool>,
}

impl Container {
    /// A variable of its environment, if there is one and it is text.
    pub fn variable(&self, name: &str) -> Option<&str> {
        self.environment.get(OsStr::new(name))?.to_str()
    }

    /// Ready when a process would get SIGTERM: at the task's timeout, on a cancel, when the emulator stops. Ten seconds
    /// later the future is dropped.
    pub async fn terminated(&mut self) {
        let _ = self.terminated.wait_for(|terminated| *terminated).await;
    }
}

impl fmt::Debug for Container {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Without the environment's values, which may be secret.
        f.debug_struct("Container")
            .field("image", &self.image)
            .field("argv", &self.argv)
            .field("environment", &self.environment.keys())
            .finish_non_exhaustive()
    }
}
