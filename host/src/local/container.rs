//! `sortie container`: plays the container of one task.
//!
//! The emulator starts it with the container's environment and `--image=I --cpu=C --memory=M -- ARGV…`;
//! an empty ARGV means the image's own entrypoint, which in local mode is sortie's.

use std::ffi::{OsStr, OsString};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use super::contained::{Contained, sweep};
use super::supervise::supervise;
use super::{HOME, MOUNTS, SANDBOX, SCRATCH};
use crate::error::{Error, chain};
use crate::exit_code;

/// Says where the entrypoint finds its workspace, where that is not `/workspace`.
const WORKSPACE: &str = "SORTIE_WORKSPACE";

/// Runs one task's container to its end; the exit code is the container's.
///
/// Single-threaded: the sandbox forks.
pub(crate) fn main(arguments: &[OsString]) -> ExitCode {
    let code = match Container::from(arguments).and_then(Container::run) {
        Ok(code) => code,
        Err(error) => {
            complain(&error);
            exit_code::FAILURE
        }
    };
    ExitCode::from(u8::try_from(code).unwrap_or(u8::MAX))
}

/// The emulator keeps it in the task's log.
fn complain(error: &Error) {
    let _ = writeln!(std::io::stderr(), "error: {}", chain(error));
}

struct Container {
    contained: Option<Contained>,
    argv: Vec<OsString>,
    env: Vec<(OsString, OsString)>,
    isolated: bool,
    home: PathBuf,
    mounts: Vec<PathBuf>,
    path: Vec<PathBuf>,
    scratch: Scratch,
    program: PathBuf,
}

impl Container {
    fn from(arguments: &[OsString]) -> Result<Self, Error> {
        let dashes = arguments.iter().position(|argument| argument == "--");
        let argv = dashes.map_or(&[][..], |at| &arguments[at + 1..]).to_vec();
        let all: Vec<(OsString, OsString)> = std::env::vars_os().collect();
        let value = |name: &str| {
            all.iter()
                .find(|(key, _)| key == name)
                .map(|(_, value)| value.as_os_str())
        };
        let paths = |text: Option<&OsStr>| -> Vec<PathBuf> {
            text.map(|text| std::env::split_paths(text).collect())
                .unwrap_or_default()
        };
        let named = |paths: Vec<PathBuf>| {
            paths
                .into_iter()
                .filter(|path| path.is_absolute())
                .collect()
        };
        let base = value(SCRATCH).map_or_else(std::env::temp_dir, PathBuf::from);
        let mounts: Vec<PathBuf> = named(paths(value(MOUNTS)));
        let hidden = [SANDBOX, MOUNTS, HOME, SCRATCH];
        let contained = Contained::of(&all, &mounts, &argv, &hidden);
        if contained.is_some() {
            sweep(&base);
        }
        Ok(Self {
            contained,
            argv,
            isolated: value(SANDBOX).is_some_and(|kind| kind == "namespaces"),
            home: value(HOME).map_or_else(|| PathBuf::from("/root"), PathBuf::from),
            mounts,
            path: named(paths(value("PATH"))),
            scratch: scratch(&base)?,
            program: std::env::current_exe()
                .map_err(|error| Error::local("cannot find sortie's own program", error))?,
            env: all
                .into_iter()
                .filter(|(name, _)| !hidden.iter().any(|ours| name == ours))
                .collect(),
        })
    }

    fn run(self) -> Result<i32, Error> {
        if let Some(contained) = &self.contained {
            return contained.run(&self.scratch.0);
        }
        let made = |dir: &Path| {
            fs_err::create_dir(dir)
                .map_err(|error| Error::local("cannot make the task's directory", error))
        };
        let workspace = self.scratch.0.join("workspace");
        let tmp = self.scratch.0.join("tmp");
        made(&workspace)?;
        made(&tmp)?;
        if self.isolated {
            self.run_isolated(workspace, tmp)
        } else {
            self.run_plain(&workspace, &tmp)
        }
    }

    fn run_isolated(self, workspace: PathBuf, tmp: PathBuf) -> Result<i32, Error> {
        let argv = if self.argv.is_empty() {
            vec![OsString::from(sandbox::PROGRAM), "entrypoint".into()]
        } else {
            self.argv
        };
        let mut env = self.env;
        env.push(("HOME".into(), sandbox::HOME.into()));
        let sandbox = sandbox::Sandbox {
            workspace,
            tmp,
            home: self.home,
            path: self.path,
            mounts: self.mounts,
            program: self.program,
            core_files: crate::core_files::users_limit(),
        };
        sandbox
            .run(&argv, &env)
            .map_err(|error| Error::local("cannot isolate the task", error))
    }

    fn run_plain(&self, workspace: &Path, tmp: &Path) -> Result<i32, Error> {
        let mut command = if let Some((program, arguments)) = self.argv.split_first() {
            let mut command = Command::new(program);
            command.args(arguments);
            command
        } else {
            let mut command = Command::new(&self.program);
            command.arg("entrypoint");
            command
        };
        command
            .env_clear()
            .envs(self.env.iter().map(|(name, value)| (name, value)))
            .env(WORKSPACE, workspace)
            .env("TMPDIR", tmp)
            .env("HOME", tmp)
            .current_dir(workspace);
        supervise(command, || ())
    }
}

/// A directory of the task's own, removed at its end, whatever the task has made in it.
struct Scratch(PathBuf);

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = archive::remove_tree(&self.0);
    }
}

fn scratch(base: &Path) -> Result<Scratch, Error> {
    fs_err::create_dir_all(base)
        .and_then(|()| tempfile::Builder::new().prefix("task-").tempdir_in(base))
        .map(|made| Scratch(made.keep()))
        .map_err(|error| {
            Error::local(
                format!("cannot make a directory in `{}`", base.display()),
                error,
            )
        })
}
