//! Many calls in one request.

use std::fmt::Write as _;

use bytes::Bytes;
use http::{HeaderValue, StatusCode, header, request};
use http_body_util::BodyExt;

use super::multipart::{self, Parts};
use crate::answer::{Answer, Shape};
use crate::body::{self, Source};
use crate::call::Call;
use crate::clock;
use crate::refusal::{Outcome, Refusal};
use crate::router;
use crate::server::Site;

/// Most calls of a batch.
const CALLS: usize = 100;
/// Most bytes of one call.
const CALL_LIMIT: usize = 1024 * 1024;

pub(crate) async fn run(site: &Site, call: &mut Call) -> Outcome<Answer> {
    let boundary = multipart::boundary(call.header("content-type").unwrap_or_default())?;
    let mut calls = Vec::new();
    let mut parts = Parts::new(&mut call.body, &boundary);
    while let Some(headers) = parts.next().await? {
        let id = headers
            .into_iter()
            .find(|(name, _)| name == "content-id")
            .map(|(_, id)| id);
        calls.push((id, parts.collect(CALL_LIMIT).await?));
        if calls.len() > CALLS {
            return Err(Refusal::invalid(format!(
                "The batch request exceeds {CALLS} calls."
            )));
        }
    }
    let ours = format!("batch_{}", clock::random_suffix(24));
    let mut text = Vec::new();
    for (id, inner) in calls {
        let id = id
            .map(|id| format!("Content-ID: <response-{}>\r\n", id.trim_matches(['<', '>'])))
            .unwrap_or_default();
        text.extend_from_slice(
            format!("--{ours}\r\nContent-Type: application/http\r\n{id}\r\n").as_bytes(),
        );
        write_answer(&mut text, one(site, call, &inner).await).await?;
    }
    text.extend_from_slice(format!("--{ours}--\r\n").as_bytes());
    let mut answer = Answer::new(body::full(text));
    let kind = format!("multipart/mixed; boundary={ours}");
    if let Ok(kind) = HeaderValue::from_str(&kind) {
        answer.headers_mut().insert(header::CONTENT_TYPE, kind);
    }
    Ok(answer)
}

async fn one(site: &Site, outer: &Call, text: &[u8]) -> Answer {
    match parse(outer, text) {
        Ok(mut call) => Box::pin(router::dispatch(site, &mut call, Shape::Errors)).await,
        Err(refusal) => crate::answer::refused(&refusal, Shape::Errors),
    }
}

/// An inner call: a request line, headers, and after an empty line the body.
fn parse(outer: &Call, text: &[u8]) -> Outcome<Call> {
    let malformed = || Refusal::invalid("Malformed call in the batch request.");
    let (head, inner) = split(text);
    let head = std::str::from_utf8(head).map_err(|_| malformed())?;
    let mut lines = head.lines();
    let mut words = lines.next().unwrap_or_default().split_ascii_whitespace();
    let (method, target) = (
        words.next().unwrap_or_default(),
        words.next().unwrap_or_default(),
    );
    let mut builder = request::Builder::new().method(method).uri(target);
    let mut authorized = false;
    for line in lines {
        let (name, value) = line.split_once(':').ok_or_else(malformed)?;
        authorized |= name.eq_ignore_ascii_case("authorization");
        builder = builder.header(name.trim(), value.trim());
    }
    if let (false, Some(token)) = (authorized, outer.headers.get(header::AUTHORIZATION)) {
        builder = builder.header(header::AUTHORIZATION, token);
    }
    let (parts, ()) = builder.body(()).map_err(|_| malformed())?.into_parts();
    let media = parts
        .uri
        .query()
        .is_some_and(|query| query.contains("alt=media"));
    if media || !parts.uri.path().starts_with("/storage/v1/") {
        return Err(Refusal::invalid(
            "Only calls about metadata can be batched.",
        ));
    }
    let inner = Bytes::copy_from_slice(inner);
    Call::new(parts, Source::whole(inner))
}

fn split(text: &[u8]) -> (&[u8], &[u8]) {
    let ends = ["\r\n\r\n", "\n\n"]
        .map(|end| memchr::memmem::find(text, end.as_bytes()).map(|at| (at, end.len())));
    match ends.into_iter().flatten().min() {
        Some((at, length)) => (&text[..at], &text[at + length..]),
        None => (text, &[]),
    }
}

async fn write_answer(text: &mut Vec<u8>, answer: Answer) -> Outcome<()> {
    let (head, body) = answer.into_parts();
    let body = body.collect().await.map_err(Refusal::internal)?.to_bytes();
    let reason = head.status.canonical_reason().unwrap_or_default();
    let mut lines = format!("HTTP/1.1 {} {reason}\r\n", head.status.as_u16());
    for (name, value) in &head.headers {
        let value = String::from_utf8_lossy(value.as_bytes());
        let _ = write!(lines, "{name}: {value}\r\n");
    }
    if head.status != StatusCode::NO_CONTENT {
        let _ = write!(lines, "Content-Length: {}\r\n", body.len());
    }
    text.extend_from_slice(lines.as_bytes());
    text.extend_from_slice(b"\r\n");
    text.extend_from_slice(&body);
    text.extend_from_slice(b"\r\n");
    Ok(())
}
