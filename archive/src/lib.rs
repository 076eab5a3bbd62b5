//! Deterministic tarballs, and the safe unpacking of strangers' ones.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};

/// What can go wrong.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// To be replaced.
    #[error("cannot read `{path}`")]
    Read {
        /// Which file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}

/// Digests of an uncompressed tar.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Digest {
    /// MD5, lowercase hex: a pack's address.
    pub md5: String,
    /// SHA-256, lowercase hex.
    pub sha256: String,
    /// Bytes of the tar.
    pub size: u64,
}

/// An input's entries, sorted by the bytes of their paths.
#[derive(Debug)]
pub struct Tree {}

/// Something the user should know of, and that stops nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Warning {
    /// An absolute or escaping symlink, kept as it is.
    EscapingLink(PathBuf),
    /// A file that looks like a secret.
    Secret(PathBuf),
}

impl Tree {
    /// Walks `root` (a file, a link or a directory), whose entries will be `<name>/…` (or `<name>` alone).
    pub fn scan(_name: &[u8], _root: &Path) -> Result<Self, Error> {
        todo!()
    }
    /// Whether the root is a directory.
    pub fn is_directory(&self) -> bool {
        todo!()
    }
    /// How many entries.
    pub fn entries(&self) -> usize {
        todo!()
    }
    /// Bytes of the files.
    pub fn bytes(&self) -> u64 {
        todo!()
    }
    /// In the order of their paths.
    pub fn warnings(&self) -> &[Warning] {
        todo!()
    }
    /// The largest files, for the message of a large upload.
    pub fn largest(&self, _count: usize) -> Vec<(PathBuf, u64)> {
        todo!()
    }
    /// Cut by content; a small input is exactly one.
    pub fn packs(&self) -> Vec<PackPlan<'_>> {
        todo!()
    }
}

/// The entries of one pack.
#[derive(Debug)]
pub struct PackPlan<'a> {
    _tree: &'a Tree,
}

impl PackPlan<'_> {
    /// Exact bytes of the uncompressed tar, from the sizes seen by the scan.
    pub fn tar_size(&self) -> u64 {
        todo!()
    }
    /// Writes the uncompressed tar. A file that changed since the scan or while being read is an error that names it.
    pub fn write_tar<W: Write>(&self, _out: W) -> Result<Digest, Error> {
        todo!()
    }
}

/// Compresses a tar as packs are stored: gzip at level 2, stored where a sample does not compress.
#[derive(Debug)]
pub struct PackWriter<W: Write>(W);

impl<W: Write> PackWriter<W> {
    /// Begins.
    pub fn new(_out: W) -> Self {
        todo!()
    }
    /// Ends the gzip stream.
    pub fn finish(self) -> std::io::Result<W> {
        todo!()
    }
}

/// What an unpacker accepts.
#[derive(Debug, Clone)]
pub struct Policy {
    /// Keep modification times (outputs), or let files have the present time (inputs).
    pub keep_mtimes: bool,
    /// What to do with an entry that may not be: an error (inputs: our own packs have none), or leave it out, named and counted (outputs).
    pub refuse: Refuse,
    /// At the most so many entries.
    pub max_entries: u64,
    /// At the most so many bytes of files.
    pub max_bytes: u64,
    /// Owner of what is made, when root unpacks for another user.
    pub owner: Option<(u32, u32)>,
}

/// See [`Policy::refuse`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refuse {
    /// Stop.
    Fail,
    /// Leave it out.
    LeaveOut,
}

/// An entry that was left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeftOut {
    /// Its path's bytes.
    pub path: Vec<u8>,
    /// A fragment.
    pub reason: String,
}

/// Unpacks one or several archives into one directory, from several threads if wished.
#[derive(Debug)]
pub struct Unpacker {}

impl Unpacker {
    /// `target` must exist; nothing outside it is ever touched, even through links inside it.
    pub fn new(_target: &Path, _policy: Policy) -> Result<Self, Error> {
        todo!()
    }
    /// One archive (gzip, any number of members). Returns the digest of all bytes of its tar stream.
    pub fn unpack<R: Read>(&self, _gzip: R) -> Result<Digest, Error> {
        todo!()
    }
    /// Sets what must come last: permissions (and times) of directories.
    pub fn finish(self) -> Result<Unpacked, Error> {
        todo!()
    }
}

/// What was unpacked.
#[derive(Debug, Clone, Default)]
pub struct Unpacked {
    /// Entries made.
    pub entries: u64,
    /// Bytes of files.
    pub bytes: u64,
    /// The first hundred left out.
    pub left_out: Vec<LeftOut>,
    /// How many were left out.
    pub left_out_total: u64,
}

/// What an output directory was packed into.
#[derive(Debug, Clone)]
pub struct PackedOutputs {
    /// Entries packed.
    pub entries: u64,
    /// Bytes of files packed.
    pub bytes: u64,
    /// The first hundred of special files, unreadable ones and those beyond the limit.
    pub left_out: Vec<LeftOut>,
    /// How many.
    pub left_out_total: u64,
    /// Of the tar.
    pub digest: Digest,
}

/// Packs an output directory as a stream: paths relative to it, modification times kept, a writer in the
/// background tolerated (a file is cut, or filled with zeros, to the size it had when its header was written).
///
/// A directory that is missing, or is no directory (a link included), packs as empty.
pub fn pack_outputs<W: Write>(_root: &Path, _out: W, _limit: Option<u64>) -> Result<PackedOutputs, Error> {
    todo!()
}
