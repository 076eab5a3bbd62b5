//! Doing it.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::call::Side;
use super::fault::Fault;
use super::message::{Answer, Request};

/// A stalled connection is held so long, unless its client gives it up.
const STALL: Duration = Duration::from_secs(30);

/// Between two pieces of an answer that drips.
const DROP: Duration = Duration::from_millis(40);

/// An answer that drips comes in so many pieces.
const DROPS: usize = 8;

/// Passes a request on, with what goes wrong with it; says whether the connection lasts.
pub(super) async fn carry_out(
    client: &mut TcpStream,
    server: &str,
    side: Side,
    mut request: Request,
    fault: Option<Fault>,
) -> std::io::Result<bool> {
    let whole = request.length;
    match fault {
        Some(Fault::Refuse | Fault::ResetAtOnce) => return reset(client),
        Some(Fault::ResetInRequest) => {
            request.read_at_least(client, whole / 2).await?;
            return reset(client);
        }
        _ => request.read_at_least(client, whole).await?,
    }
    if let Some(answer) = fault.and_then(|fault| refusal(fault, side)) {
        client.write_all(&answer.bytes()).await?;
        return Ok(true);
    }
    match fault {
        Some(Fault::ResetUnheard) => return reset(client),
        Some(Fault::StallUnheard) => return stall(client).await,
        Some(Fault::FlipUp) => flip_up(&mut request),
        _ => {}
    }
    let mut answer = request.forward(server).await?;
    match fault {
        Some(Fault::LostAnswer) => return reset(client),
        Some(Fault::StallDone) => return stall(client).await,
        Some(Fault::DoneAnd503) => answer = status(side, 503, "backendError", None),
        Some(Fault::DoneTwice) => answer = request.forward(server).await?,
        Some(Fault::FlipDown) => {
            let middle = answer.body.len() / 2;
            answer.body[middle] ^= 1;
        }
        Some(Fault::WrongHash) => lie_about_hash(&mut answer),
        _ => {}
    }
    send(client, &answer, fault).await
}

async fn send(
    client: &mut TcpStream,
    answer: &Answer,
    fault: Option<Fault>,
) -> std::io::Result<bool> {
    match fault {
        Some(Fault::ResetInAnswer) => {
            client.write_all(&answer.half()).await?;
            return reset_later(client).await;
        }
        Some(Fault::Truncated) => {
            client.write_all(&answer.half()).await?;
            client.shutdown().await?;
            return Ok(false);
        }
        Some(Fault::StallInAnswer) => {
            client.write_all(&answer.half()).await?;
            return stall(client).await;
        }
        Some(Fault::Drip) => {
            let bytes = answer.bytes();
            for piece in bytes.chunks(bytes.len().div_ceil(DROPS)) {
                client.write_all(piece).await?;
                tokio::time::sleep(DROP).await;
            }
        }
        Some(Fault::AnswerTwice) => {
            let mut bytes = answer.bytes();
            bytes.extend(answer.bytes());
            client.write_all(&bytes).await?;
        }
        _ => client.write_all(&answer.bytes()).await?,
    }
    if fault == Some(Fault::ResetAfter) {
        return reset_later(client).await;
    }
    Ok(true)
}

/// As a peer that is gone: what it had not read is answered with RST.
fn reset(client: &mut TcpStream) -> std::io::Result<bool> {
    client.set_zero_linger()?;
    Ok(false)
}

/// What was sent before has arrived by then.
async fn reset_later(client: &mut TcpStream) -> std::io::Result<bool> {
    tokio::time::sleep(DROP).await;
    reset(client)
}

async fn stall(client: &mut TcpStream) -> std::io::Result<bool> {
    let mut byte = [0];
    let _ = tokio::time::timeout(STALL, client.read(&mut byte)).await;
    Ok(false)
}

/// What the proxy answers by itself.
fn refusal(fault: Fault, side: Side) -> Option<Answer> {
    let (code, reason, after) = match fault {
        Fault::Status(code, after) => (code, "backendError", after),
        Fault::Outage => (503, "backendError", None),
        Fault::Expired | Fault::Unauthenticated => (401, "authError", None),
        Fault::RateLimit => (403, "rateLimitExceeded", None),
        Fault::Forbidden => (403, "forbidden", None),
        _ => return None,
    };
    Some(status(side, code, reason, after))
}

fn status(side: Side, code: u16, reason: &str, after: Option<u32>) -> Answer {
    let body = serde_json::json!({ "error": {
        "code": code,
        "message": format!("the proxy says {code}"),
        "errors": [{ "reason": reason, "domain": "global" }],
    }});
    let after = after.map(|seconds| seconds.to_string());
    let mut headers = vec![("content-type", "application/json")];
    if side == Side::Metadata {
        headers.push(("metadata-flavor", "Google"));
    }
    if let Some(after) = &after {
        headers.push(("retry-after", after));
    }
    let line = format!("HTTP/1.1 {code} Said");
    Answer::new(&line, &headers, &body.to_string())
}

/// Of a multipart body a bit of its last part's last byte, else one in the middle.
fn flip_up(request: &mut Request) {
    let body = &mut request.body;
    let at = if kind_is_multipart(request.target.as_str()) {
        let end = body.windows(4).rposition(|window| window == b"\r\n--");
        end.map_or(0, |end| end - 1)
    } else {
        body.len() / 2
    };
    if let Some(byte) = body.get_mut(at) {
        *byte ^= 1;
    }
}

fn kind_is_multipart(target: &str) -> bool {
    target.contains("uploadType=multipart")
}

/// The checksums of no bytes at all.
fn lie_about_hash(answer: &mut Answer) {
    for (name, value) in &mut answer.headers {
        if name == "x-goog-hash" {
            "crc32c=AAAAAA==,md5=1B2M2Y8AsgTpgAmY7PhCfg==".clone_into(value);
        }
    }
}
