//! Whether what lies under an attempt's name was written by who claimed it.

use std::collections::HashMap;

use sha2::{Digest, Sha256};
use wire::api::{ApiError, ErrorKind};
use wire::bucket::{Bucket, List};
use wire::contract::{CLAIM_KEY, Claim, Document};
use wire::names::{Attempt, AttemptObjects, RunId, claim};

/// A claim is a few hundred bytes.
const CLAIM_LIMIT: u64 = 16 * 1024;

/// So many claims are read one by one; more are listed, a thousand a page.
const FEW: usize = 16;

/// The claims read so far. A claim is written once, so an answer holds.
#[derive(Debug, Default)]
pub(crate) struct Claims(HashMap<(RunId, Attempt), Option<String>>);

impl Claims {
    /// Makes ready for so many questions about a run; says how many calls that took.
    pub(crate) async fn prepare(
        &mut self,
        bucket: &Bucket,
        run: RunId,
        questions: usize,
    ) -> Result<u32, ApiError> {
        if questions <= FEW {
            return Ok(0);
        }
        self.list(bucket, run).await
    }

    /// Reads every claim of a run; says how many calls that took.
    pub(crate) async fn list(&mut self, bucket: &Bucket, run: RunId) -> Result<u32, ApiError> {
        let prefix = run.claims();
        let mut calls = 0;
        let mut next: Option<String> = None;
        loop {
            let query = List {
                prefix: &prefix,
                page: next.as_deref(),
                ..List::default()
            };
            let page = bucket.list(&query).await?;
            calls += 1;
            for object in page.objects {
                let attempt = object.name.strip_prefix(&prefix).map(str::parse);
                let Some(Ok(attempt)) = attempt else { continue };
                // Some entrypoint of old says it in the claim alone: to be read when it is asked for.
                let key = object.metadata.get(CLAIM_KEY).cloned();
                self.0.entry((run, attempt)).or_insert(key);
            }
            match page.next {
                Some(token) => next = Some(token),
                None => return Ok(calls),
            }
        }
    }

    /// Whether the attempt's claim was read.
    pub(crate) fn knows(&self, objects: &AttemptObjects) -> bool {
        matches!(self.0.get(&(objects.run, objects.attempt)), Some(Some(_)))
    }

    /// The attempts that are known to be claimed.
    pub(crate) fn attempts(&self) -> impl Iterator<Item = Attempt> + '_ {
        self.0.keys().map(|(_, attempt)| *attempt)
    }

    /// Whether the key in these names is the one whose digest the attempt's claim holds.
    pub(crate) async fn hold(
        &mut self,
        bucket: &Bucket,
        objects: &AttemptObjects,
    ) -> Result<bool, ApiError> {
        let at = (objects.run, objects.attempt);
        let claimed = match self.0.get(&at) {
            Some(Some(claimed)) => claimed.clone(),
            // Not remembered while absent: it may come.
            _ => match read(bucket, objects.run, objects.attempt).await? {
                None => return Ok(false),
                Some(claimed) => {
                    self.0.insert(at, Some(claimed.clone()));
                    claimed
                }
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
