//! A task's outputs: a stranger's archive, unpacked into a directory it cannot leave.

use std::io::{self, Read};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Instant;

use archive::{Policy, Unpacked, Unpacker};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use tokio::runtime::Handle;
use wire::api::{ApiError, ErrorKind};
use wire::bucket::Bucket;
use wire::contract::{Archive, Outputs, Report};
use wire::names::AttemptObjects;

use super::land::Place;
use crate::clock;
use crate::error::{Error, chain};
use crate::stage::blocking;

/// Files of so many bytes in all are no honest task's: a tebibyte.
const LIMIT: u64 = 1 << 40;

/// Outputs that are home, or why they are not.
#[derive(Debug, Default)]
pub(super) struct Fetched {
    pub(super) unpacked: Unpacked,
    pub(super) download_ms: u64,
    pub(super) unpack_ms: u64,
    /// They cannot be used, and never will be.
    pub(super) problem: Option<String>,
}

impl Fetched {
    /// Those that a report tells of.
    pub(super) fn of_report(report: &Report, problem: Option<String>) -> Self {
        let unpacked = Unpacked {
            bytes: report.outputs.bytes,
            ..Unpacked::default()
        };
        Self {
            unpacked,
            problem,
            ..Self::default()
        }
    }

    fn refused(why: String) -> Self {
        Self {
            problem: Some(why),
            ..Self::default()
        }
    }
}

/// Brings a task's outputs into `<dir>/output`.
///
/// What is wrong with the archive is told in the result; what is wrong here (a full disk, no network) is an error,
/// and the outputs stay where they are.
pub(super) async fn fetch(
    bucket: &Bucket,
    objects: &AttemptObjects,
    report: &Report,
    dir: &Path,
) -> Result<Fetched, Error> {
    let output = dir.join("output");
    fetch_into(bucket, &objects.outputs(), &report.outputs, &output).await
}

/// Brings what a report tells of into a directory, which is made; `object`: where its archive is, if it is an object.
pub(super) async fn fetch_into(
    bucket: &Bucket,
    object: &str,
    outputs: &Outputs,
    dir: &Path,
) -> Result<Fetched, Error> {
    make(dir)?;
    // More than it was packed from is a bomb.
    let limit = outputs.bytes.min(LIMIT);
    match &outputs.archive {
        Archive::None => Ok(Fetched::default()),
        Archive::Inline(text) => match STANDARD.decode(text) {
            Ok(bytes) => unpack(io::Cursor::new(bytes), dir, None, limit).await,
            Err(error) => Ok(Fetched::refused(format!(
                "the outputs cannot be read: {error}"
            ))),
        },
        Archive::Object {
            generation, sha256, ..
        } => {
            let generation = Some(*generation);
            let sha256 = Some(sha256.clone());
            download(bucket, object, generation, dir, sha256, limit).await
        }
    }
}

/// Brings a task's last whole checkpoint into `<dir>/output`.
pub(super) async fn fetch_checkpoint(
    bucket: &Bucket,
    place: Place<'_>,
    dir: &Path,
) -> Result<Fetched, Error> {
    let output = dir.join("output");
    make(&output)?;
    match super::reports::last_checkpoint(bucket, place.run, place.task).await? {
        Some((name, generation)) => {
            download(bucket, &name, Some(generation), &output, None, LIMIT).await
        }
        None => Ok(Fetched::default()),
    }
}

fn make(dir: &Path) -> Result<(), Error> {
    fs_err::create_dir(dir).map_err(|error| Error::local("cannot make a result's directory", error))
}

/// An archive that cannot be used may have been damaged on its way: it is fetched once more before it is given up.
async fn download(
    bucket: &Bucket,
    name: &str,
    generation: Option<u64>,
    dir: &Path,
    sha256: Option<String>,
    limit: u64,
) -> Result<Fetched, Error> {
    let first = download_once(bucket, name, generation, dir, sha256.clone(), limit).await?;
    if first.problem.is_none() {
        return Ok(first);
    }
    download_once(bucket, name, generation, dir, sha256, limit).await
}

