//! One run of the real CLI in a workspace of its own, started with nothing but what an invocation says.

use std::ffi::OsStr;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use claude::{Options, Summary, transcript};
use rustix::process::{Pid, Signal, geteuid, kill_process};
use serde_json::Value;
use tempfile::TempDir;

use crate::messages_api::MessagesApi;

/// The key of the API.
pub(crate) const KEY: &str = "sk-a-key-of-this-test";

/// Whom the CLI runs as where the test is root: it refuses to skip permissions as root.
const NOBODY: u32 = 65534;

#[expect(clippy::disallowed_methods, reason = "the settings of this test")]
fn program() -> PathBuf {
    let name = "SORTIE_CLAUDE_CLI";
    let path = std::env::var_os(name).unwrap_or_else(|| panic!("`{name}` does not name the CLI"));
    let path = PathBuf::from(path);
    assert!(
        path.is_file(),
        "`{name}` is `{}`, which is no file",
        path.display()
    );
    path
}

/// A run under way; killed with this value.
pub(crate) struct Run {
    pub(crate) workspace: TempDir,
    pub(crate) child: Option<Child>,
    projects: PathBuf,
}

impl Run {
    pub(crate) fn start(api: &MessagesApi, options: &Options, prompt: &[u8]) -> Self {
        let workspace = tempfile::Builder::new()
            .permissions(std::fs::Permissions::from_mode(0o777))
            .tempdir()
            .unwrap();
        let root = workspace.path();
        for directory in ["input", "output", "home", &options.config_dir] {
            let directory = root.join(directory);
            std::fs::create_dir_all(&directory).unwrap();
            std::fs::set_permissions(&directory, std::fs::Permissions::from_mode(0o777)).unwrap();
        }
        let invocation = options.invocation(prompt).unwrap();
        for file in &invocation.files {
            let path = root.join(&file.path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, &file.content).unwrap();
        }
        let mut command = Command::new(program());
        command
            .args(
                invocation.argv[1..]
                    .iter()
                    .map(|argument| OsStr::from_bytes(argument)),
            )
            .current_dir(root)
            .env_clear()
            .env("PATH", "/usr/local/bin:/usr/bin:/bin")
            .env("HOME", root.join("home"))
            .env("ANTHROPIC_BASE_URL", api.url())
            .env("ANTHROPIC_API_KEY", KEY)
            .env("CLAUDE_CODE_MAX_RETRIES", "0")
            .envs(&invocation.env)
            .envs(
                invocation
                    .workspace_env
                    .iter()
                    .map(|(name, path)| (name, root.join(path))),
            )
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        if geteuid().is_root() {
            command.uid(NOBODY).gid(NOBODY);
        }
        let mut child = command.spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        let text = invocation.stdin;
        std::thread::spawn(move || stdin.write_all(&text));
        Self {
            projects: root.join(&invocation.projects),
            workspace,
            child: Some(child),
        }
    }

    pub(crate) fn finish(mut self) -> Finished {
        let output = self.child.take().unwrap().wait_with_output().unwrap();
        let shown = String::from_utf8_lossy(&output.stderr);
        // Shown if the test fails.
        println!("{}: {shown}", output.status);
        let workspace = std::mem::replace(&mut self.workspace, tempfile::tempdir().unwrap());
        Finished {
            output,
            workspace,
            projects: self.projects.clone(),
        }
    }
}

impl Run {
    /// Waits for something; a test that waits in vain fails instead of hanging.
    pub(crate) fn until(&self, condition: impl Fn() -> bool) {
        for _ in 0..3000 {
            if condition() {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        panic!("waited in vain in {}", self.workspace.path().display());
    }

    /// As at a deadline.
    pub(crate) fn terminate(self) -> Finished {
        let pid = i32::try_from(self.child.as_ref().unwrap().id()).unwrap();
        kill_process(Pid::from_raw(pid).unwrap(), Signal::TERM).unwrap();
        self.finish()
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// A run that has ended.
pub(crate) struct Finished {
    pub(crate) output: Output,
    pub(crate) workspace: TempDir,
    pub(crate) projects: PathBuf,
}

impl Finished {
    pub(crate) fn code(&self) -> i32 {
        let status = self.output.status;
        status
            .code()
            .or(status.signal().map(|signal| 128 + signal))
            .unwrap()
    }

    pub(crate) fn summary(&self) -> Summary {
        Summary::read(&self.output.stdout[..]).unwrap()
    }

    pub(crate) fn transcript(&self) -> Value {
        let session = self.summary().session_id.unwrap();
        let mut json = Vec::new();
        transcript::write(&self.projects, &session, &mut json).unwrap();
        serde_json::from_slice(&json).unwrap()
    }

    /// Calls `each` for all that the run left behind.
    pub(crate) fn each_file(&self, mut each: impl FnMut(&Path, &[u8])) {
        let mut directories = vec![self.workspace.path().to_owned()];
        while let Some(directory) = directories.pop() {
            for entry in std::fs::read_dir(directory).unwrap() {
                let entry = entry.unwrap();
                let kind = entry.file_type().unwrap();
                if kind.is_dir() {
                    directories.push(entry.path());
                } else if kind.is_file() {
                    each(&entry.path(), &std::fs::read(entry.path()).unwrap());
                }
            }
        }
    }
}
