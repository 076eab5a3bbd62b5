//! What an emulator is told at its start.

use std::ffi::OsString;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// Everything an [`Emulator`](crate::Emulator) is told.
#[derive(Clone)]
pub struct Config {
    /// The directory of all durable state; made if missing, and held by one emulator at a time.
    pub state: PathBuf,
    /// Where to listen; anything but a loopback address is refused. Port 0 picks a free one.
    pub listen: SocketAddr,
    /// The one project this machine plays.
    pub project: String,
    /// The one region of its jobs.
    pub region: String,
    /// The argv that starts a task's container; empty starts the container's own command.
    pub runner: Vec<OsString>,
    /// The token with all rights.
    pub owner_token: String,
    /// Whether storage can be used with no token, or with one we never gave.
    pub anonymous_storage: bool,
    /// Whose token the metadata server hands out, and what it may do.
    pub container_account: Account,
    /// How long to stay with nothing running and nobody calling; `None` stays.
    pub idle_exit: Option<Duration>,
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("state", &self.state)
            .field("listen", &self.listen)
            .field("project", &self.project)
            .field("region", &self.region)
            .field("runner", &self.runner)
            .field("owner_token", &"…")
            .field("anonymous_storage", &self.anonymous_storage)
            .field("container_account", &self.container_account)
            .field("idle_exit", &self.idle_exit)
            .finish()
    }
}

/// A service account and its rights on objects.
#[derive(Clone, Debug, Default)]
pub struct Account {
    /// Its email.
    pub email: String,
    /// What it may do; nothing else is allowed.
    pub grants: Vec<Grant>,
}

/// One right on the objects whose names start with a prefix.
#[derive(Clone, Debug)]
pub struct Grant {
    /// What may be done.
    pub permission: Permission,
    /// To which names. [`Permission::List`] is checked on the bucket, so only an empty prefix grants it.
    pub prefix: String,
}

/// What can be done to an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Permission {
    /// `storage.objects.get`
    Get,
    /// `storage.objects.create`
    Create,
    /// `storage.objects.list`
    List,
    /// `storage.objects.delete`; an insert that overwrites needs it too.
    Delete,
    /// `storage.objects.update`
    Update,
}

impl Permission {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Get => "storage.objects.get",
            Self::Create => "storage.objects.create",
            Self::List => "storage.objects.list",
            Self::Delete => "storage.objects.delete",
            Self::Update => "storage.objects.update",
        }
    }
}
