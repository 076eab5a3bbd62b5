//! Bytes on their way in: hashed as they come, kept in memory while few, on disk when many.

use std::io::{self, Cursor, Read, Write};
use std::path::{Path, PathBuf};

use base64::prelude::{BASE64_STANDARD, Engine as _};
use bytes::Bytes;
use md5::{Digest, Md5};
use tempfile::NamedTempFile;

use super::attributes::Claims;
use crate::body::Source;
use crate::refusal::{Outcome, Refusal};

/// Content up to this size lies in the object's own record: one file, one sync.
pub(crate) const INLINE_LIMIT: usize = 64 * 1024;
/// How much is gathered before a thread writes it.
const BATCH: usize = 1024 * 1024;
/// Cloud Storage's own limit on an object.
pub(crate) const OBJECT_LIMIT: u64 = 5 * 1024 * 1024 * 1024 * 1024;

/// The running digests of some content.
#[derive(Clone, Default)]
pub(crate) struct Digests {
    md5: Md5,
    crc32c: u32,
    size: u64,
}

impl Digests {
    pub(crate) fn update(&mut self, bytes: &[u8]) {
        self.md5.update(bytes);
        self.crc32c = crc32c::crc32c_append(self.crc32c, bytes);
        self.size += bytes.len() as u64;
    }

    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    fn md5(&self) -> String {
        BASE64_STANDARD.encode(self.md5.clone().finalize())
    }

    fn crc32c(&self) -> String {
        BASE64_STANDARD.encode(self.crc32c.to_be_bytes())
    }
}

/// Where content lies until it becomes an object.
pub(crate) enum Data {
    Memory(Vec<u8>),
    File(tempfile::TempPath),
}

impl Data {
    /// Reads it once, and then it is gone.
    pub(crate) fn reader(self) -> io::Result<Box<dyn Read + Send>> {
        Ok(match self {
            Self::Memory(bytes) => Box::new(Cursor::new(bytes)),
            Self::File(path) => Box::new(fs_err::File::open(&path)?),
        })
    }
}

/// Whole content with its digests.
pub(crate) struct Content {
    pub(crate) data: Data,
    pub(crate) size: u64,
    /// Base64; a composite has none.
    pub(crate) md5: Option<String>,
    pub(crate) crc32c: String,
    /// How many objects a composite was made of.
    pub(crate) components: Option<u32>,
}

impl Content {
    pub(crate) fn new(digests: &Digests, data: Data) -> Self {
        let (md5, crc32c) = (Some(digests.md5()), digests.crc32c());
        Self {
            data,
            size: digests.size,
            md5,
            crc32c,
            components: None,
        }
    }

    /// Holds the digests against what the client claimed.
    pub(crate) fn verify(&self, claims: &Claims) -> Outcome<()> {
        let differs = |kind: &str, claimed: &str, actual: &str| {
            let message = format!(
                "Provided {kind} \"{claimed}\" doesn't match calculated {kind} \"{actual}\"."
            );
            Err(Refusal::invalid(message))
        };
        match (&claims.md5, &self.md5) {
            (Some(claimed), Some(actual)) if claimed != actual => {
                return differs("MD5 hash", claimed, actual);
            }
            _ => {}
        }
        match &claims.crc32c {
            Some(claimed) if *claimed != self.crc32c => differs("CRC32C", claimed, &self.crc32c),
            _ => Ok(()),
        }
    }
}

/// Takes content in.
pub(crate) struct Sink {
    directory: PathBuf,
    digests: Digests,
    memory: Vec<u8>,
    file: Option<NamedTempFile>,
    waiting: Vec<Bytes>,
    waiting_size: usize,
}

impl Sink {
    /// `directory` holds what is too much for memory; it must be on the store's file system.
    pub(crate) fn new(directory: &Path) -> Self {
        Self {
            directory: directory.to_owned(),
            digests: Digests::default(),
            memory: Vec::new(),
            file: None,
            waiting: Vec::new(),
            waiting_size: 0,
        }
    }

    pub(crate) async fn write(&mut self, bytes: Bytes) -> Outcome<()> {
        self.waiting_size += bytes.len();
        self.waiting.push(bytes);
        if self.digests.size + self.waiting_size as u64 > OBJECT_LIMIT {
            return Err(Refusal::too_large(
                "Payload is larger than the maximum object size.",
            ));
        }
        if self.waiting_size >= BATCH {
            self.flush().await
        } else {
            Ok(())
        }
    }

    /// Takes all of a body.
    pub(crate) async fn write_all(&mut self, body: &mut Source) -> Outcome<()> {
        while let Some(bytes) = body.next().await? {
            self.write(bytes).await?;
        }
        Ok(())
    }

    pub(crate) async fn finish(mut self) -> Outcome<Content> {
        if self.file.is_none() && self.memory.len() + self.waiting_size <= INLINE_LIMIT {
            self.absorb()?;
        } else {
            self.flush().await?;
        }
        let data = match self.file.take() {
            Some(file) => Data::File(blocking(move || sync(file)).await?),
            None => Data::Memory(std::mem::take(&mut self.memory)),
        };
        Ok(Content::new(&self.digests, data))
    }

    /// Writes what waits, on a thread that may block.
    async fn flush(&mut self) -> Outcome<()> {
        let empty = Self::new(&self.directory);
        let mut sink = std::mem::replace(self, empty);
        *self = blocking(move || {
            sink.absorb()?;
            Ok(sink)
        })
        .await?;
        Ok(())
    }

    fn absorb(&mut self) -> io::Result<()> {
        if self.file.is_none() && self.memory.len() + self.waiting_size > INLINE_LIMIT {
            let mut file = NamedTempFile::new_in(&self.directory)?;
            file.write_all(&std::mem::take(&mut self.memory))?;
            self.file = Some(file);
        }
        for bytes in std::mem::take(&mut self.waiting) {
            self.digests.update(&bytes);
            match &mut self.file {
                Some(file) => file.write_all(&bytes)?,
                None => self.memory.extend_from_slice(&bytes),
            }
        }
        self.waiting_size = 0;
        Ok(())
    }
}

fn sync(file: NamedTempFile) -> io::Result<tempfile::TempPath> {
    file.as_file().sync_data()?;
    Ok(file.into_temp_path())
}

/// Runs what blocks on a thread that may.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> Outcome<T> {
    let done = tokio::task::spawn_blocking(work)
        .await
        .map_err(io::Error::other)?;
    Ok(done?)
}
