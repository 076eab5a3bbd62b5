//! The set-up as a list of steps, made in full before the new process exists: that one must not allocate.

use std::collections::BTreeSet;
use std::ffi::CString;
use std::fmt;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use rustix::mount::MountFlags;

use crate::mounts::{self, Mount};
use crate::view::View;
use crate::{Error, HOME, PROGRAM, Sandbox, UID, WORKSPACE, kernel, tools};

/// While the new root is being made, the host's lies here.
pub(crate) const OLD_ROOT: &str = "/old";
/// And the new one here.
pub(crate) const NEW_ROOT: &str = "/new";

/// What the system needs to run any program. Those that exist.
const SYSTEM: [&str; 12] = [
    "/usr",
    "/bin",
    "/sbin",
    "/lib",
    "/lib32",
    "/lib64",
    "/libx32",
    "/etc",
    "/opt",
    "/nix",
    "/gnu",
    "/var/lib/ca-certificates",
];
/// Runtimes count processors and memory with these.
const SYSFS: [&str; 2] = ["/sys/devices/system", "/sys/fs/cgroup"];
const DEVICES: [&str; 6] = ["null", "zero", "full", "random", "urandom", "tty"];
const DEVICE_LINKS: [(&str, &str); 5] = [
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
    ("ptmx", "pts/ptmx"),
];
/// Root outside owns these inside, whatever the user is called: they steer the host.
const PROC_OF_THE_HOST: [&str; 5] = ["sys", "sysrq-trigger", "irq", "bus", "fs"];
const PASSWD: &str = "/.sortie/passwd";
const GROUP: &str = "/.sortie/group";

/// One call of the kernel's. Paths are where things are while the new root is being made.
#[derive(Debug)]
pub(crate) enum Step {
    /// A directory, unless there is one.
    Directory { at: CString, mode: u32 },
    /// A file, unless there is one.
    File { at: CString, content: Vec<u8> },
    /// A symbolic link.
    Link { at: CString, target: CString },
    /// A memory filesystem.
    Memory { at: CString, options: CString },
    /// The processes of the new namespace.
    Processes { at: CString },
    /// Terminals of our own; a kernel that has none to give is no hindrance.
    Terminals { at: CString },
    /// A path of the host's at a place of ours, with what is mounted beneath.
    Bind { from: CString, at: CString },
    /// A mount and all beneath it become read-only.
    ReadOnlyTree { at: CString },
    /// One mount gets other flags.
    Remount { at: CString, flags: MountFlags },
}

impl fmt::Display for Step {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (verb, at) = match self {
            Self::Directory { at, .. } => ("make the directory", at),
            Self::File { at, .. } => ("make the file", at),
            Self::Link { at, .. } => ("make the link", at),
            Self::Memory { at, .. } => ("mount a tmpfs at", at),
            Self::Processes { at } => ("mount a procfs at", at),
            Self::Terminals { at } => ("mount a devpts at", at),
            Self::Bind { at, .. } => ("show", at),
            Self::ReadOnlyTree { at } | Self::Remount { at, .. } => ("make read-only", at),
        };
        let at = at.to_string_lossy();
        write!(
            formatter,
            "{verb} `{}`",
            at.strip_prefix(NEW_ROOT).unwrap_or(&at)
        )
    }
}

/// All steps from an empty root to the environment that `sandbox` describes.
pub(crate) fn steps(sandbox: &Sandbox) -> Result<Vec<Step>, Error> {
    steps_for(
        sandbox,
        if kernel::has_mount_setattr() {
            None
        } else {
            Some(host_mounts()?)
        },
    )
}

/// `host_mounts`: for a kernel that cannot make a tree read-only by itself.
pub(crate) fn steps_for(
    sandbox: &Sandbox,
    host_mounts: Option<Vec<Mount>>,
) -> Result<Vec<Step>, Error> {
    let view = view_of(sandbox)?;
    let mut plan = Plan::new(host_mounts);
    plan.root()?;
    for (from, at) in [(&sandbox.workspace, WORKSPACE), (&sandbox.tmp, "/tmp")] {
        plan.bind(&real(from)?, Path::new(at))?;
    }
    plan.memory(HOME, "mode=0700")?;
    plan.memory("/run", "mode=0755")?;
    plan.link(Path::new("/var/tmp"), Path::new("/tmp"))?;
    plan.devices()?;
    plan.processes()?;
    for directory in SYSFS.iter().map(Path::new).filter(|path| path.exists()) {
        plan.bind_read_only(&real(directory)?, directory)?;
    }
    for path in view.real() {
        plan.bind_read_only(path, path)?;
    }
    for (at, target) in view.links() {
        plan.link(at, target)?;
    }
    plan.bind_read_only(&real(&sandbox.program)?, Path::new(PROGRAM))?;
    plan.accounts()?;
    plan.seal()?;
    Ok(plan.steps)
}

