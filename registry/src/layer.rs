use std::io::{self, Write};
use std::path::Path;

use bytes::Bytes;
use flate2::{Compression, GzBuilder};
use tar::{Builder, EntryType, Header};

use crate::blob::Blob;
use crate::{Digest, RegistryError, elf};

/// Where the entrypoint lies in an image.
pub const ENTRYPOINT: &str = "/usr/local/bin/sortie-entrypoint";

/// A larger file is not what we think it is.
const LIMIT: u64 = 256 << 20;

/// One gzipped tar, the same for the same file whenever and wherever it is made.
#[derive(Debug)]
pub(crate) struct Layer {
    pub(crate) bytes: Bytes,
    pub(crate) blob: Blob,
    /// The digest of the tar.
    pub(crate) diff_id: Digest,
}

/// Reads the entrypoint and refuses what would not run.
pub(crate) fn read_entrypoint(path: &Path) -> Result<Vec<u8>, RegistryError> {
    let size = fs_err::metadata(path)
        .map_err(RegistryError::Entrypoint)?
        .len();
    let refuse = |reason: String| RegistryError::NotStatic {
        path: path.to_owned(),
        reason,
    };
    if size > LIMIT {
        return Err(refuse(format!("it has more than {LIMIT} bytes")));
    }
    let file = fs_err::read(path).map_err(RegistryError::Entrypoint)?;
    match elf::objection(&file) {
        Some(reason) => Err(refuse(reason)),
        None => Ok(file),
    }
}

impl Layer {
    /// `workspace`: with a `/workspace` that anybody may write to, for an image whose user is not root.
    ///
    /// Each parent directory has an entry: where a base lacks them, some runtimes would make them with mode 0600.
    pub(crate) fn new(entrypoint: &[u8], workspace: bool) -> Result<Self, RegistryError> {
        let tar = tar(entrypoint, workspace).map_err(RegistryError::Entrypoint)?;
        let bytes = gzip(&tar).map_err(RegistryError::Entrypoint)?;
        Ok(Self {
            blob: Blob {
                digest: Digest::of(&bytes),
                size: bytes.len() as u64,
            },
            bytes: bytes.into(),
            diff_id: Digest::of(&tar),
        })
    }
}

fn tar(entrypoint: &[u8], workspace: bool) -> io::Result<Vec<u8>> {
    let mut builder = Builder::new(Vec::new());
    for directory in ["usr/", "usr/local/", "usr/local/bin/"] {
        let header = &mut header(EntryType::Directory, 0o755, 0);
        builder.append_data(header, directory, io::empty())?;
    }
    let size = entrypoint.len() as u64;
    let path = ENTRYPOINT.trim_start_matches('/');
    builder.append_data(
        &mut header(EntryType::Regular, 0o755, size),
        path,
        entrypoint,
    )?;
    if workspace {
        let header = &mut header(EntryType::Directory, 0o1777, 0);
        builder.append_data(header, "workspace/", io::empty())?;
    }
    builder.into_inner()
}

fn header(kind: EntryType, mode: u32, size: u64) -> Header {
    let mut header = Header::new_ustar();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_size(size);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header
}

fn gzip(tar: &[u8]) -> io::Result<Vec<u8>> {
    let mut encoder = GzBuilder::new().write(Vec::new(), Compression::new(6));
    encoder.write_all(tar)?;
    encoder.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    fn entries(layer: &Layer) -> Vec<(String, u32, u64, u64)> {
        let gunzip = flate2::read::GzDecoder::new(&layer.bytes[..]);
        let mut archive = tar::Archive::new(gunzip);
        let entries = archive.entries().unwrap().map(|entry| {
            let entry = entry.unwrap();
            let header = entry.header();
            assert_eq!((header.uid().unwrap(), header.gid().unwrap()), (0, 0));
            let path = String::from_utf8(entry.path_bytes().into_owned()).unwrap();
            let mode = header.mode().unwrap();
            (path, mode, header.size().unwrap(), header.mtime().unwrap())
        });
        entries.collect()
    }

    #[test]
    fn the_file_and_its_parents_are_in_it() {
        let entry = |path: &str, mode, size| (path.to_owned(), mode, size, 0);
        let expected = [
            entry("usr/", 0o755, 0),
            entry("usr/local/", 0o755, 0),
            entry("usr/local/bin/", 0o755, 0),
            entry("usr/local/bin/sortie-entrypoint", 0o755, 3),
        ];
        assert_eq!(entries(&Layer::new(b"abc", false).unwrap()), expected);
        let with = entries(&Layer::new(b"abc", true).unwrap());
        assert_eq!(with.last().unwrap(), &entry("workspace/", 0o1777, 0));
    }

    #[test]
    fn its_digests_are_those_of_its_bytes() {
        let layer = Layer::new(b"abc", false).unwrap();
        let mut tar = Vec::new();
        let mut gunzip = flate2::read::GzDecoder::new(&layer.bytes[..]);
        gunzip.read_to_end(&mut tar).unwrap();
        assert_eq!(layer.diff_id, Digest::of(&tar));
        assert_eq!(layer.blob.digest, Digest::of(&layer.bytes));
        let again = Layer::new(b"abc", false).unwrap();
        assert_eq!(layer.bytes, again.bytes);
        // The tar's bytes are fixed; those of the gzip may change with the compressor.
        let golden = "sha256:f529c6fdc1df613bd84c6acde0f6e611d71325bc9e805d206148a1fc54b03403";
        assert_eq!(layer.diff_id.as_str(), golden);
    }
}
