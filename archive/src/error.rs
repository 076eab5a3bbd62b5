use std::io;
use std::path::{Path, PathBuf};

use rustix::io::Errno;

use crate::name::printable;

/// What can go wrong.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file or directory to pack cannot be read.
    #[error("cannot read `{path}`")]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// An input holds what no archive can carry.
    #[error("`{path}` is a {kind}, which cannot be packed")]
    Special {
        /// Which.
        path: PathBuf,
        /// `socket`, `fifo`, `device`.
        kind: &'static str,
    },
    /// A path is longer than any system call takes.
    #[error("the path `{path}` is longer than {max} bytes")]
    LongPath {
        /// Which.
        path: PathBuf,
        /// The longest that may be.
        max: usize,
    },
    /// A file is not what it was when the tree was scanned, or changed while being read: scan again.
    #[error("`{path}` changed while it was being packed")]
    Changed {
        /// Which.
        path: PathBuf,
    },
    /// The filter at an input's root has a line that is no pattern.
    #[error("cannot use `{path}`")]
    IgnoreFile {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: ignore::Error,
    },
    /// The packed bytes cannot be handed on.
    #[error("cannot write the archive")]
    Output(#[source] io::Error),
    /// The packed bytes cannot be read: the source failed, or they are no gzip, cut or damaged.
    #[error("cannot read the archive")]
    Stream(#[source] io::Error),
    /// The unpacked bytes are no tar.
    #[error("the archive is damaged: {0}")]
    Damaged(&'static str),
    /// An entry that the policy does not let pass.
    #[error("the archive's entry `{}` {reason}", printable(path))]
    Refused {
        /// Its path's bytes.
        path: Vec<u8>,
        /// A fragment.
        reason: &'static str,
    },
    /// The archive is larger than the policy allows.
    #[error("the archive holds more than {max} {what}")]
    Limit {
        /// `entries` or `bytes`.
        what: &'static str,
        /// How many may be.
        max: u64,
    },
    /// An entry cannot be made.
    #[error("cannot write `{path}`")]
    Write {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

impl Error {
    pub(crate) fn read(path: impl AsRef<Path>, source: impl Into<io::Error>) -> Self {
        Self::Read {
            path: path.as_ref().to_path_buf(),
            source: source.into(),
        }
    }

    /// For what was seen before: if it is no longer there, or something else is in its place, it changed.
    pub(crate) fn gone_or(path: impl AsRef<Path>, error: Errno) -> Self {
        match error {
            Errno::NOENT | Errno::NOTDIR | Errno::LOOP => Self::Changed {
                path: path.as_ref().to_path_buf(),
            },
            error => Self::read(path, error),
        }
    }

    pub(crate) fn write(path: impl AsRef<Path>, source: impl Into<io::Error>) -> Self {
        Self::Write {
            path: path.as_ref().to_path_buf(),
            source: source.into(),
        }
    }
}
