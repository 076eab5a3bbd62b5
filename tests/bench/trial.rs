//! One process from its start to its end: how long, how much processor, how much memory, with all that it starts.

use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeVal;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// Between two looks at the memory, once the first milliseconds are over.
const LOOK: Duration = Duration::from_millis(10);

/// What one process took.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Trial {
    pub(crate) wall: Duration,
    /// In user and system mode, of the process and all that it has waited for.
    pub(crate) cpu: Duration,
    /// Of the whole tree at once.
    pub(crate) peak_kb: u64,
    /// Until a command said that it runs, where there is one.
    pub(crate) started: Option<Duration>,
}

/// Where a process may run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Processors {
    /// As a container with one.
    One,
    All,
}

/// Runs a process to its end, which must be a good one.
pub(crate) fn run(command: &mut Command, processors: Processors) -> Trial {
    run_until(command, processors, |_| None)
}

/// Likewise; `started` is asked after the process has begun, and says when its command did.
pub(crate) fn run_until(
    command: &mut Command,
    processors: Processors,
    started: impl FnOnce(Instant) -> Option<Duration>,
) -> Trial {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    let all = sched_getaffinity(None).unwrap();
    if processors == Processors::One {
        sched_setaffinity(None, &first_of(&all)).unwrap();
    }
    let before = processor_time();
    let begun = Instant::now();
    // What is started has the affinity of who starts it.
    let child = command
        .spawn()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    sched_setaffinity(None, &all).unwrap();
    let (pid, over, peak) = (child.id(), AtomicBool::new(false), AtomicU64::new(0));
    let (output, wall, started) = std::thread::scope(|scope| {
        scope.spawn(|| watch(pid, &over, &peak));
        let started = started(begun);
        let output = child.wait_with_output().unwrap();
        let wall = begun.elapsed();
        over.store(true, Ordering::Relaxed);
        (output, wall, started)
    });
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "{command:?}: {}\n{said}",
        output.status
    );
    Trial {
        wall,
        cpu: processor_time().saturating_sub(before),
        peak_kb: peak.into_inner(),
        started,
    }
}

fn first_of(all: &CpuSet) -> CpuSet {
    let mut one = CpuSet::new();
    let first = (0..CpuSet::MAX_CPU).find(|&cpu| all.is_set(cpu));
    one.set(first.unwrap_or(0));
    one
}

fn processor_time() -> Duration {
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN).unwrap();
    let duration = |time: TimeVal| {
        let micros = time.tv_sec() * 1_000_000 + time.tv_usec();
        Duration::from_micros(micros.unsigned_abs())
    };
    duration(usage.user_time()) + duration(usage.system_time())
}

/// Adds up the tree's memory, often at first, for what is short.
fn watch(pid: u32, over: &AtomicBool, peak: &AtomicU64) {
    let mut pause = Duration::from_millis(1);
    while !over.load(Ordering::Relaxed) {
        peak.fetch_max(tree_kb(pid), Ordering::Relaxed);
        std::thread::sleep(pause);
        pause = (pause + Duration::from_millis(1)).min(LOOK);
    }
}

/// What the processes of a tree have had resident, each at its most.
fn tree_kb(pid: u32) -> u64 {
    let own = peak_memory(pid);
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task"));
    let children = tasks.into_iter().flatten().flatten().filter_map(|task| {
        let children = std::fs::read_to_string(task.path().join("children")).ok()?;
        let pids = children
            .split_whitespace()
            .filter_map(|pid| pid.parse().ok());
        Some(pids.map(tree_kb).sum::<u64>())
    });
    own + children.sum::<u64>()
}

/// The most that a process has had resident.
pub(crate) fn peak_memory(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let number = line.and_then(|line| line.trim().strip_suffix(" kB")?.trim().parse().ok());
    number.unwrap_or(0)
}
