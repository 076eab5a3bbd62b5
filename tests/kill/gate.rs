//! A loopback proxy that counts requests, and strikes at one of them.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

/// Before a request reaches the server, or before its answer reaches the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Request,
    Answer,
}

/// What is done at a request, once.
struct Strike {
    at: usize,
    side: Side,
    act: Box<dyn FnOnce() + Send>,
}

/// A proxy; its threads end with their connections.
#[derive(Clone)]
pub(crate) struct Gate {
    pub(crate) address: String,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    server: OnceLock<String>,
    seen: Mutex<Vec<String>>,
    strike: Mutex<Option<Strike>>,
    /// Bytes a second towards the server; 0 is as fast as they come.
    rate: AtomicUsize,
}

impl Gate {
    /// Open, to a server that is named later.
    pub(crate) fn open() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let state = Arc::new(State::default());
        let gate = Self {
            address: address.clone(),
            state: state.clone(),
        };
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let Some(server) = state.server.get() else {
                    continue;
                };
                let Ok(upstream) = TcpStream::connect(server) else {
                    continue;
                };
                let passage = Arc::new(Passage {
                    state: state.clone(),
                    address: address.clone(),
                    asked: AtomicBool::new(false),
                    number: AtomicUsize::new(0),
                });
                std::thread::spawn(move || passage.open(&client, &upstream));
            }
        });
        gate
    }

    pub(crate) fn leads_to(&self, server: &str) {
        self.state.server.set(server.to_owned()).unwrap();
    }

    /// How many requests have come so far.
    pub(crate) fn count(&self) -> usize {
        self.state.seen.lock().unwrap().len()
    }

    /// The first line of each.
    pub(crate) fn seen(&self) -> Vec<String> {
        self.state.seen.lock().unwrap().clone()
    }

    /// Does this at the request that has this number, from 1.
    pub(crate) fn strike(&self, at: usize, side: Side, act: impl FnOnce() + Send + 'static) {
        let act = Box::new(act);
        *self.state.strike.lock().unwrap() = Some(Strike { at, side, act });
    }

    /// It is not done any more, if it was not yet.
    pub(crate) fn call_off(&self) {
        self.state.strike.lock().unwrap().take();
    }

    /// From now on the way to the server is as slow as this, for each connection.
    pub(crate) fn slow_down(&self, bytes_per_second: usize) {
        self.state.rate.store(bytes_per_second, Ordering::SeqCst);
    }
}

/// One connection.
struct Passage {
    state: Arc<State>,
    address: String,
    /// A request has come, and no byte of its answer.
    asked: AtomicBool,
    number: AtomicUsize,
}

impl Passage {
    fn open(self: Arc<Self>, client: &TcpStream, server: &TcpStream) {
        let answering = self.clone();
        let (answers, to_client) = (server.try_clone().unwrap(), client.try_clone().unwrap());
        let back = std::thread::spawn(move || answering.pass_answers(&answers, &to_client));
        self.pass_requests(client, server);
        let _ = server.shutdown(Shutdown::Both);
        let _ = back.join();
        let _ = client.shutdown(Shutdown::Both);
    }

    fn pass_requests(&self, mut client: &TcpStream, mut server: &TcpStream) {
        let mut buffer = vec![0; 64 << 10];
        while let Ok(read @ 1..) = client.read(&mut buffer) {
            if !self.asked.swap(true, Ordering::SeqCst) {
                let number = self.note(&buffer[..read]);
                self.number.store(number, Ordering::SeqCst);
                if self.strikes(number, Side::Request) {
                    return;
                }
            }
            let rate = self.state.rate.load(Ordering::SeqCst);
            if rate > 0 {
                let micros = read as u64 * 1_000_000 / rate as u64;
                std::thread::sleep(Duration::from_micros(micros));
            }
            if server.write_all(&buffer[..read]).is_err() {
                return;
            }
        }
    }

    fn pass_answers(&self, mut answers: &TcpStream, mut client: &TcpStream) {
        let mut buffer = vec![0; 64 << 10];
        while let Ok(read @ 1..) = answers.read(&mut buffer) {
            let is_first = self.asked.swap(false, Ordering::SeqCst);
            if is_first && self.strikes(self.number.load(Ordering::SeqCst), Side::Answer) {
                break;
            }
            let piece = if is_first {
                self.stay_here(&buffer[..read])
            } else {
                buffer[..read].to_vec()
            };
            if client.write_all(&piece).is_err() {
                break;
            }
        }
        let _ = client.shutdown(Shutdown::Both);
    }

    /// The session of an upload is said to lie here, too.
    fn stay_here(&self, answer: &[u8]) -> Vec<u8> {
        let end = answer.windows(4).position(|window| window == b"\r\n\r\n");
        let (head, body) = answer.split_at(end.unwrap_or(0));
        let server = self.state.server.get().unwrap();
        let head = String::from_utf8_lossy(head).replace(server, &self.address);
        [head.as_bytes(), body].concat()
    }

    fn note(&self, request: &[u8]) -> usize {
        let line = request.split(|&byte| byte == b'\r').next().unwrap_or(&[]);
        let mut seen = self.state.seen.lock().unwrap();
        seen.push(String::from_utf8_lossy(line).into_owned());
        seen.len()
    }

    fn strikes(&self, number: usize, side: Side) -> bool {
        let mut strike = self.state.strike.lock().unwrap();
        let due = strike.take_if(|strike| strike.at == number && strike.side == side);
        drop(strike);
        due.map(|strike| (strike.act)()).is_some()
    }
}
