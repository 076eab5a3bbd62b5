//! What Cloud Run knows here, in memory and on disk.

use std::collections::{BTreeMap, HashMap};
use std::ffi::OsString;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use fs_err as fs;
use jiff::Timestamp;
use serde_json::Value;
use tokio::sync::{Semaphore, watch};

use super::process::{self, Marks};
use super::record::{Execution, Job, Operation, Subject};
use super::{execution, show};
use crate::config::Config;
use crate::disk::{self, Durability};
use crate::lock::lock;
use crate::options::{Containers, Options};
use crate::secret::Secrets;

/// Finished executions kept of each job; the oldest go first.
const KEPT: usize = 1000;
/// And how many tasks they may have in all: their states are held in memory.
const TASKS_KEPT: usize = 200_000;
/// Finished operations kept.
const OPERATIONS_KEPT: usize = 2000;

/// Why running tasks are to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    Go,
    Cancel,
    Shutdown,
}

/// Everything shared by the handlers and the supervisors.
pub(crate) struct State {
    pub(crate) project: String,
    pub(crate) region: String,
    pub(crate) account: String,
    pub(crate) runner: Vec<OsString>,
    pub(crate) containers: Option<Arc<dyn Containers>>,
    pub(crate) core_files: Option<u64>,
    pub(crate) storage_host: String,
    pub(crate) metadata_host: String,
    pub(crate) secrets: Arc<Secrets>,
    pub(crate) logs: PathBuf,
    /// How many tasks run at once.
    pub(crate) concurrency: usize,
    pub(crate) slots: Semaphore,
    root: PathBuf,
    records: Mutex<Records>,
    /// Told whenever an execution has ended.
    ended: watch::Sender<()>,
}

/// All records, and the switches of the executions that run.
#[derive(Default)]
pub(crate) struct Records {
    pub(crate) jobs: BTreeMap<String, Job>,
    pub(crate) executions: BTreeMap<String, Execution>,
    pub(crate) operations: BTreeMap<String, Operation>,
    pub(crate) running: HashMap<String, watch::Sender<Stop>>,
    pub(crate) stopping: bool,
}

impl State {
    pub(crate) fn open(
        config: &Config,
        options: &Options,
        base: &str,
        metadata: SocketAddr,
        secrets: Arc<Secrets>,
    ) -> io::Result<Self> {
        let root = config.state.join("run");
        for directory in ["jobs", "executions", "operations"] {
            fs::create_dir_all(root.join(directory))?;
        }
        let logs = config.state.join("logs");
        fs::create_dir_all(&logs)?;
        let jobs: Vec<Job> = disk::read_all(&root.join("jobs"))?;
        let executions: Vec<Execution> = disk::read_all(&root.join("executions"))?;
        let operations: Vec<Operation> = disk::read_all(&root.join("operations"))?;
        let records = Records {
            jobs: jobs.into_iter().map(|job| (job.id.clone(), job)).collect(),
            executions: executions
                .into_iter()
                .map(|execution| (execution.id.clone(), execution))
                .collect(),
            operations: operations
                .into_iter()
                .map(|operation| (operation.id.clone(), operation))
                .collect(),
            ..Records::default()
        };
        let state = Self {
            project: config.project.clone(),
            region: config.region.clone(),
            account: config.container_account.email.clone(),
            runner: config.runner.clone(),
            containers: options.containers.clone(),
            core_files: options.core_files,
            storage_host: base.to_owned(),
            metadata_host: metadata.to_string(),
            secrets,
            logs,
            concurrency: options.slots(),
            slots: Semaphore::new(options.slots()),
            root,
            records: Mutex::new(records),
            ended: watch::Sender::new(()),
        };
        state.bury_interrupted()?;
        Ok(state)
    }

    /// Fails what was running when a former life of this emulator ended, and kills what it left running.
    fn bury_interrupted(&self) -> io::Result<()> {
        let interrupted: Vec<Execution> = self
            .records()
            .executions
            .values()
            .filter(|execution| !execution.is_done())
            .cloned()
            .collect();
        for mut execution in interrupted {
            process::end_all(&Marks::of_execution(&execution.id, &execution.storage_host));
            let message = "The emulator stopped while this execution was running.";
            execution::fail(&mut execution, "INTERNAL", message);
            self.save_execution(&execution)?;
            self.records()
                .executions
                .insert(execution.id.clone(), execution);
        }
        Ok(())
    }

