//! A run, from local files to local results.

use std::path::PathBuf;

use wire::names::RunId;

use crate::course::Course;
use crate::error::Error;
use crate::event::{Event, Reporter};
use crate::follow::Interrupts;
use crate::record::LocalRecord;
use crate::request::Request;
use crate::results::TaskResult;
use crate::session::Session;

/// What a run came to.
#[derive(Debug)]
pub struct RunResult {
    /// The run.
    pub run: RunId,
    /// Every task's result, in order.
    pub tasks: Vec<TaskResult>,
    /// Where they are.
    pub directory: PathBuf,
    /// What sortie exits with.
    pub exit_code: i32,
}

/// Packs, sends, starts, follows, collects.
pub async fn run(
    session: &Session,
    request: &Request,
    reporter: &mut dyn Reporter,
    interrupts: &mut Interrupts,
) -> Result<RunResult, Error> {
    request.check()?;
    reporter.event(&Event::Settled {
        source: &session.source,
        job: &session.job,
    });
    for warning in &session.warnings {
        reporter.event(&Event::Warning(warning));
    }
    let run = RunId::new();
    let mut course = tokio::select! {
        ready = Course::prepare(session, request, run, reporter) => ready?,
        () = interrupts.next() => return Err(Error::Interrupted),
    };
    match course.run(reporter, interrupts).await {
        Ok(results) => Ok(course.finish(results, reporter)),
        Err(error) if course.is_started() => Err(Error::in_run(run)(error)),
        Err(error) => Err(error),
    }
}

/// Comes back to a run that another sortie started, and brings its results home.
pub async fn wait(
    session: &Session,
    record: &LocalRecord,
    reporter: &mut dyn Reporter,
    interrupts: &mut Interrupts,
) -> Result<RunResult, Error> {
    let mut course = Course::resume(session, record);
    let results = course.come_back(reporter, interrupts).await;
    Ok(course.finish(results.map_err(Error::in_run(record.run))?, reporter))
}
