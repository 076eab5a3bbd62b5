//! A task's output, from the bucket.

use std::time::Duration;

use wire::contract::Start;
use wire::names::{Attempt, RunId};

use crate::cloud_run::Execution;
use crate::course::{Known, know};
use crate::error::Error;
use crate::event::{Event, Reporter};
use crate::results::{Following, Reports, read};
use crate::session::Session;

/// Between two looks while something is printed.
const SOON: Duration = Duration::from_secs(2);

/// Looks grow this rare while nothing is.
const RARE: Duration = Duration::from_secs(8);

/// Shows what a task has written; `follow`: and goes on until it ends.
pub async fn show_logs(
    session: &Session,
    run: RunId,
    task: u32,
    follow: bool,
    reporter: &mut dyn Reporter,
) -> Result<(), Error> {
    let mut following = Following::of(run, task);
    let mut pause = SOON;
    let mut newest = newest_start(session, run, task).await?;
    loop {
        // Whether it has ended is asked first: what it wrote before its end is then seen after.
        let ended = !follow || has_ended(session, &mut newest).await?;
        if ended && follow {
            // Perhaps because it was started again.
            let again = newest_start(session, run, task).await?;
            if again.0 != newest.0 {
                newest = again;
                continue;
            }
        }
        let mut reports = Reports::of(run);
        let start = newest.0;
        let wanted =
            |attempt: Attempt| attempt.task == task && start.is_none_or(|s| s == attempt.start);
        let written = reports
            .newest_of(&session.bucket, task, wanted, reporter)
            .await?;
        let mut report = None;
        if let Some(written) = written {
            match read(&session.bucket, written.objects).await? {
                Ok(found) => report = Some(found),
                Err(why) => reporter.event(&Event::Warning(&why)),
            }
        }
        let over = ended || report.is_some();
        let more = following
            .look(&session.bucket, report, over, reporter)
            .await?;
        if over {
            return Ok(());
        }
        pause = if more { SOON } else { (pause * 2).min(RARE) };
        tokio::time::sleep(pause).await;
    }
}

/// The newest start of a task, and its executions.
type Newest = (Option<u32>, Vec<Execution>);

async fn newest_start(session: &Session, run: RunId, task: u32) -> Result<Newest, Error> {
    let Known {
        starts, executions, ..
    } = know(session, run).await?;
    let of_task = |start: &Start| {
        let mut ranges = start.tasks.iter();
        ranges.any(|range| {
            task.checked_sub(range.task)
                .is_some_and(|i| i < range.count)
        })
    };
    let newest = starts
        .iter()
        .zip(executions)
        .rfind(|(start, _)| of_task(start));
    Ok(newest.map_or((None, Vec::new()), |(start, executions)| {
        (Some(start.start), executions)
    }))
}

/// Whether nothing more will come of a start. One that nobody has started yet may come.
async fn has_ended(session: &Session, newest: &mut Newest) -> Result<bool, Error> {
    let (Some(_), executions) = newest else {
        return Ok(false);
    };
    for execution in executions.iter_mut().filter(|execution| !execution.ended()) {
        let now = session.cloud_run.execution(&execution.name).await;
        *execution = now.map_err(Error::api("cannot follow the run"))?;
    }
    Ok(executions.iter().all(Execution::ended))
}
