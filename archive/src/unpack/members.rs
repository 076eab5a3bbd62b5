//! A tar stream, taken apart without trusting it.

use std::io::{self, BufRead};

use tar::{EntryType, Header};

use super::Unpacker;
use crate::error::Error;
use crate::record::{BLOCK, BLOCK_LEN, padded};

/// Longest value of a long-name entry, and longest pax header. A path that a system takes is shorter.
const MAX_VALUE: u64 = 64 * 1024;
/// Zeros after the end are padding; more of them are a bomb.
const MAX_PADDING: u64 = 16 * 1024 * 1024;

const ENDS_EARLY: Error = Error::Damaged("it ends too early");

/// An entry as its headers describe it.
#[derive(Debug)]
pub(super) struct Member {
    /// As it stands there.
    pub(super) path: Vec<u8>,
    pub(super) what: What,
    /// Bytes of data that follow, whatever the kind.
    pub(super) size: u64,
    /// All bits.
    pub(super) mode: u32,
    /// Seconds.
    pub(super) mtime: u64,
}

#[derive(Debug)]
pub(super) enum What {
    File,
    Directory,
    Link(Vec<u8>),
    /// Why it may not be.
    Refused(&'static str),
}

/// What came before an entry's own header and is meant for it.
#[derive(Default)]
struct Before {
    path: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    size: Option<u64>,
    refused: Option<&'static str>,
}

pub(super) struct Members<'a> {
    tar: &'a mut dyn BufRead,
    unpacker: &'a Unpacker,
    /// Bytes of the present entry's data that nobody has taken yet.
    data: u64,
    /// Bytes between its data and the next header.
    padding: u64,
    rest: bool,
}

impl<'a> Members<'a> {
    pub(super) fn new(tar: &'a mut dyn BufRead, unpacker: &'a Unpacker) -> Self {
        Self {
            tar,
            unpacker,
            data: 0,
            padding: 0,
            rest: false,
        }
    }

    /// Whether anything but zeros followed the end.
    pub(super) fn has_rest(&self) -> bool {
        self.rest
    }

    /// Skips what is left of the present entry. `None` at the end, when the stream has been read to its last byte.
    pub(super) fn next(&mut self) -> Result<Option<Member>, Error> {
        let mut before = Before::default();
        loop {
            self.skip()?;
            let mut block = [0; BLOCK_LEN];
            self.fill(&mut block)?;
            if is_zero(&block) {
                self.end()?;
                return Ok(None);
            }
            let header = Header::from_byte_slice(&block);
            check_sum(header)?;
            self.unpacker.claim_entries(1)?;
            let size = header
                .entry_size()
                .map_err(|_| Error::Damaged("a size is no number"))?;
            match header.entry_type() {
                EntryType::GNULongName => {
                    before.path = self.value(size, &mut before.refused)?.map(until_nul);
                }
                EntryType::GNULongLink => {
                    before.link = self.value(size, &mut before.refused)?.map(until_nul);
                }
                EntryType::XHeader => {
                    if let Some(value) = self.value(size, &mut before.refused)? {
                        before.pax(&value)?;
                    }
                }
                _ => {
                    return self
                        .member(header, before.size.unwrap_or(size), before)
                        .map(Some);
                }
            }
        }
    }

    /// The next bytes of the present entry's data, empty when there are no more. Say with [`Members::took`] how many were used.
    pub(super) fn data(&mut self) -> Result<&[u8], Error> {
        if self.data == 0 {
            return Ok(&[]);
        }
        let bytes = fill_buf(self.tar)?;
        let len = bytes
            .len()
            .min(usize::try_from(self.data).unwrap_or(usize::MAX));
        if len == 0 {
            return Err(ENDS_EARLY);
        }
        Ok(&bytes[..len])
    }

    pub(super) fn took(&mut self, count: usize) {
        self.tar.consume(count);
        self.data -= count as u64;
    }

    fn member(&mut self, header: &Header, size: u64, before: Before) -> Result<Member, Error> {
        self.announce(size)?;
        let what = match (before.refused, header.entry_type()) {
            (Some(reason), _) => What::Refused(reason),
            (None, EntryType::Regular | EntryType::Continuous) => What::File,
            (None, EntryType::Directory) => What::Directory,
            (None, EntryType::Symlink) => {
                let short = || header.link_name_bytes().map(std::borrow::Cow::into_owned);
                What::Link(before.link.or_else(short).unwrap_or_default())
            }
            (None, EntryType::GNUSparse) => {
                self.skip_sparse_map(header)?;
                What::Refused("is a sparse file")
            }
            (None, EntryType::Link) => What::Refused("is a hard link"),
            (None, EntryType::Char | EntryType::Block) => What::Refused("is a device"),
            (None, EntryType::Fifo) => What::Refused("is a fifo"),
            (None, EntryType::XGlobalHeader) => What::Refused("is a global pax header"),
            (None, _) => What::Refused("is of an unknown kind"),
        };
        let what = match what {
            What::Directory | What::Link(_) if size > 0 => {
                What::Refused("has data, but is no file")
            }
            what => what,
        };
        let (Ok(mode), Ok(mtime)) = (header.mode(), header.mtime()) else {
            return Err(Error::Damaged("a mode or time is no number"));
        };
        Ok(Member {
            path: before
                .path
                .unwrap_or_else(|| header.path_bytes().into_owned()),
            what,
            size,
            mode,
            mtime,
        })
    }

