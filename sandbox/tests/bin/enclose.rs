//! Runs a command in a sandbox made of what the environment says: what the tests need a process of its own for.
//!
//! `ENCLOSE_WORKSPACE`, `_TMP`, `_HOME`, `_PATH` and `_MOUNTS` (colons between), `_UID` to become somebody else first;
//! `IN_x=y` is `x=y` inside.

use std::env;
use std::error::Error;
use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;
use std::process::ExitCode;

use sandbox::Sandbox;

fn main() -> ExitCode {
    match run() {
        Ok(code) => ExitCode::from(u8::try_from(code).unwrap_or(255)),
        Err(error) => {
            report(&*error);
            ExitCode::from(99)
        }
    }
}

fn run() -> Result<i32, Box<dyn Error>> {
    if let Some(uid) = variable("UID") {
        let uid: u32 = uid.to_string_lossy().parse()?;
        nix::unistd::setgroups(&[])?;
        nix::unistd::setgid(uid.into())?;
        nix::unistd::setuid(uid.into())?;
        // Who changes its user becomes undumpable, and so cannot write its own maps: an exec mends that.
        let mut again = std::process::Command::new("/proc/self/exe");
        again.args(env::args_os().skip(1)).env_remove("ENCLOSE_UID");
        return Err(std::os::unix::process::CommandExt::exec(&mut again).into());
    }
    sandbox::check()?;
    let sandbox = Sandbox {
        workspace: variable("WORKSPACE").ok_or("no workspace")?.into(),
        tmp: variable("TMP").ok_or("no tmp")?.into(),
        home: variable("HOME").unwrap_or("/nonexistent".into()).into(),
        path: list("PATH"),
        mounts: list("MOUNTS"),
        program: env::current_exe()?,
        core_files: None,
    };
    let argv: Vec<OsString> = env::args_os().skip(1).collect();
    let inside = env::vars_os()
        .filter_map(|(name, value)| Some((name.to_str()?.strip_prefix("IN_")?.into(), value)));
    Ok(sandbox.run(&argv, &inside.collect::<Vec<(OsString, OsString)>>())?)
}

#[expect(clippy::disallowed_methods, reason = "this program's only settings")]
fn variable(name: &str) -> Option<OsString> {
    env::var_os(format!("ENCLOSE_{name}"))
}

fn list(name: &str) -> Vec<PathBuf> {
    let value = variable(name).unwrap_or_default();
    if value.as_bytes().is_empty() {
        Vec::new()
    } else {
        env::split_paths(&value).collect()
    }
}

#[expect(clippy::print_stderr, reason = "a test reads it")]
fn report(error: &dyn Error) {
    eprintln!("{error}");
    let mut cause = error.source();
    while let Some(error) = cause {
        eprintln!("caused by: {error}");
        cause = error.source();
    }
}
