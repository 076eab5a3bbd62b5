//! One input's packs into the bucket.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::sync::Arc;
use std::time::Instant;

use archive::{Digest, PackPlan, PackWriter, Tree};
use bytes::Bytes;
use jiff::{SignedDuration, Timestamp};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use wire::api::{ApiError, ErrorKind};
use wire::bucket::{Bucket, NewObject, ObjectMeta, Patch, Precondition};
use wire::contract::Pack;
use wire::names;

use super::blocking;
use crate::clock;
use crate::error::Error;

/// A larger pack is one large file: read twice rather than held in memory.
const IN_MEMORY: u64 = 20 * 1024 * 1024;

/// Packs held in memory at once.
const IN_FLIGHT: usize = 2;

/// `customTime` is moved forward on a hit, but not more often than this.
const TOUCH_AFTER: SignedDuration = SignedDuration::from_hours(24);

/// What became of an input's packs.
#[derive(Debug, Default)]
pub(super) struct Sent {
    pub(super) packs: Vec<Pack>,
    pub(super) misses: u32,
    pub(super) bytes: u64,
    pub(super) pack_ms: u64,
    pub(super) upload_ms: u64,
    pub(super) warnings: Vec<String>,
}

/// One pack's fate.
#[derive(Debug, Default)]
struct Fate {
    sent_bytes: Option<u64>,
    upload_ms: u64,
    warning: Option<String>,
}

/// Reads every pack and sends those the bucket lacks.
pub(super) async fn send(bucket: &Bucket, tree: &Arc<Tree>, name: &str) -> Result<Sent, Error> {
    let slots = Arc::new(Semaphore::new(IN_FLIGHT));
    let mut uploads = JoinSet::new();
    let mut sent = Sent::default();
    for index in 0..tree.packs().len() {
        let slot = slots.clone().acquire_owned().await;
        let begun = Instant::now();
        let read = read(tree.clone(), index).await?;
        let read = read.map_err(|source| Error::Pack {
            name: name.to_owned(),
            source,
        })?;
        sent.pack_ms += clock::ms(begun);
        sent.packs.push(address(&read.digest));
        let (bucket, tree, name) = (bucket.clone(), tree.clone(), name.to_owned());
        uploads.spawn(async move {
            let fate = place(&bucket, &tree, index, read, &name).await;
            drop(slot);
            fate
        });
        while let Some(done) = uploads.try_join_next() {
            sent.count(joined(done)?);
        }
    }
    while let Some(done) = uploads.join_next().await {
        sent.count(joined(done)?);
    }
    Ok(sent)
}

/// Reads every pack and counts those the bucket lacks, and their bytes before compression.
pub(super) async fn survey(
    bucket: &Bucket,
    tree: &Arc<Tree>,
    name: &str,
) -> Result<(u32, u64), Error> {
    let (mut missing, mut bytes) = (0, 0);
    for index in 0..tree.packs().len() {
        let read = read(tree.clone(), index).await?;
        let read = read.map_err(|source| Error::Pack {
            name: name.to_owned(),
            source,
        })?;
        let object = names::pack(&read.digest.md5);
        if !matches!(look(bucket, &object, &read.digest).await?, Probe::Hit(_)) {
            missing += 1;
            bytes += read.digest.size;
        }
    }
    Ok((missing, bytes))
}

impl Sent {
    fn count(&mut self, fate: Fate) {
        self.upload_ms += fate.upload_ms;
        self.warnings.extend(fate.warning);
        if let Some(bytes) = fate.sent_bytes {
            self.misses += 1;
            self.bytes += bytes;
        }
    }
}

fn joined(done: Result<Result<Fate, Error>, tokio::task::JoinError>) -> Result<Fate, Error> {
    done.map_err(|error| Error::local("an upload broke down", error))?
}

/// A pack that was read: its digest, and its tar if it is small.
struct Read {
    digest: Digest,
    tar: Option<Bytes>,
}

async fn read(tree: Arc<Tree>, index: usize) -> Result<Result<Read, archive::Error>, Error> {
    blocking(move || {
        let packs = tree.packs();
        let plan = &packs[index];
        if plan.tar_size() > IN_MEMORY {
            let digest = plan.write_tar(io::sink())?;
            return Ok(Read { digest, tar: None });
        }
        let mut tar = Vec::with_capacity(usize::try_from(plan.tar_size()).unwrap_or(0));
        let digest = plan.write_tar(&mut tar)?;
        Ok(Read {
            digest,
            tar: Some(tar.into()),
        })
    })
    .await
}

fn address(digest: &Digest) -> Pack {
    Pack {
        md5: digest.md5.clone(),
        sha256: digest.sha256.clone(),
        size: digest.size,
    }
}

