//! One input's packs on their way: looked up, read, compressed and sent, many at once.

use std::ops::Range;
use std::sync::Arc;

use archive::{Address, BLOCK, Digest, PackReader, Tree};
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, JoinSet};

use super::body::{Again, Body, Gather};
use super::destination::{Destination, Placed, Standing};
use super::machine::{Block, Machine};
use crate::error::Error;

/// More are not held in memory while they are compressed and sent: a larger pack is one large file, and read twice.
/// Sixteen blocks of files, and the end of the tar.
const HELD: u64 = 17 * BLOCK as u64;
/// Packs of an input that are looked for at once; how many are read and sent at once is the machine's affair.
const AT_ONCE: usize = 32;

/// An input whose packs are to be dealt with.
#[derive(Debug, Clone)]
pub(super) struct Packs<D> {
    pub(super) machine: Arc<Machine>,
    pub(super) destination: D,
    pub(super) tree: Arc<Tree>,
    pub(super) name: Arc<str>,
    /// Whether to compress what is read before it is known that it is missing: there are cores that have nothing else
    /// to do.
    pub(super) eager: bool,
}

/// One of them, as the tree is cut.
#[derive(Debug, Clone)]
pub(super) struct Planned {
    pub(super) range: Range<usize>,
    pub(super) tar_size: u64,
    /// What it was when it was last read, if it looks the same.
    pub(super) known: Option<Digest>,
}

/// A block that is being compressed; given up when this is dropped.
struct Pressing(JoinHandle<Result<Block, Error>>);

impl Drop for Pressing {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// A tar that is held.
enum Held {
    /// As it was read.
    Raw(Vec<Block>),
    /// Being compressed already.
    Pressing(Vec<Pressing>),
}

/// What became of one.
#[derive(Debug)]
pub(super) struct Dealt {
    pub(super) digest: Digest,
    pub(super) fate: Fate,
}

#[derive(Debug)]
pub(super) enum Fate {
    /// It was there.
    Hit,
    /// It was not there, and nothing was sent.
    Missing,
    /// It is there now.
    Placed(Placed),
}

impl<D: Destination> Packs<D> {
    /// Brings all to the destination; the answer is in their order. The first error ends it all.
    pub(super) async fn send(&self, planned: Vec<Planned>) -> Result<Vec<Dealt>, Error> {
        self.each(
            planned,
            |packs, pack| async move { packs.deliver(pack).await },
        )
        .await
    }

    /// Looks what is missing; sends nothing.
    pub(super) async fn survey(&self, planned: Vec<Planned>) -> Result<Vec<Dealt>, Error> {
        self.each(
            planned,
            |packs, pack| async move { packs.look_for(pack).await },
        )
        .await
    }

    async fn each<F>(
        &self,
        planned: Vec<Planned>,
        deal: impl Fn(Self, Planned) -> F,
    ) -> Result<Vec<Dealt>, Error>
    where
        F: Future<Output = Result<Dealt, Error>> + Send + 'static,
    {
        let mut dealt: Vec<Option<Dealt>> = planned.iter().map(|_| None).collect();
        // Dropped, it ends what is still on its way.
        let mut tasks = JoinSet::new();
        for (number, pack) in planned.into_iter().enumerate() {
            if tasks.len() == AT_ONCE {
                settle(tasks.join_next().await, &mut dealt)?;
            }
            let dealing = deal(self.clone(), pack);
            tasks.spawn(async move { (number, dealing.await) });
        }
        while !tasks.is_empty() {
            settle(tasks.join_next().await, &mut dealt)?;
        }
        Ok(dealt.into_iter().flatten().collect())
    }

    async fn deliver(self, pack: Planned) -> Result<Dealt, Error> {
        let looked = match &pack.known {
            Some(known) => Some((known, self.look_and_keep(known).await?)),
            None => None,
        };
        if let Some((known, Standing::Hit)) = looked {
            return Ok(Dealt {
                digest: known.clone(),
                fate: Fate::Hit,
            });
        }
        let (digest, held) = self.read(&pack).await?;
        let standing = match looked {
            Some((known, standing)) if *known == digest => standing,
            _ => self.look_and_keep(&digest).await?,
        };
        let fate = if standing == Standing::Hit {
            Fate::Hit
        } else {
            let body = match held {
                Some(Held::Pressing(pressing)) => Body::Held(gather(pressing).await?),
                Some(Held::Raw(blocks)) => {
                    let pressing = blocks.into_iter().map(|block| self.press(block));
                    Body::Held(gather(pressing.collect()).await?)
                }
                None => Body::Again(self.again(&pack, &digest)),
            };
            let placing = self.destination.place(&digest, standing, body, &self.name);
            Fate::Placed(placing.await?)
        };
        Ok(Dealt { digest, fate })
    }

