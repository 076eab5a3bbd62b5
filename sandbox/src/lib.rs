//! A private environment for one task, from Linux namespaces alone: no daemon, no image, no set-uid helper.
//!
//! What the enclosed program sees:
//!
//! | path | what it is |
//! |---|---|
//! | `/workspace` | the caller's backing directory, writable; also the working directory |
//! | `/tmp` (and `/var/tmp`) | the caller's other backing directory, writable |
//! | [`HOME`] | an empty, writable tmpfs. The caller's own home does not exist in here |
//! | `/usr` `/bin` `/sbin` `/lib*` `/etc` `/opt` `/nix` `/gnu` | the host's, read-only with everything mounted beneath |
//! | tool directories | what the caller's `PATH` needs, read-only at its own place: see below |
//! | `mounts` | read-only, each at its own place |
//! | `/proc` | of the new PID namespace, where the program is PID 1; `/proc/sys` and the like read-only |
//! | `/dev` | null zero full random urandom tty, fd links, an own shm and pts |
//! | `/sys` | only CPU topology and cgroups, read-only |
//! | `/run` | empty, but for the file that `/etc/resolv.conf` may point at |
//! | [`PROGRAM`] | the caller's program, read-only |
//!
//! The program runs as uid and gid 1000 (whoever the caller is: root outside is 1000 inside, and what it writes
//! belongs to the caller), with no capability, none to be had, and no new privileges. The network is the host's.
//! It is isolation of paths and processes for work that one has chosen to run, not a wall against an attacker.
//!
//! **Tool directories.** A `PATH` entry outside the directories above is shown with what it stands on: where it is
//! a `bin`, the installation around it; where its entries are links, the places that they lead to (a venv's `python`
//! leads to an interpreter elsewhere). Never shown that way are the home directory itself, a git working tree, and the
//! rest of a dot-directory directly in the home (`~/.cargo` and `~/.local` hold credentials beside their `bin`).

mod error;
mod host;
mod inside;
mod kernel;
mod mounts;
mod outside;
mod plan;
mod tools;
mod view;

use std::ffi::OsString;
use std::path::PathBuf;

pub use error::{Error, Refused};

/// Where [`Sandbox::program`] stands inside.
pub const PROGRAM: &str = "/.sortie/program";
/// A private home directory, empty at the start. The environment's `HOME` is the caller's to set.
pub const HOME: &str = "/home/sortie";
/// The working directory of the program.
pub const WORKSPACE: &str = "/workspace";
/// The user and group that the program runs as.
pub const UID: u32 = 1000;

/// One private environment, for one run of one program.
#[derive(Debug, Clone)]
pub struct Sandbox {
    /// An existing directory of the caller's; becomes `/workspace`, writable.
    pub workspace: PathBuf,
    /// An existing directory of the caller's; becomes `/tmp`, writable.
    pub tmp: PathBuf,
    /// The caller's home directory: hidden, except for tool directories in it.
    pub home: PathBuf,
    /// The entries of the caller's `PATH`. Relative, missing and unreadable ones are passed over.
    pub path: Vec<PathBuf>,
    /// Files and directories to show read-only at their own place besides; each must exist.
    pub mounts: Vec<PathBuf>,
    /// An executable file of the host's, shown at [`PROGRAM`].
    pub program: PathBuf,
    /// The program's soft limit on core files, in bytes, where it is not to have the caller's own.
    pub core_files: Option<u64>,
}

/// Whether the kernel lets this user make the namespaces that [`Sandbox::run`] needs. Tries it, in a few
/// milliseconds; safe to call from any thread.
pub fn check() -> Result<(), Refused> {
    outside::check()
}

impl Sandbox {
    /// Starts `argv` as PID 1 of a new environment, with exactly `env`, and stays until it has ended.
    ///
    /// Returns the exit code that the caller should end with: the program's own, or 128 plus the signal that ended
    /// it. `argv[0]` is a path inside. Signals that ask for an end (TERM, INT, HUP, QUIT) and CONT, TSTP, USR1,
    /// USR2 and WINCH are forwarded; as for any PID 1, those without a handler are dropped. Everything inside dies
    /// with the program, and the program with the calling thread, however that ends: so call this from a process
    /// that has a single thread and nothing else to do.
    pub fn run(&self, argv: &[OsString], env: &[(OsString, OsString)]) -> Result<i32, Error> {
        let steps = plan::steps(self)?;
        let program = inside::Program::new(argv, env)?.with_core_files(self.core_files);
        outside::run(&steps, &program)
    }
}
