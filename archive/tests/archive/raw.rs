//! Tars built header by header, with what no honest writer puts in them.

use tar::{EntryType, Header};

#[derive(Default)]
pub(crate) struct RawTar {
    bytes: Vec<u8>,
}

impl RawTar {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    pub(crate) fn entry(
        self,
        name: impl AsRef<[u8]>,
        kind: EntryType,
        link: impl AsRef<[u8]>,
        data: impl AsRef<[u8]>,
    ) -> Self {
        self.with(name, kind, data, |header| {
            let link = link.as_ref();
            header.as_old_mut().linkname[..link.len()].copy_from_slice(link);
        })
    }

    pub(crate) fn file(self, name: impl AsRef<[u8]>, data: impl AsRef<[u8]>) -> Self {
        self.entry(name, EntryType::Regular, "", data)
    }

    pub(crate) fn dir(self, name: impl AsRef<[u8]>, mode: u32) -> Self {
        self.with(name, EntryType::Directory, "", |header| {
            header.set_mode(mode);
        })
    }

    pub(crate) fn link(self, name: impl AsRef<[u8]>, target: impl AsRef<[u8]>) -> Self {
        self.entry(name, EntryType::Symlink, target, "")
    }

    pub(crate) fn pax(self, records: &[(&str, &[u8])]) -> Self {
        let mut data = Vec::new();
        for (key, value) in records {
            let body = key.len() + value.len() + 3;
            let len = (body..body + 9)
                .find(|len| len.to_string().len() + body == *len)
                .unwrap();
            data.extend_from_slice(format!("{len} {key}=").as_bytes());
            data.extend_from_slice(value);
            data.push(b'\n');
        }
        self.entry("pax", EntryType::XHeader, "", data)
    }

    /// The header is handed out just before its checksum is set.
    pub(crate) fn with(
        mut self,
        name: impl AsRef<[u8]>,
        kind: EntryType,
        data: impl AsRef<[u8]>,
        change: impl FnOnce(&mut Header),
    ) -> Self {
        let (name, data) = (name.as_ref(), data.as_ref());
        let mut header = Header::new_ustar();
        header.as_old_mut().name[..name.len()].copy_from_slice(name);
        header.set_entry_type(kind);
        header.set_mode(0o644);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(1_000_000_000);
        header.set_size(data.len() as u64);
        change(&mut header);
        header.set_cksum();
        self.bytes.extend_from_slice(header.as_bytes());
        self.data(data)
    }

    /// Any bytes, filled up to a block.
    pub(crate) fn data(mut self, data: impl AsRef<[u8]>) -> Self {
        self.bytes.extend_from_slice(data.as_ref());
        self.bytes.resize(self.bytes.len().next_multiple_of(512), 0);
        self
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(crate) fn unfinished(self) -> Vec<u8> {
        self.bytes
    }

    pub(crate) fn finish(mut self) -> Vec<u8> {
        self.bytes.resize(self.bytes.len() + 1024, 0);
        self.bytes
    }
}
