//! All processes that the command has started, whatever became of their parents.

use std::collections::BTreeMap;
use std::io;
use std::time::Duration;

use rustix::process::{Pid, Signal, getpid, kill_process, kill_process_group, set_child_subreaper};
use tokio::sync::watch;
use tokio::time::timeout;

/// Between SIGTERM and SIGKILL for what the command leaves behind.
const GRACE: Duration = Duration::from_secs(1);

/// How long SIGKILL is repeated. What outlives it waits for a disk, and no signal reaches it.
const PERSISTENCE: u32 = 20;

const PAUSE: Duration = Duration::from_millis(100);

/// The command and everything below it.
#[derive(Debug, Clone)]
pub(crate) struct Family {
    /// The command's process, and its group's id.
    leader: Pid,
    /// Whether it is gone, to the last.
    gone: watch::Receiver<bool>,
}

/// Has orphans fall to us: PID 1 has them anyway.
pub(crate) fn adopt_orphans() -> io::Result<()> {
    if getpid() != Pid::INIT {
        set_child_subreaper(Some(getpid()))?;
    }
    Ok(())
}

impl Family {
    /// Of a command that was just started.
    pub(crate) fn new(leader: Pid, gone: watch::Receiver<bool>) -> Self {
        Self { leader, gone }
    }

    /// Asks the command's group to end. A stopped process could not hear it.
    pub(crate) fn ask(&self) {
        for signal in [Signal::TERM, Signal::CONT] {
            // The group may have ended just now.
            let _ = kill_process_group(self.leader, signal);
        }
    }

    /// Ends what is left: SIGTERM, a second, SIGKILL. Says whether it is gone.
    pub(crate) async fn end(&self) -> bool {
        if self.is_gone_within(Duration::ZERO).await {
            return true;
        }
        signal_all(Signal::TERM);
        signal_all(Signal::CONT);
        if self.is_gone_within(GRACE).await {
            return true;
        }
        for _ in 0..PERSISTENCE {
            signal_all(Signal::KILL);
            if self.is_gone_within(PAUSE).await {
                return true;
            }
        }
        false
    }

    async fn is_gone_within(&self, time: Duration) -> bool {
        let mut gone = self.gone.clone();
        // The watch closes when the waiting thread ends, which it does when nothing is left.
        timeout(time, gone.wait_for(|gone| *gone)).await.is_ok()
    }
}

/// Kills everything the command has started, and itself, now.
pub(crate) fn kill_all() {
    signal_all(Signal::KILL);
}

fn signal_all(signal: Signal) {
    if getpid() == Pid::INIT {
        // To all but ourselves.
        let _ = kill_process_group(Pid::INIT, signal);
        return;
    }
    for pid in descendants(getpid()) {
        // It may have ended just now.
        let _ = kill_process(pid, signal);
    }
}

/// All below a process, parents first.
fn descendants(ancestor: Pid) -> Vec<Pid> {
    let mut children: BTreeMap<i32, Vec<i32>> = BTreeMap::new();
    for (pid, parent) in processes() {
        children.entry(parent).or_default().push(pid);
    }
    let mut found = vec![ancestor.as_raw_nonzero().get()];
    let mut next = 0;
    while let Some(pid) = found.get(next) {
        found.extend(children.remove(pid).unwrap_or_default());
        next += 1;
    }
    found
        .into_iter()
        .skip(1)
        .filter_map(Pid::from_raw)
        .collect()
}

/// Every process that `/proc` shows, with its parent.
fn processes() -> Vec<(i32, i32)> {
    let Ok(entries) = fs_err::read_dir("/proc") else {
        return Vec::new();
    };
    entries
        .filter_map(|entry| {
            let pid = entry.ok()?.file_name().to_str()?.parse().ok()?;
            let stat = fs_err::read(format!("/proc/{pid}/stat")).ok()?;
            Some((pid, parent(&stat)?))
        })
        .collect()
}

/// `pid (name) state parent …`: the name may hold anything, parentheses included.
fn parent(stat: &[u8]) -> Option<i32> {
    let name_end = stat.iter().rposition(|&byte| byte == b')')?;
    let rest = std::str::from_utf8(&stat[name_end + 1..]).ok()?;
    rest.split_ascii_whitespace().nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_with_a_strange_name_has_its_parent() {
        assert_eq!(parent(b"12 (a b) S 3 12 12 0"), Some(3));
        assert_eq!(parent(b"12 (x) R 99 (\xff) Z 7 1 1"), Some(7));
        assert_eq!(parent(b""), None);
    }

    #[test]
    fn a_grandchild_is_a_descendant() {
        let mut child = std::process::Command::new("/bin/sh")
            .args(["-c", "sleep 60 & echo $!; wait"])
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        std::io::BufRead::read_line(
            &mut std::io::BufReader::new(child.stdout.take().unwrap()),
            &mut line,
        )
        .unwrap();
        let grandchild: i32 = line.trim().parse().unwrap();
        let found: Vec<_> = descendants(getpid())
            .iter()
            .map(|pid| pid.as_raw_nonzero().get())
            .collect();
        kill_process(Pid::from_raw(grandchild).unwrap(), Signal::KILL).unwrap();
        child.kill().unwrap();
        let parent = i32::try_from(child.id()).unwrap();
        child.wait().unwrap();
        assert!(
            found.contains(&parent) && found.contains(&grandchild),
            "{found:?}"
        );
    }
}
