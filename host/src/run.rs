//! A run, from local files to local results.

use std::path::PathBuf;

use wire::names::RunId;

use crate::course::{Course, Resume};
use crate::error::Error;
use crate::event::{Event, Reporter, Silent};
use crate::interrupts::Interrupts;
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
    /// What Cloud Run bills, in US dollars by list prices; absent where nothing is billed.
    pub cost: Option<f64>,
    /// What sortie exits with.
    pub exit_code: i32,
}

/// Packs, sends, starts, follows, collects. `None`: it is started, and was to be left alone.
pub async fn run(
    session: &Session,
    request: &Request,
    reporter: &mut dyn Reporter,
    interrupts: &mut Interrupts,
) -> Result<Option<RunResult>, Error> {
    request.check()?;
    settled(session, reporter);
    let run = RunId::new();
    let mut course = tokio::select! {
        ready = Course::prepare(session, request, run, reporter) => ready?,
        () = interrupts.next() => return Err(Error::Interrupted),
    };
    let driven = if request.manner.detach {
        course.start_only(reporter, interrupts).await
    } else {
        course.drive(reporter, interrupts).await
    };
    match driven {
        Ok(()) if request.manner.detach => {
            reporter.event(&Event::Detached { run });
            Ok(None)
        }
        Ok(()) => Ok(Some(course.finish(reporter))),
        Err(error) if course.is_started() => Err(Error::in_run(run)(error)),
        Err(error) => Err(error),
    }
}

/// Comes back to a run, waits for its end, and brings its results home.
pub async fn wait(
    session: &Session,
    run: RunId,
    how: Resume,
    reporter: &mut dyn Reporter,
    interrupts: &mut Interrupts,
) -> Result<RunResult, Error> {
    let mut course = Course::resume(session, run, how).await?;
    let driven = course.drive(reporter, interrupts).await;
    driven.map_err(Error::in_run(run))?;
    Ok(course.finish(reporter))
}

/// Brings home what a run has brought so far, and waits for nothing.
///
/// `task`: of this one alone. Says how many tasks have not ended.
pub async fn fetch(
    session: &Session,
    run: RunId,
    how: Resume,
    task: Option<u32>,
    reporter: &mut dyn Reporter,
) -> Result<(RunResult, u32), Error> {
    let mut course = Course::resume(session, run, how).await?;
    if let Some(task) = task {
        course.only(task);
    }
    let missing = course.fetch(reporter).await.map_err(Error::in_run(run))?;
    // A result is told when it is whole.
    let result = match missing {
        0 => course.finish(reporter),
        _ => course.finish(&mut Silent),
    };
    Ok((result, missing))
}

fn settled(session: &Session, reporter: &mut dyn Reporter) {
    reporter.event(&Event::Settled {
        source: &session.source,
        job: &session.job,
    });
    for warning in &session.warnings {
        reporter.event(&Event::Warning(warning));
    }
}