async fn download_once(
    bucket: &Bucket,
    name: &str,
    generation: Option<u64>,
    dir: &Path,
    sha256: Option<String>,
    limit: u64,
) -> Result<Fetched, Error> {
    match bucket.download(name, generation).await {
        Ok(download) => {
            let reader = download.into_reader(&Handle::current());
            unpack(reader, dir, sha256, limit).await
        }
        Err(error) if error.kind == ErrorKind::NotFound => Ok(Fetched::refused(format!(
            "the outputs are gone from the bucket: `{name}`"
        ))),
        Err(error) => Err(Error::api("cannot download the outputs")(error)),
    }
}

async fn unpack<R: Read + Send + 'static>(
    reader: R,
    dir: &Path,
    sha256: Option<String>,
    limit: u64,
) -> Result<Fetched, Error> {
    let output = dir.to_owned();
    // Nobody waits any more: the thread must not go on writing into a directory that is being removed.
    let wanted = Arc::new(());
    let reader = Wanted {
        reader,
        by: Arc::downgrade(&wanted),
    };
    let unpacked = blocking(move || unpack_blocking(reader, &output, sha256.as_deref(), limit));
    match unpacked.await? {
        Ok(fetched) => Ok(fetched),
        Err(error) if is_ours(&error) => Err(Error::local("cannot unpack the outputs", error)),
        Err(error) => {
            // Half an archive is no result.
            let emptied = archive::remove_tree(dir).and_then(|()| fs_err::create_dir(dir));
            emptied.map_err(|error| Error::local("cannot empty a result's directory", error))?;
            Ok(Fetched::refused(format!(
                "the outputs cannot be used: {}",
                chain(&error)
            )))
        }
    }
}

fn unpack_blocking<R: Read>(
    reader: R,
    output: &Path,
    sha256: Option<&str>,
    limit: u64,
) -> Result<Fetched, archive::Error> {
    let begun = Instant::now();
    let waited = Arc::new(AtomicU64::new(0));
    let reader = Timed {
        reader,
        waited: waited.clone(),
    };
    let unpacker = Unpacker::new(output, Policy::output(limit))?;
    let checksum = unpacker.unpack(reader)?;
    if sha256.is_some_and(|expected| expected != checksum.sha256) {
        return Err(archive::Error::Damaged(
            "its bytes are not those that were sent",
        ));
    }
    let landed = unpacker.finish()?;
    let download_ms = waited.load(Ordering::Relaxed) / 1000;
    Ok(Fetched {
        unpacked: landed,
        download_ms,
        unpack_ms: clock::ms(begun).saturating_sub(download_ms),
        problem: None,
    })
}

/// Whether the trouble is this machine's or the network's, and not the archive's.
fn is_ours(error: &archive::Error) -> bool {
    match error {
        archive::Error::Write { .. } => true,
        // What the system has refused, no archive has.
        archive::Error::Stream(source) if source.raw_os_error().is_some() => true,
        archive::Error::Stream(source) => source
            .get_ref()
            .and_then(|inner| inner.downcast_ref::<ApiError>())
            .is_some_and(|error| error.kind != ErrorKind::Corrupt),
        _ => false,
    }
}

/// Ends when nobody wants it any more.
struct Wanted<R> {
    reader: R,
    by: Weak<()>,
}

impl<R: Read> Read for Wanted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.by.strong_count() == 0 {
            return Err(io::Error::other("nobody waits for it any more"));
        }
        self.reader.read(buffer)
    }
}

/// Adds up the time spent waiting for bytes, in microseconds.
struct Timed<R> {
    reader: R,
    waited: Arc<AtomicU64>,
}

impl<R: Read> Read for Timed<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let begun = Instant::now();
        let read = self.reader.read(buffer);
        let waited = u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.waited.fetch_add(waited, Ordering::Relaxed);
        read
    }
}
