//! What a process that holds secrets leaves behind when it crashes: nothing.

use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::OnceLock;

use rustix::process::{
    DumpableBehavior, Resource, Rlimit, getrlimit, set_dumpable_behavior, setrlimit,
};

use crate::settings::{Place, Settings};

/// The soft limit on core files as the user had it.
static BEFORE: OnceLock<u64> = OnceLock::new();

/// No file has so few bytes; and while 0 lets a core go to a program that the kernel was told to give it to, this does
/// not.
const NO_FILE: u64 = 1;

/// For every process of sortie's but the entrypoint, which may not be dumped at all: values of secrets are in the memory
/// of one that serves local mode, too. What it starts for the user is given the user's own limit back.
pub(crate) fn limit() {
    let Rlimit { current, maximum } = getrlimit(Resource::Core);
    let _ = BEFORE.set(current.unwrap_or(u64::MAX));
    let lowered = Rlimit {
        current: Some(maximum.map_or(NO_FILE, |most| most.min(NO_FILE))),
        maximum,
    };
    // A limit that is lowered is not refused.
    let _ = setrlimit(Resource::Core, lowered);
}

/// What the user's own processes get; `None` where this process has it still.
pub(crate) fn users_limit() -> Option<u64> {
    BEFORE.get().copied()
}

/// Gives the limit back to what is started.
#[expect(
    unsafe_code,
    reason = "between fork and exec only async-signal-safe calls are made"
)]
pub(crate) fn give_back(command: &mut Command) {
    let Some(current) = users_limit() else {
        return;
    };
    let give_back = move || {
        let limit = Rlimit {
            current: Some(current),
            ..getrlimit(Resource::Core)
        };
        Ok(setrlimit(Resource::Core, limit)?)
    };
    // SAFETY: getrlimit and setrlimit are async-signal-safe; nothing is allocated.
    unsafe {
        command.pre_exec(give_back);
    }
}

/// For a process that is about to hold Google's tokens. Not in local mode: who may not be dumped may not make namespaces
/// of its own either.
pub(crate) fn forbid_in_the_cloud(settings: &Settings) {
    if let Place::Cloud(_) = settings.place {
        forbid();
    }
}

/// No core file of this process, whatever the limit, and no other process of the user's looks into its memory. The
/// programs it starts are not concerned.
pub(crate) fn forbid() {
    // Only a kernel without the call refuses.
    let _ = set_dumpable_behavior(DumpableBehavior::NotDumpable);
}
