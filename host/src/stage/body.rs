//! A pack's compressed bytes: held, or made while they are taken.

use std::ops::Range;
use std::sync::Arc;

use archive::{BLOCK, Digest, PackReader, Proof, Tree};
use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio::task::{JoinHandle, JoinSet};

use super::machine::{Block, Machine};
use crate::error::Error;

/// What a destination is given.
#[derive(Debug)]
pub(super) enum Body {
    /// All of it.
    Held(Vec<Bytes>),
    /// A pack too large for that, which is read again as often as [`Again::pieces`] is called.
    Again(Again),
}

/// A large pack that was read once, for its digest.
#[derive(Debug)]
pub(super) struct Again {
    pub(super) machine: Arc<Machine>,
    pub(super) tree: Arc<Tree>,
    pub(super) range: Range<usize>,
    pub(super) name: Arc<str>,
    pub(super) expected: Digest,
}

/// Its compressed bytes, from one reading.
#[derive(Debug)]
pub(super) struct Pieces {
    coming: mpsc::Receiver<Coming>,
    gathered: Gather,
    ended: bool,
    /// Ends the reader when this is dropped.
    _reader: JoinSet<()>,
    _stream: OwnedSemaphorePermit,
}

#[derive(Debug)]
enum Coming {
    /// In order, each compressed while others are.
    Block(JoinHandle<Result<Block, Error>>),
    /// All was read, and was the same as before.
    End,
    Failed(Error),
}

impl Again {
    pub(super) async fn pieces(&self) -> Result<Pieces, Error> {
        let stream = self.machine.stream().await?;
        let (sender, coming) = mpsc::channel(self.machine.queue());
        let reading = Reading {
            machine: self.machine.clone(),
            name: self.name.clone(),
            expected: self.expected.clone(),
            sender,
        };
        let mut reader = JoinSet::new();
        reader.spawn(reading.run(self.tree.clone(), self.range.clone()));
        Ok(Pieces {
            coming,
            gathered: Gather::default(),
            ended: false,
            _reader: reader,
            _stream: stream,
        })
    }
}

impl Pieces {
    /// `None` at the end, which is only told of bytes that are the same as at the first reading.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, Error> {
        while !self.ended {
            match self.coming.recv().await {
                Some(Coming::Block(pressed)) => {
                    let pressed = pressed.await.map_err(broke_down)??;
                    if let Some(full) = self.gathered.push(pressed) {
                        return Ok(Some(full));
                    }
                }
                Some(Coming::End) => self.ended = true,
                Some(Coming::Failed(error)) => return Err(error),
                None => return Err(broke_down("it ended early")),
            }
        }
        Ok(self.gathered.rest())
    }
}

fn broke_down(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    Error::local("a worker thread broke down", error)
}

struct Reading {
    machine: Arc<Machine>,
    name: Arc<str>,
    expected: Digest,
    sender: mpsc::Sender<Coming>,
}

impl Reading {
    async fn run(self, tree: Arc<Tree>, range: Range<usize>) {
        let end = match self.read(tree, range).await {
            Ok(()) => Coming::End,
            Err(error) => Coming::Failed(error),
        };
        // Who does not listen any more has given the pack up.
        let _ = self.sender.send(end).await;
    }

    async fn read(&self, tree: Arc<Tree>, range: Range<usize>) -> Result<(), Error> {
        let pack_error = |source| Error::Pack {
            name: self.name.to_string(),
            source,
        };
        let mut reader = PackReader::<_, Proof>::open(tree, range).map_err(pack_error)?;
        loop {
            let mut block = self.machine.block();
            let (back, block, filled) = self
                .machine
                .on_core(move || {
                    let filled = block.fill(|buffer| reader.fill(buffer));
                    (reader, block, filled)
                })
                .await?;
            reader = back;
            let filled = filled.map_err(pack_error)?;
            if filled > 0 {
                let machine = self.machine.clone();
                let pressed = tokio::spawn(async move { machine.press(block).await });
                if self.sender.send(Coming::Block(pressed)).await.is_err() {
                    return Ok(());
                }
            }
            if filled < BLOCK {
                break;
            }
        }
        let read = reader.finish();
        if read.sha256 == self.expected.sha256 && read.size == self.expected.size {
            return Ok(());
        }
        let path = self.name.to_string().into();
        Err(pack_error(archive::Error::Changed { path }))
    }
}

/// Blocks that compression has left half empty, made nearly full ones.
#[derive(Debug, Default)]
pub(super) struct Gather(Option<Block>);

impl Gather {
    /// A full one, if there is one now.
    pub(super) fn push(&mut self, mut block: Block) -> Option<Bytes> {
        if let Some(current) = &mut self.0
            && !current.is_rather_full()
        {
            current.draw(&mut block);
            if block.bytes().is_empty() {
                return None;
            }
        }
        self.0.replace(block).map(Bytes::from_owner)
    }

    pub(super) fn rest(&mut self) -> Option<Bytes> {
        self.0.take().map(Bytes::from_owner)
    }
}
