//! A task's container by docker or podman: the same entrypoint, the same contract.
//!
//! Values of the environment are passed by name, never on a command line, where every user of the machine could read
//! them. The container's name is written down before it is made, beside a lock that the kernel drops with this process,
//! so that whoever comes next removes what a killed one has left.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::fs::FlockOperation;
use serde::{Deserialize, Serialize};

use super::supervise::supervise;
use crate::error::Error;
use crate::settings::memory_bytes;

/// The path of docker or podman.
pub(super) const TOOL: &str = "SORTIE_CONTAINER_TOOL";

/// The image's id.
pub(super) const IMAGE: &str = "SORTIE_IMAGE";

/// What these begin with is for the tool's own environment.
pub(super) const TOOL_ENV: &str = "SORTIE_TOOL_";

/// vCPUs, if the container is to be held to them.
pub(super) const CPU: &str = "SORTIE_CPU";

/// Memory, if the container is to be held to it.
pub(super) const MEMORY: &str = "SORTIE_MEMORY";

/// The file that is the first process in an image without our entrypoint.
pub(super) const ENTRYPOINT_FILE: &str = "SORTIE_ENTRYPOINT_FILE";

/// `static`, or `program`, which is told to be an entrypoint.
pub(super) const MOUNTED: &str = "SORTIE_ENTRYPOINT_KIND";

/// Where that file is in the container.
const MOUNT_POINT: &str = "/.sortie-entrypoint";

/// Names the container in a task's scratch directory.
const NOTE: &str = "container.json";

/// A container's open files in Cloud Run.
const OPEN_FILES: u64 = 25_000;

/// A container's processes where limits cannot be raised: less than any machine allows.
const PROCESSES: u64 = 4_096;

/// From SIGTERM to SIGKILL it is ten seconds, which end us too: this is a little before.
const GRACE: Duration = Duration::from_millis(9_500);

/// Everything that must be known to remove a container.
#[derive(Clone, Serialize, Deserialize)]
struct Note {
    tool: PathBuf,
    name: String,
    env: Vec<(String, String)>,
}

/// A task's container.
pub(super) struct Contained {
    tool: PathBuf,
    tool_env: Vec<(String, OsString)>,
    image: OsString,
    cpu: Option<OsString>,
    memory: Option<OsString>,
    entrypoint: Option<(OsString, bool)>,
    mounts: Vec<PathBuf>,
    argv: Vec<OsString>,
    env: Vec<(OsString, OsString)>,
}

impl Contained {
    /// The one that an environment asks for, if it asks for one.
    pub(super) fn of(
        env: &[(OsString, OsString)],
        mounts: &[PathBuf],
        argv: &[OsString],
        hidden: &[&str],
    ) -> Option<Self> {
        let value = |name: &str| {
            let mut all = env.iter();
            all.find(|(key, _)| key == name)
                .map(|(_, value)| value.clone())
        };
        let ours = [TOOL, IMAGE, CPU, MEMORY, ENTRYPOINT_FILE, MOUNTED];
        let tool_env = env.iter().filter_map(|(name, value)| {
            let name = name.to_str()?.strip_prefix(TOOL_ENV)?;
            Some((name.to_owned(), value.clone()))
        });
        let is_for_the_task = |name: &OsString| {
            let bytes = name.as_bytes();
            !bytes.starts_with(TOOL_ENV.as_bytes())
                // Of this machine; the image has its own.
                && name != "PATH"
                && !ours.iter().chain(hidden).any(|ours| name == ours)
        };
        Some(Self {
            tool: PathBuf::from(value(TOOL)?),
            image: value(IMAGE)?,
            tool_env: tool_env.collect(),
            cpu: value(CPU),
            memory: value(MEMORY),
            entrypoint: value(ENTRYPOINT_FILE)
                .map(|file| (file, value(MOUNTED).is_some_and(|kind| kind == "program"))),
            mounts: mounts.to_vec(),
            argv: argv.to_vec(),
            env: env
                .iter()
                .filter(|(name, _)| is_for_the_task(name))
                .cloned()
                .collect(),
        })
    }

    /// Runs it to its end; `scratch` is the task's own directory.
    pub(super) fn run(&self, scratch: &Path) -> Result<i32, Error> {
        let name = name(scratch);
        let note = self.note(&name);
        let _held = write_note(scratch, &note)?;
        let mut command = self.command(&name);
        command.stdin(Stdio::null());
        let late = note.clone();
        let kill_late = || {
            std::thread::spawn(move || {
                std::thread::sleep(GRACE);
                late.end("kill");
            });
        };
        let code = supervise(command, kill_late);
        // Only what docker and podman end with themselves leaves anything: `--rm` has removed all else.
        if !matches!(code, Ok(0..=124)) {
            note.end("rm");
        }
        code
    }

