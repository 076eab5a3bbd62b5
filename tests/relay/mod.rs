//! A loopback relay between a client and a server: it notes what was asked, and on how many connections, and holds an
//! answer back until something else was asked.
//!
//! A file of its own, for `#[path]`: needs std alone.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

/// Only what hangs takes so long.
const PATIENCE: Duration = Duration::from_mins(1);

const MOMENT: Duration = Duration::from_millis(20);

/// What is noted of a request: its head, and what a small body says.
const GLANCE: usize = 8 << 10;

/// What was asked so far.
#[derive(Default)]
pub(crate) struct Seen {
    /// In their order, as far as they have come.
    requests: Vec<Vec<u8>>,
    connections: usize,
    /// Answers that were held for nothing.
    in_vain: usize,
}

impl Seen {
    /// How many requests say this.
    pub(crate) fn count(&self, what: &str) -> usize {
        self.requests().filter(|text| text.contains(what)).count()
    }

    /// The requests as text.
    pub(crate) fn requests(&self) -> impl Iterator<Item = String> {
        let requests = self.requests.iter();
        requests.map(|request| String::from_utf8_lossy(request).into_owned())
    }

    pub(crate) fn connections(&self) -> usize {
        self.connections
    }
}

/// What an answer is held for.
pub(crate) type Until = Box<dyn Fn(&Seen) -> bool>;

/// Says of a request whether its answer is held.
type Hold = Box<dyn Fn(&str) -> Option<Until> + Send + Sync>;

struct Log {
    seen: Mutex<Seen>,
    news: Condvar,
    hold: Hold,
}

/// The relay; its threads end with their connections.
pub(crate) struct Relay {
    /// `host:port`.
    pub(crate) address: String,
    log: Arc<Log>,
}

impl Relay {
    /// Before a server (`host:port`); `hold` says of a request until when its answer is held.
    pub(crate) fn before(
        server: &str,
        hold: impl Fn(&str) -> Option<Until> + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let log = Arc::new(Log {
            seen: Mutex::default(),
            news: Condvar::new(),
            hold: Box::new(hold),
        });
        let (server, shared) = (server.to_owned(), log.clone());
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                shared.seen().connections += 1;
                // A server that has gone is the client's to notice.
                let Ok(server) = TcpStream::connect(&server) else {
                    continue;
                };
                let log = shared.clone();
                std::thread::spawn(move || converse(client, server, &log));
            }
        });
        Self { address, log }
    }

    /// What was asked so far; no answer was held in vain.
    pub(crate) fn seen(&self) -> MutexGuard<'_, Seen> {
        let seen = self.log.seen();
        assert_eq!(seen.in_vain, 0, "what an answer was held for never came");
        seen
    }

    /// Waits until this was asked.
    pub(crate) fn wait(&self, until: impl Fn(&Seen) -> bool) {
        self.log.wait(&until);
        drop(self.seen());
    }
}

impl Log {
    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap()
    }

    fn wait(&self, until: &dyn Fn(&Seen) -> bool) {
        let begun = Instant::now();
        let mut seen = self.seen();
        while !until(&seen) {
            if begun.elapsed() > PATIENCE {
                seen.in_vain += 1;
                return;
            }
            // It may be about something of the test's own, of which there is no news.
            seen = self.news.wait_timeout(seen, MOMENT).unwrap().0;
        }
    }
}

/// Nobody asks again before he has his answer: what comes after an answer is the next request.
fn converse(mut client: TcpStream, mut server: TcpStream, log: &Arc<Log>) {
    for stream in [&client, &server] {
        stream.set_nodelay(true).unwrap();
    }
    let asked = Arc::new(Mutex::new(None));
    let back = (server.try_clone().unwrap(), client.try_clone().unwrap());
    let (shared, same) = (log.clone(), asked.clone());
    std::thread::spawn(move || answers(back, &shared, &same));
    let mut buffer = vec![0; 64 << 10];
    while let Ok(length) = client.read(&mut buffer) {
        if length == 0 {
            break;
        }
        note(&buffer[..length], log, &asked);
        if server.write_all(&buffer[..length]).is_err() {
            break;
        }
    }
    let _ = server.shutdown(Shutdown::Both);
}

fn note(piece: &[u8], log: &Log, asked: &Mutex<Option<usize>>) {
    let mut seen = log.seen();
    let number = *asked.lock().unwrap().get_or_insert_with(|| {
        seen.requests.push(Vec::new());
        seen.requests.len() - 1
    });
    let request = &mut seen.requests[number];
    let room = GLANCE.saturating_sub(request.len());
    request.extend_from_slice(&piece[..piece.len().min(room)]);
    log.news.notify_all();
}

fn answers(
    (mut server, mut client): (TcpStream, TcpStream),
    log: &Log,
    asked: &Mutex<Option<usize>>,
) {
    let mut buffer = vec![0; 64 << 10];
    while let Ok(length) = server.read(&mut buffer) {
        if length == 0 {
            break;
        }
        let answered = asked.lock().unwrap().take();
        if let Some(number) = answered {
            let request = log.seen().requests().nth(number).unwrap();
            if let Some(until) = (log.hold)(&request) {
                log.wait(&*until);
            }
        }
        if client.write_all(&buffer[..length]).is_err() {
            break;
        }
    }
    let _ = client.shutdown(Shutdown::Both);
}
