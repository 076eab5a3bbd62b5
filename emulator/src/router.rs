//! Which path is whose.

use std::time::Duration;

use http::Method;
use hyper::body::Incoming;

use crate::answer::{self, Answer, Shape};
use crate::body::Source;
use crate::call::Call;
use crate::refusal::{Outcome, Refusal};
use crate::server::Site;
use crate::{around, door, run, secret, storage};

/// How long a refused client may go on sending.
const DRAIN: Duration = Duration::from_secs(10);

pub(crate) async fn answer(site: &Site, request: http::Request<Incoming>) -> Answer {
    let (head, body) = request.into_parts();
    let shape = shape(&head.method, head.uri.path(), head.uri.query());
    if let Err(refusal) = door::check(&head.uri, &head.headers) {
        return answer::refused(&refusal, shape);
    }
    let mut call = match Call::new(head, Source::wire(body)) {
        Ok(call) => call,
        Err(refusal) => return answer::refused(&refusal, shape),
    };
    let answer = dispatch(site, &mut call, shape).await;
    let _ = tokio::time::timeout(DRAIN, call.body.drain()).await;
    answer
}

/// Answers one call; a batch's parts come here too.
pub(crate) async fn dispatch(site: &Site, call: &mut Call, shape: Shape) -> Answer {
    // Google's documents do not have the XML API, so nobody could judge it.
    let exchanges = site.exchanges.as_ref().filter(|_| shape != Shape::Xml);
    let listening = exchanges.and_then(|exchanges| exchanges.listen(call));
    let answer = match route(site, call).await {
        Ok(answer) => answer,
        Err(refusal) => answer::refused(&refusal, shape),
    };
    match listening {
        Some(listening) => listening.note(answer).await,
        None => answer,
    }
}

async fn route(site: &Site, call: &mut Call) -> Outcome<Answer> {
    let segments = std::mem::take(&mut call.segments);
    let path: Vec<&str> = segments.iter().map(String::as_str).collect();
    match path.as_slice() {
        ["v2", "projects", project, "locations", region, rest @ ..] => {
            site.tokens.owner(&call.headers)?;
            run::route(site, call, run::Place { project, region }, rest).await
        }
        [
            "apis",
            "run.googleapis.com",
            "v1",
            "namespaces",
            namespace,
            rest @ ..,
        ] => {
            site.tokens.owner(&call.headers)?;
            run::v1::route(site, call, namespace, rest).await
        }
        // Policies have no place in a namespace, so version 1 has a path of the other kind for them.
        ["v1", "projects", project, "locations", region, "jobs", job] if job.contains(':') => {
            site.tokens.owner(&call.headers)?;
            run::v1::policy(site, call, run::Place { project, region }, job).await
        }
        ["v1", "projects", project, "secrets", rest @ ..] => {
            site.tokens.owner(&call.headers)?;
            secret::route(site, call, project, rest).await
        }
        path if around::is_here(path) => {
            site.tokens.owner(&call.headers)?;
            around::route(site, call, path).await
        }
        [""] if call.method == Method::GET => Ok(answer::no_content()),
        _ => storage::route(site, call, &path).await,
    }
}

/// The shape of an error, which depends on the path alone.
pub(crate) fn shape(method: &Method, path: &str, query: Option<&str>) -> Shape {
    let media = query.is_some_and(|query| query.split('&').any(|pair| pair == "alt=media"));
    let segments: Vec<&str> = path.strip_prefix('/').unwrap_or(path).split('/').collect();
    if is_status(&segments) {
        Shape::Status
    } else if path.starts_with("/download/") || (media && method == Method::GET) {
        Shape::Text
    } else if JSON.iter().any(|own| {
        path.strip_prefix('/')
            .is_some_and(|path| path.starts_with(own))
    }) {
        Shape::Errors
    } else {
        Shape::Xml
    }
}

/// Whether a path is of an API other than storage.
fn is_status(path: &[&str]) -> bool {
    matches!(path, ["v1" | "v2" | "apis", _, ..]) || around::is_here(path)
}

/// The first segments of the storage JSON API's paths; every other path is the XML API's.
const JSON: [&str; 4] = ["storage/", "upload/", "resumable/", "batch/"];

/// Whether a path can be a bucket and an object, as the XML API has them.
pub(crate) fn is_xml(path: &[&str]) -> bool {
    let first = format!("{}/", path.first().unwrap_or(&""));
    !JSON.contains(&first.as_str()) && first != "download/" && !is_status(path)
}

/// For a path that nothing answers.
pub(crate) fn nowhere() -> Refusal {
    Refusal::not_found("Not Found")
}