    pub(crate) fn records(&self) -> MutexGuard<'_, Records> {
        lock(&self.records)
    }

    pub(crate) fn ended(&self) -> watch::Receiver<()> {
        self.ended.subscribe()
    }

    pub(crate) fn log_path(&self, execution: &str, task: usize, attempt: u32) -> PathBuf {
        self.logs
            .join(execution)
            .join(format!("{task}.{attempt}.log"))
    }

    fn path(&self, kind: &str, id: &str) -> PathBuf {
        self.root.join(kind).join(format!("{id}.json"))
    }

    pub(crate) fn save_job(&self, job: &Job, durability: Durability) -> io::Result<()> {
        disk::replace_json(&self.path("jobs", &job.id), job, durability)
    }

    /// Not synced: a crash of this process loses nothing, and after a power loss the tasks are gone in any case.
    pub(crate) fn save_execution(&self, execution: &Execution) -> io::Result<()> {
        disk::replace_json(
            &self.path("executions", &execution.id),
            execution,
            Durability::Unsynced,
        )
    }

    pub(crate) fn save_operation(&self, operation: &Operation) -> io::Result<()> {
        disk::replace_json(
            &self.path("operations", &operation.id),
            operation,
            Durability::Unsynced,
        )
    }

    pub(crate) fn remove_job(&self, id: &str) -> io::Result<()> {
        self.records().jobs.remove(id);
        disk::remove(&self.path("jobs", id))
    }

    pub(crate) fn remove_operation(&self, id: &str) -> io::Result<()> {
        self.records().operations.remove(id);
        disk::remove(&self.path("operations", id))
    }

    /// Removes a finished execution and its logs; operations about it keep what it came to.
    pub(crate) fn remove_execution(&self, id: &str) -> io::Result<()> {
        let settled = {
            let mut records = self.records();
            let Some(execution) = records.executions.remove(id) else {
                return Ok(());
            };
            let resource = show::execution(self, &execution);
            settle(&mut records, id, &resource)
        };
        for operation in settled {
            self.save_operation(&operation)?;
        }
        disk::remove(&self.path("executions", id))?;
        remove_tree(&self.logs.join(id))
    }

    pub(crate) fn add_operation(&self, subject: Subject) -> io::Result<Operation> {
        let id = uuid::Uuid::new_v4().to_string();
        let operation = Operation {
            id: id.clone(),
            created: Timestamp::now(),
            subject,
        };
        self.save_operation(&operation)?;
        let oldest = {
            let mut records = self.records();
            records.operations.insert(id, operation.clone());
            let surplus = records.operations.len() > OPERATIONS_KEPT;
            let done = records
                .operations
                .values()
                .filter(|old| matches!(old.subject, Subject::Done { .. }));
            done.min_by_key(|old| old.created)
                .filter(|_| surplus)
                .map(|old| old.id.clone())
        };
        if let Some(oldest) = oldest {
            self.remove_operation(&oldest)?;
        }
        Ok(operation)
    }

    /// Changes an execution's record, if it is still there.
    pub(crate) fn change(&self, id: &str, change: impl FnOnce(&mut Execution)) {
        if let Some(execution) = self.records().executions.get_mut(id) {
            change(execution);
            execution.updated = Timestamp::now();
        }
    }

    /// To be called when an execution has ended and its record says so.
    pub(crate) fn finish(&self, id: &str) -> io::Result<()> {
        let recorded = self.record_end(id);
        self.records().running.remove(id);
        self.ended.send_replace(());
        recorded
    }

    fn record_end(&self, id: &str) -> io::Result<()> {
        let Some(execution) = self.records().executions.get(id).cloned() else {
            return Ok(());
        };
        self.save_execution(&execution)?;
        if execution.doomed {
            self.remove_execution(id)?;
        }
        if !self.records().executions.contains_key(id) {
            // It was deleted while it was being written.
            disk::remove(&self.path("executions", id))?;
        }
        self.trim(&execution.job)
    }

    fn trim(&self, job: &str) -> io::Result<()> {
        let surplus: Vec<String> = {
            let records = self.records();
            let of_job = records
                .executions
                .values()
                .filter(|execution| execution.job == job && execution.is_done());
            let mut finished: Vec<_> = of_job
                .map(|execution| (execution.created, &execution.id, execution.tasks.len()))
                .collect();
            finished.sort_unstable();
            surplus(&finished)
        };
        surplus.iter().try_for_each(|id| self.remove_execution(id))
    }
}

/// The oldest of a job's finished executions, as many as are too many; the newest stays in any case.
fn surplus(finished: &[(Timestamp, &String, usize)]) -> Vec<String> {
    let mut tasks = 0;
    let kept = finished
        .iter()
        .rev()
        .take(KEPT)
        .take_while(|(_, _, count)| {
            let fits = tasks == 0 || tasks + count <= TASKS_KEPT;
            tasks += count;
            fits
        });
    let surplus = finished.len() - kept.count();
    let oldest = finished.iter().take(surplus);
    oldest.map(|(_, id, _)| (*id).clone()).collect()
}

fn settle(records: &mut Records, execution: &str, resource: &Value) -> Vec<Operation> {
    let about = |operation: &&mut Operation| matches!(&operation.subject, Subject::Execution(id) if id == execution);
    let mut settled = Vec::new();
    for operation in records.operations.values_mut().filter(about) {
        operation.subject = Subject::Done {
            kind: "Execution".into(),
            resource: resource.clone(),
        };
        settled.push(operation.clone());
    }
    settled
}

fn remove_tree(path: &Path) -> io::Result<()> {
    match fs::remove_dir_all(path) {
        Err(failure) if failure.kind() == io::ErrorKind::NotFound => Ok(()),
        outcome => outcome,
    }
}
