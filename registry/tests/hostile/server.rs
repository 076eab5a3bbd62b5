use std::collections::HashMap;
use std::convert::Infallible;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::{Body, Frame, Incoming};
use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use hyper::http::request::Parts;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use registry::Digest;
use tokio::net::TcpListener;

/// Looks at a request's head; what it answers goes out at once, and the body is not read.
type Fault = Box<dyn FnMut(&Parts) -> Option<Reply> + Send>;

/// A registry in memory that does right, but for its faults.
pub(crate) struct Server {
    state: Arc<State>,
    pub(crate) host: String,
}

#[derive(Default)]
struct State {
    /// By repository and digest, tag or session.
    stored: Mutex<HashMap<(String, String), (String, Bytes)>>,
    heard: Mutex<Vec<Heard>>,
    fault: Mutex<Option<Fault>>,
}

#[derive(Debug, Clone)]
pub(crate) struct Heard {
    pub(crate) method: Method,
    pub(crate) target: String,
    pub(crate) authorization: Option<String>,
}

#[derive(Debug, Clone)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) body: Bytes,
    /// The connection breaks instead of ending.
    pub(crate) cut: bool,
}

impl Reply {
    pub(crate) fn new(status: u16) -> Self {
        Self {
            status,
            headers: Vec::new(),
            body: Bytes::new(),
            cut: false,
        }
    }

    pub(crate) fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    pub(crate) fn body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self
    }
}

impl Server {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let host = listener.local_addr().unwrap().to_string();
        let state = Arc::new(State::default());
        tokio::spawn(accept(listener, Arc::clone(&state)));
        Self { state, host }
    }

    pub(crate) fn fault(&self, fault: impl FnMut(&Parts) -> Option<Reply> + Send + 'static) {
        *self.state.fault.lock().unwrap() = Some(Box::new(fault));
    }

    pub(crate) fn store(&self, repository: &str, key: &str, kind: &str, bytes: &[u8]) {
        self.state
            .store(repository, key, kind, bytes.to_vec().into());
    }

    pub(crate) fn stored(&self, repository: &str, key: &str) -> Option<Bytes> {
        let found = self.state.find(repository, key);
        found.map(|(_, bytes)| bytes)
    }

    pub(crate) fn heard(&self) -> Vec<Heard> {
        self.state.heard.lock().unwrap().clone()
    }

    /// How often something of this method was asked whose target holds these words.
    pub(crate) fn count(&self, method: &Method, words: &str) -> usize {
        let heard = self.heard();
        let fits = |heard: &&Heard| heard.method == method && heard.target.contains(words);
        heard.iter().filter(fits).count()
    }

    /// How often anything was asked that writes.
    pub(crate) fn writes(&self) -> usize {
        let heard = self.heard();
        let reads = [Method::GET, Method::HEAD];
        heard.iter().filter(|h| !reads.contains(&h.method)).count()
    }
}

