//! One entry's header blocks, in the dialect that decides an address.

use tar::{EntryType, Header};

/// Of every part of a tar.
pub(crate) const BLOCK: u64 = 512;
/// The same, as a length in memory.
pub(crate) const BLOCK_LEN: usize = 512;
/// The end of an archive: two blocks of zeros, and no filling up to a record.
pub(crate) const END: u64 = 2 * BLOCK;

const MAX_NAME: usize = 100;
const MAX_PREFIX: usize = 155;
const MAX_LINK: usize = 100;
/// What GNU calls an entry whose data is the next one's name.
const LONG_NAME: &[u8] = b"././@LongLink";

/// What an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link.
    Link,
}

/// What a header says.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Record<'a> {
    /// Without a final slash.
    pub(crate) path: &'a [u8],
    pub(crate) kind: Kind,
    /// Permission bits alone.
    pub(crate) mode: u32,
    /// Of a file.
    pub(crate) size: u64,
    /// Seconds.
    pub(crate) mtime: u64,
    /// Target of a link.
    pub(crate) link: &'a [u8],
}

impl Record<'_> {
    /// Bytes in the tar: headers, and a file's data with its padding.
    pub(crate) fn weight(&self) -> u64 {
        let name_len = self.path.len() + usize::from(self.kind == Kind::Directory);
        let long_name = if name_len <= MAX_NAME || self.name_split().is_some() {
            0
        } else {
            long_weight(name_len)
        };
        let long_link = if self.link.len() <= MAX_LINK {
            0
        } else {
            long_weight(self.link.len())
        };
        long_link + long_name + BLOCK + padded(self.size)
    }

    /// Appends the header, and before it what does not fit.
    pub(crate) fn append_to(&self, out: &mut Vec<u8>) {
        let mut name = self.path.to_vec();
        if self.kind == Kind::Directory {
            name.push(b'/');
        }
        let (prefix, short) = match self.name_split() {
            Some(slash) => (&name[..slash], &name[slash + 1..]),
            None => (&b""[..], &name[..]),
        };
        if self.link.len() > MAX_LINK {
            append_long(out, EntryType::GNULongLink, self.link);
        }
        if short.len() > MAX_NAME {
            append_long(out, EntryType::GNULongName, &name);
        }
        out.extend_from_slice(self.header(prefix, short).as_bytes());
    }

    fn header(&self, prefix: &[u8], name: &[u8]) -> Header {
        let mut header = Header::new_ustar();
        header.set_entry_type(match self.kind {
            Kind::File => EntryType::Regular,
            Kind::Directory => EntryType::Directory,
            Kind::Link => EntryType::Symlink,
        });
        // A link's own bits mean nothing, and differ between systems.
        header.set_mode(if self.kind == Kind::Link {
            0o777
        } else {
            self.mode
        });
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(self.mtime);
        header.set_size(self.size);
        if let Some(ustar) = header.as_ustar_mut() {
            fill(&mut ustar.prefix, prefix);
            fill(&mut ustar.name, name);
            fill(&mut ustar.linkname, self.link);
        }
        header.set_cksum();
        header
    }

    /// Where to cut a name that is too long for one field but fits two: at the first slash that leaves a short enough rest.
    fn name_split(&self) -> Option<usize> {
        let name_len = self.path.len() + usize::from(self.kind == Kind::Directory);
        if name_len <= MAX_NAME {
            return None;
        }
        let first = (name_len - MAX_NAME - 1).max(1);
        let last = MAX_PREFIX.min(self.path.len());
        (first..=last).find(|&at| self.path.get(at) == Some(&b'/'))
    }
}

/// Rounded up to whole blocks.
pub(crate) fn padded(size: u64) -> u64 {
    size.div_ceil(BLOCK).saturating_mul(BLOCK)
}

/// Header and data, with the final NUL.
fn long_weight(len: usize) -> u64 {
    BLOCK + padded(len as u64 + 1)
}

fn append_long(out: &mut Vec<u8>, kind: EntryType, value: &[u8]) {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(0o644);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_size(value.len() as u64 + 1);
    if let Some(gnu) = header.as_gnu_mut() {
        fill(&mut gnu.name, LONG_NAME);
    }
    header.set_cksum();
    out.extend_from_slice(header.as_bytes());
    out.extend_from_slice(value);
    out.push(0);
    out.resize(out.len().next_multiple_of(BLOCK_LEN), 0);
}

/// As much of `value` as the field takes.
fn fill(field: &mut [u8], value: &[u8]) {
    let len = value.len().min(field.len());
    field[..len].copy_from_slice(&value[..len]);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blocks(record: &Record<'_>) -> Vec<u8> {
        let mut out = Vec::new();
        record.append_to(&mut out);
        assert_eq!(out.len() as u64 + padded(record.size), record.weight());
        out
    }

    fn file(path: &[u8], size: u64) -> Record<'_> {
        Record {
            path,
            kind: Kind::File,
            mode: 0o644,
            size,
            mtime: 0,
            link: b"",
        }
    }

    #[test]
    fn a_short_name_takes_one_block() {
        let out = blocks(&file(b"name/file", 5));
        assert_eq!(out.len(), 512);
        assert_eq!(&out[..10], b"name/file\0");
        assert_eq!(&out[100..108], b"0000644\0");
        assert_eq!(&out[124..136], b"00000000005\0");
        assert_eq!(&out[136..148], b"00000000000\0");
        assert_eq!(&out[257..265], b"ustar\x0000");
    }

    #[test]
    fn a_long_path_is_split_at_a_slash() {
        let path = [&b"d/".repeat(60)[..], &[b'f'; 100]].concat();
        let out = blocks(&file(&path, 0));
        assert_eq!(out.len(), 512);
        assert_eq!(&out[..100], [b'f'; 100]);
        assert_eq!(Header::from_byte_slice(&out).path_bytes(), &path[..]);
    }

    #[test]
    fn every_length_comes_back_through_the_tar_crate() {
        for kind in [Kind::File, Kind::Directory] {
            for len in 90..400 {
                for step in [7, 50, 101, 200] {
                    let path: Vec<u8> = (0..len)
                        .map(|at| {
                            if at % step == step - 1 && at + 1 < len {
                                b'/'
                            } else {
                                b'x'
                            }
                        })
                        .collect();
                    let mut out = blocks(&Record {
                        kind,
                        ..file(&path, 0)
                    });
                    out.resize(out.len() + 1024, 0);
                    let mut archive = tar::Archive::new(&out[..]);
                    let entry = archive.entries().unwrap().next().unwrap().unwrap();
                    let name = entry.path_bytes();
                    assert_eq!(name.strip_suffix(b"/").unwrap_or(&name), &path[..]);
                    assert_eq!(name.ends_with(b"/"), kind == Kind::Directory);
                }
            }
        }
    }

    #[test]
    fn eight_gigabytes_need_base_256() {
        let small = blocks(&file(b"f", (8 << 30) - 1));
        assert_eq!(&small[124..136], b"77777777777\0");
        let large = blocks(&file(b"f", 8 << 30));
        assert_eq!(large[124], 0x80);
        assert_eq!(
            Header::from_byte_slice(&large).entry_size().unwrap(),
            8 << 30
        );
    }

    #[test]
    fn a_long_target_goes_before() {
        let target = [b't'; 101];
        let out = blocks(&Record {
            kind: Kind::Link,
            link: &target,
            ..file(b"l", 0)
        });
        assert_eq!(out.len(), 512 * 3);
        assert_eq!(out[156], b'K');
        assert_eq!(&out[512..613], &target);
        assert_eq!(out[1024 + 156], b'2');
    }
}
