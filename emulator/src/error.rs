//! Why an emulator could not start or go on.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

/// Why an emulator could not start or go on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The address is reachable from other machines.
    #[error("refusing to listen on `{0}`, which is not a loopback address")]
    NotLoopback(SocketAddr),
    /// The address could not be bound.
    #[error("cannot listen on `{address}`")]
    Listen {
        /// The address asked for.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// Another emulator holds the state directory.
    #[error("another emulator holds the state in `{0}`")]
    InUse(PathBuf),
    /// The state could not be read or written.
    #[error("cannot use the state in `{path}`")]
    State {
        /// The state directory.
        path: PathBuf,
        /// What the system said; names the file.
        source: io::Error,
    },
    /// The file for what is said could not be opened.
    #[error("cannot write exchanges to `{path}`")]
    Record {
        /// [`Options::record`](crate::Options::record).
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// No bucket can have this name.
    #[error("invalid bucket name `{0}`")]
    BucketName(String),
}
