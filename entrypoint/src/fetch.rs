//! Inputs: from the bucket to the workspace as one stream each, verified on the way.
//!
//! Two stages per pack: this side downloads, a thread gunzips, hashes and writes. No archive lands on disk,
//! which in the container is memory.

use std::collections::HashMap;
use std::sync::Arc;

use archive::{Policy, Unpacker};
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio::task::{JoinHandle, JoinSet};
use wire::api::{ApiError, ErrorKind};
use wire::bucket::{Bucket, Download};
use wire::contract::{Input, Pack, Reason};
use wire::names;

use crate::stop::Stop;
use crate::user::User;
use crate::workspace::Workspace;

/// Packs under way at once.
const PACKS: usize = 4;

/// What an entry takes in a tar, in bytes.
const SMALLEST_ENTRY: u64 = 512;

/// An input that is not to be had.
#[derive(Debug, thiserror::Error)]
enum FetchError {
    #[error("input `{0}` is not in the bucket, or may not be read")]
    Missing(String, #[source] Box<ApiError>),
    #[error("cannot fetch input `{0}`")]
    Storage(String, #[source] Box<ApiError>),
    #[error("input `{0}` is not what was sent: somebody else's bytes lie under its name")]
    Digest(String),
    #[error("input `{0}` is not what was sent")]
    Content(String, #[source] archive::Error),
    #[error("cannot write input `{0}`")]
    Write(String, #[source] archive::Error),
    #[error("the unpacking of input `{0}` ended without a word")]
    Lost(String),
    #[error("an unpacking goes on after the last input")]
    Busy,
}

impl FetchError {
    fn reason(&self) -> Reason {
        match self {
            Self::Missing(..) => Reason::InputMissing,
            Self::Digest(..) | Self::Content(..) => Reason::InputMismatch,
            Self::Storage(..) | Self::Lost(..) => Reason::Storage,
            Self::Write(..) | Self::Busy => Reason::Workspace,
        }
    }
}

/// Downloads under way, by name, of which no byte has been used.
#[derive(Debug, Default)]
pub(crate) struct Ahead(HashMap<String, JoinHandle<Result<Download, ApiError>>>);

/// Begins the first downloads, while something else is being waited for.
pub(crate) fn ahead(bucket: &Bucket, inputs: &[Input]) -> Ahead {
    let first = inputs.iter().flat_map(|input| &input.packs).take(PACKS);
    let begin = |pack: &Pack| {
        let (bucket, name) = (bucket.clone(), names::pack(&pack.md5));
        let object = name.clone();
        let begun = tokio::spawn(async move { bucket.download(&object, None).await });
        (name, begun)
    };
    Ahead(first.map(begin).collect())
}

/// Unpacks all these inputs, or says which could not be.
pub(crate) async fn inputs(
    bucket: &Bucket,
    inputs: &[Input],
    ahead: Ahead,
    workspace: &Workspace,
    user: Option<&User>,
) -> Result<(), Stop> {
    let packs: Vec<_> = inputs
        .iter()
        .flat_map(|input| &input.packs)
        .cloned()
        .collect();
    let policy = policy(&packs, user);
    let workspace_error = |error: archive::Error| Stop::setup(Reason::Workspace, &error);
    let unpacker = Unpacker::new(&workspace.input(), policy).map_err(workspace_error)?;
    let unpacker = Arc::new(unpacker);
    all(bucket, packs, ahead, &unpacker)
        .await
        .map_err(|error| Stop::setup(error.reason(), &error))?;
    let unpacker = Arc::into_inner(unpacker)
        .ok_or_else(|| Stop::setup(Reason::Workspace, &FetchError::Busy))?;
    unpacker.finish().map_err(workspace_error)?;
    workspace
        .check(inputs)
        .map_err(|error| Stop::setup(Reason::InputMismatch, &error))
}

/// A pack that unpacks to more than was sent is found before its files fill the memory.
fn policy(packs: &[Pack], user: Option<&User>) -> Policy {
    let size = packs
        .iter()
        .fold(0_u64, |sum, pack| sum.saturating_add(pack.size));
    Policy {
        max_bytes: size,
        // Each has a header; a directory may count again, for a file of it that comes before it.
        max_entries: size / SMALLEST_ENTRY * 2,
        ..Policy::input(user.map(|user| (user.uid, user.gid)))
    }
}

async fn all(
    bucket: &Bucket,
    packs: Vec<Pack>,
    mut ahead: Ahead,
    unpacker: &Arc<Unpacker>,
) -> Result<(), FetchError> {
    let slots = Arc::new(Semaphore::new(PACKS));
    let mut running = JoinSet::new();
    for pack in packs {
        let (bucket, unpacker, slots) = (bucket.clone(), unpacker.clone(), slots.clone());
        let begun = ahead.0.remove(&names::pack(&pack.md5));
        running.spawn(async move {
            // The semaphore is never closed, so there is always a slot.
            let _slot = slots.acquire_owned().await.ok();
            one(&bucket, &pack, begun, unpacker).await
        });
    }
    while let Some(fetched) = running.join_next().await {
        fetched.unwrap_or_else(|_| Err(FetchError::Lost(String::new())))?;
    }
    Ok(())
}

async fn one(
    bucket: &Bucket,
    pack: &Pack,
    begun: Option<JoinHandle<Result<Download, ApiError>>>,
    unpacker: Arc<Unpacker>,
) -> Result<(), FetchError> {
    let name = names::pack(&pack.md5);
    let begun = match begun {
        // What could not be begun in haste is begun with patience.
        Some(begun) => begun.await.ok().and_then(Result::ok),
        None => None,
    };
    let download = match begun {
        Some(download) => Ok(download),
        None => bucket.download(&name, None).await,
    };
    let download = match download {
        Ok(download) => download.into_reader(&Handle::current()),
        Err(error) => return Err(refused(name, error)),
    };
    match tokio::task::spawn_blocking(move || unpacker.unpack(download)).await {
        Ok(Ok(sum)) if sum.sha256 == pack.sha256 && sum.size == pack.size => Ok(()),
        Ok(Ok(_)) => Err(FetchError::Digest(name)),
        Ok(Err(error)) => Err(unusable(name, error)),
        Err(_) => Err(FetchError::Lost(name)),
    }
}

fn refused(name: String, error: ApiError) -> FetchError {
    match error.kind {
        ErrorKind::NotFound | ErrorKind::Forbidden => FetchError::Missing(name, Box::new(error)),
        _ => FetchError::Storage(name, Box::new(error)),
    }
}

fn unusable(name: String, error: archive::Error) -> FetchError {
    match error {
        archive::Error::Write { .. } => FetchError::Write(name, error),
        archive::Error::Stream(error) => match ApiError::from_io(error) {
            Ok(error) => refused(name, error),
            Err(error) => FetchError::Content(name, archive::Error::Stream(error)),
        },
        _ => FetchError::Content(name, error),
    }
}
