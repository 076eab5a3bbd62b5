//! Inputs into the bucket: scan, pack, skip what is there, upload the rest.
//!
//! A [`Machine`] says how much of this computer all inputs together may use. Each input goes through a [`Line`]: it is
//! scanned, its packs are looked up in its [`Index`], and [`Packs`] brings them to a destination, many at once.

mod body;
mod bucket;
mod destination;
mod index;
mod line;
mod machine;
mod packs;
mod press;
mod workers;

#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use archive::{Tree, Warning};
use tokio::task::JoinSet;
use wire::contract::{ByteString, Input};

use self::destination::Nowhere;
use self::index::Index;
use self::line::{Line, Scan, Sent};
use self::packs::Fate;
use crate::error::Error;
use crate::event::{Event, Reporter};
use crate::forecast::InputForecast;
use crate::measure::Measured;
use crate::request::RESULTS;
use crate::session::Session;

/// Above this, an upload names its largest files.
const LARGE: u64 = 100_000_000;

/// More inputs are not on their way at once: each has a list of its entries in memory.
const INPUTS_AT_ONCE: usize = 16;

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
}

/// Inputs that are in the bucket, in the order they were asked for.
#[derive(Debug)]
pub(crate) struct Staging {
    pub inputs: Vec<Staged>,
    /// Milliseconds until all was read.
    pub pack_ms: u64,
    /// And from there until all was sent.
    pub upload_ms: u64,
}

/// Brings inputs into the bucket, each once however many tasks use it.
pub(crate) async fn stage(
    session: &Session,
    inputs: &[InputSource],
    reporter: &mut dyn Reporter,
) -> Result<Staging, Error> {
    let line = Line::new(session.bucket.clone(), session.index_dir.clone());
    let mut sent: Vec<Option<Sent>> = inputs.iter().map(|_| None).collect();
    let mut told = 0;
    // Dropped, it ends what is still on its way.
    let mut tasks = JoinSet::new();
    for (number, source) in inputs.iter().enumerate() {
        let scan = Scan::of(source).await?;
        announce(&source.name.lossy(), &source.path, &scan.tree, reporter);
        if tasks.len() == INPUTS_AT_ONCE {
            settle(tasks.join_next().await, &mut sent)?;
            tell(&sent, &mut told, reporter);
        }
        let line = line.clone();
        tasks.spawn(async move { (number, line.send(scan).await) });
    }
    while !tasks.is_empty() {
        settle(tasks.join_next().await, &mut sent)?;
        tell(&sent, &mut told, reporter);
    }
    let inputs: Vec<Staged> = sent.into_iter().flatten().map(|sent| sent.staged).collect();
    let (pack_ms, rest_ms) = line.machine.phases();
    let any_sent = inputs.iter().any(|staged| staged.sent);
    Ok(Staging {
        inputs,
        pack_ms,
        upload_ms: if any_sent { rest_ms } else { 0 },
    })
}

type Joined = Option<Result<(usize, Result<Sent, Error>), tokio::task::JoinError>>;

fn settle(joined: Joined, sent: &mut [Option<Sent>]) -> Result<(), Error> {
    if let Some(joined) = joined {
        let joined = joined.map_err(|error| Error::local("a worker thread broke down", error));
        let (number, done) = joined?;
        sent[number] = Some(done?);
    }
    Ok(())
}

/// Tells of inputs in their order.
fn tell(sent: &[Option<Sent>], told: &mut usize, reporter: &mut dyn Reporter) {
    while let Some(Some(sent)) = sent.get(*told) {
        sent.tell(reporter);
        *told += 1;
    }
}

/// Looks what of an input the bucket lacks; sends nothing.
pub(crate) async fn survey(
    session: &Session,
    source: &InputSource,
    reporter: &mut dyn Reporter,
) -> Result<InputForecast, Error> {
    let line = Line::new(session.bucket.clone(), session.index_dir.clone());
    let scan = Scan::of(source).await?;
    announce(&source.name.lossy(), &source.path, &scan.tree, reporter);
    let bytes = scan.tree.bytes();
    let dealt = line.survey(scan).await?;
    let missing = dealt
        .iter()
        .filter(|dealt| matches!(dealt.fate, Fate::Missing));
    Ok(InputForecast {
        name: source.name.lossy(),
        bytes,
        packs: count(dealt.len()),
        missing: count(missing.clone().count()),
        missing_bytes: missing.map(|dealt| dealt.digest.size).sum(),
    })
}

/// Packs as [`stage`] does, to nowhere; with an index, what it knows counts as being there.
pub(crate) async fn measure(root: &Path, index: Option<&Path>) -> Result<Measured, Error> {
    let source = InputSource {
        name: ByteString(b"input".to_vec()),
        path: root.to_path_buf(),
    };
    let known = index.map(|dir| Index::open(dir, &source));
    let addresses = known.iter().flat_map(Index::addresses);
    let nowhere = Nowhere {
        known: Arc::new(addresses.map(str::to_owned).collect()),
    };
    let line = Line::new(nowhere, index.map(Path::to_path_buf));
    let sent = line.send(Scan::of(&source).await?).await?;
    Ok(Measured {
        entries: sent.entries,
        bytes: sent.staged.bytes,
        packs: count(sent.staged.input.packs.len()),
        sent: sent.misses,
        sent_bytes: sent.bytes,
    })
}

pub(crate) fn count(of: usize) -> u32 {
    u32::try_from(of).unwrap_or(u32::MAX)
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
