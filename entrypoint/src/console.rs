//! The container's own standard output and error: a courtesy copy, never a reason to stop.

use std::io;
use std::os::fd::AsFd;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use wire::names::Stream;

/// A pipe that polls as writable takes this much without blocking.
const PIECE: usize = 4096;

/// So long may the reader at the other end stall before it loses the copy of the command's output.
const PATIENCE: Duration = Duration::from_secs(10);

/// So long for a message of ours, which the report has too.
const MESSAGE_PATIENCE: Duration = Duration::from_millis(200);

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
    while !bytes.is_empty() {
        let piece = &bytes[..bytes.len().min(PIECE)];
        match writable(target, patience) {
            Ok(true) => {}
            Ok(false) | Err(_) => return false,
        }
        match rustix::io::write(target, piece) {
            Ok(0) => return false,
            Ok(written) => bytes = &bytes[written..],
            Err(rustix::io::Errno::INTR | rustix::io::Errno::AGAIN) => {}
            Err(_) => return false,
        }
    }
    true
}

fn writable(target: &impl AsFd, patience: Duration) -> rustix::io::Result<bool> {
    let timeout = Timespec::try_from(patience).ok();
    loop {
        let mut fds = [PollFd::new(target, PollFlags::OUT)];
        match poll(&mut fds, timeout.as_ref()) {
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error),
            Ok(ready) => return Ok(ready > 0 && fds[0].revents().contains(PollFlags::OUT)),
        }
    }
}
