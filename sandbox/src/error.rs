//! What can go wrong, told apart by who can do something about it.

use std::io;
use std::path::PathBuf;

/// The kernel does not let this user make the namespaces.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Refused {
    /// A switch of the kernel's forbids it.
    #[error("user namespaces are forbidden here by `{name}={value}`")]
    Switch {
        /// The sysctl, in its dotted form.
        name: &'static str,
        /// What it is set to.
        value: String,
    },
    /// All the namespaces that this user may have are taken.
    #[error("the limit of user namespaces is reached (`user.max_user_namespaces`)")]
    Limit(#[source] io::Error),
    /// No known switch is set: a seccomp filter, as Docker's, or a security module.
    #[error(
        "user namespaces are forbidden here, probably by a container's seccomp filter or a security module"
    )]
    Filter(#[source] io::Error),
    /// Namespaces can be made, but no `/proc` mounted in them: the surrounding container hides parts of its own.
    #[error(
        "a private `/proc` cannot be mounted here: the surrounding container masks parts of its own"
    )]
    MaskedProc(#[source] io::Error),
    /// The kernel is built without one of the namespaces.
    #[error("this kernel lacks a namespace that the sandbox needs")]
    Missing(#[source] io::Error),
}

impl Refused {
    /// What to type, or to ask for, so that it works.
    pub fn hint(&self) -> String {
        match self {
            Self::Switch { name, .. } => match *name {
                "kernel.apparmor_restrict_unprivileged_userns" => format!("`sudo sysctl -w {name}=0`, or an AppArmor profile for sortie that allows `userns`"),
                "user.max_user_namespaces" => format!("`sudo sysctl -w {name}=10000`"),
                _ => format!("`sudo sysctl -w {name}=1`"),
            },
            Self::Limit(_) => "raise it with `sudo sysctl -w user.max_user_namespaces=20000`".to_owned(),
            Self::Filter(_) => "in Docker: `--security-opt seccomp=unconfined --security-opt apparmor=unconfined`".to_owned(),
            Self::MaskedProc(_) => "in Docker: `--security-opt systempaths=unconfined`; in Podman: `--security-opt unmask=ALL`".to_owned(),
            Self::Missing(_) => "a kernel with CONFIG_USER_NS, CONFIG_PID_NS, CONFIG_IPC_NS and CONFIG_UTS_NS".to_owned(),
        }
    }
}

/// Why a program could not be run in a sandbox.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// See [`Refused`].
    #[error(transparent)]
    Refused(#[from] Refused),
    /// Something that the caller asked for is not there.
    #[error("cannot show `{}` in the sandbox", .path.display())]
    Source {
        /// On the host.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// An argument, a variable or a path with a NUL byte in it, or no argument at all.
    #[error("the program's {what} cannot be passed to the kernel")]
    Unpassable {
        /// Which.
        what: &'static str,
    },
    /// A step of the set-up failed.
    #[error("cannot {step}")]
    SetUp {
        /// What was tried.
        step: String,
        /// The kernel's answer.
        #[source]
        source: io::Error,
    },
    /// Everything is set up, but the program does not start.
    #[error("cannot start `{program}` in the sandbox")]
    Exec {
        /// `argv[0]`.
        program: String,
        /// The kernel's answer.
        #[source]
        source: io::Error,
    },
}
