//! A server that does what it is told, and remembers what it was asked.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use md5::{Digest, Md5};
use tokio::io::{
    AsyncBufRead, AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader,
};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use url::Url;

/// What to do with one request.
#[derive(Debug, Clone)]
pub(crate) enum Act {
    /// Answer it.
    Answer(Reply),
    /// Send so many bytes of the answer's body, then close.
    Cut(Reply, usize),
    /// Send so many bytes of the answer's body, then nothing more.
    Stall(Reply, usize),
    /// Read the request to its end, then close without an answer.
    Vanish,
    /// Read so many bytes of the request's body, then close.
    VanishAfter(usize),
}

/// An answer.
#[derive(Debug, Clone)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

/// A request as it came.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) method: String,
    pub(crate) target: String,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: Vec<u8>,
}

impl Seen {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }

    /// `PUT bytes 0-9/10`: the method and the header that says what it is about.
    pub(crate) fn gist(&self, header: &str) -> String {
        format!("{} {}", self.method, self.header(header).unwrap_or("-"))
    }
}

/// The server; it ends with the test's runtime.
#[derive(Clone)]
pub(crate) struct Server {
    pub(crate) url: Url,
    script: Arc<Mutex<VecDeque<Act>>>,
    seen: Arc<Mutex<Vec<Seen>>>,
    connections: Arc<AtomicUsize>,
}

impl Server {
    /// On a free port of 127.0.0.1.
    pub(crate) async fn start(acts: impl IntoIterator<Item = Act>) -> Self {
        Self::listen(acts, None).await
    }

    /// A proxy that is itself every host it is asked to connect to.
    pub(crate) async fn start_tls(acts: impl IntoIterator<Item = Act>, tls: TlsAcceptor) -> Self {
        Self::listen(acts, Some(tls)).await
    }

    async fn listen(acts: impl IntoIterator<Item = Act>, tls: Option<TlsAcceptor>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = Self {
            url: format!("http://{address}").parse().unwrap(),
            script: Arc::new(Mutex::new(acts.into_iter().collect())),
            seen: Arc::default(),
            connections: Arc::default(),
        };
        let accepting = server.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                accepting.connections.fetch_add(1, Ordering::Relaxed);
                tokio::spawn(accepting.clone().accept(stream, tls.clone()));
            }
        });
        server
    }

    /// More to do, after what is left.
    pub(crate) fn then(&self, act: Act) {
        self.script.lock().unwrap().push_back(act);
    }

    /// Whether the whole script has been played.
    pub(crate) fn is_done(&self) -> bool {
        self.script.lock().unwrap().is_empty()
    }

    /// How many connections were made.
    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }

    /// All requests so far; the whole script must have been played.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        let left = self.script.lock().unwrap().clone();
        assert!(left.is_empty(), "never asked for {left:?}");
        self.seen.lock().unwrap().clone()
    }

    async fn accept(self, stream: TcpStream, tls: Option<TlsAcceptor>) {
        let Some(tls) = tls else {
            return self.connection(stream).await;
        };
        let mut stream = BufReader::new(stream);
        if head(&mut stream)
            .await
            .is_some_and(|(seen, _)| seen.method == "CONNECT")
        {
            stream
                .write_all(b"HTTP/1.1 200 Connected\r\n\r\n")
                .await
                .unwrap();
            if let Ok(stream) = tls.accept(stream.into_inner()).await {
                self.connection(stream).await;
            }
        }
    }

    async fn connection(self, stream: impl AsyncRead + AsyncWrite + Unpin) {
        let mut stream = BufReader::new(stream);
        while let Some((mut request, length)) = head(&mut stream).await {
            let act = self.script.lock().unwrap().pop_front();
            let unexpected = Act::Answer(reply(418).text("the script has no more acts"));
            let act = act.unwrap_or(unexpected);
            let wanted = match act {
                Act::VanishAfter(bytes) => bytes.min(length),
                _ => length,
            };
            request.body = vec![0; wanted];
            let whole = stream.read_exact(&mut request.body).await.is_ok();
            self.seen.lock().unwrap().push(request);
            if !whole || !play(act, stream.get_mut()).await {
                return;
            }
        }
    }
}

