//! Which task this is, what it does, and that nobody else does it.

use std::time::Duration;

use bytes::Bytes;
use jiff::Timestamp;
use serde::Deserialize;
use sha2::{Digest, Sha256};
use wire::api::{ApiError, ErrorKind};
use wire::bucket::Bucket;
use wire::contract::{
    CLAIM_KEY, Claim, ContractError, Document, Problem, Reason, Spec, SpecSource, Start, TaskRange,
    VERSION,
};
use wire::names::{Attempt, AttemptObjects, StartUri};

use crate::environment::Environment;
use crate::fetch::{self, Ahead};
use crate::interrupt::{COLLECT_UNTIL, Interrupt};
use crate::stop::{Stop, problem};
use crate::storage::{Buckets, Store, may_exist, new_object};

/// The largest start or spec we read, in bytes.
const DOCUMENT_LIMIT: u64 = 64 << 20;

/// What a 403 or 404 on a start or a spec means.
const NOT_THERE: &str = "what this task should do is not in the bucket, or the container's service account may not \
    read it, for which it needs `roles/storage.legacyObjectReader` there";

/// A task that is ours to do.
#[derive(Debug)]
pub(crate) struct Task {
    /// Where it writes.
    pub(crate) store: Store,
    /// What it does, or why that cannot be known.
    pub(crate) spec: Result<Spec, Stop>,
    /// Its first inputs, on their way.
    pub(crate) ahead: Ahead,
}

