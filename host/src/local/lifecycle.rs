//! The local bucket forgets as the kit's does.

use std::io::Write;
use std::sync::Arc;

use reqwest::Method;
use serde_json::{Value, json};
use url::Url;
use wire::api::{Api, RetryConfig, http_client};
use wire::names::{INPUTS, RUNS};
use wire::token::{StaticToken, Token, Tokens};

use super::BUCKET;
use crate::error::{Error, chain};

/// Days since an input was last used; the kit's default.
const INPUTS_UNUSED_DAYS: u32 = 14;

/// Days since an object of a run was written; the kit's default.
const RUNS_DAYS: u32 = 30;

/// Sets the local bucket's rules, once the emulator serves. Nothing depends on them but room on a disk: a failure is
/// only written into the emulator's log.
pub(super) async fn set(endpoint: String, token: String) {
    if let Err(error) = try_set(&endpoint, token).await {
        let _ = writeln!(std::io::stderr(), "warning: {}", chain(&error));
    }
}

async fn try_set(endpoint: &str, token: String) -> Result<(), Error> {
    let cannot = "cannot set the local bucket's lifecycle";
    let mut url = Url::parse(endpoint).map_err(|error| Error::local(cannot, error))?;
    let tokens = Tokens::origin(&url, Arc::new(StaticToken(Token::new(token, None))));
    let http = http_client().map_err(|error| Error::local("cannot set up TLS", error))?;
    let api = Api::new(http, tokens, None, RetryConfig::default());
    url.set_path(&format!("/storage/v1/b/{BUCKET}"));
    let rules = rules();
    let set = api.json(cannot, Method::PATCH, url, Some(&rules), true);
    set.await.map(drop).map_err(Error::api(cannot))
}

fn rules() -> Value {
    let delete = |prefix: &str, condition: &str, days: u32| {
        json!({
            "action": { "type": "Delete" },
            "condition": { "matchesPrefix": [prefix], condition: days },
        })
    };
    // Inputs by their last use: by age, a rule would take one away from beneath a run.
    json!({ "lifecycle": { "rule": [
        delete(INPUTS, "daysSinceCustomTime", INPUTS_UNUSED_DAYS),
        delete(RUNS, "age", RUNS_DAYS),
    ]}})
}
