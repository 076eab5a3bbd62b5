//! Connections: taken, answered, and let go.

use std::sync::Arc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinError, JoinSet};

use crate::activity::Tracked;
use crate::server::Site;
use crate::{metadata, router};

/// How long answers under way may take once everything else has stopped.
pub(crate) const LAST_ANSWERS: Duration = Duration::from_secs(2);
/// How long to wait when a connection could not be taken: others must end first.
const PAUSE: Duration = Duration::from_millis(50);

/// What a listener serves.
#[derive(Clone, Copy)]
pub(crate) enum Kind {
    Main,
    Metadata,
}

/// Answers until `closing` says so; then finishes what is under way.
pub(crate) async fn serve(
    listener: TcpListener,
    site: Arc<Site>,
    kind: Kind,
    mut closing: watch::Receiver<bool>,
) {
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            Some(_) = connections.join_next() => continue,
            () = told(&mut closing) => break,
        };
        match accepted {
            Ok((stream, _)) => {
                connections.spawn(converse(stream, Arc::clone(&site), kind, closing.clone()));
            }
            Err(reason) => {
                tracing::warn!(%reason, "cannot accept a connection");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
    drop(listener);
    let ended = async { while connections.join_next().await.is_some() {} };
    let _ = tokio::time::timeout(LAST_ANSWERS, ended).await;
}

async fn converse(
    stream: TcpStream,
    site: Arc<Site>,
    kind: Kind,
    mut closing: watch::Receiver<bool>,
) {
    let _ = stream.set_nodelay(true);
    let service = service_fn(move |request| answer(request, Arc::clone(&site), kind));
    let mut server = hyper::server::conn::http1::Builder::new();
    let connection = server
        .timer(TokioTimer::new())
        // Whoever has said all and left is heard out all the same.
        .half_close(true)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    let outcome = tokio::select! {
        outcome = connection.as_mut() => outcome,
        () = told(&mut closing) => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(reason) = outcome {
        tracing::debug!(%reason, "a connection ended early");
    }
}

async fn told(closing: &mut watch::Receiver<bool>) {
    let _ = closing.wait_for(|closing| *closing).await;
}

/// In a task of its own, which ends only by itself: a client that leaves in the middle of it must not leave a write half
/// done behind its lock's back.
async fn answer(
    request: http::Request<Incoming>,
    site: Arc<Site>,
    kind: Kind,
) -> Result<http::Response<Tracked>, JoinError> {
    let answering = tokio::spawn(async move {
        let busy = site.activity.begin();
        let answer = match kind {
            Kind::Main => router::answer(&site, request).await,
            Kind::Metadata => metadata::answer(&site, &request),
        };
        answer.map(|body| Tracked { body, busy })
    });
    answering.await
}
