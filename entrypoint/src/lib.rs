//! PID 1 of a task: fetch, unpack, run, pack, upload, report.
//!
//! It is started with `SORTIE_RUN` in its environment and needs nothing of its image: no shell, no C library, no
//! certificates. Its exit code is the command's own; [`exit`] lists the others.

mod beneath;
mod capture;
mod checkpoints;
mod claim;
mod command;
mod console;
mod environment;
pub mod exit;
mod family;
mod fetch;
mod glibc;
mod interrupt;
mod launch;
mod logs;
mod outputs;
mod reaper;
mod report;
mod run;
mod runner;
mod saved;
mod spawn;
mod steps;
mod stop;
mod storage;
mod streams;
mod threads;
mod user;
mod workspace;

use std::io::{self, Write};
use std::process::ExitCode;
use std::time::Duration;

use rustix::process::{DumpableBehavior, set_dumpable_behavior};
use wire::contract::{Outcome, Problem, Reason, Report, Spec};

use crate::claim::{ClaimError, Task};
use crate::console::say;
use crate::environment::Environment;
use crate::interrupt::Interrupt;
use crate::launch::Scene;
use crate::report::Clock;
use crate::stop::{Stop, chain};
use crate::storage::Store;
use crate::workspace::Workspace;

/// All threads for blocking work: four packs, a checkpoint and its successor, and names to be resolved. They are
/// made before the command, which may leave none for us.
const THREADS: usize = 8;

/// As long as a task may run, and longer.
const FOR_EVER: Duration = Duration::from_hours(24 * 365);

/// Does the task that the environment names.
///
/// To be called from the first thread of a process that does nothing else, outside of any runtime: it waits for
/// every child, and adopts every orphan.
pub fn main() -> ExitCode {
    glibc::tame();
    if std::env::args_os()
        .next_back()
        .is_some_and(|argument| argument == "--version")
    {
        return version();
    }
    begin().map_or_else(|error| fail(&*error), ExitCode::from)
}

fn version() -> ExitCode {
    let written = writeln!(
        io::stdout(),
        "sortie-entrypoint {}",
        env!("CARGO_PKG_VERSION")
    );
    written.map_or(ExitCode::FAILURE, |()| ExitCode::SUCCESS)
}

fn fail(error: &dyn std::error::Error) -> ExitCode {
    say(&chain(error));
    ExitCode::from(exit::FAILURE)
}

fn begin() -> Result<u8, Box<dyn std::error::Error>> {
    let environment = Environment::read()?;
    // The command must not read our memory and environment through /proc. Where this is refused, it could not
    // be helped.
    let _ = set_dumpable_behavior(DumpableBehavior::NotDumpable);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(THREADS)
        .thread_keep_alive(FOR_EVER)
        .build()?;
    // Not before the first request is on its way: then there is time.
    runtime.spawn(async { threads::make(THREADS) });
    let code = runtime.block_on(attend(environment));
    // A thread that waits for a dead disk or a full pipe must not keep us.
    runtime.shutdown_background();
    code
}

/// The story: claim, fetch, run, collect, report.
async fn attend(environment: Environment) -> Result<u8, Box<dyn std::error::Error>> {
    let mut clock = Clock::start();
    let interrupt = Interrupt::listen()?;
    let buckets = storage::connect(&environment)?;
    let Task { store, spec, ahead } = match claim::claim(buckets, &environment, &interrupt).await {
        Ok(task) => task,
        Err(ClaimError::Cancelled) => return Ok(exit::CANCELLED),
        Err(twin @ ClaimError::Twin(_)) => {
            say(&twin.to_string());
            return Ok(exit::TWIN);
        }
        Err(error) => return Err(error.into()),
    };
    let mut report = report::begin(&store.objects, &clock);
    report.phases.claim_ms = clock.lap();
    let work = perform(
        spec,
        ahead,
        environment,
        &store,
        &interrupt,
        &mut report,
        &mut clock,
    );
    if let Err(stop) = Box::pin(work).await {
        stop.enter(&mut report);
    }
    let code = report::write(&store, &mut report, &clock).await;
    // A command that could not be started has said so itself.
    let unsaid = report.problem.filter(|_| report.outcome != Outcome::Exec);
    if let Some(Problem { message, .. }) = unsaid {
        say(&message);
    }
    code.map_err(|error| store.redact(&chain(&error)).into())
}

async fn perform(
    spec: Result<Spec, Stop>,
    ahead: fetch::Ahead,
    environment: Environment,
    store: &Store,
    interrupt: &Interrupt,
    report: &mut Report,
    clock: &mut Clock,
) -> Result<(), Stop> {
    let mut spec = spec?;
    let user = user::resolve(spec.user.as_deref(), environment.user.as_deref())
        .map_err(|error| Stop::setup(Reason::User, &error))?;
    if !spec.setup.is_empty() {
        user::check_root().map_err(|error| Stop::setup(Reason::User, &error))?;
    }
    let mut workspace = Workspace::create(&environment.workspace, user.as_ref())
        .map_err(|error| Stop::setup(Reason::Workspace, &error))?;
    let fetch = fetch::inputs(
        store.bucket(),
        &spec.inputs,
        ahead,
        &workspace,
        user.as_ref(),
    );
    interrupt
        .cut(Duration::ZERO, fetch)
        .await
        .unwrap_or(Err(Stop::Cancelled))?;
    workspace
        .prepare(&spec.files, user.as_ref())
        .map_err(|error| Stop::setup(Reason::Workspace, &error))?;
    report.phases.fetch_ms = clock.lap();
    let scene = Scene::new(&spec, environment.inherited, workspace.root());
    let running = run::run(&mut spec, scene, &mut workspace, user, store, interrupt);
    let mut ended = Box::pin(running).await?;
    clock.lap();
    ended.enter(report);
    Box::pin(ended.collect(&spec, &workspace, store, report)).await;
    report.phases.collect_ms = clock.lap();
    Ok(())
}
