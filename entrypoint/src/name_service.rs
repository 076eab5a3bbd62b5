//! The name-service trap of static glibc.
//!
//! A statically linked glibc still obeys the image's `/etc/nsswitch.conf`, and loads the shared modules it names
//! into a process that has no dynamic linker: with `hosts: files myhostname dns` the first lookup dies of
//! SIGFPE. Naming the two built-in sources before the first lookup keeps it from reading that file.

/// Has host names resolved by `/etc/hosts` and DNS alone. To be called before the first lookup.
#[cfg(all(target_env = "gnu", target_feature = "crt-static"))]
#[expect(unsafe_code, reason = "glibc has no safe way to say this")]
pub(crate) fn restrict() {
    unsafe extern "C" {
        fn __nss_configure_lookup(
            database: *const std::ffi::c_char,
            sources: *const std::ffi::c_char,
        ) -> std::ffi::c_int;
    }
    // SAFETY: both arguments are NUL-terminated and live forever; no other thread exists yet. A failure
    // leaves the lookup as it was, which is what every image without the trap wants anyway.
    unsafe {
        __nss_configure_lookup(c"hosts".as_ptr(), c"files dns".as_ptr());
    }
}

/// A dynamic linker loads whatever module the image names.
#[cfg(not(all(target_env = "gnu", target_feature = "crt-static")))]
pub(crate) fn restrict() {}
