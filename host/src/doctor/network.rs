//! Whether Google, or who stands in for it, answers at all; and what time it is there.

use std::time::Duration;

use jiff::Timestamp;
use tokio::join;
use url::Url;

use super::Finding;
use crate::error::chain;
use crate::session::Connection;

/// A machine that is there answers sooner.
const TIMEOUT: Duration = Duration::from_secs(12);

/// Clocks differ by so much without any harm, in seconds. By more, a run's times are wrong; a key by which no token is
/// had for it fails as such.
const LITTLE: i64 = 30;

pub(super) async fn examine(connection: &Connection) -> Vec<Finding> {
    let http = &connection.http;
    let (storage, run) = join!(
        ask(http, &connection.storage.url),
        ask(http, &connection.run.url)
    );
    let refused: Vec<&String> = [&storage, &run]
        .into_iter()
        .filter_map(|answer| answer.as_ref().err())
        .collect();
    if !refused.is_empty() {
        let mut says: Vec<String> = refused.into_iter().cloned().collect();
        says.dedup();
        let hint = "behind a proxy, `export HTTPS_PROXY=http://HOST:PORT`; where that re-encrypts, `export SSL_CERT_FILE=…` too";
        return vec![Finding::failure("network", says.join("; ")).with_hint(hint)];
    }
    let hosts = [&connection.storage.url, &connection.run.url].map(authority);
    let says = if hosts[0] == hosts[1] {
        format!("`{}` answers", hosts[0])
    } else {
        format!("`{}` and `{}` answer", hosts[0], hosts[1])
    };
    let time = storage.ok().flatten().or(run.ok().flatten());
    vec![Finding::ok("network", says), clock(time.as_ref())]
}

/// Any answer will do; of interest is its date.
async fn ask(http: &reqwest::Client, url: &Url) -> Result<Option<Skew>, String> {
    let before = Timestamp::now();
    let answer = http.get(url.clone()).timeout(TIMEOUT).send().await;
    let answer = answer.map_err(|error| {
        let why = chain(&error.without_url());
        format!("`{}` does not answer: {why}", authority(url))
    })?;
    let date = answer.headers().get("date").and_then(|d| d.to_str().ok());
    Ok(date.and_then(time).map(|there| Skew { before, there }))
}

/// When it was asked here, and when it answered there.
struct Skew {
    before: Timestamp,
    there: Timestamp,
}

/// `Tue, 01 Dec 2026 00:34:04 GMT`.
fn time(text: &str) -> Option<Timestamp> {
    let parsed = jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(text);
    parsed.ok()
}

fn clock(skew: Option<&Skew>) -> Finding {
    let Some(Skew { before, there }) = skew else {
        return Finding::unknown("clock", "the answers have no date");
    };
    let ahead = before.as_second() - there.as_second();
    let hint = "set it: `sudo timedatectl set-ntp true`";
    let way = if ahead > 0 { "ahead of" } else { "behind" };
    let says = format!("this machine is {} s {way} the server", ahead.abs());
    match ahead.abs() {
        0..=LITTLE => Finding::ok("clock", "as the server's"),
        _ => Finding::warning("clock", says).with_hint(hint),
    }
}

fn authority(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    match url.port() {
        Some(port) => format!("{host}:{port}"),
        None => host.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Status;

    /// What is found where this machine's clock is so many seconds ahead.
    fn off(seconds: i64) -> Finding {
        let there = time("Tue, 01 Dec 2026 00:34:04 GMT").unwrap();
        let before = Timestamp::from_second(there.as_second() + seconds).unwrap();
        clock(Some(&Skew { before, there }))
    }

    #[test]
    fn a_clock_that_is_off_is_told_both_ways() {
        for (seconds, status) in [
            (0, Status::Ok),
            (30, Status::Ok),
            (-30, Status::Ok),
            (31, Status::Warning),
            (-31, Status::Warning),
            (299, Status::Warning),
            (100_000, Status::Warning),
            (-100_000, Status::Warning),
        ] {
            assert_eq!(off(seconds).status, status, "{seconds}");
        }
        let behind = off(-100);
        assert_eq!(behind.says, "this machine is 100 s behind the server");
        assert!(behind.hint.unwrap().contains("timedatectl"));
        assert_eq!(off(400).says, "this machine is 400 s ahead of the server");
    }

    #[test]
    fn without_a_date_nothing_is_said_of_the_clock() {
        assert_eq!(clock(None).status, Status::Unknown);
        assert!(time("yesterday").is_none());
    }
}