    async fn look_and_keep(&self, digest: &Digest) -> Result<Standing, Error> {
        let _call = self.machine.call().await?;
        self.destination.look_and_keep(digest).await
    }

    async fn look_for(self, pack: Planned) -> Result<Dealt, Error> {
        let digest = match &pack.known {
            Some(known) => known.clone(),
            None => self.hash(&pack).await?,
        };
        let call = self.machine.call().await?;
        let standing = self.destination.look(&digest).await?;
        drop(call);
        let fate = match standing {
            Standing::Hit => Fate::Hit,
            _ => Fate::Missing,
        };
        Ok(Dealt { digest, fate })
    }

    /// The digest, and the tar if it can be held.
    async fn read(&self, pack: &Planned) -> Result<(Digest, Option<Held>), Error> {
        let read = if pack.tar_size > HELD {
            (self.hash(pack).await?, None)
        } else {
            let (digest, held) = self.hold(pack).await?;
            (digest, Some(held))
        };
        self.machine.note_read();
        Ok(read)
    }

    async fn hold(&self, pack: &Planned) -> Result<(Digest, Held), Error> {
        let bytes = usize::try_from(pack.tar_size).unwrap_or(usize::MAX);
        let mut room = self.machine.room(bytes).await?;
        let (tree, range) = (self.tree.clone(), pack.range.clone());
        let (sender, mut blocks) = mpsc::unbounded_channel();
        let reading = self.machine.on_core(move || {
            let mut reader = PackReader::<_, Address>::open(tree, range)?;
            for _ in 0..bytes.div_ceil(BLOCK) {
                let mut block = room.block();
                block.fill(|buffer| reader.fill(buffer))?;
                // Who does not listen any more has given the pack up.
                let _ = sender.send(block);
            }
            Ok(reader.finish())
        });
        let holding = async {
            if self.eager {
                let mut pressing = Vec::new();
                while let Some(block) = blocks.recv().await {
                    pressing.push(self.press(block));
                }
                return Held::Pressing(pressing);
            }
            let mut raw = Vec::new();
            while blocks.recv_many(&mut raw, usize::MAX).await > 0 {}
            Held::Raw(raw)
        };
        let (digest, held) = tokio::join!(reading, holding);
        Ok((digest?.map_err(|source| self.error(source))?, held))
    }

    /// Block by block, so that a large pack shares the cores, and can be given up.
    async fn hash(&self, pack: &Planned) -> Result<Digest, Error> {
        let _one = self.machine.reader().await?;
        let opened = PackReader::open(self.tree.clone(), pack.range.clone());
        let mut reader: PackReader<_, Address> = opened.map_err(|source| self.error(source))?;
        loop {
            let mut block = self.machine.block();
            let (back, filled) = self
                .machine
                .on_core(move || {
                    let filled = block.fill(|buffer| reader.fill(buffer));
                    (reader, filled)
                })
                .await?;
            reader = back;
            if filled.map_err(|source| self.error(source))? < BLOCK {
                return Ok(reader.finish());
            }
        }
    }

    fn press(&self, block: Block) -> Pressing {
        let machine = self.machine.clone();
        Pressing(tokio::spawn(async move { machine.press(block).await }))
    }

    fn again(&self, pack: &Planned, digest: &Digest) -> Again {
        Again {
            machine: self.machine.clone(),
            tree: self.tree.clone(),
            range: pack.range.clone(),
            name: self.name.clone(),
            expected: digest.clone(),
        }
    }

    fn error(&self, source: archive::Error) -> Error {
        Error::Pack {
            name: self.name.to_string(),
            source,
        }
    }
}

async fn gather(pressing: Vec<Pressing>) -> Result<Vec<bytes::Bytes>, Error> {
    let mut gathered = Gather::default();
    let mut body = Vec::new();
    for mut pressed in pressing {
        let pressed = (&mut pressed.0).await;
        let pressed =
            pressed.map_err(|error| Error::local("a worker thread broke down", error))??;
        body.extend(gathered.push(pressed));
    }
    body.extend(gathered.rest());
    Ok(body)
}

type Joined = Option<Result<(usize, Result<Dealt, Error>), tokio::task::JoinError>>;

fn settle(joined: Joined, dealt: &mut [Option<Dealt>]) -> Result<(), Error> {
    if let Some(joined) = joined {
        let joined = joined.map_err(|error| Error::local("a worker thread broke down", error));
        let (number, done) = joined?;
        dealt[number] = Some(done?);
    }
    Ok(())
}
