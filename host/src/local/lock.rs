//! Who serves a data directory: whoever holds its lock, which the kernel drops with its process.

use std::fs::File;
use std::io::{Read, Seek, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::FlockOperation;

use crate::error::Error;

/// How long a new emulator tries to get the lock: who looks whether it is free holds it for a moment.
const LOCK_PATIENCE: Duration = Duration::from_millis(500);

pub(super) fn lock_path(data_dir: &Path) -> PathBuf {
    data_dir.join("emulator.lock")
}

pub(super) fn open_lock(data_dir: &Path) -> Result<File, Error> {
    let open = || {
        let mut builder = std::fs::DirBuilder::new();
        builder.recursive(true).mode(0o700).create(data_dir)?;
        let mut options = File::options();
        options.read(true).write(true).create(true).truncate(false);
        options.open(lock_path(data_dir))
    };
    open().map_err(|error: std::io::Error| {
        Error::local(
            format!("cannot use the data directory `{}`", data_dir.display()),
            error,
        )
        .with_hint("set `SORTIE_DATA_DIR` to a directory that can be written")
    })
}

/// Whether nobody serves. The lock, not the record, tells: the kernel drops it with its process.
pub(super) fn is_free(lock: &File) -> Result<bool, Error> {
    match rustix::fs::flock(lock, FlockOperation::NonBlockingLockShared) {
        Ok(()) => {
            let _ = rustix::fs::flock(lock, FlockOperation::Unlock);
            Ok(true)
        }
        Err(rustix::io::Errno::WOULDBLOCK) => Ok(false),
        Err(error) => Err(Error::local("cannot lock the data directory", error)),
    }
}

pub(super) async fn take(lock: &File) -> bool {
    let deadline = Instant::now() + LOCK_PATIENCE;
    loop {
        if rustix::fs::flock(lock, FlockOperation::NonBlockingLockExclusive).is_ok() {
            return true;
        }
        if Instant::now() > deadline {
            return false;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

pub(super) fn write_holder(mut lock: &File, pid: u32) -> Result<(), Error> {
    let mut write = || {
        lock.set_len(0)?;
        lock.rewind()?;
        lock.write_all(pid.to_string().as_bytes())
    };
    write().map_err(|error| Error::local("cannot lock the data directory", error))
}

pub(super) fn holder(mut lock: &File) -> Option<u32> {
    let mut text = String::new();
    lock.rewind().ok()?;
    lock.read_to_string(&mut text).ok()?;
    text.parse().ok()
}
