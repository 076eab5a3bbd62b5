//! The container's own standard output and error: a courtesy copy, never a reason to stop.

use std::io;
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use wire::names::Stream;

/// A pipe that polls as writable takes this much without blocking: no more than `PIPE_BUF`.
const PIECE: usize = 4096;

/// So long may the reader at the other end stall before it loses the copy of the command's output.
const PATIENCE: Duration = Duration::from_secs(10);

/// So long for a message of ours, which the report has too.
const MESSAGE_PATIENCE: Duration = Duration::from_millis(200);

/// How often a wait looks whether we are in a hurry.
const GLANCE: Duration = Duration::from_millis(50);

/// Whether there is no time to wait for a reader that stalls.
static HURRY: AtomicBool = AtomicBool::new(false);

/// Our two streams may be one pipe: between poll and write nobody else may fill it.
static WRITING: Mutex<()> = Mutex::new(());

/// SIGKILL is near: from now on a reader that stalls is waited for as briefly as for a message.
pub(crate) fn hurry() {
    HURRY.store(true, Ordering::Relaxed);
}

/// One of our own streams.
#[derive(Debug)]
pub(crate) struct Console {
    stream: Stream,
    patience: Duration,
    open: bool,
}

impl Console {
    /// For one of the two.
    pub(crate) fn new(stream: Stream) -> Self {
        Self {
            stream,
            patience: PATIENCE,
            open: true,
        }
    }

    /// Writes, unless the other end is closed or has stalled: from then on nothing is written.
    pub(crate) fn write(&mut self, bytes: &[u8]) {
        if self.open {
            self.open = match self.stream {
                Stream::Stdout => copy(&io::stdout(), bytes, self.patience),
                Stream::Stderr => copy(&io::stderr(), bytes, self.patience),
            };
        }
    }
}

/// Tells whoever reads the container's log.
pub(crate) fn say(message: &str) {
    let mut console = Console::new(Stream::Stderr);
    console.patience = MESSAGE_PATIENCE;
    console.write(format!("sortie: {message}\n").as_bytes());
}

fn copy(target: &impl AsFd, mut bytes: &[u8], patience: Duration) -> bool {
    let mut stalled = Instant::now();
    while !bytes.is_empty() {
        match write_some(target, &bytes[..bytes.len().min(PIECE)]) {
            Ok(Some(0)) | Err(_) => return false,
            Ok(Some(written)) => {
                bytes = &bytes[written..];
                stalled = Instant::now();
            }
            Ok(None) => {
                let hurry = HURRY.load(Ordering::Relaxed);
                let patience = if hurry { MESSAGE_PATIENCE } else { patience };
                if stalled.elapsed() >= patience || writable(target, GLANCE).is_err() {
                    return false;
                }
            }
        }
    }
    true
}

/// Writes without waiting; `None` if the pipe is full.
fn write_some(target: &impl AsFd, piece: &[u8]) -> rustix::io::Result<Option<usize>> {
    let _writing = WRITING.lock().unwrap_or_else(PoisonError::into_inner);
    if !writable(target, Duration::ZERO)? {
        return Ok(None);
    }
    match rustix::io::write(target, piece) {
        Ok(written) => Ok(Some(written)),
        Err(rustix::io::Errno::INTR | rustix::io::Errno::AGAIN) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Waits for so long at the most. A reader that has left is an error.
fn writable(target: &impl AsFd, patience: Duration) -> rustix::io::Result<bool> {
    let timeout = Timespec::try_from(patience).ok();
    let mut fds = [PollFd::new(target, PollFlags::OUT)];
    match poll(&mut fds, timeout.as_ref()) {
        Err(rustix::io::Errno::INTR) | Ok(0) => Ok(false),
        Err(error) => Err(error),
        Ok(_) if fds[0].revents().contains(PollFlags::OUT) => Ok(true),
        Ok(_) => Err(rustix::io::Errno::PIPE),
    }
}
