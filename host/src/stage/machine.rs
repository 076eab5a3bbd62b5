//! What of this machine staging may use: its cores, and memory in blocks of one size.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Instant;

use archive::{BLOCK, FRAME};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::press::Press;
use super::workers::Workers;
use crate::clock;
use crate::error::Error;

/// Blocks for packs that are held whole: the largest, and some for each core.
const HELD_BLOCKS: usize = 12;
const BLOCKS_PER_CORE: usize = 8;
/// Machines with very many cores have better uses for them, and for their memory: that of no more than so many is used.
const MAX_CORES: usize = 32;
const MAX_CORES_WITH_ROOM: usize = 8;

/// Large packs read at once, for their digests or again; each has a file open, and all directories above it.
const MAX_LARGE: usize = 4;

/// Questions to the destination at once.
const CALLS: usize = 32;

/// Shared by all inputs of a run.
#[derive(Debug)]
pub(super) struct Machine {
    pub(super) threads: usize,
    workers: Workers,
    /// In blocks. Whoever needs some takes all at once: nobody waits for more while holding some.
    room: Arc<Semaphore>,
    /// Large packs that are compressed while they are read again. Few, so that they leave the rest alone.
    streams: Arc<Semaphore>,
    /// Large packs that are read for their digests.
    readers: Arc<Semaphore>,
    calls: Arc<Semaphore>,
    spares: Arc<Spares>,
    presses: Mutex<Vec<Press>>,
    begun: Instant,
    /// Milliseconds since then at which the last pack was read.
    read: AtomicU64,
}

impl Machine {
    pub(super) fn new() -> Arc<Self> {
        let threads = thread::available_parallelism().map_or(1, usize::from);
        let threads = threads.min(MAX_CORES);
        Arc::new(Self {
            threads,
            workers: Workers::new(threads),
            room: Arc::new(Semaphore::new(
                HELD_BLOCKS + BLOCKS_PER_CORE * threads.min(MAX_CORES_WITH_ROOM),
            )),
            streams: Arc::new(Semaphore::new((threads / 2).clamp(1, MAX_LARGE))),
            readers: Arc::new(Semaphore::new(threads.min(MAX_LARGE))),
            calls: Arc::new(Semaphore::new(CALLS)),
            spares: Arc::default(),
            presses: Mutex::default(),
            begun: Instant::now(),
            read: AtomicU64::new(0),
        })
    }

    /// Does what blocks or computes, on one core of those there are.
    pub(super) async fn on_core<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Error> {
        self.workers.run(work).await
    }

    /// Waits until there is room for so many bytes.
    pub(super) async fn room(&self, bytes: usize) -> Result<Room, Error> {
        let permit = acquire(&self.room, bytes.div_ceil(BLOCK)).await?;
        Ok(Room {
            permit,
            spares: self.spares.clone(),
        })
    }

    /// Waits until one more large pack may be compressed.
    pub(super) async fn stream(&self) -> Result<OwnedSemaphorePermit, Error> {
        acquire(&self.streams, 1).await
    }

    /// Waits until one more large pack may be opened for its digest.
    pub(super) async fn reader(&self) -> Result<OwnedSemaphorePermit, Error> {
        acquire(&self.readers, 1).await
    }

    /// Waits until one more question may be asked.
    pub(super) async fn call(&self) -> Result<OwnedSemaphorePermit, Error> {
        acquire(&self.calls, 1).await
    }

    /// Blocks of one large pack that wait to be taken.
    pub(super) fn queue(&self) -> usize {
        self.threads.min(MAX_LARGE)
    }

    /// A block beside the room: of those that are in work on a core, or belong to a stream.
    pub(super) fn block(&self) -> Block {
        Block::new(self.spares.clone(), None)
    }

    /// Makes a gzip member of what the block holds.
    pub(super) async fn press(self: &Arc<Self>, mut block: Block) -> Result<Block, Error> {
        let machine = self.clone();
        self.on_core(move || {
            let spare = lock(&machine.presses).pop();
            let mut press = spare.unwrap_or_default();
            let pressed = press.press(&mut block);
            lock(&machine.presses).push(press);
            pressed.map(|()| block)
        })
        .await?
        .map_err(|error| Error::local("cannot compress a pack", error))
    }

    /// Notes that a pack was read.
    pub(super) fn note_read(&self) {
        self.read
            .fetch_max(clock::ms(self.begun), Ordering::Relaxed);
    }

    /// Milliseconds until all was read, and from there to now.
    pub(super) fn phases(&self) -> (u64, u64) {
        let read = self.read.load(Ordering::Relaxed);
        (read, clock::ms(self.begun).saturating_sub(read))
    }
}

async fn acquire(of: &Arc<Semaphore>, count: usize) -> Result<OwnedSemaphorePermit, Error> {
    let count = u32::try_from(count).unwrap_or(u32::MAX);
    let permit = of.clone().acquire_many_owned(count).await;
    permit.map_err(|error| Error::local("a worker thread broke down", error))
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Room that was waited for, and is given back block by block.
#[derive(Debug)]
pub(super) struct Room {
    permit: OwnedSemaphorePermit,
    spares: Arc<Spares>,
}

impl Room {
    /// One block of it.
    pub(super) fn block(&mut self) -> Block {
        Block::new(self.spares.clone(), self.permit.split(1))
    }
}

/// Memory that is used again: what an allocator would do with so much of it, nobody can say.
#[derive(Debug, Default)]
struct Spares(Mutex<Vec<Vec<u8>>>);

/// Some bytes, at the most [`BLOCK`] and a member's frame, in memory that goes back where it came from.
#[derive(Debug)]
pub(super) struct Block {
    memory: Vec<u8>,
    length: usize,
    spares: Arc<Spares>,
    /// Part of a [`Room`], which it goes back to.
    _room: Option<OwnedSemaphorePermit>,
}

impl Block {
    fn new(spares: Arc<Spares>, room: Option<OwnedSemaphorePermit>) -> Self {
        let spare = lock(&spares.0).pop();
        Self {
            memory: spare.unwrap_or_else(|| vec![0; BLOCK + FRAME]),
            length: 0,
            spares,
            _room: room,
        }
    }

    /// Fills it as `fill` does a buffer of [`BLOCK`] bytes; `fill` says how far.
    pub(super) fn fill<E>(
        &mut self,
        fill: impl FnOnce(&mut [u8]) -> Result<usize, E>,
    ) -> Result<usize, E> {
        self.length = fill(&mut self.memory[..BLOCK])?.min(BLOCK);
        Ok(self.length)
    }

    /// Holds the first bytes of this memory and no others, and gives its own for it.
    pub(super) fn exchange(&mut self, memory: &mut Vec<u8>, length: usize) {
        std::mem::swap(&mut self.memory, memory);
        self.length = length;
    }

    /// Whether to move more into it would cost more than it gains.
    pub(super) fn is_rather_full(&self) -> bool {
        self.length >= BLOCK * 3 / 4
    }

    /// Takes what it has room for from the beginning of `other`, which keeps the rest.
    pub(super) fn draw(&mut self, other: &mut Self) {
        let count = other.length.min(self.memory.len() - self.length);
        self.memory[self.length..self.length + count].copy_from_slice(&other.memory[..count]);
        self.length += count;
        other.memory.copy_within(count..other.length, 0);
        other.length -= count;
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.memory[..self.length]
    }
}

impl AsRef<[u8]> for Block {
    fn as_ref(&self) -> &[u8] {
        self.bytes()
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        lock(&self.spares.0).push(std::mem::take(&mut self.memory));
    }
}
