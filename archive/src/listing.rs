use std::os::fd::OwnedFd;

use rustix::fs::{Dir, FileType};
use rustix::io::Errno;

/// A directory's names in the order of their bytes, in one buffer: about 24 bytes a name beside the name itself.
pub(crate) struct Listing {
    names: Vec<u8>,
    spans: Vec<Span>,
    at: usize,
}

struct Span {
    start: usize,
    len: usize,
    /// As the directory says it; unknown on some file systems.
    kind: FileType,
}

impl Listing {
    pub(crate) fn read(directory: OwnedFd) -> Result<Self, Errno> {
        let mut names = Vec::new();
        let mut spans = Vec::new();
        let mut directory = Dir::new(directory)?;
        while let Some(entry) = directory.read() {
            let entry = entry?;
            let name = entry.file_name().to_bytes();
            if matches!(name, b"." | b"..") {
                continue;
            }
            spans.push(Span {
                start: names.len(),
                len: name.len(),
                kind: entry.file_type(),
            });
            names.extend_from_slice(name);
        }
        spans.sort_unstable_by(|one, other| one.name(&names).cmp(other.name(&names)));
        Ok(Self {
            names,
            spans,
            at: 0,
        })
    }

    pub(crate) fn next(&mut self) -> Option<(&[u8], FileType)> {
        let span = self.spans.get(self.at)?;
        self.at += 1;
        Some((span.name(&self.names), span.kind))
    }
}

impl Span {
    fn name<'a>(&self, names: &'a [u8]) -> &'a [u8] {
        &names[self.start..][..self.len]
    }
}
