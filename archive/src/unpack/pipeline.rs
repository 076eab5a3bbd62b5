//! Decompressing on one thread while another one writes, where that pays.

use std::io::{self, BufRead, BufReader, Read};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::sync::{Mutex, PoisonError};
use std::thread;

use super::gunzip::Gunzip;
use crate::digest::{Checksum, Hash, Proof};
use crate::error::Error;

/// An archive that is no larger is not worth a thread.
const CHUNK: usize = 256 * 1024;
/// How many chunks the decompressing thread may be ahead.
const AHEAD: usize = 4;

/// Gives the decompressed bytes to `parse` and returns their checksum, if `parse` read them all.
pub(super) fn run<R: Read>(
    gzip: R,
    parse: impl FnOnce(&mut dyn BufRead) -> Result<(), Error> + Send,
) -> Result<Checksum, Error> {
    let mut tar = Hashed {
        inner: Gunzip::new(gzip),
        hash: Proof::default(),
    };
    let first = tar.chunk(Vec::new()).map_err(Error::Stream)?;
    if first.len() < CHUNK {
        parse(&mut &first[..])?;
    } else if thread::available_parallelism().map_or(1, usize::from) == 1 {
        let rest = BufReader::with_capacity(CHUNK, &mut tar);
        parse(&mut first.chain(rest))?;
    } else {
        in_parallel(first, &mut tar, parse)?;
    }
    Ok(tar.hash.finish())
}

fn in_parallel<R: Read>(
    first: Vec<u8>,
    tar: &mut Hashed<R>,
    parse: impl FnOnce(&mut dyn BufRead) -> Result<(), Error> + Send,
) -> Result<(), Error> {
    let (full, next) = sync_channel(AHEAD);
    let (used, empty) = channel();
    let chunks = Chunks {
        chunk: first,
        at: 0,
        next,
        used,
    };
    let work = Mutex::new(Some((chunks, parse)));
    let take = || work.lock().unwrap_or_else(PoisonError::into_inner).take();
    thread::scope(|scope| {
        let spawned = thread::Builder::new()
            .name("unpack".to_owned())
            .spawn_scoped(scope, || match take() {
                Some((mut chunks, parse)) => parse(&mut chunks),
                None => Ok(()),
            });
        let writer = match spawned {
            Ok(writer) => writer,
            // A system that has no thread to give says nothing against the archive.
            Err(error) => {
                let (chunks, parse) = take().ok_or(Error::Stream(error))?;
                let rest = BufReader::with_capacity(CHUNK, tar);
                return parse(&mut chunks.chunk.chain(rest));
            }
        };
        let fed = feed(tar, &full, &empty);
        drop(full);
        let parsed = match writer.join() {
            Ok(parsed) => parsed,
            Err(panic) => std::panic::resume_unwind(panic),
        };
        // If reading failed, the parser has seen an early end: the cause is here.
        fed.map_err(Error::Stream)?;
        parsed
    })
}

/// Until the end, or until the parser has given up.
fn feed<R: Read>(
    tar: &mut Hashed<R>,
    full: &SyncSender<Vec<u8>>,
    empty: &Receiver<Vec<u8>>,
) -> io::Result<()> {
    loop {
        let chunk = tar.chunk(empty.try_recv().unwrap_or_default())?;
        if chunk.is_empty() || full.send(chunk).is_err() {
            return Ok(());
        }
    }
}

/// Hashes what is read.
struct Hashed<R> {
    inner: R,
    hash: Proof,
}

impl<R: Read> Hashed<R> {
    /// A whole chunk, or what is left.
    fn chunk(&mut self, mut chunk: Vec<u8>) -> io::Result<Vec<u8>> {
        chunk.resize(CHUNK, 0);
        let mut len = 0;
        while len < CHUNK {
            match self.read(&mut chunk[len..]) {
                Ok(0) => break,
                Ok(count) => len += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        chunk.truncate(len);
        Ok(chunk)
    }
}

impl<R: Read> Read for Hashed<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.hash.update(&buffer[..count]);
        Ok(count)
    }
}

/// The parser's side.
struct Chunks {
    chunk: Vec<u8>,
    at: usize,
    next: Receiver<Vec<u8>>,
    used: Sender<Vec<u8>>,
}

impl BufRead for Chunks {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.at == self.chunk.len() {
            let next = self.next.recv().unwrap_or_default();
            let used = std::mem::replace(&mut self.chunk, next);
            self.at = 0;
            // Nobody takes it back once all has been read.
            let _ = self.used.send(used);
        }
        Ok(&self.chunk[self.at..])
    }

    fn consume(&mut self, count: usize) {
        self.at = (self.at + count).min(self.chunk.len());
    }
}

impl Read for Chunks {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut bytes = self.fill_buf()?;
        let count = bytes.read(buffer)?;
        self.consume(count);
        Ok(count)
    }
}
