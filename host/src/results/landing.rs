//! A task's directory: made beside its place, and moved into it whole.

use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use fs_err as fs;
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use serde::Deserialize;
use wire::names::{Attempt, RunId};

use crate::error::Error;

/// Moved last: where it lies, the rest does.
pub(super) const REPORT: &str = "report.json";

/// Longer than all tasks of a run take to be moved, if each waits for the other.
const TURN: Duration = Duration::from_secs(5);

/// A directory of results that is not in place yet. Dropped = removed: no half result is ever seen.
#[derive(Debug)]
pub struct Landing {
    target: PathBuf,
    beside: PathBuf,
    /// Tells another sortie that this one is at work here.
    _lock: std::fs::File,
    settled: bool,
}

impl Landing {
    /// Makes the directory: beside its place, or inside it if that is there already (it may be a mount point, the
    /// shell's own working directory, or hold what an earlier look has landed).
    pub fn begin(target: &Path, run: RunId, task: u32) -> Result<Self, Error> {
        let make = || {
            let place = if target.is_dir() {
                target
            } else {
                let parent = target.parent().unwrap_or(Path::new("/"));
                fs::create_dir_all(parent)?;
                parent
            };
            remove_abandoned(place);
            loop {
                let beside = tempfile::Builder::new()
                    .prefix(&format!("{PREFIX}{run}-{task}."))
                    .suffix(SUFFIX)
                    .permissions(permissions())
                    .tempdir_in(place)?
                    .keep();
                if let Some(lock) = lock(&beside)? {
                    return Ok((beside, lock));
                }
            }
        };
        let (beside, lock) = make().map_err(|error: io::Error| {
            Error::local(format!("cannot make `{}`", target.display()), error)
                .with_hint("name a directory that can be written with `--out`")
        })?;
        Ok(Self {
            target: target.to_owned(),
            beside,
            _lock: lock,
            settled: false,
        })
    }

    /// Where to write until it is settled.
    pub fn path(&self) -> &Path {
        &self.beside
    }

    /// Moves it into place, over what an earlier look may have landed. `sync`: what it holds is about to be deleted
    /// elsewhere.
    ///
    /// `knows_more` is asked of what lies there: where another sortie has landed it meanwhile, it may have deleted what
    /// this one was still reading, and this one's goes. Says whether it was moved.
    pub(super) fn settle(
        mut self,
        sync: bool,
        knows_more: impl FnOnce(&Path) -> bool,
    ) -> Result<bool, Error> {
        let settle = || -> io::Result<bool> {
            if sync {
                sync_all_of(&self.beside)?;
            }
            let _turns = turns(&self.target);
            if knows_more(&self.target) {
                return Ok(false);
            }
            if self.beside.parent() == Some(&self.target) || self.target.is_dir() {
                move_up(&self.beside, &self.target)?;
            } else {
                fs::rename(&self.beside, &self.target)?;
            }
            if sync {
                // The name too: without it the next landing would take the only copy for an abandoned one.
                sync_all_of(&self.target)?;
            }
            Ok(true)
        };
        let moved = settle().map_err(|error| {
            Error::local(
                format!("cannot put the results into `{}`", self.target.display()),
                error,
            )
        })?;
        self.settled = moved;
        Ok(moved)
    }
}

impl Drop for Landing {
    fn drop(&mut self) {
        if !self.settled {
            let _ = archive::remove_tree(&self.beside);
        }
    }
}

fn sync_all_of(dir: &Path) -> io::Result<()> {
    let dir = fs::File::open(dir)?;
    Ok(rustix::fs::syncfs(dir.file())?)
}

/// For whoever moves results into a place: one sortie after the other. The place is locked, or, until it is there, the
/// directory above it.
fn turns(target: &Path) -> [Option<std::fs::File>; 2] {
    let missing = !target.is_dir();
    let above = target.parent().filter(|_| missing).and_then(turn);
    // It may have come while that was waited for.
    [above, turn(target)]
}

