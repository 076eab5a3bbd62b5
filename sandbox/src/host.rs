//! Which switch of the host's forbids namespaces.

use std::fs;
use std::io;

use nix::libc;

use crate::Refused;

/// The kernel said no with `error`: who is behind it?
pub(crate) fn explain(error: io::Error) -> Refused {
    if matches!(error.raw_os_error(), Some(libc::EINVAL | libc::ENOSYS)) {
        return Refused::Missing(error);
    }
    let switches = [
        (
            "user.max_user_namespaces",
            "/proc/sys/user/max_user_namespaces",
            "0",
        ),
        (
            "kernel.unprivileged_userns_clone",
            "/proc/sys/kernel/unprivileged_userns_clone",
            "0",
        ),
        (
            "kernel.apparmor_restrict_unprivileged_userns",
            "/proc/sys/kernel/apparmor_restrict_unprivileged_userns",
            "1",
        ),
    ];
    let set = switches.into_iter().find(|(_, file, forbids)| {
        fs::read_to_string(file).is_ok_and(|value| value.trim() == *forbids)
    });
    match set {
        Some((name, _, value)) => Refused::Switch {
            name,
            value: value.to_owned(),
        },
        None if error.raw_os_error() == Some(libc::ENOSPC) => Refused::Limit(error),
        None => Refused::Filter(error),
    }
}
