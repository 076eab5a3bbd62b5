//! What one `:run` call starts.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::Spec;
use crate::names::RunId;

/// What the host says of a run, once, before anything is started.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunRecord {
    /// The contract's version.
    pub version: u32,
    /// The run.
    pub run: RunId,
    /// The host program's version.
    pub sortie: String,
    /// Who started it, for people and for `gc`: `user@machine`.
    pub owner: String,
    /// When.
    pub created_at: Timestamp,
    /// How many tasks it has.
    pub tasks: u32,
    /// The tasks' names, in order; empty = each is named by its number.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub names: Vec<String>,
    /// The Google project of its jobs.
    #[serde(default)]
    pub project: String,
    /// Their region.
    #[serde(default)]
    pub region: String,
    /// Whether `runs/<run>/plan.json` says what every task does, because no single start does.
    #[serde(default)]
    pub planned: bool,
    /// At most so many tasks at once, kept by the host that follows it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parallel: Option<u32>,
    /// What else was asked of the host that follows it.
    #[serde(default, skip_serializing_if = "Driving::is_default")]
    pub driving: Driving,
    /// The job that runs it, as Cloud Run names it; of several, the first.
    pub job: String,
    /// The others.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub jobs: Vec<String>,
    /// Those that are runs of Claude Code, whose standard output is its events.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub claude: Vec<TaskSpan>,
}

/// What a host does beside waiting, for whoever comes back to the run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Driving {
    /// How often a task that the platform has failed is tried again.
    #[serde(default)]
    pub retries: u32,
    /// Whether the first task that fails ends the others.
    #[serde(default)]
    pub fail_fast: bool,
    /// What the run may cost by list prices, in millionths of a US dollar.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_cost_micros: Option<u64>,
}

impl Driving {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// Tasks in a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskSpan {
    /// The first one's number.
    pub first: u32,
    /// How many.
    pub count: u32,
}

impl RunRecord {
    /// Every job, once.
    pub fn all_jobs(&self) -> impl Iterator<Item = &str> {
        let others = self.jobs.iter().map(String::as_str);
        std::iter::once(self.job.as_str()).chain(others)
    }

    /// Whether a task is a run of Claude Code.
    pub fn is_claude(&self, task: u32) -> bool {
        let within = |span: &TaskSpan| {
            task.checked_sub(span.first)
                .is_some_and(|offset| offset < span.count)
        };
        self.claude.iter().any(within)
    }

    /// A task's name.
    pub fn name(&self, task: u32) -> String {
        let named = usize::try_from(task).ok().and_then(|i| self.names.get(i));
        named.cloned().unwrap_or_else(|| task.to_string())
    }
}

/// What one `:run` call starts: which task does what.
///
/// Specs stand here, and not in the run record, so that a task needs one read before its claim.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Start {
    /// The contract's version.
    pub version: u32,
    /// The run.
    pub run: RunId,
    /// Which of the run's starts, from 0.
    pub start: u32,
    /// The job whose execution this is, by its short name.
    #[serde(default)]
    pub job: String,
    /// The task timeout it overrides the job's with, in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_s: Option<u64>,
    /// Tells the sortie that wrote it from another that drives the same run; says nothing else.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub by: String,
    /// Covers every `CLOUD_RUN_TASK_INDEX` of the execution once.
    pub tasks: Vec<TaskRange>,
    /// The distinct specs.
    pub specs: Vec<SpecSource>,
}

impl Start {
    /// The run's task and its spec for a `CLOUD_RUN_TASK_INDEX`.
    pub fn find(&self, index: u32) -> Option<(u32, SpecSource)> {
        let range = self.tasks.iter().find(|range| {
            index
                .checked_sub(range.index)
                .is_some_and(|i| i < range.count)
        })?;
        let i = index - range.index;
        let source = self.source(range.spec.checked_add(range.step.checked_mul(i)?)?)?;
        Some((range.task.checked_add(i)?, source))
    }

    /// The specs' sources one by one, in the order in which ranges count them.
    pub fn sources(&self) -> impl Iterator<Item = SpecSource> + '_ {
        self.specs.iter().flat_map(|source| {
            let objects = match source {
                SpecSource::Objects { first, count } => *first..first.saturating_add(*count),
                _ => 0..0,
            };
            let single = !matches!(source, SpecSource::Objects { .. });
            single
                .then(|| source.clone())
                .into_iter()
                .chain(objects.map(SpecSource::Object))
        })
    }

    fn source(&self, wanted: u32) -> Option<SpecSource> {
        let mut at: u32 = 0;
        for source in &self.specs {
            let (covers, found) = match source {
                SpecSource::Objects { first, count } => {
                    let object = first.checked_add(wanted - at);
                    (*count, object.map(SpecSource::Object))
                }
                single => (1, Some(single.clone())),
            };
            if wanted - at < covers {
                return found;
            }
            at = at.checked_add(covers)?;
        }
        None
    }
}

/// What every task of a run does, where no single start says it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunPlan {
    /// The contract's version.
    pub version: u32,
    /// The run.
    pub run: RunId,
    /// For each job what a single start of all its tasks would say, however many they are.
    pub jobs: Vec<Start>,
}

/// Neighbouring tasks, with one spec or with neighbouring ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskRange {
    /// The first `CLOUD_RUN_TASK_INDEX`.
    pub index: u32,
    /// The number of that task within the run.
    pub task: u32,
    /// How many tasks.
    pub count: u32,
    /// Which of the start's specs the first has.
    pub spec: u32,
    /// How far apart the specs of neighbours are: 0 = all have the same, 1 = each has the next.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub step: u32,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde passes a reference"
)]
fn is_zero(number: &u32) -> bool {
    *number == 0
}

/// A spec, or where it lies.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SpecSource {
    /// Here.
    Inline(Box<Spec>),
    /// In `runs/<run>/specs/<k>.json`.
    Object(u32),
    /// So many specs, in objects that are numbered in a row.
    Objects {
        /// The first one's number.
        first: u32,
        /// How many.
        count: u32,
    },
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::{Command, VERSION};

    #[test]
    fn an_index_finds_its_task_and_spec() {
        let spec = SpecSource::Inline(Box::new(Spec::new(Command::Shell("true".into()))));
        let start = Start {
            version: VERSION,
            run: RunId::new(),
            start: 1,
            tasks: vec![
                TaskRange {
                    index: 0,
                    task: 5,
                    count: 2,
                    spec: 0,
                    step: 0,
                },
                TaskRange {
                    index: 2,
                    task: 9,
                    count: 3,
                    spec: 1,
                    step: 1,
                },
            ],
            job: "j".to_owned(),
            timeout_s: None,
            by: String::new(),
            specs: vec![
                spec.clone(),
                SpecSource::Object(3),
                SpecSource::Objects { first: 7, count: 2 },
            ],
        };
        assert_eq!(start.find(1), Some((6, spec.clone())));
        assert_eq!(start.find(2), Some((9, SpecSource::Object(3))));
        assert_eq!(start.find(3), Some((10, SpecSource::Object(7))));
        assert_eq!(start.find(4), Some((11, SpecSource::Object(8))));
        assert_eq!(start.find(5), None);
        let all: Vec<_> = start.sources().collect();
        assert_eq!(all.len(), 4);
        assert_eq!(all[3], SpecSource::Object(8));
    }
}