/// A move takes no time, so who holds the lock for long is somebody else, for reasons of his own. Where nothing can be
/// locked nobody waits.
fn turn(dir: &Path) -> Option<std::fs::File> {
    let dir = std::fs::File::open(dir).ok()?;
    let until = Instant::now() + TURN;
    while flock(&dir, FlockOperation::NonBlockingLockExclusive) == Err(Errno::WOULDBLOCK)
        && Instant::now() < until
    {
        std::thread::sleep(Duration::from_millis(10));
    }
    Some(dir)
}

const PREFIX: &str = ".sortie-";

const SUFFIX: &str = ".partial";

/// The lock on a directory that was just made; `None` if it was taken for an abandoned one before, and is gone.
fn lock(beside: &Path) -> io::Result<Option<std::fs::File>> {
    let lock = match std::fs::File::open(beside) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        opened => opened?,
    };
    // Who is about to remove it holds the lock for that moment.
    flock(&lock, FlockOperation::LockExclusive)?;
    Ok(beside.exists().then_some(lock))
}

/// As `mkdir` makes them: it becomes the user's own directory.
fn permissions() -> std::fs::Permissions {
    use std::os::unix::fs::PermissionsExt;
    std::fs::Permissions::from_mode(0o777)
}

/// What a sortie left that was killed is ours by its name, and no result: everything in it is in the bucket still. One
/// that is locked is being written.
pub(crate) fn remove_abandoned(place: &Path) {
    for entry in fs::read_dir(place).into_iter().flatten().flatten() {
        if !is_of_a_run(&entry.file_name().to_string_lossy()) {
            continue;
        }
        let Ok(lock) = std::fs::File::open(entry.path()) else {
            continue;
        };
        if flock(&lock, FlockOperation::NonBlockingLockExclusive).is_ok() {
            let _ = archive::remove_tree(&entry.path());
        }
    }
}

/// `.sortie-<run>-<task>.<random>.partial`
fn is_of_a_run(name: &str) -> bool {
    let stem = name
        .strip_prefix(PREFIX)
        .and_then(|name| name.strip_suffix(SUFFIX));
    let run = stem.and_then(|stem| stem.split_once('-'));
    run.is_some_and(|(run, _)| run.parse::<RunId>().is_ok())
}

/// Moves entries in, over those of an earlier landing; the report last, for it says that the rest is there.
fn move_up(from: &Path, into: &Path) -> io::Result<()> {
    archive::remove_tree(&into.join(REPORT))?;
    for entry in fs::read_dir(from)? {
        let name = entry?.file_name();
        if name != REPORT {
            archive::remove_tree(&into.join(&name))?;
            fs::rename(from.join(&name), into.join(&name))?;
        }
    }
    fs::rename(from.join(REPORT), into.join(REPORT))?;
    fs::remove_dir(from)
}

/// Whether this very task's results are in place already, of whatever attempt.
pub(crate) fn is_landed(target: &Path, run: RunId, task: u32) -> bool {
    Landed::read(target, run, task).is_some()
}

/// What lies in a task's place, if it is of this run and task.
#[derive(Debug, Deserialize)]
pub(super) struct Landed {
    run: RunId,
    attempt: LandedAttempt,
    /// What the host found wrong with its outputs.
    #[serde(default)]
    pub(super) outputs_problem: Option<String>,
    /// What else did not come home, in words.
    #[serde(default)]
    pub(super) lost: Vec<String>,
}

#[derive(Debug, Deserialize)]
struct LandedAttempt {
    task: u32,
    start: Option<u32>,
    retry: Option<u32>,
}

impl Landed {
    pub(super) fn read(target: &Path, run: RunId, task: u32) -> Option<Self> {
        let json = fs::read(target.join(REPORT)).ok()?;
        let landed: Self = serde_json::from_slice(&json).ok()?;
        (landed.run == run && landed.attempt.task == task).then_some(landed)
    }

    /// Whether it is this very attempt's report, and not another's, nor a word that there is none.
    pub(super) fn is(&self, attempt: Attempt) -> bool {
        self.attempt.start == Some(attempt.start) && self.attempt.retry == Some(attempt.retry)
    }