/// The steps that a kernel or a container around us may refuse.
pub(crate) fn probe() -> Result<Vec<Step>, Error> {
    let mut plan = Plan::new(None);
    plan.root()?;
    plan.directory(Path::new("/proc"))?;
    plan.steps.push(Step::Processes {
        at: new(Path::new("/proc"))?,
    });
    Ok(plan.steps)
}

fn view_of(sandbox: &Sandbox) -> Result<View, Error> {
    let mut view = View::default();
    for path in SYSTEM.iter().map(Path::new).filter(|path| path.exists()) {
        view.show(path).map_err(|source| unseen(path, source))?;
    }
    // On many systems a link into /run, which is private.
    let resolver = Path::new("/etc/resolv.conf");
    if resolver.exists() {
        view.show(resolver)
            .map_err(|source| unseen(resolver, source))?;
    }
    for mount in &sandbox.mounts {
        let absolute = std::path::absolute(mount).map_err(|source| unseen(mount, source))?;
        view.show(&absolute)
            .map_err(|source| unseen(mount, source))?;
    }
    tools::show(&mut view, &sandbox.path, &sandbox.home);
    Ok(view)
}

fn unseen(path: &Path, source: io::Error) -> Error {
    Error::Source {
        path: path.to_owned(),
        source,
    }
}

fn real(path: &Path) -> Result<PathBuf, Error> {
    path.canonicalize().map_err(|source| unseen(path, source))
}

/// A path of the host's, as seen while the new root is being made.
fn old(path: &Path) -> Result<CString, Error> {
    rooted(OLD_ROOT, path)
}

fn new(path: &Path) -> Result<CString, Error> {
    rooted(NEW_ROOT, path)
}

fn rooted(root: &str, path: &Path) -> Result<CString, Error> {
    let mut whole = root.as_bytes().to_vec();
    whole.extend_from_slice(path.as_os_str().as_bytes());
    c_string(&whole)
}

fn c_string(bytes: &[u8]) -> Result<CString, Error> {
    CString::new(bytes).map_err(|_| Error::Unpassable { what: "path" })
}

struct Plan {
    steps: Vec<Step>,
    directories: BTreeSet<PathBuf>,
    /// Only where the kernel cannot make a tree read-only by itself.
    host_mounts: Option<Vec<Mount>>,
}

impl Plan {
    fn new(host_mounts: Option<Vec<Mount>>) -> Self {
        Self {
            steps: Vec::new(),
            directories: BTreeSet::from([PathBuf::from("/")]),
            host_mounts,
        }
    }

    fn root(&mut self) -> Result<(), Error> {
        self.steps.push(Step::Memory {
            at: c_string(NEW_ROOT.as_bytes())?,
            options: c_string(b"mode=0755,size=16m")?,
        });
        Ok(())
    }

    fn directory(&mut self, path: &Path) -> Result<(), Error> {
        let missing: Vec<_> = path
            .ancestors()
            .take_while(|path| !self.directories.contains(*path))
            .map(Path::to_owned)
            .collect();
        for path in missing.into_iter().rev() {
            self.steps.push(Step::Directory {
                at: new(&path)?,
                mode: 0o755,
            });
            self.directories.insert(path);
        }
        Ok(())
    }

    fn parent_of(&mut self, path: &Path) -> Result<(), Error> {
        path.parent()
            .map_or(Ok(()), |parent| self.directory(parent))
    }

    fn file(&mut self, path: &Path, content: Vec<u8>) -> Result<(), Error> {
        self.parent_of(path)?;
        self.steps.push(Step::File {
            at: new(path)?,
            content,
        });
        Ok(())
    }

    fn link(&mut self, at: &Path, target: &Path) -> Result<(), Error> {
        self.parent_of(at)?;
        self.steps.push(Step::Link {
            at: new(at)?,
            target: c_string(target.as_os_str().as_bytes())?,
        });
        Ok(())
    }

    fn memory(&mut self, at: &str, options: &str) -> Result<(), Error> {
        self.directory(Path::new(at))?;
        self.steps.push(Step::Memory {
            at: new(Path::new(at))?,
            options: c_string(options.as_bytes())?,
        });
        Ok(())
    }

    /// Shows a real path of the host's.
    fn bind(&mut self, from: &Path, at: &Path) -> Result<(), Error> {
        if from.is_dir() {
            self.directory(at)?;
        } else {
            self.file(at, Vec::new())?;
        }
        self.steps.push(Step::Bind {
            from: old(from)?,
            at: new(at)?,
        });
        Ok(())
    }

