//! The verbs for runs that are started already.

use serde_json::json;
use wire::names::RunId;

use super::arguments::{OutputArguments, PlaceArguments};
use super::returning_arguments::{
    CancelArguments, FetchArguments, GcArguments, LogsArguments, PsArguments, RmArguments,
    StatusArguments, WaitArguments,
};
use super::run_command::{absolute, here, interrupts, report_failure, reporter};
use super::{block_on, human, table};
use crate::course::{Resume, Trust, read_record};
use crate::error::Error;
use crate::exit_code;
use crate::record::{LocalRecord, ShortName};
use crate::request::Out;
use crate::runs;
use crate::session::Session;
use crate::settings::{Environment, Settings};

/// A run that was found.
pub(super) struct Opened {
    pub(super) session: Session,
    pub(super) run: RunId,
    /// What this machine remembers of it.
    record: Option<LocalRecord>,
    /// Of `RUN/TASK`, the latter.
    task: Option<String>,
}

/// Waits for what another sortie started; exits as it would have.
pub(super) fn wait(arguments: WaitArguments, env: &Environment) -> Result<i32, Error> {
    let out = out(arguments.out.as_deref())?;
    let mut reporter = reporter(arguments.output);
    let call = async {
        let mut interrupts = interrupts()?;
        let finding = find(&arguments.run, arguments.place, env);
        let mut opened = tokio::select! {
            found = finding => found?,
            () = interrupts.next() => return Ok(exit_code::INTERRUPTED),
        };
        opened.take_no_task()?;
        let mut how = opened.resume(out, arguments.retries)?;
        if how.trust == Trust::Nobody && arguments.start_the_rest {
            how.trust = Trust::User;
        }
        let (session, run) = (&opened.session, opened.run);
        let waiting = crate::run::wait(session, run, how, reporter.as_mut(), &mut interrupts);
        Ok(waiting.await?.exit_code)
    };
    report_failure(arguments.output.json, block_on(call))
}

/// Brings home what is there, and waits for nothing.
pub(super) fn fetch(arguments: FetchArguments, env: &Environment) -> Result<i32, Error> {
    let out = out(arguments.out.as_deref())?;
    let mut reporter = reporter(arguments.output);
    let call = async {
        let opened = find(&arguments.run, arguments.place, env).await?;
        let task = opened.task_number().await?;
        let how = opened.resume(out, None)?;
        let fetching = crate::run::fetch(&opened.session, opened.run, how, task, reporter.as_mut());
        let (result, missing) = fetching.await?;
        if missing > 0 {
            let tasks = crate::text::count(u64::from(missing), "task has", "tasks have");
            return Err(Error::usage(format!("{tasks} not ended"))
                .with_hint(format!("`sortie wait {}` waits for the rest", opened.run)));
        }
        Ok(result.exit_code)
    };
    report_failure(arguments.output.json, interruptible(call))
}

/// Runs to its end, or to the user's wish.
pub(super) fn interruptible(call: impl Future<Output = Result<i32, Error>>) -> Result<i32, Error> {
    block_on(async {
        let mut interrupts = interrupts()?;
        tokio::select! {
            done = call => done,
            () = interrupts.next() => Ok(exit_code::INTERRUPTED),
        }
    })
}

/// Lists the newest runs.
pub(super) fn ps(arguments: PsArguments, env: &Environment) -> Result<i32, Error> {
    let json = arguments.output.json;
    report_failure(
        json,
        interruptible(async {
            let session = connect(arguments.place, None, env).await?;
            let owner = (!arguments.all).then_some(session.owner.as_str());
            let listed = runs::overview(&session, owner, arguments.last).await?;
            table::runs(&listed, json, owner);
            Ok(exit_code::SUCCESS)
        }),
    )
}

/// Tells how a run stands.
pub(super) fn status(arguments: StatusArguments, env: &Environment) -> Result<i32, Error> {
    let json = arguments.output.json;
    let mut reporter = reporter(OutputArguments::warnings_only());
    report_failure(
        json,
        interruptible(async {
            let mut opened = find(&arguments.run, arguments.place, env).await?;
            opened.take_no_task()?;
            let standing = runs::standing(&opened.session, opened.run, reporter.as_mut()).await?;
            table::standing(&standing, json, arguments.all);
            Ok(exit_code::SUCCESS)
        }),
    )
}

/// Shows a task's output.
pub(super) fn logs(arguments: LogsArguments, env: &Environment) -> Result<i32, Error> {
    let mut reporter = reporter(OutputArguments::warnings_only());
    interruptible(async {
        let opened = find(&arguments.run, arguments.place, env).await?;
        let task = match opened.task_number().await? {
            Some(task) => task,
            None => opened.only_task().await?,
        };
        let (session, run) = (&opened.session, opened.run);
        runs::show_logs(session, run, task, arguments.follow, reporter.as_mut()).await?;
        Ok(exit_code::SUCCESS)
    })
}

/// Cancels a run; what it saved stays to be fetched.
pub(super) fn cancel(arguments: CancelArguments, env: &Environment) -> Result<i32, Error> {
    interruptible(async {
        let mut opened = find(&arguments.run, arguments.place, env).await?;
        opened.take_no_task()?;
        let run = opened.run;
        let (cancelled, failures) = runs::cancel(&opened.session, run).await?;
        for why in &failures {
            human::say(&format!("error: a cancel did not go through: {why}"));
        }
        if !failures.is_empty() {
            return Ok(exit_code::FAILURE);
        }
        human::say(&match cancelled {
            0 => format!("run {run} is over already"),
            _ => format!("run {run} is cancelled; `sortie wait {run}` brings home what it saved"),
        });
        Ok(exit_code::SUCCESS)
    })
}

