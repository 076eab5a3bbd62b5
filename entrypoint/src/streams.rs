//! The pipes of the command: copied to our own streams, and captured.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::event::{EventfdFlags, PollFd, PollFlags, eventfd, poll};
use rustix::pipe::{PipeFlags, pipe_with};
use tokio::sync::oneshot;
use wire::names::Stream;

use crate::capture::{Capture, STREAMS};
use crate::console::Console;

/// One read of a pipe, which is what a pipe holds.
const PIECE: usize = 64 << 10;

/// A writer that outlives SIGKILL may fill the pipe for so long.
const DRAIN: Duration = Duration::from_secs(2);

/// The command's ends of both pipes: standard output, standard error.
pub(crate) type Ends = [OwnedFd; 2];

/// The threads that read the pipes.
#[derive(Debug)]
pub(crate) struct Streams {
    drain: Arc<OwnedFd>,
    done: Vec<oneshot::Receiver<()>>,
}

impl Streams {
    /// Begins to read.
    pub(crate) fn open(capture: &Arc<Capture>) -> io::Result<(Self, Ends)> {
        let drain = Arc::new(eventfd(0, EventfdFlags::CLOEXEC)?);
        let mut done = Vec::new();
        let mut begin = |stream| {
            let (reader, writer) = pipe_with(PipeFlags::CLOEXEC)?;
            let (sender, receiver) = oneshot::channel();
            let (drain, capture) = (drain.clone(), capture.clone());
            std::thread::Builder::new()
                .name("stream".to_owned())
                .spawn(move || {
                    carry(&reader, &drain, &capture, stream);
                    // Whoever waited may have left.
                    let _ = sender.send(());
                })?;
            done.push(receiver);
            Ok::<_, io::Error>(writer)
        };
        let ends = [begin(STREAMS[0])?, begin(STREAMS[1])?];
        Ok((Self { drain, done }, ends))
    }

    /// Waits until all that was written is read. Not for the pipes' end: a process that nothing can end may
    /// hold them open.
    pub(crate) async fn drained(self) {
        // Fails only when the counter is at its top.
        let _ = rustix::io::write(&self.drain, &1_u64.to_ne_bytes());
        for done in self.done {
            // An error is a thread that has ended too.
            let _ = done.await;
        }
    }
}

fn carry(pipe: &OwnedFd, drain: &OwnedFd, capture: &Capture, stream: Stream) {
    let mut console = Console::new(stream);
    let mut buffer = vec![0; PIECE];
    let mut until = None;
    while let Ok((readable, open, draining)) = wait(pipe, drain) {
        if draining && !readable {
            break;
        }
        // What is in a pipe without writers ends by itself.
        if draining && open && Instant::now() > *until.get_or_insert_with(|| Instant::now() + DRAIN)
        {
            break;
        }
        match rustix::io::read(pipe, &mut buffer[..]) {
            Ok(0) => break,
            Ok(length) => {
                capture.push(stream, &buffer[..length]);
                console.write(&buffer[..length]);
            }
            Err(rustix::io::Errno::INTR) => {}
            Err(_) => break,
        }
    }
}

/// Whether there is something to read, whether the pipe has a writer, and whether it is time to end.
fn wait(pipe: &impl AsFd, drain: &impl AsFd) -> rustix::io::Result<(bool, bool, bool)> {
    loop {
        let mut fds = [
            PollFd::new(pipe, PollFlags::IN),
            PollFd::new(drain, PollFlags::IN),
        ];
        match poll(&mut fds, None) {
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error),
            Ok(_) => {
                let events = fds[0].revents();
                let open = !events.contains(PollFlags::HUP);
                return Ok((!events.is_empty(), open, !fds[1].revents().is_empty()));
            }
        }
    }
}