async fn head(stream: &mut (impl AsyncBufRead + Unpin)) -> Option<(Seen, usize)> {
    let mut line = String::new();
    stream.read_line(&mut line).await.ok()?;
    let mut words = line.split(' ');
    let mut seen = Seen {
        method: words.next()?.to_owned(),
        target: words.next()?.to_owned(),
        headers: BTreeMap::new(),
        body: Vec::new(),
    };
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).await.ok()?;
        let Some((name, value)) = line.trim_end().split_once(": ") else {
            break;
        };
        seen.headers.insert(name.to_lowercase(), value.to_owned());
    }
    let length = seen
        .header("content-length")
        .map_or(0, |text| text.parse().unwrap());
    Some((seen, length))
}

/// Whether the connection goes on.
async fn play(act: Act, stream: &mut (impl AsyncWrite + Unpin)) -> bool {
    let (reply, sent, goes_on) = match act {
        Act::Answer(reply) => {
            let all = reply.body.len();
            (reply, all, true)
        }
        Act::Cut(reply, sent) => (reply, sent, false),
        Act::Stall(reply, sent) => {
            let _ = stream.write_all(&reply.bytes(sent)).await;
            std::future::pending().await
        }
        Act::Vanish | Act::VanishAfter(_) => return false,
    };
    stream.write_all(&reply.bytes(sent)).await.is_ok() && goes_on
}

impl Reply {
    fn bytes(&self, body: usize) -> Vec<u8> {
        let mut text = format!("HTTP/1.1 {} Whatever\r\n", self.status);
        let length = ("content-length".to_owned(), self.body.len().to_string());
        for (name, value) in self.headers.iter().chain([&length]) {
            text.extend([name, ": ", value, "\r\n"]);
        }
        text += "\r\n";
        [text.as_bytes(), &self.body[..body]].concat()
    }

    pub(crate) fn header(mut self, name: &str, value: impl std::fmt::Display) -> Self {
        self.headers.push((name.to_owned(), format!("{value}")));
        self
    }

    pub(crate) fn text(mut self, text: &str) -> Self {
        self.body = text.into();
        self
    }

    pub(crate) fn act(self) -> Act {
        Act::Answer(self)
    }
}

/// An empty answer.
pub(crate) fn reply(status: u16) -> Reply {
    Reply {
        status,
        headers: Vec::new(),
        body: Vec::new(),
    }
}

/// An error as Google words it.
pub(crate) fn refusal(status: u16, reason: &str) -> Act {
    let json = serde_json::json!({"error": {
        "code": status, "message": "no", "errors": [{"reason": reason}],
    }});
    reply(status).text(&json.to_string()).act()
}

/// An object's bytes with all that Google sends beside them.
pub(crate) fn media(bytes: &[u8], generation: u64) -> Reply {
    let (crc32c, md5) = hashes(bytes);
    let mut reply = reply(200)
        .header("x-goog-generation", generation)
        .header("x-goog-metageneration", 1)
        .header("x-goog-stored-content-length", bytes.len())
        .header("x-goog-hash", format!("crc32c={crc32c},md5={md5}"));
    reply.body = bytes.to_vec();
    reply
}

/// The rest of an object's bytes.
pub(crate) fn partial(bytes: &[u8], generation: u64, from: usize) -> Reply {
    let range = format!("bytes {from}-{}/{}", bytes.len() - 1, bytes.len());
    let mut reply = media(bytes, generation).header("content-range", range);
    reply.status = 206;
    reply.body.drain(..from);
    reply
}

/// An object's description.
pub(crate) fn object(name: &str, bytes: &[u8], generation: u64) -> Reply {
    let (crc32c, md5) = hashes(bytes);
    let json = serde_json::json!({
        "name": name, "generation": generation.to_string(), "metageneration": "1",
        "size": bytes.len().to_string(), "crc32c": crc32c, "md5Hash": md5,
    });
    reply(200).text(&json.to_string())
}

/// Base64, as Google has them.
pub(crate) fn hashes(bytes: &[u8]) -> (String, String) {
    let crc32c = STANDARD.encode(crc32c::crc32c(bytes).to_be_bytes());
    (crc32c, STANDARD.encode(Md5::digest(bytes)))
}

/// Bytes that repeat nowhere near.
pub(crate) fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[3]
    };
    (0..length).map(|_| next()).collect()
}