    /// Whether any attempt has reported.
    pub(super) fn is_a_report(&self) -> bool {
        self.attempt.start.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn land(target: &Path, content: &str) -> Result<bool, Error> {
        let landing = Landing::begin(target, RunId::new(), 0)?;
        fs::write(landing.path().join("stdout"), content).unwrap();
        fs::write(landing.path().join(REPORT), "{}").unwrap();
        landing.settle(false, |_| false)
    }

    #[test]
    fn it_lands_in_a_new_and_in_an_empty_directory() {
        let dir = tempfile::tempdir().unwrap();
        let new = dir.path().join("new");
        let empty = dir.path().join("empty");
        fs::create_dir(&empty).unwrap();
        for target in [new, empty] {
            land(&target, "x").unwrap();
            let mut names: Vec<_> = fs::read_dir(&target)
                .unwrap()
                .map(|entry| entry.unwrap().file_name())
                .collect();
            names.sort();
            assert_eq!(names, [REPORT, "stdout"]);
        }
        assert_eq!(
            fs::read_dir(dir.path()).unwrap().count(),
            2,
            "nothing is left beside"
        );
    }

    #[test]
    fn it_lands_over_what_an_earlier_look_has_landed() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("o");
        for content in ["lost", "found"] {
            let landing = Landing::begin(&target, RunId::new(), 0).unwrap();
            fs::create_dir(landing.path().join("output")).unwrap();
            fs::write(landing.path().join("output/f"), content).unwrap();
            fs::write(landing.path().join(REPORT), "{}").unwrap();
            landing.settle(false, |_| false).unwrap();
        }
        assert_eq!(
            fs::read_to_string(target.join("output/f")).unwrap(),
            "found"
        );
        assert_eq!(fs::read_dir(&target).unwrap().count(), 2);
    }

    /// The first has landed and deleted the outputs in the bucket; the second found them gone.
    #[test]
    fn who_comes_too_late_takes_nothing_away() {
        let dir = tempfile::tempdir().unwrap();
        let (target, run) = (dir.path().join("o"), RunId::new());
        let report =
            serde_json::json!({"run": run, "attempt": {"task": 0, "start": 0, "retry": 0}});
        let landings = ["whole", ""].map(|content| {
            let landing = Landing::begin(&target, run, 0).unwrap();
            fs::create_dir(landing.path().join("output")).unwrap();
            if !content.is_empty() {
                fs::write(landing.path().join("output/f"), content).unwrap();
            }
            fs::write(landing.path().join(REPORT), report.to_string()).unwrap();
            landing
        });
        let moved = landings.map(|landing| {
            let known = |target: &Path| is_landed(target, run, 0);
            landing.settle(true, known).unwrap()
        });
        assert_eq!(moved, [true, false]);
        assert_eq!(
            fs::read_to_string(target.join("output/f")).unwrap(),
            "whole"
        );
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_place_that_is_there_is_locked_itself_and_one_that_is_not_with_what_is_above() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("o");
        let held = |turns: [Option<std::fs::File>; 2]| turns.map(|turn| turn.is_some());
        assert_eq!(held(turns(&target)), [true, false]);
        fs::create_dir(&target).unwrap();
        assert_eq!(
            held(turns(&target)),
            [false, true],
            "who may not read what is above need not"
        );
        assert_eq!(held(turns(Path::new("/nowhere/at/all"))), [false, false]);
    }

    #[test]
    fn two_at_work_do_not_disturb_each_other_and_what_was_abandoned_goes() {
        let dir = tempfile::tempdir().unwrap();
        let (target, run) = (dir.path().join("o"), RunId::new());
        let another = RunId::new();
        let names = [
            format!(".sortie-{run}-0.x.partial"),
            format!(".sortie-{another}-7.y.partial"),
        ];
        let theirs = dir.path().join(".sortie-theirs.partial");
        for path in names
            .iter()
            .map(|name| dir.path().join(name))
            .chain([theirs.clone()])
        {
            fs::create_dir(path).unwrap();
        }
        let one = Landing::begin(&target, run, 0).unwrap();
        let other = Landing::begin(&target, run, 0).unwrap();
        assert!(!names.iter().any(|name| dir.path().join(name).exists()) && theirs.exists());
        assert!(one.path().exists() && one.path() != other.path());
    }

    #[test]
    fn dropped_it_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let landing = Landing::begin(&dir.path().join("o"), RunId::new(), 0).unwrap();
        fs::write(landing.path().join("half"), "x").unwrap();
        drop(landing);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }
}