/// Why there is no task.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ClaimError {
    /// The start cannot be had.
    #[error("cannot learn what to do")]
    Start(#[source] ApiError),
    /// As storage says it to those who may not list.
    #[error("{NOT_THERE}")]
    NotThere(#[source] ApiError),
    /// We were asked to end before anything was claimed.
    #[error("cancelled before the attempt was claimed")]
    Cancelled,
    /// The start cannot be understood, not even as far as the task's number.
    #[error("cannot learn what to do")]
    Contract(#[source] ContractError),
    /// It is another's.
    #[error("`{0}` is a start of another run")]
    OtherRun(StartUri),
    /// It knows nothing of us.
    #[error("the start has no task for CLOUD_RUN_TASK_INDEX {0}")]
    Index(u32),
    /// Somebody else does it.
    #[error("attempt {0} is claimed by another container, which does its work; this one leaves")]
    Twin(Attempt),
    /// The claim cannot be written.
    #[error("cannot claim attempt {attempt}")]
    Claim {
        /// Which.
        attempt: Attempt,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// Reads the start, claims the attempt and reads its spec.
///
/// An interrupt ends the reading at once, but not the claiming: a claim is followed by a report.
pub(crate) async fn claim(
    buckets: Buckets,
    environment: &Environment,
    interrupt: &Interrupt,
) -> Result<Task, ClaimError> {
    let uri = &environment.start;
    let name = uri.run.start(uri.start);
    let (_, json) = interrupt
        .cut(Duration::ZERO, buckets.cold.read(&name, DOCUMENT_LIMIT))
        .await
        .ok_or(ClaimError::Cancelled)?
        .map_err(|error| match error.kind {
            ErrorKind::NotFound | ErrorKind::Forbidden => ClaimError::NotThere(error),
            _ => ClaimError::Start(error),
        })?;
    let (task, source) = find(uri, environment.index, &json)?;
    drop(json);
    let attempt = Attempt {
        task,
        start: uri.start,
        retry: environment.retry,
    };
    let key = key().map_err(|source| ClaimError::Claim {
        attempt,
        source: Box::new(source),
    })?;
    let objects = AttemptObjects {
        run: uri.run,
        attempt,
        key,
    };
    let store = Store::new(buckets.clone(), interrupt.clone(), objects);
    let (claimed, spec) = tokio::join!(
        interrupt.cut(COLLECT_UNTIL, write(&buckets.cold, &store.objects)),
        interrupt.cut(Duration::ZERO, prepare(&buckets, uri, source)),
    );
    claimed.ok_or(ClaimError::Cancelled)??;
    let (spec, ahead) = match spec {
        Some((spec, ahead)) => (spec.map_err(Stop::Setup), ahead),
        None => (Err(Stop::Cancelled), Ahead::default()),
    };
    Ok(Task { store, spec, ahead })
}

/// The task's number, and its spec's source or why there is none.
fn find(
    uri: &StartUri,
    index: u32,
    json: &[u8],
) -> Result<(u32, Result<SpecSource, Problem>), ClaimError> {
    match Start::from_json(json) {
        Ok(start) if start.run != uri.run || start.start != uri.start => {
            Err(ClaimError::OtherRun(uri.clone()))
        }
        Ok(start) => {
            let (task, source) = start.find(index).ok_or(ClaimError::Index(index))?;
            Ok((task, Ok(source)))
        }
        // A start of another version is most likely of the same shape so far: enough to say in a report, where
        // the host looks, that the versions differ.
        Err(error) => match number(json, index) {
            Some(task) => Ok((task, Err(problem(Reason::Spec, &error)))),
            None => Err(ClaimError::Contract(error)),
        },
    }
}

fn number(json: &[u8], index: u32) -> Option<u32> {
    #[derive(Deserialize)]
    struct Tasks {
        tasks: Vec<TaskRange>,
    }
    let tasks: Tasks = serde_json::from_slice(json).ok()?;
    tasks.tasks.iter().find_map(|range| {
        let offset = index
            .checked_sub(range.index)
            .filter(|&offset| offset < range.count)?;
        range.task.checked_add(offset)
    })
}

/// The spec, and what can be begun of it by one who may turn out to be a twin: it only reads.
async fn prepare(
    buckets: &Buckets,
    uri: &StartUri,
    source: Result<SpecSource, Problem>,
) -> (Result<Spec, Problem>, Ahead) {
    let spec = spec(&buckets.cold, uri, source).await;
    let inputs = spec.as_ref().map_or(&[][..], |spec| &spec.inputs);
    // A download keeps the patience it began with, to its end.
    let ahead = fetch::ahead(&buckets.patient, inputs);
    (spec, ahead)
}

async fn spec(
    bucket: &Bucket,
    uri: &StartUri,
    source: Result<SpecSource, Problem>,
) -> Result<Spec, Problem> {
    let spec = match source? {
        SpecSource::Inline(spec) => *spec,
        SpecSource::Object(k) | SpecSource::Objects { first: k, .. } => {
            let (_, json) = bucket
                .read(&uri.run.spec(k), DOCUMENT_LIMIT)
                .await
                .map_err(|error| match error.kind {
                    ErrorKind::NotFound | ErrorKind::Forbidden => {
                        problem(Reason::Spec, &ClaimError::NotThere(error))
                    }
                    _ => problem(Reason::Spec, &error),
                })?;
            Spec::from_json(&json).map_err(|error| problem(Reason::Spec, &error))?
        }
    };
    spec.check()
        .map_err(|error| problem(Reason::Spec, &error))?;
    Ok(spec)
}

/// 32 hex digits that nobody can guess.
fn key() -> Result<String, getrandom::Error> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes)?;
    Ok(hex(&bytes))
}

/// Lowercase hex.
pub(crate) fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    bytes
        .iter()
        .flat_map(|byte| [byte >> 4, byte & 15])
        .map(|digit| char::from(DIGITS[usize::from(digit)]))
        .collect()
}

async fn write(bucket: &Bucket, objects: &AttemptObjects) -> Result<(), ClaimError> {
    let attempt = objects.attempt;
    let failed = |source| ClaimError::Claim { attempt, source };
    let claim = Claim {
        version: VERSION,
        key_sha256: hex(&Sha256::digest(objects.key.as_bytes())),
        entrypoint: env!("CARGO_PKG_VERSION").to_owned(),
        created_at: Timestamp::now(),
    };
    let body = serde_json::to_vec(&claim).map_err(|source| failed(Box::new(source)))?;
    let name = objects.claim();
    let mut object = new_object("application/json");
    // So that one list page tells the host of a thousand claims.
    let digest = claim.key_sha256.clone();
    object.metadata.insert(CLAIM_KEY.to_owned(), digest);
    match bucket.insert(&name, &object, Bytes::from(body)).await {
        Ok(_) => Ok(()),
        Err(error) if may_exist(error.kind) => match holder(bucket, &name).await {
            // The first answer to our own request was lost, and the client asked again.
            Some(holder) if holder == claim.key_sha256 => Ok(()),
            Some(_) => Err(ClaimError::Twin(attempt)),
            None => Err(failed(Box::new(error))),
        },
        Err(error) => Err(failed(Box::new(error))),
    }
}

/// Whose key the claim names; a claim that cannot be read names somebody else's.
async fn holder(bucket: &Bucket, name: &str) -> Option<String> {
    let (_, json) = bucket.read(name, DOCUMENT_LIMIT).await.ok()?;
    Some(Claim::from_json(&json).map_or_else(|_| String::new(), |claim| claim.key_sha256))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn uri() -> StartUri {
        "gs://b/runs/01KAVXA2B3C4D5E6F7G8H9JKMN/starts/0.json"
            .parse()
            .unwrap()
    }

    #[test]
    fn a_start_of_another_version_still_tells_the_task() {
        let json = br#"{"version":3,"tasks":[{"index":0,"task":4,"count":3,"spec":0}],"new":1}"#;
        let (task, spec) = find(&uri(), 2, json).unwrap();
        assert_eq!(task, 6);
        let problem = spec.unwrap_err();
        assert_eq!(problem.reason, Reason::Spec);
        assert!(problem.message.contains("version 3"), "{problem:?}");
        assert!(matches!(
            find(&uri(), 3, json),
            Err(ClaimError::Contract(_))
        ));
    }

    #[test]
    fn keys_are_made_anew() {
        let (one, other) = (key().unwrap(), key().unwrap());
        assert_eq!(one.len(), 32);
        assert_ne!(one, other);
    }

    #[test]
    fn hex_is_lowercase_and_padded() {
        assert_eq!(hex(&[0x00, 0x0f, 0xa0, 0xff]), "000fa0ff");
    }
}
