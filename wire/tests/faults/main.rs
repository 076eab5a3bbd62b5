//! What the client does when servers and networks fail: a scripted server plays each fault.

#![expect(clippy::unwrap_used, reason = "a test's helpers may end it too")]

mod adapters;
mod calls;
mod credentials;
mod download;
mod google;
mod insert;
mod resolver;
mod script;
mod upload;

use std::collections::BTreeMap;
use std::time::Duration;

use script::Server;
use wire::api::{Api, ApiError, RetryConfig, http_client};
use wire::bucket::{Bucket, NewObject, Precondition};
use wire::token::Tokens;

/// Many tries, hardly any pause.
const QUICK: RetryConfig = RetryConfig {
    retries: 4,
    budget: Duration::from_mins(2),
    first_pause: Duration::from_millis(1),
    longest_pause: Duration::from_millis(2),
};

fn api(tokens: Tokens) -> Api {
    Api::new(http_client().unwrap(), tokens, None, QUICK)
}

fn bucket(server: &Server) -> Bucket {
    Bucket::new(api(Tokens::anonymous()), &server.url, "b")
}

/// Gives up a connection that is silent for a second.
fn impatient(server: &Server) -> Bucket {
    let api = api(Tokens::anonymous()).with_idle_timeout(Duration::from_secs(1));
    Bucket::new(api, &server.url, "b")
}

fn absent() -> NewObject {
    NewObject {
        content_type: "application/octet-stream",
        metadata: BTreeMap::new(),
        custom_time: None,
        precondition: Precondition::Absent,
    }
}

/// The error and all its causes, as a program would print them.
fn chain(error: &ApiError) -> String {
    let mut words = vec![error.to_string()];
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        words.push(error.to_string());
        cause = error.source();
    }
    words.join(": ")
}
