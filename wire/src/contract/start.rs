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
    /// The job that runs it, as Cloud Run names it.
    pub job: String,
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
    /// Covers every `CLOUD_RUN_TASK_INDEX` of the execution once.
    pub tasks: Vec<TaskRange>,
    /// The distinct specs.
    pub specs: Vec<SpecSource>,
}

impl Start {
    /// The run's task and its spec for a `CLOUD_RUN_TASK_INDEX`.
    pub fn find(&self, index: u32) -> Option<(u32, &SpecSource)> {
        let range = self.tasks.iter().find(|range| {
            index
                .checked_sub(range.index)
                .is_some_and(|i| i < range.count)
        })?;
        let source = self.specs.get(usize::try_from(range.spec).ok()?)?;
        Some((range.task.checked_add(index - range.index)?, source))
    }
}

/// Neighbouring tasks with the same spec.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskRange {
    /// The first `CLOUD_RUN_TASK_INDEX`.
    pub index: u32,
    /// The number of that task within the run.
    pub task: u32,
    /// How many tasks.
    pub count: u32,
    /// Which of the start's specs.
    pub spec: u32,
}

/// A spec, or where it lies.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SpecSource {
    /// Here.
    Inline(Box<Spec>),
    /// In `runs/<run>/specs/<k>.json`.
    Object(u32),
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
                },
                TaskRange {
                    index: 2,
                    task: 9,
                    count: 1,
                    spec: 1,
                },
            ],
            specs: vec![spec.clone(), SpecSource::Object(3)],
        };
        assert_eq!(start.find(1), Some((6, &spec)));
        assert_eq!(start.find(2), Some((9, &SpecSource::Object(3))));
        assert_eq!(start.find(3), None);
    }
}