/// Makes sure that the bucket holds the pack, and that it holds ours.
async fn place(
    bucket: &Bucket,
    tree: &Arc<Tree>,
    index: usize,
    read: Read,
    name: &str,
) -> Result<Fate, Error> {
    let begun = Instant::now();
    let object = names::pack(&read.digest.md5);
    let mut fate = Fate::default();
    let mut precondition = match probe(bucket, &object, &read.digest).await? {
        Probe::Hit(_) => return Ok(fate),
        Probe::Absent => Precondition::Absent,
        Probe::Other(generation) => {
            fate.warning = Some(replaced(&object));
            Precondition::Generation(generation)
        }
    };
    let content = Content {
        tree: tree.clone(),
        index,
        read,
        name: name.to_owned(),
    };
    for _ in 0..3 {
        match content.upload(bucket, &object, precondition).await {
            Ok(bytes) => {
                fate.sent_bytes = Some(bytes);
                fate.upload_ms = clock::ms(begun);
                return Ok(fate);
            }
            // Somebody else was faster, or we may not overwrite: what is there now decides.
            Err(Error::Api { source, .. }) if lost_the_race(&source) => {
                match probe(bucket, &object, &content.read.digest).await? {
                    Probe::Hit(_) => return Ok(fate),
                    Probe::Other(generation) => {
                        fate.warning = Some(replaced(&object));
                        precondition = Precondition::Generation(generation);
                    }
                    Probe::Absent => return Err(cannot_upload(name)(*source)),
                }
            }
            Err(error) => return Err(error),
        }
    }
    Err(Error::local(
        format!("cannot upload the input `{name}`"),
        format!("`{object}` is being overwritten by somebody else"),
    ))
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

fn cannot_upload(name: &str) -> impl FnOnce(ApiError) -> Error {
    Error::api(format!("cannot upload the input `{name}`"))
}

enum Probe {
    Hit(Box<ObjectMeta>),
    Absent,
    Other(u64),
}

/// Looks whether an object is our pack, and moves its lifecycle's clock forward if it is.
async fn probe(bucket: &Bucket, object: &str, digest: &Digest) -> Result<Probe, Error> {
    let found = look(bucket, object, digest).await?;
    if let Probe::Hit(meta) = &found {
        touch(bucket, meta).await;
    }
    Ok(found)
}

/// Looks whether an object is our pack: by the digests in its metadata, which only who may write inputs sets.
async fn look(bucket: &Bucket, object: &str, digest: &Digest) -> Result<Probe, Error> {
    match bucket.stat(object).await {
        Ok(meta) if is_ours(&meta, digest) => Ok(Probe::Hit(Box::new(meta))),
        Ok(meta) => Ok(Probe::Other(meta.generation)),
        // Who may not list is told 403 of an object that is not there.
        Err(error) if matches!(error.kind, ErrorKind::NotFound | ErrorKind::Forbidden) => {
            Ok(Probe::Absent)
        }
        Err(error) => Err(Error::api("cannot look for the inputs in the bucket")(
            error,
        )),
    }
}

fn is_ours(meta: &ObjectMeta, digest: &Digest) -> bool {
    meta.metadata.get("sha256") == Some(&digest.sha256)
        && meta.metadata.get("size") == Some(&digest.size.to_string())
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

/// A pack's bytes, in memory or to be read again.
struct Content {
    tree: Arc<Tree>,
    index: usize,
    read: Read,
    name: String,
}

impl Content {
    /// Compresses and uploads; returns the bytes sent.
    async fn upload(
        &self,
        bucket: &Bucket,
        object: &str,
        precondition: Precondition,
    ) -> Result<u64, Error> {
        let made = new_pack(&self.read.digest, precondition);
        let Some(tar) = &self.read.tar else {
            return self.stream(bucket, object, &made).await;
        };
        let body = compress(tar.clone()).await?;
        let bytes = body.len() as u64;
        let sent = bucket.insert(object, &made, body).await;
        sent.map(|_| bytes).map_err(cannot_upload(&self.name))
    }

    /// Reads the file again; the session is abandoned before its last chunk if the bytes are others by now.
    async fn stream(&self, bucket: &Bucket, object: &str, made: &NewObject) -> Result<u64, Error> {
        let upload = bucket
            .upload(object, made)
            .await
            .map_err(cannot_upload(&self.name))?;
        let handle = tokio::runtime::Handle::current();
        let (tree, index, name) = (self.tree.clone(), self.index, self.name.clone());
        let expected = self.read.digest.clone();
        blocking(move || {
            let packs = tree.packs();
            stream_blocking(&handle, &packs[index], upload, &expected, &name)
        })
        .await?
    }
}

fn stream_blocking(
    handle: &tokio::runtime::Handle,
    plan: &PackPlan<'_>,
    upload: wire::bucket::Upload,
    expected: &Digest,
    name: &str,
) -> Result<u64, Error> {
    let pack_error = |source| Error::Pack {
        name: name.to_owned(),
        source,
    };
    let upload_error = |error: io::Error| match ApiError::from_io(error) {
        Ok(error) => cannot_upload(name)(error),
        Err(error) => Error::local(format!("cannot upload the input `{name}`"), error),
    };
    let mut writer = PackWriter::new(upload.into_writer(handle));
    let digest = match plan.write_tar(&mut writer) {
        Err(archive::Error::Output(error)) => return Err(upload_error(error)),
        digest => digest.map_err(pack_error)?,
    };
    let sink = writer.finish().map_err(upload_error)?;
    if digest != *expected {
        sink.abandon();
        let path = name.into();
        return Err(pack_error(archive::Error::Changed { path }));
    }
    sink.finish().map(|meta| meta.size).map_err(upload_error)
}

async fn compress(tar: Bytes) -> Result<Bytes, Error> {
    blocking(move || {
        let mut writer = PackWriter::new(Vec::with_capacity(tar.len() / 2));
        writer.write_all(&tar)?;
        writer.finish()
    })
    .await?
    .map(Bytes::from)
    .map_err(|error: io::Error| Error::local("cannot compress a pack", error))
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