    fn note(&self, name: &str) -> Note {
        let text = |(name, value): &(String, OsString)| {
            (name.clone(), value.to_string_lossy().into_owned())
        };
        Note {
            tool: self.tool.clone(),
            name: name.to_owned(),
            env: self.tool_env.iter().map(text).collect(),
        }
    }

    fn command(&self, name: &str) -> Command {
        let mut command = Command::new(&self.tool);
        command.env_clear();
        command.envs(self.tool_env.iter().map(|(name, value)| (name, value)));
        command.args(["run", "--rm", "--name", name, "--label", "sortie=task"]);
        // The emulator is on loopback. What the task prints comes to us, and need not be kept twice.
        command.args(["--network", "host", "--log-driver", "none"]);
        if cannot_raise_limits() {
            let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
            let files = limit.maximum.unwrap_or(OPEN_FILES).min(OPEN_FILES);
            command.args(["--ulimit", &format!("nofile={files}:{files}")]);
            command.args(["--ulimit", &format!("nproc={PROCESSES}:{PROCESSES}")]);
        }
        if let Some(cpu) = &self.cpu {
            command.arg("--cpus").arg(cpu);
        }
        let memory = self
            .memory
            .as_ref()
            .and_then(|text| memory_bytes(text.to_str()?));
        if let Some(bytes) = memory {
            command.args(["--memory", &format!("{bytes}b")]);
        }
        for dir in &self.mounts {
            command
                .arg("--volume")
                .arg(read_only(dir.as_os_str(), dir.as_os_str()));
        }
        for (name, value) in &self.env {
            command.arg("--env").arg(name).env(name, value);
        }
        self.add_process(&mut command);
        command
    }

    fn add_process(&self, command: &mut Command) {
        if let Some((program, arguments)) = self.argv.split_first() {
            command.arg("--entrypoint").arg(program);
            command.arg(&self.image).args(arguments);
        } else if let Some((file, is_program)) = &self.entrypoint {
            command
                .arg("--volume")
                .arg(read_only(file, OsStr::new(MOUNT_POINT)));
            command.args(["--entrypoint", MOUNT_POINT]).arg(&self.image);
            command.args(is_program.then_some("entrypoint"));
        } else {
            command.arg(&self.image);
        }
    }
}

/// docker and podman have no escape for colons: a path with one is refused by them, by name.
fn read_only(from: &OsStr, to: &OsStr) -> OsString {
    let mut text = from.to_owned();
    text.push(":");
    text.push(to);
    text.push(":ro");
    text
}

/// Whether we are a root that is in a container itself: podman would give its containers more than it may.
fn cannot_raise_limits() -> bool {
    const CAP_SYS_RESOURCE: u64 = 1 << 24;
    let status = fs_err::read_to_string("/proc/self/status").unwrap_or_default();
    let capabilities = status
        .lines()
        .find_map(|line| line.strip_prefix("CapEff:"))
        .and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok());
    let is_root = rustix::process::geteuid().is_root();
    is_root && capabilities.is_some_and(|all| all & CAP_SYS_RESOURCE == 0)
}

/// Of the task's directory, whose name is random.
fn name(scratch: &Path) -> String {
    let name = scratch.file_name().unwrap_or_default().to_string_lossy();
    let fit = |c: char| if c.is_ascii_alphanumeric() { c } else { '-' };
    let name: String = name.chars().map(fit).collect();
    format!("sortie-{name}")
}

fn write_note(scratch: &Path, note: &Note) -> Result<std::fs::File, Error> {
    let write = || {
        let mut file = std::fs::File::create(scratch.join(NOTE))?;
        // Held until we are gone: only then may anybody else remove the container.
        rustix::fs::flock(&file, FlockOperation::LockExclusive)?;
        serde_json::to_writer(&mut file, note)?;
        Ok(file)
    };
    write().map_err(|error: std::io::Error| Error::local("cannot note the container's name", error))
}

impl Note {
    /// `kill`, or `rm` even while it runs; that there is no such container is as well.
    fn end(&self, verb: &str) {
        let mut command = Command::new(&self.tool);
        command
            .env_clear()
            .envs(self.env.iter().map(|(name, value)| (name, value)))
            .arg(verb);
        if verb == "rm" {
            command.arg("--force");
        }
        let _ = command
            .arg(&self.name)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
    }
}

/// Removes the containers, and the directories, of runners that have been killed.
pub(super) fn sweep(scratch: &Path) {
    let Ok(entries) = fs_err::read_dir(scratch) else {
        return;
    };
    for entry in entries.flatten() {
        let Ok(file) = std::fs::File::open(entry.path().join(NOTE)) else {
            continue;
        };
        if rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
            continue;
        }
        // One that was just made has a lock before it has a word.
        let Ok(note) = serde_json::from_reader::<_, Note>(file) else {
            continue;
        };
        note.end("rm");
        let _ = archive::remove_tree(&entry.path());
    }
}