async fn accept(listener: TcpListener, state: Arc<State>) {
    while let Ok((stream, _)) = listener.accept().await {
        let state = Arc::clone(&state);
        tokio::spawn(async move {
            let service = service_fn(|request| answer(Arc::clone(&state), request));
            let http = hyper::server::conn::http1::Builder::new();
            // A client that leaves is no failure of the server's.
            let _ = http.serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

async fn answer(
    state: Arc<State>,
    request: Request<Incoming>,
) -> Result<Response<Part>, Infallible> {
    let (head, body) = request.into_parts();
    let authorization = head.headers.get("authorization");
    state.heard.lock().unwrap().push(Heard {
        method: head.method.clone(),
        target: head.uri.to_string(),
        authorization: authorization.map(|value| value.to_str().unwrap().to_owned()),
    });
    let fault = state
        .fault
        .lock()
        .unwrap()
        .as_mut()
        .and_then(|fault| fault(&head));
    let reply = match fault {
        Some(reply) => reply,
        None => match body.collect().await {
            Ok(body) => state.reply(&head, body.to_bytes()),
            Err(_) => Reply::new(400),
        },
    };
    let mut response = Response::new(Part {
        data: Some(reply.body),
        cut: reply.cut,
    });
    *response.status_mut() = StatusCode::from_u16(reply.status).unwrap();
    *response.headers_mut() = headers(reply.headers);
    Ok(response)
}

fn headers(pairs: Vec<(&'static str, String)>) -> HeaderMap {
    let pairs = pairs.into_iter();
    let parsed = pairs.map(|(name, value)| {
        (
            HeaderName::from_static(name),
            HeaderValue::try_from(value).unwrap(),
        )
    });
    parsed.collect()
}

impl State {
    fn store(&self, repository: &str, key: &str, kind: &str, bytes: Bytes) {
        let key = (repository.to_owned(), key.to_owned());
        let value = (kind.to_owned(), bytes);
        self.stored.lock().unwrap().insert(key, value);
    }

    fn find(&self, repository: &str, key: &str) -> Option<(String, Bytes)> {
        let key = (repository.to_owned(), key.to_owned());
        self.stored.lock().unwrap().get(&key).cloned()
    }

    fn reply(&self, head: &Parts, body: Bytes) -> Reply {
        let path = head.uri.path().trim_start_matches("/v2/");
        if path.is_empty() {
            return Reply::new(200);
        }
        let query = |name: &str| {
            let query = format!("http://h/?{}", head.uri.query().unwrap_or_default());
            let url = reqwest::Url::parse(&query).unwrap();
            let found = url.query_pairs().find(|(key, _)| key == name);
            found.map(|(_, value)| value.into_owned())
        };
        if let Some((repository, _)) = path.split_once("/blobs/uploads/") {
            let mounted = query("from").and_then(|from| self.find(&from, &query("mount").unwrap()));
            return self.begin(repository, query("mount").zip(mounted));
        }
        if let Some((repository, session)) = path.split_once("/sessions/") {
            return self.upload(&head.method, repository, session, query("digest"), body);
        }
        let (repository, rest) = path
            .split_once("/blobs/")
            .or(path.split_once("/manifests/"))
            .unwrap();
        if head.method == Method::PUT {
            let kind = head.headers["content-type"].to_str().unwrap();
            let digest = Digest::of(&body).to_string();
            self.store(repository, rest, kind, body.clone());
            self.store(repository, &digest, kind, body);
            return Reply::new(201).with("docker-content-digest", digest);
        }
        match self.find(repository, rest) {
            Some((kind, bytes)) => Reply::new(200).with("content-type", kind).body(bytes),
            None => Reply::new(404),
        }
    }

    fn begin(&self, repository: &str, mounted: Option<(String, (String, Bytes))>) -> Reply {
        if let Some((digest, (kind, bytes))) = mounted {
            self.store(repository, &digest, &kind, bytes);
            return Reply::new(201);
        }
        let number = self.heard.lock().unwrap().len();
        Reply::new(202).with(
            "location",
            format!("/v2/{repository}/sessions/{number}?state=s"),
        )
    }

    fn upload(
        &self,
        method: &Method,
        repository: &str,
        session: &str,
        digest: Option<String>,
        body: Bytes,
    ) -> Reply {
        if method == Method::PATCH {
            self.store(repository, session, "session", body);
            return Reply::new(202).with(
                "location",
                format!("/v2/{repository}/sessions/{session}?state=t"),
            );
        }
        let Some((kind, bytes)) = self.find(repository, session) else {
            return Reply::new(404);
        };
        let digest = digest.unwrap();
        if Digest::of(&bytes).as_str() != digest {
            return Reply::new(400);
        }
        self.store(repository, &digest, &kind, bytes);
        Reply::new(201).with("docker-content-digest", digest)
    }
}

/// A body in one piece, which may break off after it.
pub(crate) struct Part {
    data: Option<Bytes>,
    cut: bool,
}

impl Body for Part {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let data = self.data.take().filter(|data| !data.is_empty());
        if let Some(data) = data {
            return Poll::Ready(Some(Ok(Frame::data(data))));
        }
        if std::mem::take(&mut self.cut) {
            // Later, so that what came before goes out.
            context.waker().wake_by_ref();
            return Poll::Ready(Some(Err(io::ErrorKind::BrokenPipe.into())));
        }
        Poll::Ready(None)
    }
}
