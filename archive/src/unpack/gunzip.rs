//! The bytes in a gzip: of our own members, each taken whole, and of everybody else's, as they come.

use std::fmt;
use std::io::{self, BufReader, Chain, Cursor, Read};

use flate2::bufread::MultiGzDecoder;

use crate::member::{HEADER, Opener, length};

/// Of compressed bytes, read at a time.
const READ: usize = 64 * 1024;

/// Reads what is in a gzip, to its very end.
pub struct Gunzip<R: Read> {
    source: Source<R>,
    opener: Opener,
    member: Vec<u8>,
    block: Vec<u8>,
    filled: usize,
    at: usize,
}

type Stream<R> = MultiGzDecoder<Chain<Cursor<Vec<u8>>, BufReader<R>>>;

enum Source<R: Read> {
    /// So far all members were ours; there may have been none.
    Members { gzip: BufReader<R>, some: bool },
    /// One was not, so they are read as a stream from there on.
    Stream(Box<Stream<R>>),
    /// It has ended, or failed.
    Ended,
}

impl<R: Read> fmt::Debug for Gunzip<R> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Gunzip").finish_non_exhaustive()
    }
}

impl<R: Read> Gunzip<R> {
    /// Begins.
    pub fn new(gzip: R) -> Self {
        Self {
            source: Source::Members {
                gzip: BufReader::with_capacity(READ, gzip),
                some: false,
            },
            opener: Opener::default(),
            member: Vec::new(),
            block: Vec::new(),
            filled: 0,
            at: 0,
        }
    }

    /// The next member's bytes, or the way to what is no member of ours.
    fn advance(&mut self) -> io::Result<()> {
        let Source::Members { mut gzip, some } = std::mem::replace(&mut self.source, Source::Ended)
        else {
            return Ok(());
        };
        self.take(&mut gzip, HEADER)?;
        if self.member.is_empty() && some {
            return Ok(());
        }
        let header = self.member.as_slice().try_into().ok();
        let Some(length) = header.and_then(length) else {
            let begun = Cursor::new(std::mem::take(&mut self.member));
            self.source = Source::Stream(Box::new(MultiGzDecoder::new(begun.chain(gzip))));
            return Ok(());
        };
        self.take(&mut gzip, length)?;
        if self.member.len() < length {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.filled = self.opener.open(&self.member, &mut self.block)?;
        self.member.clear();
        self.at = 0;
        self.source = Source::Members { gzip, some: true };
        Ok(())
    }

    /// Until so many bytes of the member are there, or no more come.
    fn take(&mut self, gzip: &mut BufReader<R>, length: usize) -> io::Result<()> {
        let missing = length - self.member.len();
        gzip.take(missing as u64).read_to_end(&mut self.member)?;
        Ok(())
    }
}

impl<R: Read> Read for Gunzip<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            if self.at < self.filled {
                let count = (&self.block[self.at..self.filled]).read(buffer)?;
                self.at += count;
                return Ok(count);
            }
            match &mut self.source {
                Source::Members { .. } => self.advance()?,
                Source::Stream(stream) => return stream.read(buffer),
                Source::Ended => return Ok(0),
            }
        }
    }
}
