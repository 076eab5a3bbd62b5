//! The pipes of the command: copied to our own streams, and captured.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::event::{EventfdFlags, PollFd, PollFlags, eventfd, poll};
use rustix::pipe::{PipeFlags, pipe_with};
use tokio::sync::oneshot;
use wire::names::Stream;

use crate::capture::Capture;
use crate::console::Console;

/// One read of a pipe, which is what a pipe holds.
const PIECE: usize = 64 << 10;

/// A writer that outlives SIGKILL may fill the pipe for so long.
const DRAIN: Duration = Duration::from_secs(2);

/// Bytes of a tail.
const TAIL: usize = 16 << 10;

/// Where a pipe's bytes go, beside the console.
#[derive(Debug, Clone)]
pub(crate) struct Sink {
    /// All of them.
    pub(crate) capture: Arc<Capture>,
    /// As if they came from this stream of the command's.
    pub(crate) stream: Stream,
    /// The last of them.
    pub(crate) tail: Option<Arc<Tail>>,
}

/// The last bytes of some streams.
#[derive(Debug, Default)]
pub(crate) struct Tail(Mutex<Vec<u8>>);

impl Tail {
    /// Adds to it.
    pub(crate) fn push(&self, bytes: &[u8]) {
        let mut tail = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        tail.extend_from_slice(bytes);
        let beyond = tail.len().saturating_sub(TAIL);
        tail.drain(..beyond);
    }

    /// What it is by now.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

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
    pub(crate) fn open(sinks: [Sink; 2]) -> io::Result<(Self, Ends)> {
        let drain = Arc::new(eventfd(0, EventfdFlags::CLOEXEC)?);
        let mut done = Vec::new();
        let mut begin = |sink: Sink| {
            let (reader, writer) = pipe_with(PipeFlags::CLOEXEC)?;
            let (sender, receiver) = oneshot::channel();
            let drain = drain.clone();
            std::thread::Builder::new()
                .name("stream".to_owned())
                .spawn(move || {
                    carry(&reader, &drain, &sink);
                    // Whoever waited may have left.
                    let _ = sender.send(());
                })?;
            done.push(receiver);
            Ok::<_, io::Error>(writer)
        };
        let [out, err] = sinks;
        let ends = [begin(out)?, begin(err)?];
        Ok((Self { drain, done }, ends))
    }

    /// Asks for an end: all that is written by now is read. Not up to the pipes' end: a process that nothing can end
    /// may hold them open.
    pub(crate) fn drain(&self) {
        // Fails only when the counter is at its top.
        let _ = rustix::io::write(&self.drain, &1_u64.to_ne_bytes());
    }

    /// Waits for the end that was asked for.
    pub(crate) async fn drained(self) {
        for done in self.done {
            // An error is a thread that has ended too.
            let _ = done.await;
        }
    }
}

fn carry(pipe: &OwnedFd, drain: &OwnedFd, sink: &Sink) {
    let mut console = Console::new(sink.stream);
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
                if let Some(tail) = &sink.tail {
                    tail.push(&buffer[..length]);
                }
                sink.capture.push(sink.stream, &buffer[..length]);
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
