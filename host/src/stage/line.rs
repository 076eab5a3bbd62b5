//! One input's way: scanned, its packs looked up, and brought to where they go.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use archive::{Digest, Tree};
use wire::contract::{Input, InputKind, Pack};

use super::destination::Destination;
use super::index::{self, Index, Seen};
use super::machine::Machine;
use super::packs::{Dealt, Fate, Packs, Planned};
use super::{InputSource, Staged, blocking, count};
use crate::error::Error;
use crate::event::{Event, Reporter};

/// A file may change while it is read; so many times is bad luck, more is a writer that never rests.
const SCANS: u32 = 3;

/// An input as it was found.
#[derive(Debug)]
pub(super) struct Scan {
    pub(super) source: InputSource,
    pub(super) tree: Arc<Tree>,
    began: SystemTime,
}

impl Scan {
    /// What changes under the scan itself is scanned again, a few times.
    pub(super) async fn of(source: &InputSource) -> Result<Self, Error> {
        for _ in 1..SCANS {
            match Self::once(source).await {
                Err(error) if is_changed(&error) => {}
                done => return done,
            }
        }
        Self::once(source).await
    }

    async fn once(source: &InputSource) -> Result<Self, Error> {
        let began = SystemTime::now();
        let InputSource { name, path } = source.clone();
        let scanned = blocking(move || Tree::scan(&name.0, &path)).await?;
        let tree = scanned.map_err(|error| Error::Pack {
            name: source.name.lossy(),
            source: error,
        })?;
        Ok(Self {
            source: source.clone(),
            tree: Arc::new(tree),
            began,
        })
    }
}

/// An input that went all the way.
#[derive(Debug)]
pub(super) struct Sent {
    pub(super) staged: Staged,
    pub(super) entries: u64,
    pub(super) misses: u32,
    pub(super) bytes: u64,
    warnings: Vec<String>,
}

/// Shared by all inputs of a run.
#[derive(Debug, Clone)]
pub(super) struct Line<D> {
    pub(super) machine: Arc<Machine>,
    destination: D,
    /// Where indices are kept, if they are.
    indices: Option<PathBuf>,
}

impl<D: Destination> Line<D> {
    pub(super) fn new(destination: D, indices: Option<PathBuf>) -> Self {
        Self {
            machine: Machine::new(),
            destination,
            indices,
        }
    }

    /// Brings all packs to the destination. What changes meanwhile is scanned again, a few times.
    pub(super) async fn send(&self, mut scan: Scan) -> Result<Sent, Error> {
        for _ in 1..SCANS {
            match self.send_once(&scan).await {
                Err(error) if is_changed(&error) => scan = Scan::of(&scan.source).await?,
                done => return done,
            }
        }
        self.send_once(&scan).await
    }

    async fn send_once(&self, scan: &Scan) -> Result<Sent, Error> {
        let (index, seen, planned) = self.plan(scan).await?;
        let dealt = self.packs(scan, &planned).send(planned).await?;
        self.remember(index, seen, &dealt).await?;
        Ok(Sent::of(scan, &dealt))
    }

    /// Looks what the destination lacks; sends nothing.
    pub(super) async fn survey(&self, mut scan: Scan) -> Result<Vec<Dealt>, Error> {
        for _ in 1..SCANS {
            match self.survey_once(&scan).await {
                Err(error) if is_changed(&error) => scan = Scan::of(&scan.source).await?,
                done => return done,
            }
        }
        self.survey_once(&scan).await
    }

    async fn survey_once(&self, scan: &Scan) -> Result<Vec<Dealt>, Error> {
        let (index, seen, planned) = self.plan(scan).await?;
        let dealt = self.packs(scan, &planned).survey(planned).await?;
        self.remember(index, seen, &dealt).await?;
        Ok(dealt)
    }

    fn packs(&self, scan: &Scan, planned: &[Planned]) -> Packs<D> {
        let unread = planned.iter().filter(|pack| pack.known.is_none());
        Packs {
            eager: unread.count() <= self.machine.threads,
            machine: self.machine.clone(),
            destination: self.destination.clone(),
            tree: scan.tree.clone(),
            name: scan.source.name.lossy().into(),
        }
    }

    async fn plan(&self, scan: &Scan) -> Result<(Option<Index>, Vec<Seen>, Vec<Planned>), Error> {
        let indices = self.indices.clone();
        let (tree, source, began) = (scan.tree.clone(), scan.source.clone(), scan.began);
        self.machine
            .on_core(move || {
                let index = indices.map(|dir| Index::open(&dir, &source));
                let plans = tree.packs();
                let mut seen = Vec::new();
                if index.is_some() {
                    seen.extend(plans.iter().map(|plan| index::see(plan, began)));
                }
                let known = |number: usize| {
                    let index = index.as_ref()?;
                    index.known(seen.get(number)?).cloned()
                };
                let planned = plans.iter().enumerate().map(|(number, plan)| Planned {
                    range: plan.range(),
                    tar_size: plan.tar_size(),
                    known: known(number),
                });
                let planned = planned.collect();
                (index, seen, planned)
            })
            .await
    }

    async fn remember(
        &self,
        index: Option<Index>,
        seen: Vec<Seen>,
        dealt: &[Dealt],
    ) -> Result<(), Error> {
        let Some(index) = index else { return Ok(()) };
        let digests: Vec<Digest> = dealt.iter().map(|dealt| dealt.digest.clone()).collect();
        blocking(move || index.remember(seen.into_iter().zip(&digests))).await
    }
}

impl Sent {
    fn of(scan: &Scan, dealt: &[Dealt]) -> Self {
        let (mut misses, mut bytes, mut warnings) = (0, 0, Vec::new());
        for Dealt { fate, .. } in dealt {
            if let Fate::Placed(placed) = fate {
                misses += u32::from(placed.sent.is_some());
                bytes += placed.sent.unwrap_or(0);
                warnings.extend(placed.warning.clone());
            }
        }
        let kind = if scan.tree.is_directory() {
            InputKind::Directory
        } else {
            InputKind::File
        };
        let input = Input {
            name: scan.source.name.clone(),
            kind,
            packs: dealt.iter().map(|dealt| address(&dealt.digest)).collect(),
        };
        Self {
            staged: Staged {
                input,
                bytes: scan.tree.bytes(),
                sent: misses > 0,
            },
            entries: scan.tree.entries() as u64,
            misses,
            bytes,
            warnings,
        }
    }

    pub(super) fn tell(&self, reporter: &mut dyn Reporter) {
        for warning in &self.warnings {
            reporter.event(&Event::Warning(warning));
        }
        reporter.event(&Event::Staged {
            name: &self.staged.input.name.lossy(),
            entries: self.entries,
            bytes: self.staged.bytes,
            packs: count(self.staged.input.packs.len()),
            sent: self.misses,
            sent_bytes: self.bytes,
        });
    }
}

fn is_changed(error: &Error) -> bool {
    matches!(
        error,
        Error::Pack {
            source: archive::Error::Changed { .. },
            ..
        }
    )
}

fn address(digest: &Digest) -> Pack {
    Pack {
        md5: digest.md5.clone(),
        sha256: digest.sha256.clone(),
        size: digest.size,
    }
}
