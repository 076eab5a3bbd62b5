//! What a stat says of a file, alike on every system.

use rustix::fs::{FileType, Mode, Stat};

/// How a file is told to be the same as before, without reading it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Stamp {
    /// Bytes.
    pub size: u64,
    /// Modification, nanoseconds since the epoch.
    pub mtime: i64,
    /// Change of the inode, nanoseconds since the epoch.
    pub ctime: i64,
    /// Inode and device number, mixed: an inode alone names a file on one filesystem only.
    pub identity: u64,
}

impl Stamp {
    pub(crate) fn of(stat: &Stat) -> Self {
        Self {
            size: size_of(stat),
            mtime: nanoseconds(i128::from(stat.st_mtime), i128::from(stat.st_mtime_nsec)),
            ctime: nanoseconds(i128::from(stat.st_ctime), i128::from(stat.st_ctime_nsec)),
            identity: identity_of(stat),
        }
    }
}

/// Devices are small numbers and inodes mostly too: multiplied by an odd constant, they do not fall on each other.
fn identity_of(stat: &Stat) -> u64 {
    #[allow(
        clippy::cast_sign_loss,
        clippy::unnecessary_cast,
        reason = "its type differs between systems"
    )]
    let device = stat.st_dev as u64;
    stat.st_ino
        .wrapping_add(device.wrapping_mul(0x9E37_79B9_7F4A_7C15))
}

pub(crate) fn size_of(stat: &Stat) -> u64 {
    u64::try_from(stat.st_size).unwrap_or(0)
}

/// Whole seconds since the epoch; none before it.
pub(crate) fn seconds_of(stat: &Stat) -> u64 {
    u64::try_from(i128::from(stat.st_mtime)).unwrap_or(0)
}

/// Read, write and execute, no set-id and no sticky bits.
pub(crate) fn permissions_of(stat: &Stat) -> u32 {
    Mode::from_raw_mode(stat.st_mode).bits() & 0o777
}

pub(crate) fn type_of(stat: &Stat) -> FileType {
    FileType::from_raw_mode(stat.st_mode)
}

/// How a kind that no archive carries is called.
pub(crate) fn special_name(kind: FileType) -> &'static str {
    match kind {
        FileType::Socket => "socket",
        FileType::Fifo => "fifo",
        FileType::CharacterDevice | FileType::BlockDevice => "device",
        _ => "special file",
    }
}

fn nanoseconds(seconds: i128, rest: i128) -> i64 {
    i64::try_from(seconds * 1_000_000_000 + rest).unwrap_or(i64::MAX)
}
