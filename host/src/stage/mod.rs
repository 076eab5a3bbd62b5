//! Inputs into the bucket: scan, pack, skip what is there, upload the rest.

mod pack;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use archive::{Tree, Warning};
use wire::bucket::Bucket;
use wire::contract::{ByteString, Input, InputKind};

use crate::error::Error;
use crate::event::{Event, Reporter};
use crate::forecast::InputForecast;
use crate::request::RESULTS;
use crate::session::Session;

/// Above this, an upload names its largest files.
const LARGE: u64 = 100_000_000;

/// A file may change while it is read; so many times is bad luck, more is a writer that never rests.
const SCANS: u32 = 3;

/// A local file or directory and the name it goes by.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct InputSource {
    /// One path component; the input appears at `input/<name>`.
    pub name: ByteString,
    /// Where it is now.
    pub path: PathBuf,
}

/// An input that is in the bucket.
#[derive(Debug, Clone)]
pub(crate) struct Staged {
    /// For the spec.
    pub input: Input,
    /// Bytes its files will take in the container.
    pub bytes: u64,
    /// Whether anything of it had to be sent.
    pub sent: bool,
    /// Where the time went, in milliseconds.
    pub pack_ms: u64,
    /// Likewise.
    pub upload_ms: u64,
}

/// Brings inputs into the bucket, each once however many tasks use it.
pub(crate) async fn stage(
    session: &Session,
    inputs: &[InputSource],
    reporter: &mut dyn Reporter,
) -> Result<Vec<Staged>, Error> {
    let mut staged = Vec::with_capacity(inputs.len());
    for input in inputs {
        staged.push(stage_one(&session.bucket, input, reporter).await?);
    }
    Ok(staged)
}

async fn stage_one(
    bucket: &Bucket,
    source: &InputSource,
    reporter: &mut dyn Reporter,
) -> Result<Staged, Error> {
    let name = source.name.lossy();
    let mut scans = 0;
    loop {
        scans += 1;
        let (tree, scan_ms) = scan(source).await?;
        if scans == 1 {
            announce(&name, &source.path, &tree, reporter);
        }
        let sent = match pack::send(bucket, &tree, &name).await {
            Err(Error::Pack {
                source: archive::Error::Changed { .. },
                ..
            }) if scans < SCANS => {
                continue;
            }
            sent => sent?,
        };
        for warning in &sent.warnings {
            reporter.event(&Event::Warning(warning));
        }
        let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        reporter.event(&Event::Staged {
            name: &name,
            entries: tree.entries() as u64,
            bytes: tree.bytes(),
            packs: count(sent.packs.len()),
            sent: sent.misses,
            sent_bytes: sent.bytes,
        });
        let kind = if tree.is_directory() {
            InputKind::Directory
        } else {
            InputKind::File
        };
        return Ok(Staged {
            input: Input {
                name: source.name.clone(),
                kind,
                packs: sent.packs,
            },
            bytes: tree.bytes(),
            sent: sent.misses > 0,
            pack_ms: scan_ms + sent.pack_ms,
            upload_ms: sent.upload_ms,
        });
    }
}

/// Looks what of an input the bucket lacks; sends nothing.
pub(crate) async fn survey(
    bucket: &Bucket,
    source: &InputSource,
    reporter: &mut dyn Reporter,
) -> Result<InputForecast, Error> {
    let name = source.name.lossy();
    let (tree, _) = scan(source).await?;
    announce(&name, &source.path, &tree, reporter);
    let (missing, missing_bytes) = pack::survey(bucket, &tree, &name).await?;
    Ok(InputForecast {
        name,
        bytes: tree.bytes(),
        packs: u32::try_from(tree.packs().len()).unwrap_or(u32::MAX),
        missing,
        missing_bytes,
    })
}

async fn scan(source: &InputSource) -> Result<(Arc<Tree>, u64), Error> {
    let InputSource { name, path } = source.clone();
    let begun = std::time::Instant::now();
    let shown = name.lossy();
    let tree = blocking(move || Tree::scan(&name.0, &path))
        .await?
        .map_err(|source| Error::Pack {
            name: shown,
            source,
        })?;
    Ok((Arc::new(tree), crate::clock::ms(begun)))
}

/// Says what the user may not have meant to send.
fn announce(name: &str, path: &Path, tree: &Tree, reporter: &mut dyn Reporter) {
    for warning in tree.warnings() {
        let text = match warning {
            Warning::Secret(path) => format!(
                "`{}` looks like a secret, and goes into the bucket: a line in `.sortieignore` leaves it out",
                path.display()
            ),
            Warning::EscapingLink(path) => format!(
                "`{}` links out of the input `{name}`, and will point into the container",
                path.display()
            ),
            _ => continue,
        };
        reporter.event(&Event::Warning(&text));
    }
    if path.join(RESULTS).is_dir() {
        let text = format!(
            "the input `{name}` holds earlier results: a line `{RESULTS}` in `.sortieignore` leaves them out"
        );
        reporter.event(&Event::Warning(&text));
    }
    if tree.bytes() > LARGE {
        let largest: Vec<String> = tree
            .largest(5)
            .iter()
            .map(|(path, bytes)| format!("`{}` {}", path.display(), crate::text::size(*bytes)))
            .collect();
        let text = format!(
            "the input `{name}` has {}; its largest files: {}",
            crate::text::size(tree.bytes()),
            largest.join(", ")
        );
        reporter.event(&Event::Warning(&text));
    }
}

/// Runs what blocks on a thread for it.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Error> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|error| Error::local("a worker thread broke down", error))
}
