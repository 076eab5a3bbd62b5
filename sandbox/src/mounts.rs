//! The host's mounts, for kernels that cannot make a whole tree of them read-only in one call.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Path, PathBuf};

use rustix::mount::MountFlags;

/// One line of `/proc/self/mountinfo`.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Mount {
    pub(crate) at: PathBuf,
    pub(crate) flags: MountFlags,
}

/// The mounts of a `mountinfo` file, in its order: a later one hides an earlier one at the same place.
pub(crate) fn parse(mountinfo: &str) -> Vec<Mount> {
    mountinfo.lines().filter_map(parse_line).collect()
}

fn parse_line(line: &str) -> Option<Mount> {
    let mut fields = line.split(' ').skip(4);
    let at = PathBuf::from(unescape(fields.next()?));
    let flags = fields
        .next()?
        .split(',')
        .fold(MountFlags::empty(), |flags, option| flags | flag(option));
    Some(Mount { at, flags })
}

/// A remount must repeat what is set already: an unprivileged one may not take it away.
fn flag(option: &str) -> MountFlags {
    match option {
        "ro" => MountFlags::RDONLY,
        "nosuid" => MountFlags::NOSUID,
        "nodev" => MountFlags::NODEV,
        "noexec" => MountFlags::NOEXEC,
        "noatime" => MountFlags::NOATIME,
        "nodiratime" => MountFlags::NODIRATIME,
        "relatime" => MountFlags::RELATIME,
        _ => MountFlags::empty(),
    }
}

/// Spaces and the like stand as three octal digits after a backslash.
fn unescape(field: &str) -> OsString {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        let octal = tail
            .get(..3)
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .and_then(|digits| u8::from_str_radix(digits, 8).ok());
        match octal {
            Some(byte) if first == b'\\' => {
                bytes.push(byte);
                rest = &tail[3..];
            }
            _ => {
                bytes.push(first);
                rest = tail;
            }
        }
    }
    OsString::from_vec(bytes)
}

/// `path` itself with the flags of the mount that it lies on, and every mount beneath it.
pub(crate) fn covering(mounts: &[Mount], path: &Path) -> Vec<Mount> {
    let holder = mounts
        .iter()
        .rev()
        .filter(|mount| path.starts_with(&mount.at))
        .max_by_key(|mount| mount.at.as_os_str().len());
    let own = Mount {
        at: path.to_owned(),
        flags: holder.map_or(MountFlags::empty(), |mount| mount.flags),
    };
    let beneath = mounts
        .iter()
        .filter(|mount| mount.at != path && mount.at.starts_with(path));
    let mut all = vec![own];
    for mount in beneath {
        all.retain(|earlier| earlier.at != mount.at);
        all.push(Mount {
            at: mount.at.clone(),
            flags: mount.flags,
        });
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAMPLE: &str = "\
22 1 254:0 / / rw,relatime - ext4 /dev/vda rw
30 22 0:5 / /opt rw,nosuid,nodev - tmpfs none rw
31 30 0:6 / /opt/with\\040space ro,noexec,noatime - tmpfs none rw
32 22 0:7 / /optional rw - tmpfs none rw
";

    #[test]
    fn a_path_on_the_root_takes_the_roots_flags() {
        assert_eq!(
            covering(&parse(SAMPLE), Path::new("/usr")),
            [Mount {
                at: "/usr".into(),
                flags: MountFlags::RELATIME
            }]
        );
    }

    #[test]
    fn mounts_beneath_come_along_and_neighbours_do_not() {
        let all = covering(&parse(SAMPLE), Path::new("/opt"));
        let expected = [
            Mount {
                at: "/opt".into(),
                flags: MountFlags::NOSUID | MountFlags::NODEV,
            },
            Mount {
                at: "/opt/with space".into(),
                flags: MountFlags::RDONLY | MountFlags::NOEXEC | MountFlags::NOATIME,
            },
        ];
        assert_eq!(all, expected);
    }
}
