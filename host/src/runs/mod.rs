//! Runs seen from outside: by their names, from any machine, with the bucket and Cloud Run alone.

mod logs;
mod overview;
mod removal;
mod standing;

pub use logs::show_logs;
pub use overview::{Overview, overview};
pub use removal::{Removed, Sweep, remove, sweep};
pub use standing::{Standing, TaskStanding, TaskState, standing};

use std::collections::BTreeSet;

use futures_util::FutureExt;
use futures_util::future::join_all;
use wire::bucket::List;
use wire::contract::RunRecord;
use wire::names::{RUNS, RunId};

use crate::cloud_run::Execution;
use crate::course::know;
use crate::error::{Error, chain};
use crate::record::ShortName;
use crate::session::Session;

/// The run that a name means, by the bucket.
pub async fn resolve(session: &Session, name: &ShortName) -> Result<RunId, Error> {
    if let Some(run) = name.full() {
        return Ok(run);
    }
    // A beginning narrows the listing; an end does not.
    let beginning = list_runs(session, &format!("{RUNS}{name}")).await?;
    let mut runs: BTreeSet<RunId> = beginning.into_iter().collect();
    if runs.is_empty() {
        let all = list_runs(session, RUNS).await?;
        runs = all.into_iter().filter(|run| name.means(*run)).collect();
    }
    let runs: Vec<RunId> = runs.into_iter().collect();
    name.pick(&runs)?.ok_or_else(|| {
        Error::usage(format!("no run `{name}` is known"))
            .with_hint("`sortie ps --all` lists those that are")
    })
}

/// Every run whose objects begin so, oldest first.
async fn list_runs(session: &Session, prefix: &str) -> Result<Vec<RunId>, Error> {
    let mut runs = Vec::new();
    let mut next: Option<String> = None;
    loop {
        let query = List {
            prefix,
            delimiter: Some("/"),
            page: next.as_deref(),
            ..List::default()
        };
        let page = session.bucket.list(&query).await;
        let page = page.map_err(Error::api("cannot list the runs"))?;
        let names = page.prefixes.iter().filter_map(|prefix| {
            let name = prefix.strip_prefix(RUNS)?.strip_suffix('/')?;
            name.parse::<RunId>().ok()
        });
        runs.extend(names);
        match page.next {
            Some(token) => next = Some(token),
            None => return Ok(runs),
        }
    }
}

/// A task of a run, by its name or its number.
pub fn find_task(record: &RunRecord, text: &str) -> Result<u32, Error> {
    if let Some(at) = record.names.iter().position(|name| name == text) {
        return Ok(u32::try_from(at).unwrap_or(u32::MAX));
    }
    let number = text.parse::<u32>().ok();
    number
        .filter(|&number| number < record.tasks)
        .ok_or_else(|| {
            Error::usage(format!("run `{}` has no task `{text}`", record.run))
                .with_hint(format!("`sortie status {}` lists them", record.run))
        })
}

/// Cancels what is under way of a run; says how many executions that were, and what went wrong.
pub async fn cancel(session: &Session, run: RunId) -> Result<(u32, Vec<String>), Error> {
    let known = know(session, run).await?;
    let open: Vec<&Execution> = known.all_executions().filter(|e| !e.ended()).collect();
    let cancels = open
        .iter()
        .map(|e| session.cloud_run.cancel(&e.name).boxed());
    let answers = join_all(cancels.collect::<Vec<_>>()).await;
    let failures = answers.iter().filter_map(|answer| answer.as_ref().err());
    let failures: Vec<String> = failures.map(|error| chain(error)).collect();
    let count = u32::try_from(answers.len() - failures.len()).unwrap_or(u32::MAX);
    Ok((count, failures))
}
