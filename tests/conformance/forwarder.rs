//! A network that breaks once.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use url::Url;

/// Passes connections on; the first one is cut after so many bytes up, or so many bytes down.
pub(crate) struct Forwarder {
    pub(crate) address: SocketAddr,
    cut: Arc<AtomicU32>,
}

impl Forwarder {
    pub(crate) async fn start(to: &Url, up: u64, down: u64) -> Self {
        let to = to.authority().to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let cut = Arc::new(AtomicU32::new(0));
        let counter = Arc::clone(&cut);
        tokio::spawn(async move {
            let mut limits = (up, down);
            while let Ok((client, _)) = listener.accept().await {
                let server = TcpStream::connect(&to).await.unwrap();
                tokio::spawn(forward(client, server, limits, Arc::clone(&counter)));
                limits = (u64::MAX, u64::MAX);
            }
        });
        Self { address, cut }
    }

    /// How many connections have been cut.
    pub(crate) fn cut(&self) -> u32 {
        self.cut.load(Ordering::SeqCst)
    }
}

async fn forward(client: TcpStream, server: TcpStream, limits: (u64, u64), cut: Arc<AtomicU32>) {
    let (client_read, client_write) = client.into_split();
    let (server_read, server_write) = server.into_split();
    // Whichever direction ends first ends both.
    let broken = tokio::select! {
        broken = pass(client_read, server_write, limits.0) => broken,
        broken = pass(server_read, client_write, limits.1) => broken,
    };
    cut.fetch_add(u32::from(broken), Ordering::SeqCst);
}

/// Whether it ended because of the limit.
async fn pass(
    mut from: tokio::net::tcp::OwnedReadHalf,
    mut to: tokio::net::tcp::OwnedWriteHalf,
    mut limit: u64,
) -> bool {
    let mut buffer = vec![0; 16 * 1024];
    loop {
        let Ok(length @ 1..) = from.read(&mut buffer).await else {
            return false;
        };
        let passed = length.min(usize::try_from(limit).unwrap_or(usize::MAX));
        if to.write_all(&buffer[..passed]).await.is_err() {
            return false;
        }
        limit -= passed as u64;
        if limit == 0 {
            return true;
        }
    }
}
