use std::fmt;
use std::io::{self, Write};

use crate::member::{BLOCK, FRAME, Press};

/// Compresses a tar as packs are stored: a gzip of members of 1 MiB, each stored if samples of it do not compress.
///
/// Nothing of the time or the machine is in the bytes. Outputs are compressed alike: give a writer to
/// [`pack_outputs`](crate::pack_outputs).
pub struct PackWriter<W: Write> {
    out: W,
    press: Press,
    block: Vec<u8>,
    member: Vec<u8>,
    /// Whether there is none yet.
    empty: bool,
}

impl<W: Write> fmt::Debug for PackWriter<W> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("PackWriter").finish_non_exhaustive()
    }
}

impl<W: Write> PackWriter<W> {
    /// Begins.
    pub fn new(out: W) -> Self {
        Self {
            out,
            press: Press::default(),
            block: Vec::new(),
            member: Vec::new(),
            empty: true,
        }
    }

    /// Ends the gzip stream. Without it the archive is cut.
    pub fn finish(mut self) -> io::Result<W> {
        // Even nothing must be a gzip.
        if self.empty || !self.block.is_empty() {
            self.emit()?;
        }
        Ok(self.out)
    }

    fn emit(&mut self) -> io::Result<()> {
        self.member.resize(self.block.len() + FRAME, 0);
        let length = self.press.press(&self.block, &mut self.member)?;
        self.block.clear();
        self.empty = false;
        self.out.write_all(&self.member[..length])
    }
}

impl<W: Write> Write for PackWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.block.len() == BLOCK {
            self.emit()?;
        }
        let taken = bytes.len().min(BLOCK - self.block.len());
        self.block.extend_from_slice(&bytes[..taken]);
        Ok(taken)
    }

    /// Passes nothing on early: a member is made of a whole block.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
