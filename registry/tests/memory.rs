//! A layer of any size flows through; it is not held.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::convert::Infallible;
use std::fmt::Write;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::{Body, Frame, Incoming};
use hyper::service::service_fn;
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use registry::{Digest, Options, Reference, add};
use serde_json::json;
use sha2::{Digest as _, Sha256};
use tokio::net::TcpListener;

static PIECE: [u8; 64 * 1024] = [7; 64 * 1024];
const PIECES: usize = 4096;
/// 256 MiB.
const SIZE: usize = PIECES * PIECE.len();

/// The one base there is.
struct Image {
    manifest: String,
    config: String,
    layer: String,
}

impl Image {
    fn new() -> Self {
        let mut hasher = Sha256::new();
        (0..PIECES).for_each(|_| hasher.update(PIECE));
        let mut layer = String::from("sha256:");
        for byte in hasher.finalize() {
            write!(layer, "{byte:02x}").unwrap();
        }
        let config =
            json!({"os": "linux", "architecture": "amd64", "rootfs": {"diff_ids": [layer]}})
                .to_string();
        let manifest = json!({
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": {"mediaType": "application/vnd.oci.image.config.v1+json",
                       "digest": Digest::of(config.as_bytes()).as_str(), "size": config.len()},
            "layers": [{"mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": layer, "size": SIZE}],
        });
        Self {
            manifest: manifest.to_string(),
            config,
            layer,
        }
    }
}

/// The same piece, again and again.
struct Stream {
    piece: Bytes,
    left: usize,
}

impl Body for Stream {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        self.left -= 1;
        Poll::Ready(Some(Ok(Frame::data(self.piece.clone()))))
    }
}

/// Has the base, and takes everything without keeping it.
async fn answer(
    image: Arc<Image>,
    request: Request<Incoming>,
) -> Result<Response<Stream>, Infallible> {
    let (head, mut body) = request.into_parts();
    while let Some(frame) = body.frame().await {
        drop(frame);
    }
    let path = head.uri.path();
    let (status, piece, left) = match head.method {
        Method::GET if path.contains("/manifests/") => (200, image.manifest.clone().into(), 1),
        Method::GET if path.ends_with(&image.layer) => (200, Bytes::from_static(&PIECE), PIECES),
        Method::GET => (200, image.config.clone().into(), 1),
        Method::HEAD => (404, Bytes::new(), 0),
        Method::PUT => (201, Bytes::new(), 0),
        _ => (202, Bytes::new(), 0),
    };
    let response = Response::builder()
        .status(status)
        .header("location", "/session");
    Ok(response.body(Stream { piece, left }).unwrap())
}

async fn serve(listener: TcpListener, image: Arc<Image>) {
    while let Ok((stream, _)) = listener.accept().await {
        let image = Arc::clone(&image);
        tokio::spawn(async move {
            let service = service_fn(|request| answer(Arc::clone(&image), request));
            let http = hyper::server::conn::http1::Builder::new();
            let _ = http.serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

/// The most memory this process ever had, in kB.
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

#[tokio::test]
async fn a_large_layer_takes_little_memory() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let host = listener.local_addr().unwrap();
    tokio::spawn(serve(listener, Arc::new(Image::new())));
    let mut binary = vec![0; 64];
    binary[..6].copy_from_slice(b"\x7fELF\x02\x01");
    binary[18] = 62;
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), binary).unwrap();
    let reference = |name: &str| format!("{host}/{name}").parse::<Reference>().unwrap();
    let before = peak();
    let mut moved = 0;
    let mut tell = |progress| {
        if let registry::Progress::Sending { sent, .. } = progress {
            moved = moved.max(sent);
        }
    };
    let (base, target) = (reference("base"), reference("app"));
    let added = add(&base, &target, file.path(), &Options::default(), &mut tell)
        .await
        .unwrap();
    assert_eq!((added.sent_blobs, moved), (3, SIZE as u64));
    let grown = peak() - before;
    assert!(grown < 32 * 1024, "{grown} kB");
}