    fn bind_read_only(&mut self, from: &Path, at: &Path) -> Result<(), Error> {
        self.bind(from, at)?;
        let Some(host_mounts) = &self.host_mounts else {
            self.steps.push(Step::ReadOnlyTree { at: new(at)? });
            return Ok(());
        };
        for mount in mounts::covering(host_mounts, from) {
            // A file joined with an empty rest would become a directory.
            let rest = mount
                .at
                .strip_prefix(from)
                .ok()
                .filter(|rest| !rest.as_os_str().is_empty());
            let place = rest.map_or_else(|| at.to_owned(), |rest| at.join(rest));
            self.steps.push(read_only(&place, mount.flags)?);
        }
        Ok(())
    }

    fn devices(&mut self) -> Result<(), Error> {
        self.memory("/dev", "mode=0755,size=1m")?;
        for device in DEVICES
            .iter()
            .map(|name| Path::new("/dev").join(name))
            .filter(|path| path.exists())
        {
            self.bind(&device, &device)?;
        }
        for (name, target) in DEVICE_LINKS {
            self.link(&Path::new("/dev").join(name), Path::new(target))?;
        }
        self.memory("/dev/shm", "mode=1777")?;
        self.directory(Path::new("/dev/pts"))?;
        self.steps.push(Step::Terminals {
            at: new(Path::new("/dev/pts"))?,
        });
        Ok(())
    }

    fn processes(&mut self) -> Result<(), Error> {
        self.directory(Path::new("/proc"))?;
        self.steps.push(Step::Processes {
            at: new(Path::new("/proc"))?,
        });
        for name in PROC_OF_THE_HOST {
            let path = Path::new("/proc").join(name);
            if path.exists() {
                let at = new(&path)?;
                self.steps.push(Step::Bind {
                    from: at.clone(),
                    at,
                });
                self.steps.push(read_only(
                    &path,
                    MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC,
                )?);
            }
        }
        Ok(())
    }

    /// The names of user and group 1000, over the host's. A host without the files, or with links, has its own ways.
    fn accounts(&mut self) -> Result<(), Error> {
        let ours = [
            (
                "/etc/passwd",
                PASSWD,
                format!("sortie:x:{UID}:{UID}:sortie:{HOME}:/bin/sh\n"),
            ),
            ("/etc/group", GROUP, format!("sortie:x:{UID}:\n")),
        ];
        for (theirs, at, first) in ours {
            let theirs = Path::new(theirs);
            if theirs
                .symlink_metadata()
                .is_ok_and(|metadata| metadata.is_file())
            {
                let host = fs::read_to_string(theirs).map_err(|source| unseen(theirs, source))?;
                self.file(Path::new(at), accounts_with(&first, &host).into_bytes())?;
                self.steps.push(Step::Bind {
                    from: new(Path::new(at))?,
                    at: new(theirs)?,
                });
                self.steps
                    .push(read_only(theirs, MountFlags::NOSUID | MountFlags::NODEV)?);
            }
        }
        Ok(())
    }

    /// The root itself takes no new entries.
    fn seal(&mut self) -> Result<(), Error> {
        let step = Step::Remount {
            at: c_string(NEW_ROOT.as_bytes())?,
            flags: MountFlags::RDONLY | MountFlags::NOSUID | MountFlags::NODEV,
        };
        self.steps.push(step);
        Ok(())
    }
}

fn read_only(at: &Path, flags: MountFlags) -> Result<Step, Error> {
    Ok(Step::Remount {
        at: new(at)?,
        flags: flags | MountFlags::RDONLY,
    })
}

pub(crate) fn host_mounts() -> Result<Vec<Mount>, Error> {
    let file = Path::new("/proc/self/mountinfo");
    let mountinfo = fs::read(file).map_err(|source| unseen(file, source))?;
    Ok(mounts::parse(&String::from_utf8_lossy(&mountinfo)))
}

/// A passwd or group file that starts with `first`, and has no other line for its name or number.
fn accounts_with(first: &str, host: &str) -> String {
    let uid = UID.to_string();
    let others = host.lines().filter(|line| {
        let mut fields = line.split(':');
        fields.next() != Some("sortie") && fields.nth(1) != Some(uid.as_str())
    });
    others.fold(first.to_owned(), |whole, line| whole + line + "\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_1000_is_ours_alone() {
        let host = "root:x:0:0:root:/root:/bin/bash\nann:x:1000:1000::/home/ann:/bin/sh\nbob:x:1001:1000::/home/bob:/bin/sh\n";
        let whole = accounts_with("sortie:x:1000:1000:::\n", host);
        assert_eq!(
            whole,
            "sortie:x:1000:1000:::\nroot:x:0:0:root:/root:/bin/bash\nbob:x:1001:1000::/home/bob:/bin/sh\n"
        );
    }
}
