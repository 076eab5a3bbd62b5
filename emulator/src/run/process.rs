//! Ends processes with everything they started.

use std::collections::HashSet;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process, kill_process_group};

/// Rounds of looking for processes that were born while others were being stopped.
const ROUNDS: usize = 100;
/// How often, and how many times, to look whether the killed are gone.
const GONE_POLL: Duration = Duration::from_millis(5);
const GONE_POLLS: usize = 400;

/// By what the processes of an attempt are known: what they descend from, or what they inherited from it.
pub(crate) struct Marks {
    /// The runner, not yet reaped, so that its number is still its own. It leads a session.
    runner: Option<i32>,
    /// Where its output goes.
    log: Option<PathBuf>,
    /// Environment entries, all of which must be there.
    environment: Vec<Vec<u8>>,
}

impl Marks {
    /// Of one attempt whose runner is still ours to reap.
    pub(crate) fn of_attempt(runner: u32, log: &Path, environment: &[(&str, String)]) -> Self {
        let entries = environment
            .iter()
            .map(|(name, value)| format!("{name}={value}").into_bytes());
        Self {
            runner: i32::try_from(runner).ok(),
            log: Some(log.to_owned()),
            environment: entries.collect(),
        }
    }

    /// Of a whole execution of a former life.
    pub(crate) fn of_execution(execution: &str, storage_host: &str) -> Self {
        let environment = vec![
            format!("CLOUD_RUN_EXECUTION={execution}").into_bytes(),
            format!("STORAGE_EMULATOR_HOST={storage_host}").into_bytes(),
        ];
        Self {
            runner: None,
            log: None,
            environment,
        }
    }
}

/// Kills the marked processes and all that descends from them. All are stopped before any is killed, so that none can
/// start another in between; a process whose parent has died is still found by what it inherited.
pub(crate) fn end_all(marks: &Marks) {
    let mut stopped = HashSet::new();
    for _ in 0..ROUNDS {
        let found = members(marks);
        let fresh: Vec<i32> = found
            .into_iter()
            .filter(|pid| stopped.insert(*pid))
            .collect();
        if fresh.is_empty() {
            break;
        }
        for pid in fresh {
            signal(pid, Signal::STOP);
        }
    }
    for pid in &stopped {
        signal(*pid, Signal::KILL);
    }
    if let Some(runner) = marks.runner.and_then(Pid::from_raw) {
        // Where there is no /proc to look into, its group is all we know.
        let _ = kill_process_group(runner, Signal::KILL);
    }
    for _ in 0..GONE_POLLS {
        if !stopped.iter().any(|pid| is_alive(*pid)) {
            return;
        }
        std::thread::sleep(GONE_POLL);
    }
}

/// Asks a process to end.
pub(crate) fn terminate(pid: u32) {
    if let Ok(pid) = i32::try_from(pid) {
        signal(pid, Signal::TERM);
    }
}

fn signal(pid: i32, signal: Signal) {
    if let Some(pid) = Pid::from_raw(pid) {
        let _ = kill_process(pid, signal);
    }
}

/// A line of the process table.
struct Process {
    pid: i32,
    parent: i32,
    group: i32,
    session: i32,
    born: u64,
    dead: bool,
}

fn table() -> Vec<Process> {
    let Ok(entries) = std::fs::read_dir("/proc") else {
        return Vec::new();
    };
    let pids = entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter_map(stat).collect()
}

fn stat(pid: i32) -> Option<Process> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name, in parentheses, may hold anything; what follows the last one is numbers.
    let fields: Vec<&str> = text
        .get(text.rfind(')')? + 1..)?
        .split_ascii_whitespace()
        .collect();
    let number = |index: usize| fields.get(index)?.parse().ok();
    Some(Process {
        pid,
        parent: number(1)?,
        group: number(2)?,
        session: number(3)?,
        born: fields.get(19)?.parse().ok()?,
        dead: matches!(fields.first(), Some(&"Z" | &"X")),
    })
}

fn is_alive(pid: i32) -> bool {
    stat(pid).is_some_and(|process| !process.dead)
}

fn members(marks: &Marks) -> Vec<i32> {
    let table = table();
    let runner = marks.runner.unwrap_or(-1);
    let earliest = table
        .iter()
        .find(|process| process.pid == runner)
        .map_or(0, |process| process.born);
    let own = i32::try_from(std::process::id()).unwrap_or(0);
    let untouchable =
        |process: &Process| process.pid == own || process.pid == 1 || process.born < earliest;
    let mut members: HashSet<i32> = HashSet::new();
    for process in table.iter().filter(|process| !untouchable(process)) {
        let related = process.pid == runner || process.group == runner || process.session == runner;
        if related || marks.are_on(process.pid) {
            members.insert(process.pid);
        }
    }
    loop {
        let before = members.len();
        for process in table.iter().filter(|process| !untouchable(process)) {
            if members.contains(&process.parent) {
                members.insert(process.pid);
            }
        }
        if members.len() == before {
            break;
        }
    }
    table
        .iter()
        .filter(|process| !process.dead && members.contains(&process.pid))
        .map(|process| process.pid)
        .collect()
}

impl Marks {
    fn are_on(&self, pid: i32) -> bool {
        self.are_in_environment(pid) || self.log.as_deref().is_some_and(|log| writes_to(pid, log))
    }

    fn are_in_environment(&self, pid: i32) -> bool {
        let Ok(environment) = std::fs::read(format!("/proc/{pid}/environ")) else {
            return false;
        };
        let entries: HashSet<&[u8]> = environment.split(|byte| *byte == 0).collect();
        !self.environment.is_empty()
            && self
                .environment
                .iter()
                .all(|mark| entries.contains(mark.as_slice()))
    }
}

/// Whether it has the file open for writing, as only those have who inherited it; somebody may well be reading it.
fn writes_to(pid: i32, file: &Path) -> bool {
    let Ok(descriptors) = std::fs::read_dir(format!("/proc/{pid}/fd")) else {
        return false;
    };
    descriptors.flatten().any(|descriptor| {
        std::fs::read_link(descriptor.path()).is_ok_and(|target| target == file)
            && descriptor
                .metadata()
                .is_ok_and(|link| link.permissions().mode() & 0o200 != 0)
    })
}
