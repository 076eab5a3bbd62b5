//! Whether what lies under an attempt's name was written by who claimed it.

use std::collections::HashMap;

use sha2::{Digest, Sha256};
use wire::api::{ApiError, ErrorKind};
use wire::bucket::Bucket;
use wire::contract::{Claim, Document};
use wire::names::{Attempt, AttemptObjects, RunId, claim};

/// A claim is a few hundred bytes.
const CLAIM_LIMIT: u64 = 16 * 1024;

/// The claims read so far. A claim is written once, so an answer holds.
#[derive(Debug, Default)]
pub(super) struct Claims(HashMap<(RunId, Attempt), String>);

impl Claims {
    /// Whether the key in these names is the one whose digest the attempt's claim holds.
    pub(super) async fn hold(
        &mut self,
        bucket: &Bucket,
        objects: &AttemptObjects,
    ) -> Result<bool, ApiError> {
        let at = (objects.run, objects.attempt);
        let claimed = match self.0.get(&at) {
            Some(claimed) => claimed.clone(),
            // Not remembered while absent: it may come.
            None => match read(bucket, objects.run, objects.attempt).await? {
                None => return Ok(false),
                Some(claimed) => self.0.entry(at).or_insert(claimed).clone(),
            },
        };
        Ok(claimed == hex_sha256(objects.key.as_bytes()))
    }
}

async fn read(bucket: &Bucket, run: RunId, attempt: Attempt) -> Result<Option<String>, ApiError> {
    match bucket.read(&claim(run, attempt), CLAIM_LIMIT).await {
        Ok((_, json)) => Ok(Claim::from_json(&json).ok().map(|claim| claim.key_sha256)),
        Err(error) if error.kind == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn hex_sha256(bytes: &[u8]) -> String {
    crate::text::hex(&Sha256::digest(bytes))
}
