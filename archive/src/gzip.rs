use std::fmt;
use std::io::{self, Write};

use flate2::write::GzEncoder;
use flate2::{Compress, Compression, FlushCompress, Status};

/// What is looked at, compressed or stored, at a time.
const WINDOW: usize = 512 * 1024;
/// What is tried of a window: its beginning, and if that does not compress its middle and end.
const SAMPLE: usize = 16 * 1024;
/// Level 1 of zlib-rs leaves a third more bytes for a third less time, and grows what does not compress.
const LEVEL: Compression = Compression::new(2);

/// Compresses a tar as packs are stored: gzip at level 2, stored where samples do not compress.
///
/// Windows of 512 KiB are judged one by one; where the judgement changes, a new gzip member begins, which every
/// reader of gzip accepts. Nothing of the time or the machine is in the bytes. Outputs are compressed alike: give a
/// writer to [`pack_outputs`](crate::pack_outputs).
pub struct PackWriter<W: Write> {
    member: Member<W>,
    window: Vec<u8>,
    sampler: Compress,
    scratch: Vec<u8>,
}

enum Member<W: Write> {
    /// None yet, or the last one has ended.
    None(W),
    Compressed(GzEncoder<W>),
    Stored(GzEncoder<W>),
    /// Ending one failed and took the writer with it.
    Broken,
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
            member: Member::None(out),
            window: Vec::new(),
            sampler: Compress::new(LEVEL, false),
            // Room to spare: zlib-rs 0.6.8 panics when it is reset after output that did not fit.
            scratch: vec![0; 2 * SAMPLE],
        }
    }

    /// Ends the gzip stream. Without it the archive is cut.
    pub fn finish(mut self) -> io::Result<W> {
        self.emit()?;
        match self.member {
            // Even nothing must be a gzip.
            Member::None(out) => GzEncoder::new(out, LEVEL).finish(),
            Member::Compressed(encoder) | Member::Stored(encoder) => encoder.finish(),
            Member::Broken => Err(broken()),
        }
    }

    /// Hands the window to a member of its kind.
    fn emit(&mut self) -> io::Result<()> {
        if self.window.is_empty() {
            return Ok(());
        }
        let compresses = self.compresses();
        let member = std::mem::replace(&mut self.member, Member::Broken);
        self.member = member.turn(compresses)?;
        let written = match &mut self.member {
            Member::Compressed(encoder) | Member::Stored(encoder) => {
                encoder.write_all(&self.window)
            }
            Member::None(_) | Member::Broken => Err(broken()),
        };
        self.window.clear();
        written
    }

    fn compresses(&mut self) -> bool {
        let last = self.window.len().saturating_sub(SAMPLE);
        let mut starts = vec![0, last / 2, last];
        starts.dedup();
        starts.into_iter().any(|start| {
            let end = (start + SAMPLE).min(self.window.len());
            let sample = &self.window[start..end];
            self.sampler.reset();
            let done = self
                .sampler
                .compress(sample, &mut self.scratch, FlushCompress::Finish);
            let worth = (sample.len() - sample.len() / 32) as u64;
            matches!(done, Ok(Status::StreamEnd)) && self.sampler.total_out() <= worth
        })
    }
}

impl<W: Write> Member<W> {
    fn turn(self, compresses: bool) -> io::Result<Self> {
        let out = match (self, compresses) {
            (same @ Self::Compressed(_), true) | (same @ Self::Stored(_), false) => {
                return Ok(same);
            }
            (Self::Compressed(encoder), false) | (Self::Stored(encoder), true) => {
                encoder.finish()?
            }
            (Self::None(out), _) => out,
            (Self::Broken, _) => return Err(broken()),
        };
        Ok(if compresses {
            Self::Compressed(GzEncoder::new(out, LEVEL))
        } else {
            Self::Stored(GzEncoder::new(out, Compression::none()))
        })
    }
}

impl<W: Write> Write for PackWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.window.len() == WINDOW {
            self.emit()?;
        }
        let taken = bytes.len().min(WINDOW - self.window.len());
        self.window.extend_from_slice(&bytes[..taken]);
        Ok(taken)
    }

    /// Passes nothing on early: a window is judged as a whole.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn broken() -> io::Error {
    io::Error::other("an earlier write of the archive failed")
}
