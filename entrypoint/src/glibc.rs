//! Two habits of glibc that do not suit PID 1 of somebody else's container.

/// To be called first thing, before there is a thread or a lookup.
pub(crate) fn tame() {
    share_one_arena();
    name_service::restrict();
}

/// By default each of our threads gets a heap of its own and keeps what it has freed: a third of our memory, which
/// in a container is the user's.
#[cfg(target_env = "gnu")]
#[expect(unsafe_code, reason = "glibc has no safe way to say this")]
fn share_one_arena() {
    use nix::libc::{M_ARENA_MAX, mallopt};
    // SAFETY: sets a number, and there is no other thread yet. If it is refused, nothing changes.
    unsafe {
        mallopt(M_ARENA_MAX, 1);
    }
}

#[cfg(not(target_env = "gnu"))]
fn share_one_arena() {}

/// A statically linked glibc still obeys the image's `/etc/nsswitch.conf`, and loads the shared modules it names
/// into a process that has no dynamic linker: with `hosts: files myhostname dns` the first lookup dies of
/// SIGFPE. Naming the two built-in sources before the first lookup keeps it from reading that file.
#[cfg(all(target_env = "gnu", target_feature = "crt-static"))]
mod name_service {
    use std::ffi::{c_char, c_int};

    #[expect(unsafe_code, reason = "glibc has no safe way to say this")]
    pub(super) fn restrict() {
        unsafe extern "C" {
            fn __nss_configure_lookup(database: *const c_char, sources: *const c_char) -> c_int;
        }
        // SAFETY: both arguments are NUL-terminated and live forever; no other thread exists yet. A failure
        // leaves the lookup as it was, which is what every image without the trap wants anyway.
        unsafe {
            __nss_configure_lookup(c"hosts".as_ptr(), c"files dns".as_ptr());
        }
    }
}

/// A dynamic linker loads whatever module the image names.
#[cfg(not(all(target_env = "gnu", target_feature = "crt-static")))]
mod name_service {
    pub(super) fn restrict() {}
}
