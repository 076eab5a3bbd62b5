//! A loopback proxy in front of the emulator that does one evil thing.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// What happens to a connection on which the needle goes by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The request is held back for ever.
    Stall,
    /// The request arrives, its answer does not: the connection breaks. The first time only.
    LoseAnswer,
    /// The proxy answers 403 by itself.
    Refuse,
    /// The same, the first time only.
    RefuseOnce,
}

/// A proxy; its threads end with their connections.
pub(crate) struct Proxy {
    pub(crate) address: String,
    met: Arc<AtomicUsize>,
}

impl Proxy {
    pub(crate) fn start(upstream: &str, needle: &'static [u8], fault: Fault) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let met = Arc::new(AtomicUsize::new(0));
        let (upstream, counter) = (upstream.to_owned(), met.clone());
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let server = TcpStream::connect(&upstream).unwrap();
                let counter = counter.clone();
                std::thread::spawn(move || serve(client, server, needle, fault, &counter));
            }
        });
        Self { address, met }
    }

    /// How often the needle went by.
    pub(crate) fn met(&self) -> usize {
        self.met.load(Ordering::SeqCst)
    }
}

fn serve(
    mut client: TcpStream,
    mut server: TcpStream,
    needle: &[u8],
    fault: Fault,
    met: &AtomicUsize,
) {
    let answers = (server.try_clone().unwrap(), client.try_clone().unwrap());
    let lose = Arc::new(AtomicUsize::new(0));
    let losing = lose.clone();
    std::thread::spawn(move || relay_answers(answers, &losing));
    let mut buffer = vec![0; 64 << 10];
    while let Ok(length) = client.read(&mut buffer) {
        if length == 0 {
            break;
        }
        let piece = &buffer[..length];
        if piece.windows(needle.len()).any(|window| window == needle) {
            let before = met.fetch_add(1, Ordering::SeqCst);
            match fault {
                Fault::Stall => continue,
                Fault::LoseAnswer if before == 0 => lose.store(1, Ordering::SeqCst),
                Fault::RefuseOnce if before > 0 => {}
                Fault::LoseAnswer => {}
                Fault::Refuse | Fault::RefuseOnce => {
                    let answer =
                        "HTTP/1.1 403 Forbidden\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";
                    let _ = client.write_all(answer.as_bytes());
                    break;
                }
            }
        }
        if server.write_all(piece).is_err() {
            break;
        }
    }
    let _ = server.shutdown(Shutdown::Both);
}

fn relay_answers((mut server, mut client): (TcpStream, TcpStream), lose: &AtomicUsize) {
    let mut buffer = vec![0; 64 << 10];
    while let Ok(length) = server.read(&mut buffer) {
        if length == 0 || lose.load(Ordering::SeqCst) > 0 {
            break;
        }
        if client.write_all(&buffer[..length]).is_err() {
            break;
        }
    }
    let _ = client.shutdown(Shutdown::Both);
}
