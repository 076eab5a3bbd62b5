//! A run's results, from where they are.

use std::collections::BTreeMap;
use std::path::PathBuf;

use tempfile::TempDir;
use wire::contract::RunRecord;
use wire::names::RunId;

use crate::course::{Resume, Trust, read_record};
use crate::error::Error;
use crate::event::Reporter;
use crate::request::Out;
use crate::results::{TaskResult, is_landed};
use crate::session::Session;

/// A run and its results, as far as there are any.
#[derive(Debug)]
pub(crate) struct Gathered {
    pub(super) record: RunRecord,
    pub(super) results: Vec<TaskResult>,
    by_task: BTreeMap<u32, usize>,
    /// Where they are, if they were fetched for this alone.
    _fetched: Option<TempDir>,
}

impl Gathered {
    pub(super) fn result(&self, task: u32) -> Option<&TaskResult> {
        self.results.get(*self.by_task.get(&task)?)
    }
}

/// Finds a run's results on this machine if all are there; else fetches what there is into a directory of its own, and
/// leaves the bucket as it is.
///
/// `remembered`: where this machine was told to put them.
pub(crate) async fn gather(
    session: &Session,
    run: RunId,
    remembered: Option<Out>,
    reporter: &mut dyn Reporter,
) -> Result<Gathered, Error> {
    let record = read_record(session, run).await?;
    let record = record.ok_or_else(|| {
        Error::usage(format!("the bucket knows nothing of run `{run}`"))
            .with_hint("it was never started, or is removed: `sortie ps` lists those there are")
    })?;
    let landed = |out: &Out| {
        let mut tasks = 0..record.tasks;
        tasks.all(|task| is_landed(&out.of_task(&record, task), run, task))
    };
    let here = remembered.filter(landed);
    let fetched = match here {
        Some(_) => None,
        None => Some(
            tempfile::tempdir()
                .map_err(|error| Error::local("cannot make a directory for the results", error))?,
        ),
    };
    let dir = fetched.as_ref().map(|dir| dir.path().to_owned());
    let how = Resume {
        out: here.unwrap_or_else(|| Out::Dir(dir.unwrap_or_else(PathBuf::new))),
        retries: None,
        show: false,
        keep: true,
        trust: Trust::Nobody,
    };
    let (result, _) = crate::run::fetch(session, run, how, None, reporter).await?;
    let numbers = result.tasks.iter().map(|task| task.index);
    Ok(Gathered {
        record,
        by_task: numbers.zip(0..).collect(),
        results: result.tasks,
        _fetched: fetched,
    })
}
