//! A tar on its way out: gathered into large writes, hashed as it passes.

use std::io::{self, Read, Write};

use crate::digest::Hash;
use crate::error::Error;
use crate::record::{BLOCK, BLOCK_LEN, END, Record};

/// Large enough for few system calls, small enough for the second-level cache, where hashing finds it again.
const BUFFER: usize = 256 * 1024;
static ZEROS: [u8; BLOCK_LEN] = [0; BLOCK_LEN];

/// How the copying of a file's data ended.
#[derive(Debug)]
pub(crate) enum Copied {
    /// All of it.
    Whole,
    /// The file ended before, with so many bytes missing.
    Short(u64),
    /// Reading failed, with so many bytes missing.
    Failed(u64, io::Error),
}

pub(crate) struct Blocks<W, H> {
    out: W,
    hash: H,
    buffer: Vec<u8>,
    used: usize,
}

impl<W: Write, H: Hash> Blocks<W, H> {
    pub(crate) fn new(out: W) -> Self {
        Self {
            out,
            hash: H::default(),
            buffer: vec![0; BUFFER],
            used: 0,
        }
    }

    pub(crate) fn header(&mut self, record: &Record<'_>) -> Result<(), Error> {
        let mut blocks = Vec::with_capacity(BLOCK_LEN);
        record.append_to(&mut blocks);
        self.put(&blocks)
    }

    /// Exactly `size` bytes of `file`, unless it ends or fails before. The padding is the caller's: [`Blocks::pad`].
    pub(crate) fn copy(&mut self, file: &mut impl Read, size: u64) -> Result<Copied, Error> {
        let mut missing = size;
        while missing > 0 {
            if self.used == BUFFER {
                self.flush()?;
            }
            let room = (BUFFER - self.used).min(usize::try_from(missing).unwrap_or(BUFFER));
            match file.read(&mut self.buffer[self.used..self.used + room]) {
                Ok(0) => return Ok(Copied::Short(missing)),
                Ok(count) => {
                    self.used += count;
                    missing -= count as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Ok(Copied::Failed(missing, error)),
            }
        }
        Ok(Copied::Whole)
    }

    /// Zeros up to the next block after data of this size.
    pub(crate) fn pad(&mut self, size: u64) -> Result<(), Error> {
        self.zeros(size.next_multiple_of(BLOCK) - size)
    }

    pub(crate) fn zeros(&mut self, mut count: u64) -> Result<(), Error> {
        while count > 0 {
            let step = count.min(BLOCK);
            self.put(&ZEROS[..usize::try_from(step).unwrap_or(ZEROS.len())])?;
            count -= step;
        }
        Ok(())
    }

    pub(crate) fn finish(mut self) -> Result<H::Output, Error> {
        self.zeros(END)?;
        self.flush()?;
        self.out.flush().map_err(Error::Output)?;
        Ok(self.hash.finish())
    }

    fn put(&mut self, mut bytes: &[u8]) -> Result<(), Error> {
        while !bytes.is_empty() {
            if self.used == BUFFER {
                self.flush()?;
            }
            let (now, later) = bytes.split_at(bytes.len().min(BUFFER - self.used));
            self.buffer[self.used..self.used + now.len()].copy_from_slice(now);
            self.used += now.len();
            bytes = later;
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), Error> {
        let bytes = &self.buffer[..self.used];
        self.hash.update(bytes);
        self.out.write_all(bytes).map_err(Error::Output)?;
        self.used = 0;
        Ok(())
    }
}