    fn announce(&mut self, size: u64) -> Result<(), Error> {
        self.unpacker.claim_bytes(size)?;
        self.expect(size)
    }

    fn expect(&mut self, size: u64) -> Result<(), Error> {
        if size > u64::MAX / 2 {
            return Err(Error::Damaged("a size is beyond all bounds"));
        }
        self.data = size;
        self.padding = padded(size) - size;
        Ok(())
    }

    /// The whole data of a header that describes the next; none if it is too long, which refuses the next. It counts
    /// as entries, a block for one, and not as bytes: an honest archive of empty files may have long names.
    fn value(
        &mut self,
        size: u64,
        refused: &mut Option<&'static str>,
    ) -> Result<Option<Vec<u8>>, Error> {
        self.unpacker.claim_entries(size.div_ceil(BLOCK))?;
        self.expect(size)?;
        if size > MAX_VALUE {
            *refused = Some("has a name that is too long");
            return Ok(None);
        }
        let mut value = Vec::new();
        loop {
            let bytes = self.data()?;
            if bytes.is_empty() {
                return Ok(Some(value));
            }
            let count = bytes.len();
            value.extend_from_slice(bytes);
            self.took(count);
        }
    }

    /// An old sparse file's map goes on in blocks that its size does not count.
    fn skip_sparse_map(&mut self, header: &Header) -> Result<(), Error> {
        let mut more = header.as_gnu().is_some_and(tar::GnuHeader::is_extended);
        while more {
            self.unpacker.claim_bytes(BLOCK)?;
            let mut map = tar::GnuExtSparseHeader::new();
            self.fill(map.as_mut_bytes())?;
            more = map.is_extended();
        }
        Ok(())
    }

    fn skip(&mut self) -> Result<(), Error> {
        loop {
            let count = self.data()?.len();
            if count == 0 {
                break;
            }
            self.took(count);
        }
        let mut padding = [0; BLOCK_LEN];
        let len = usize::try_from(self.padding)
            .unwrap_or(BLOCK_LEN)
            .min(BLOCK_LEN);
        self.padding = 0;
        self.fill(&mut padding[..len])
    }

    /// After the first block of zeros: the second, then nothing but zeros until the stream's end.
    fn end(&mut self) -> Result<(), Error> {
        let mut block = [0; BLOCK_LEN];
        self.fill(&mut block)?;
        self.rest = !is_zero(&block);
        let mut len = 0;
        loop {
            let bytes = fill_buf(self.tar)?;
            let count = bytes.len();
            if count == 0 {
                return Ok(());
            }
            self.rest |= !is_zero(bytes);
            self.tar.consume(count);
            len += count as u64;
            if len > MAX_PADDING {
                return Err(Error::Damaged("it goes on after its end"));
            }
        }
    }

    fn fill(&mut self, block: &mut [u8]) -> Result<(), Error> {
        self.tar
            .read_exact(block)
            .map_err(|error| match error.kind() {
                io::ErrorKind::UnexpectedEof => ENDS_EARLY,
                _ => Error::Stream(error),
            })
    }
}

impl Before {
    /// Records of `<length> <key>=<value>\n`. Values may hold line ends, so only the lengths tell where a record ends.
    fn pax(&mut self, mut records: &[u8]) -> Result<(), Error> {
        const BAD: Error = Error::Damaged("a pax header is malformed");
        while !records.is_empty() {
            let space = records.iter().position(|&byte| byte == b' ').ok_or(BAD)?;
            let len: usize = number(&records[..space])
                .and_then(|len| usize::try_from(len).ok())
                .ok_or(BAD)?;
            let (record, rest) = records.split_at_checked(len).ok_or(BAD)?;
            let record = record
                .get(space + 1..)
                .and_then(|record| record.strip_suffix(b"\n"))
                .ok_or(BAD)?;
            let equals = record.iter().position(|&byte| byte == b'=').ok_or(BAD)?;
            let (key, value) = (&record[..equals], &record[equals + 1..]);
            match key {
                b"path" => self.path = Some(value.to_vec()),
                b"linkpath" => self.link = Some(value.to_vec()),
                b"size" => self.size = Some(number(value).ok_or(BAD)?),
                _ if key.starts_with(b"GNU.sparse.") => self.refused = Some("is a sparse file"),
                _ => {}
            }
            records = rest;
        }
        Ok(())
    }
}

fn fill_buf(tar: &mut dyn BufRead) -> Result<&[u8], Error> {
    tar.fill_buf().map_err(Error::Stream)
}

fn check_sum(header: &Header) -> Result<(), Error> {
    let bytes = header.as_bytes();
    let sum = |bytes: &[u8]| bytes.iter().map(|&byte| u32::from(byte)).sum::<u32>();
    let expected = sum(&bytes[..148]) + 8 * u32::from(b' ') + sum(&bytes[156..]);
    match header.cksum() {
        Ok(found) if found == expected => Ok(()),
        _ => Err(Error::Damaged("a header's checksum is wrong")),
    }
}

fn number(digits: &[u8]) -> Option<u64> {
    if !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(digits).ok()?.parse().ok()
}

fn until_nul(mut value: Vec<u8>) -> Vec<u8> {
    if let Some(nul) = value.iter().position(|&byte| byte == 0) {
        value.truncate(nul);
    }
    value
}

fn is_zero(bytes: &[u8]) -> bool {
    bytes.iter().all(|&byte| byte == 0)
}