/// Removes runs.
pub(super) fn rm(arguments: &RmArguments, env: &Environment) -> Result<i32, Error> {
    interruptible(async {
        for name in &arguments.runs {
            let mut opened = find(name, arguments.place.clone(), env).await?;
            opened.take_no_task()?;
            let run = opened.run;
            let removed = runs::remove(&opened.session, run, arguments.force).await?;
            let objects = crate::text::count(removed.objects, "object", "objects");
            human::say(&format!("removed run {run}: {objects}"));
        }
        Ok(exit_code::SUCCESS)
    })
}

/// Removes what the caller left behind.
pub(super) fn gc(arguments: GcArguments, env: &Environment) -> Result<i32, Error> {
    interruptible(async {
        let session = connect(arguments.place, None, env).await?;
        let how = runs::Sweep {
            older_than: arguments.older_than,
            dry_run: arguments.dry_run,
        };
        let verb = if how.dry_run {
            "would remove"
        } else {
            "removing"
        };
        let mut tell = |what: &str| human::say(&format!("{verb} {what}"));
        let removed = runs::sweep(&session, &how, &mut tell).await?;
        let objects = crate::text::count(removed.objects, "object", "objects");
        if !how.dry_run {
            human::say(&format!("removed {objects}"));
        }
        Ok(exit_code::SUCCESS)
    })
}

fn out(dir: Option<&std::path::Path>) -> Result<Option<Out>, Error> {
    let Some(dir) = dir else {
        return Ok(None);
    };
    let out = Out::Dir(absolute(dir)?);
    out.check()?;
    Ok(Some(out))
}

/// Where the settings say, or where this machine remembers that the run is.
async fn connect(
    place: PlaceArguments,
    record: Option<&LocalRecord>,
    env: &Environment,
) -> Result<Session, Error> {
    let mut wishes = place.into_wishes()?;
    if let Some(record) = record {
        wishes.follow(record);
    }
    let settings = Settings::resolve_place(&wishes, env, &here()?)?;
    crate::core_files::forbid_in_the_cloud(&settings);
    Session::open(&settings).await
}

pub(super) async fn find(
    typed: &str,
    place: PlaceArguments,
    env: &Environment,
) -> Result<Opened, Error> {
    let (name, task) = match typed.split_once('/') {
        Some((name, task)) => (name, Some(task.to_owned())),
        None => (typed, None),
    };
    let name = ShortName::parse(name)?;
    let data_dir = crate::settings::data_dir(env)?;
    let known = name.pick(&LocalRecord::named(&data_dir, &name))?;
    let record = match known {
        Some(run) => LocalRecord::read(&data_dir, run)?,
        None => None,
    };
    let session = connect(place, record.as_ref(), env).await?;
    let run = match known {
        Some(run) => run,
        None => runs::resolve(&session, &name).await?,
    };
    Ok(Opened {
        session,
        run,
        record,
        task,
    })
}

impl Opened {
    /// This verb is about whole runs.
    pub(super) fn take_no_task(&mut self) -> Result<(), Error> {
        match self.task.take() {
            None => Ok(()),
            Some(task) => Err(Error::usage(format!(
                "this is for whole runs, not for task `{task}`"
            ))
            .with_hint(format!("leave `/{task}` out"))),
        }
    }

    async fn task_number(&self) -> Result<Option<u32>, Error> {
        let Some(task) = &self.task else {
            return Ok(None);
        };
        runs::find_task(&self.read_record().await?, task).map(Some)
    }

    async fn only_task(&self) -> Result<u32, Error> {
        let record = self.read_record().await?;
        if record.tasks == 1 {
            return Ok(0);
        }
        Err(
            Error::usage(format!("run `{}` has {} tasks", self.run, record.tasks)).with_hint(
                format!("name one: `sortie logs {}/{}`", self.run, record.name(0)),
            ),
        )
    }

    async fn read_record(&self) -> Result<wire::contract::RunRecord, Error> {
        let record = read_record(&self.session, self.run).await?;
        record.ok_or_else(|| {
            Error::usage(format!("run `{}` was never started", self.run))
                .with_hint("type its `sortie run` again")
        })
    }

    /// Where it was told to go.
    pub(super) fn remembered(&self) -> Option<Out> {
        self.record.as_ref().map(LocalRecord::out)
    }

    /// Where it was told to go, unless it is told anew.
    fn resume(&self, out: Option<Out>, retries: Option<u32>) -> Result<Resume, Error> {
        let out = match out.or(self.remembered()) {
            Some(out) => out,
            None => Out::Default(here()?),
        };
        Ok(Resume {
            out,
            retries,
            show: true,
            trust: match self.record {
                Some(_) => Trust::Machine,
                None => Trust::Nobody,
            },
            keep: false,
        })
    }
}

/// What a verb prints for a program.
pub(super) fn print_json(event: &str, mut value: serde_json::Value) {
    value["version"] = json!(1);
    value["event"] = json!(event);
    human::print(&super::json::tame(&value));
}
