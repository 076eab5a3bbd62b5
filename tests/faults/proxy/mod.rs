//! A loopback proxy between a client and a server, which knows every call and does what it is told to the k-th of a kind.

mod act;
mod call;
mod fault;
mod message;

use call::Seen;
pub(crate) use call::{Call, Kind, Side};
pub(crate) use fault::Fault;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::net::{TcpListener, TcpStream};

/// For so long nobody listens after [`Fault::Refuse`].
const DOWN: Duration = Duration::from_millis(200);

/// A call may come so long after sortie has ended.
const LATE: Duration = Duration::from_secs(5);

/// What is done to which calls.
#[derive(Debug, Clone)]
pub(crate) struct Rule {
    pub(crate) call: Call,
    pub(crate) fault: Fault,
    /// Asked so often.
    met: usize,
    /// When it was first asked.
    since: Option<Instant>,
}

impl Rule {
    pub(crate) fn new(call: Call, fault: Fault) -> Self {
        Self {
            call,
            fault,
            met: 0,
            since: None,
        }
    }
}

/// A proxy; it ends with its runtime. Each has a loopback address of its own, so that nobody else takes its ports while
/// it refuses connections.
#[derive(Clone)]
pub(crate) struct Proxy {
    address: Ipv4Addr,
    rules: Arc<Mutex<Vec<Rule>>>,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Proxy {
    pub(crate) fn new(rules: Vec<Rule>) -> Self {
        Self {
            address: next_address(),
            rules: Arc::new(Mutex::new(rules)),
            seen: Arc::default(),
        }
    }

    /// Stands before a server (`host:port`) for one side's calls; returns its own `host:port`.
    pub(crate) async fn stand_before(&self, server: &str, side: Side) -> String {
        let listener = TcpListener::bind((self.address, 0)).await.unwrap();
        let at = listener.local_addr().unwrap();
        tokio::spawn(self.clone().serve(listener, at, server.to_owned(), side));
        at.to_string()
    }

    /// From now on it only passes on.
    pub(crate) fn relent(&self) {
        self.rules.lock().unwrap().clear();
    }

    /// Whether every rule meets its call: a twin that nobody waits for may still be on its way.
    pub(crate) fn strikes(&self) -> bool {
        let begun = Instant::now();
        loop {
            let met = self.rules.lock().unwrap().iter().all(|rule| rule.met > 0);
            if met || begun.elapsed() > LATE {
                return met;
            }
            std::thread::sleep(DOWN);
        }
    }

    /// What it was asked, in order, with what it did.
    pub(crate) fn seen(&self) -> Vec<String> {
        let seen = self.seen.lock().unwrap();
        seen.iter().map(|seen| seen.line.clone()).collect()
    }

    /// What it was asked that is none of these calls.
    pub(crate) fn asked_besides(&self, calls: &[Call]) -> Vec<String> {
        let seen = self.seen.lock().unwrap();
        let others = seen
            .iter()
            .filter(|seen| !calls.iter().any(|call| call.is(seen)));
        others.map(|seen| seen.line.clone()).collect()
    }

    async fn serve(self, mut listener: TcpListener, at: SocketAddr, server: String, side: Side) {
        let (refuse, mut refused) = tokio::sync::mpsc::unbounded_channel();
        loop {
            tokio::select! {
                Some(()) = refused.recv() => {
                    drop(listener);
                    tokio::time::sleep(DOWN).await;
                    listener = TcpListener::bind(at).await.unwrap();
                }
                Ok((client, _)) = listener.accept() => {
                    let (proxy, server, refuse) = (self.clone(), server.clone(), refuse.clone());
                    tokio::spawn(async move {
                        // A client that is gone has been told what it was to be told.
                        let _ = proxy.converse(client, &server, side, &refuse).await;
                    });
                }
            }
        }
    }

    async fn converse(
        &self,
        mut client: TcpStream,
        server: &str,
        side: Side,
        refuse: &tokio::sync::mpsc::UnboundedSender<()>,
    ) -> std::io::Result<()> {
        client.set_nodelay(true)?;
        while let Some(mut request) = message::Request::read_head(&mut client).await? {
            request.read_at_least(&mut client, message::GLANCE).await?;
            let fault = self.decide(side, &request);
            if fault == Some(Fault::Refuse) {
                let _ = refuse.send(());
            }
            if !act::carry_out(&mut client, server, side, request, fault).await? {
                break;
            }
        }
        Ok(())
    }

    fn decide(&self, side: Side, request: &message::Request) -> Option<Fault> {
        let mut seen = Seen::new(side, request);
        let mut rules = self.rules.lock().unwrap();
        let mut fault = None;
        for rule in rules.iter_mut() {
            if rule.call.is(&seen) {
                rule.met += 1;
                let since = *rule.since.get_or_insert_with(Instant::now);
                let strikes = rule.met == 1 || since.elapsed() < rule.fault.lasts();
                if strikes && fault.is_none() {
                    fault = Some(rule.fault);
                }
            }
        }
        if let Some(fault) = fault {
            seen.line = format!("{} <- {}", seen.line, fault.name());
        }
        self.seen.lock().unwrap().push(seen);
        fault
    }
}

fn next_address() -> Ipv4Addr {
    static NEXT: AtomicU32 = AtomicU32::new(1);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let [_, _, high, low] = number.to_be_bytes();
    let process = u8::try_from(std::process::id() % 200).unwrap();
    Ipv4Addr::new(127, 20 + process, high, low)
}
