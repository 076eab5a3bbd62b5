use std::fmt;

use crate::{Arrival, Digest};

/// How far it is.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Progress {
    /// The base is known.
    Base {
        /// Of the one image that was chosen, no index.
        digest: Digest,
        /// Different ones.
        layers: usize,
        /// Of all layers as they are stored, in bytes.
        size: u64,
    },
    /// Bytes of a blob move. After a broken connection it begins anew.
    Sending {
        /// The blob.
        digest: Digest,
        /// So far, in bytes.
        sent: u64,
        /// Of the whole, in bytes.
        size: u64,
    },
    /// A blob is in its repository.
    Arrived {
        /// The blob.
        digest: Digest,
        /// In bytes.
        size: u64,
        /// How it came there.
        how: Arrival,
    },
}

/// What an image of its base no longer does, or does otherwise than one might expect.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Warning {
    /// The base has a user of its own, and keeps it.
    User(String),
    /// The base's entrypoint no longer starts.
    Entrypoint(String),
    /// The base's default command no longer starts.
    Cmd(String),
    /// The base's working directory is no longer the one where commands start.
    WorkingDir(String),
    /// The base's stop signal is no longer used.
    StopSignal(String),
}

impl fmt::Display for Warning {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::User(user) => write!(
                formatter,
                "the base's user `{user}` stays: tasks run as it, and cannot choose another"
            ),
            Self::Entrypoint(was) => write!(
                formatter,
                "the base's entrypoint `{was}` is replaced: name it in the command if it is needed"
            ),
            Self::Cmd(was) => write!(formatter, "the base's default command `{was}` is dropped"),
            Self::WorkingDir(was) => write!(
                formatter,
                "the base's working directory `{was}` is replaced by `/workspace`"
            ),
            Self::StopSignal(was) => write!(
                formatter,
                "the base's stop signal `{was}` is dropped: the entrypoint is stopped by SIGTERM"
            ),
        }
    }
}
