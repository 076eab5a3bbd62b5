//! A task's output, from the bucket.

use std::time::Duration;

use wire::names::RunId;

use crate::cloud_run::Execution;
use crate::course::{Known, know};
use crate::error::Error;
use crate::event::{Event, Reporter};
use crate::results::{Following, Reports, read};
use crate::session::Session;

/// Between two looks while something is printed.
const SOON: Duration = Duration::from_secs(1);

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
    loop {
        // Whether it has ended is asked first: what it wrote before its end is then seen after.
        let ended = !follow || has_ended(session, run, task).await?;
        let mut reports = Reports::of(run);
        let (mut written, _) = reports
            .newest(&session.bucket, |attempt| attempt.task == task, reporter)
            .await?;
        let mut report = None;
        if let Some(written) = written.remove(&task) {
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

/// Whether nothing more will come of a task.
async fn has_ended(session: &Session, run: RunId, task: u32) -> Result<bool, Error> {
    let Known {
        starts, executions, ..
    } = know(session, run).await?;
    let newest = starts.iter().zip(&executions).rfind(|(start, _)| {
        let mut ranges = start.tasks.iter();
        ranges.any(|range| {
            task.checked_sub(range.task)
                .is_some_and(|i| i < range.count)
        })
    });
    Ok(newest.is_some_and(|(_, execution)| execution.as_ref().is_none_or(Execution::ended)))
}
