//! `sortie run` and `sortie wait`: arguments into a request, a request into an exit code.

use std::path::{Path, PathBuf};

use tokio::sync::mpsc;

use super::arguments::{OutputArguments, RunArguments, WaitArguments};
use super::tasks::tasks;
use super::{block_on, human, json};
use crate::error::Error;
use crate::event::{Event, Reporter};
use crate::follow::Interrupts;
use crate::record::LocalRecord;
use crate::request::{Out, Request};
use crate::session::Session;
use crate::settings::{Environment, Settings};

/// Runs what was typed; the exit code is the command's.
pub(super) fn run(arguments: RunArguments, env: &Environment) -> Result<i32, Error> {
    let here = here()?;
    let mut warnings = Vec::new();
    let tasks = tasks(&arguments, env, &mut warnings)?;
    let out = match &arguments.out {
        Some(dir) => Out::Dir(absolute(dir)?),
        None => Out::Default(here.clone()),
    };
    let request = Request {
        tail: tasks.len() == 1,
        tasks,
        out,
    };
    request.check()?;
    let settings = Settings::resolve(&arguments.place.into_wishes()?, env, &here)?;
    let mut reporter = reporter(arguments.output);
    for warning in &warnings {
        reporter.event(&Event::Warning(warning));
    }
    let json = arguments.output.json;
    report_failure(
        json,
        block_on(async {
            let mut interrupts = interrupts()?;
            let session = open(&settings, &mut interrupts).await?;
            let result =
                crate::run::run(&session, &request, reporter.as_mut(), &mut interrupts).await?;
            Ok(result.exit_code)
        }),
    )
}

/// Connecting may wait for a server that does not come.
async fn open(settings: &Settings, interrupts: &mut Interrupts) -> Result<Session, Error> {
    tokio::select! {
        session = Session::open(settings) => session,
        () = interrupts.next() => Err(Error::Interrupted),
    }
}

fn report_failure(json: bool, result: Result<i32, Error>) -> Result<i32, Error> {
    if json {
        result.inspect_err(json::failure)
    } else {
        result
    }
}

/// Waits for what another sortie started; exits as it would have.
pub(super) fn wait(arguments: WaitArguments, env: &Environment) -> Result<i32, Error> {
    let mut wishes = arguments.place.into_wishes()?;
    let data_dir = crate::settings::data_dir(env)?;
    let mut record = LocalRecord::find(&data_dir, &arguments.run)?;
    if let Some(dir) = &arguments.out {
        let out = Out::Dir(absolute(dir)?);
        out.check()?;
        record.set_out(&out);
    }
    wishes.follow(&record);
    let settings = Settings::resolve(&wishes, env, &here()?)?;
    let mut reporter = reporter(arguments.output);
    report_failure(
        arguments.output.json,
        block_on(async {
            let mut interrupts = interrupts()?;
            let session = open(&settings, &mut interrupts).await?;
            let result =
                crate::run::wait(&session, &record, reporter.as_mut(), &mut interrupts).await?;
            Ok(result.exit_code)
        }),
    )
}

fn reporter(output: OutputArguments) -> Box<dyn Reporter> {
    if output.json {
        Box::new(json::Lines::default())
    } else {
        Box::new(human::Human::new(output.quiet))
    }
}

/// Ctrl-C, and SIGTERM: what a CI that gives up sends.
fn interrupts() -> Result<Interrupts, Error> {
    use tokio::signal::unix::{SignalKind, signal};
    let failed = |error| Error::local("cannot listen for signals", error);
    let mut int = signal(SignalKind::interrupt()).map_err(failed)?;
    let mut term = signal(SignalKind::terminate()).map_err(failed)?;
    let (sender, receiver) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        loop {
            tokio::select! {
                _ = int.recv() => {}
                _ = term.recv() => {}
            }
            if sender.send(()).is_err() {
                return;
            }
        }
    });
    Ok(Interrupts::new(receiver))
}

fn here() -> Result<PathBuf, Error> {
    std::env::current_dir().map_err(|error| Error::local("cannot find this directory", error))
}

/// From this directory; nothing is looked at.
pub(super) fn absolute(path: &Path) -> Result<PathBuf, Error> {
    std::path::absolute(path)
        .map_err(|error| Error::local(format!("cannot find `{}`", path.display()), error))
}
