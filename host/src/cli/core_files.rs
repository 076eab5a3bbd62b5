//! What a process that holds credentials leaves behind when it crashes: nothing.

use rustix::process::{DumpableBehavior, set_dumpable_behavior};

use crate::settings::{Place, Settings};

/// For a process that is about to hold Google's tokens. Not in local mode: who may not be dumped may not make namespaces
/// of its own either.
pub(super) fn forbid_in_the_cloud(settings: &Settings) {
    if let Place::Cloud(_) = settings.place {
        forbid();
    }
}

/// No core file of this process, whatever the limit, and no other process of the user's looks into its memory. The
/// programs it starts are not concerned.
pub(super) fn forbid() {
    // Only a kernel without the call refuses.
    let _ = set_dumpable_behavior(DumpableBehavior::NotDumpable);
}
