//! `sortie run`: arguments into a request, a request into an exit code.

use std::path::{Path, PathBuf};

use tokio::sync::mpsc;

use super::arguments::{HowArguments, OutputArguments, RunArguments};
use super::claude::ClaudeArguments;
use super::tasks::tasks;
use super::{block_on, human, json};
use crate::claude_code;
use crate::error::Error;
use crate::event::{Event, Reporter};
use crate::exit_code;
use crate::interrupts::Interrupts;
use crate::request::{Manner, Out, Request, TaskRequest};
use crate::session::Session;
use crate::settings::{Environment, Settings};

/// Runs what was typed; the exit code is the command's.
pub(super) fn run(arguments: RunArguments, env: &Environment) -> Result<i32, Error> {
    let mut warnings = Vec::new();
    let tasks = tasks(&arguments, env, &mut warnings)?;
    run_tasks(tasks, arguments.how, env, &warnings)
}

/// Gives Claude Code a prompt; the exit code is its.
pub(super) fn claude(arguments: ClaudeArguments, env: &Environment) -> Result<i32, Error> {
    let mut warnings = Vec::new();
    let tasks = super::claude::tasks(&arguments, env, &mut warnings)?;
    run_tasks(tasks, arguments.how, env, &warnings)
}

fn run_tasks(
    tasks: Vec<TaskRequest>,
    arguments: HowArguments,
    env: &Environment,
    warnings: &[String],
) -> Result<i32, Error> {
    let here = here()?;
    let request = request(tasks, &arguments, &here)?;
    request.check()?;
    let mut wishes = arguments.place.into_wishes()?;
    wishes.shape = arguments.shape.into_shape();
    wishes.dry_run = arguments.dry_run;
    wishes.parallel = request.manner.parallel;
    wishes.secrets = secrets(&request);
    let settings = Settings::resolve(&wishes, env, &here)?;
    claude_code::check(&request, &settings)?;
    let mut reporter = reporter(arguments.output);
    for warning in warnings {
        reporter.event(&Event::Warning(warning));
    }
    let json = arguments.output.json;
    let dry_run = arguments.dry_run;
    report_failure(
        json,
        block_on(async {
            let mut interrupts = interrupts()?;
            let session = open(&settings, &mut interrupts).await?;
            if dry_run {
                let forecast = crate::forecast::forecast(&session, &request, reporter.as_mut());
                let forecast = tokio::select! {
                    forecast = forecast => forecast?,
                    () = interrupts.next() => return Err(Error::Interrupted),
                };
                super::forecast::print_forecast(&forecast, json);
                return Ok(exit_code::SUCCESS);
            }
            let result =
                crate::run::run(&session, &request, reporter.as_mut(), &mut interrupts).await?;
            Ok(result.map_or(exit_code::SUCCESS, |result| result.exit_code))
        }),
    )
}

fn request(
    tasks: Vec<TaskRequest>,
    arguments: &HowArguments,
    here: &Path,
) -> Result<Request, Error> {
    let out = match &arguments.out {
        Some(dir) => Out::Dir(absolute(dir)?),
        None => Out::Default(here.to_owned()),
    };
    if arguments
        .max_cost
        .is_some_and(|most| !most.is_finite() || most < 0.0)
    {
        return Err(Error::usage("`--max-cost` is an amount in US dollars"));
    }
    Ok(Request {
        tail: tasks.len() == 1,
        tasks,
        out,
        manner: Manner {
            parallel: arguments.parallel,
            retries: arguments.retries,
            fail_fast: arguments.fail_fast,
            max_cost: arguments.max_cost,
            detach: arguments.detach,
        },
    })
}

/// Every secret that any task asks for.
fn secrets(request: &Request) -> Vec<String> {
    let (works, _) = request.works();
    let mut all: Vec<String> = works.iter().flat_map(|work| work.secrets.clone()).collect();
    all.sort();
    all.dedup();
    all
}

/// Connecting may wait for a server that does not come.
pub(super) async fn open(
    settings: &Settings,
    interrupts: &mut Interrupts,
) -> Result<Session, Error> {
    crate::core_files::forbid_in_the_cloud(settings);
    tokio::select! {
        session = Session::open(settings) => session,
        () = interrupts.next() => Err(Error::Interrupted),
    }
}

pub(super) fn report_failure(json: bool, result: Result<i32, Error>) -> Result<i32, Error> {
    if json {
        result.inspect_err(json::failure)
    } else {
        result
    }
}

pub(super) fn reporter(output: OutputArguments) -> Box<dyn Reporter> {
    if output.json {
        Box::new(json::Lines::default())
    } else {
        Box::new(human::Human::new(output.quiet))
    }
}

/// Ctrl-C, and SIGTERM: what a CI that gives up sends.
pub(super) fn interrupts() -> Result<Interrupts, Error> {
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

pub(super) fn here() -> Result<PathBuf, Error> {
    std::env::current_dir().map_err(|error| Error::local("cannot find this directory", error))
}

/// From this directory; nothing is looked at.
pub(super) fn absolute(path: &Path) -> Result<PathBuf, Error> {
    std::path::absolute(path)
        .map_err(|error| Error::local(format!("cannot find `{}`", path.display()), error))
}
