//! The command line: what was typed becomes a plain request; past this module nothing knows of clap.

mod arguments;
mod claude;
mod coming_back;
mod doctor;
mod forecast;
mod human;
mod image;
mod init;
mod json;
mod live;
mod log;
mod report;
mod returning_arguments;
mod run_command;
mod shape;
mod table;
mod talk;
mod tasks;

use std::process::ExitCode;

use clap::Parser;

use crate::core_files;
use crate::error::{Error, chain};
use crate::exit_code;
use crate::local;
use crate::settings::Environment;
use arguments::{Arguments, Verb};

/// Where an emulator writes down what it is asked and answers: a file, or a directory for a file each.
const EMULATOR_RECORD: &str = "SORTIE_EMULATOR_RECORD";

/// Parses, calls, prints, exits.
pub fn main() -> ExitCode {
    // The three that are processes of their own come before clap, tokio and all else: they are
    // typed by programs, and two of them must be single-threaded.
    let typed: Vec<std::ffi::OsString> = std::env::args_os().skip(1).collect();
    if typed.first().is_some_and(|verb| verb == "entrypoint") {
        return entrypoint::main();
    }
    core_files::limit();
    match typed.split_first() {
        Some((verb, rest)) if verb == "container" => return local::container_main(rest),
        Some((verb, rest)) if verb == "serve-data-dir" => return finish(serve_data_dir(rest)),
        _ => {}
    }
    match Arguments::try_parse() {
        Ok(arguments) => finish(dispatch(arguments.verb)),
        Err(error) => usage(&error),
    }
}

fn dispatch(verb: Verb) -> Result<i32, Error> {
    let env = Environment::of_process();
    log::start(&env)?;
    match verb {
        Verb::Run(arguments) => run_command::run(*arguments, &env),
        Verb::Claude(arguments) => run_command::claude(*arguments, &env),
        Verb::Ps(arguments) => coming_back::ps(arguments, &env),
        Verb::Status(arguments) => coming_back::status(arguments, &env),
        Verb::Logs(arguments) => coming_back::logs(arguments, &env),
        Verb::Wait(arguments) => coming_back::wait(arguments, &env),
        Verb::Fetch(arguments) => coming_back::fetch(arguments, &env),
        Verb::Report(arguments) => report::report(arguments, &env),
        Verb::Cancel(arguments) => coming_back::cancel(arguments, &env),
        Verb::Rm(arguments) => coming_back::rm(&arguments, &env),
        Verb::Gc(arguments) => coming_back::gc(arguments, &env),
        Verb::Doctor(arguments) => doctor::doctor(arguments, &env),
        Verb::Init(arguments) => init::init(arguments, &env),
        Verb::Image(arguments) => image::image(arguments, &env),
        Verb::Emulator(arguments) => {
            let serve = arguments.into_serve(&env)?;
            block_on(local::serve(serve)).map(|()| exit_code::SUCCESS)
        }
    }
}

fn serve_data_dir(arguments: &[std::ffi::OsString]) -> Result<i32, Error> {
    let [data_dir, idle] = arguments else {
        return Err(Error::usage(
            "`serve-data-dir` takes a directory and a duration",
        ));
    };
    let idle = humantime::parse_duration(&idle.to_string_lossy())
        .map_err(|error| Error::local("cannot read the duration", error))?;
    let env = Environment::of_process();
    log::start(&env)?;
    // It holds tasks' secrets.
    core_files::forbid();
    let record = env.bytes(EMULATOR_RECORD).map(std::path::PathBuf::from);
    let data_dir = std::path::Path::new(data_dir);
    block_on(local::serve_data_dir(data_dir, idle, record)).map(|()| exit_code::SUCCESS)
}

/// Runs to the end of the work and no further: a thread that still reads a large file is not waited for.
fn block_on<T>(work: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    let runtime = tokio::runtime::Runtime::new()
        .map_err(|error| Error::local("cannot start threads", error))?;
    let result = runtime.block_on(work);
    runtime.shutdown_background();
    result
}

fn finish(result: Result<i32, Error>) -> ExitCode {
    let code = result.unwrap_or_else(|error| {
        complain(&error);
        error.exit_code()
    });
    ExitCode::from(u8::try_from(code).unwrap_or(u8::MAX))
}

/// The one place where an error meets the user.
fn complain(error: &Error) {
    human::say(&format!("error: {}", chain(error)));
    if let Some(hint) = error.hint() {
        human::say(&format!("hint: {hint}"));
    }
}

/// clap's own words, with our exit code: 2 would read as the command's.
fn usage(error: &clap::Error) -> ExitCode {
    let _ = error.print();
    if error.use_stderr() {
        ExitCode::from(125)
    } else {
        ExitCode::SUCCESS
    }
}
