//! Packs in the bucket: looked for by their address, told by their digests, written with preconditions.

use std::collections::BTreeMap;

use archive::Digest;
use jiff::{SignedDuration, Timestamp};
use wire::api::{ApiError, ErrorKind};
use wire::bucket::{Bucket, NewObject, ObjectMeta, Patch, Precondition};
use wire::names;

use super::body::{Again, Body};
use super::destination::{Destination, Placed, Standing};
use crate::error::Error;

/// `customTime` is moved forward on a hit, but not more often than this.
const TOUCH_AFTER: SignedDuration = SignedDuration::from_hours(24);

/// So often a pack is sent, whoever or whatever comes between.
const TRIES: u32 = 3;

impl Destination for Bucket {
    async fn look(&self, digest: &Digest) -> Result<Standing, Error> {
        let found = find(self, digest).await?;
        Ok(found.map_or(Standing::Absent, |meta| standing(&meta, digest)))
    }

    async fn look_and_keep(&self, digest: &Digest) -> Result<Standing, Error> {
        let Some(meta) = find(self, digest).await? else {
            return Ok(Standing::Absent);
        };
        let standing = standing(&meta, digest);
        if standing == Standing::Hit {
            touch(self, &meta).await;
        }
        Ok(standing)
    }

    async fn place(
        &self,
        digest: &Digest,
        mut standing: Standing,
        body: Body,
        name: &str,
    ) -> Result<Placed, Error> {
        let object = names::pack(&digest.md5);
        let mut placed = Placed::default();
        for tries in 1..=TRIES {
            let precondition = match standing {
                Standing::Hit => return Ok(placed),
                Standing::Absent => Precondition::Absent,
                Standing::Other(generation) => {
                    placed.warning = Some(replaced(&object));
                    Precondition::Generation(generation)
                }
            };
            let made = new_pack(digest, precondition);
            match upload(self, &object, &made, &body, name).await {
                Ok(bytes) => {
                    placed.sent = Some(bytes);
                    return Ok(placed);
                }
                // Somebody else was faster, or we may not overwrite: what is there now decides.
                Err(Error::Api { source, .. }) if lost_the_race(&source) => {
                    standing = self.look_and_keep(digest).await?;
                    // What stood in the way may be gone by now; a right that is missing is missing.
                    if standing == Standing::Absent && source.kind == ErrorKind::Forbidden {
                        return Err(cannot_upload(name)(*source));
                    }
                }
                // The pack is still here, to be sent anew.
                Err(Error::Api { source, .. }) if is_lost(&source) && tries < TRIES => {}
                Err(error) => return Err(error),
            }
        }
        if standing == Standing::Hit {
            return Ok(placed);
        }
        Err(Error::local(
            format!("cannot upload the input `{name}`"),
            format!("`{object}` is being overwritten by somebody else"),
        ))
    }
}

async fn find(bucket: &Bucket, digest: &Digest) -> Result<Option<ObjectMeta>, Error> {
    match bucket.stat(&names::pack(&digest.md5)).await {
        Ok(meta) => Ok(Some(meta)),
        // Who may not list is told 403 of an object that is not there.
        Err(error) if matches!(error.kind, ErrorKind::NotFound | ErrorKind::Forbidden) => Ok(None),
        Err(error) => Err(Error::api("cannot look for the inputs in the bucket")(
            error,
        )),
    }
}

/// By the digests in its metadata, which only who may write inputs sets.
fn standing(meta: &ObjectMeta, digest: &Digest) -> Standing {
    let ours = meta.metadata.get("sha256") == Some(&digest.sha256)
        && meta.metadata.get("size") == Some(&digest.size.to_string());
    if ours {
        Standing::Hit
    } else {
        Standing::Other(meta.generation)
    }
}

/// Moves the lifecycle's clock forward. Failing that costs a later upload, not this run.
async fn touch(bucket: &Bucket, meta: &ObjectMeta) {
    let now = Timestamp::now();
    if meta
        .custom_time
        .is_some_and(|time| now.duration_since(time) < TOUCH_AFTER)
    {
        return;
    }
    let patch = Patch {
        custom_time: Some(now),
        ..Patch::default()
    };
    if let Err(error) = bucket.patch(&meta.name, meta.generation, &patch).await {
        tracing::debug!(object = meta.name, error = %crate::error::chain(&error), "not touched");
    }
}

/// Returns the bytes sent.
async fn upload(
    bucket: &Bucket,
    object: &str,
    made: &NewObject,
    body: &Body,
    name: &str,
) -> Result<u64, Error> {
    match body {
        Body::Held(blocks) => bucket
            .insert_blocks(object, made, blocks.clone())
            .await
            .map(|meta| meta.size)
            .map_err(cannot_upload(name)),
        Body::Again(again) => stream(bucket, object, made, again).await,
    }
}

/// The session is abandoned before its last chunk if the bytes are others by now.
async fn stream(
    bucket: &Bucket,
    object: &str,
    made: &NewObject,
    again: &Again,
) -> Result<u64, Error> {
    // Room first: a session that waits may expire.
    let mut pieces = again.pieces().await?;
    let begun = bucket.upload(object, made).await;
    let mut upload = begun.map_err(cannot_upload(&again.name))?;
    loop {
        match pieces.next().await {
            Ok(Some(piece)) => {
                let written = upload.write(piece).await;
                written.map_err(cannot_upload(&again.name))?;
            }
            Ok(None) => break,
            Err(error) => {
                upload.abandon().await;
                return Err(error);
            }
        }
    }
    let meta = upload.finish().await;
    meta.map(|meta| meta.size)
        .map_err(cannot_upload(&again.name))
}

fn replaced(object: &str) -> String {
    format!("`{object}` held other bytes than its name says, and was replaced")
}

fn lost_the_race(error: &ApiError) -> bool {
    matches!(
        error.kind,
        ErrorKind::Exists | ErrorKind::Precondition | ErrorKind::Forbidden
    )
}

/// What is under way in the bucket is of no use any more, and a new beginning may be.
fn is_lost(error: &ApiError) -> bool {
    matches!(error.kind, ErrorKind::SessionLost | ErrorKind::Corrupt)
}

fn cannot_upload(name: &str) -> impl FnOnce(ApiError) -> Error {
    Error::api(format!("cannot upload the input `{name}`"))
}

fn new_pack(digest: &Digest, precondition: Precondition) -> NewObject {
    NewObject {
        content_type: "application/gzip",
        metadata: BTreeMap::from([
            ("sha256".to_owned(), digest.sha256.clone()),
            ("size".to_owned(), digest.size.to_string()),
        ]),
        custom_time: Some(Timestamp::now()),
        precondition,
    }
}
