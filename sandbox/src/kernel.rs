//! The few system calls that no crate offers in a safe form.

use std::ffi::{CStr, CString, c_char};
use std::io;
use std::ptr;

use nix::libc;
use nix::unistd::Pid;

/// The new process of [`clone_into`], or the old one.
pub(crate) enum Side {
    /// In the new process, which is PID 1 of its namespace.
    Inside,
    /// In the caller.
    Outside(Pid),
}

/// A fork into new user, mount, PID, IPC and UTS namespaces.
///
/// The new process has a copy of one thread only: until it calls `execve` it must make system calls and nothing else
/// (no allocation, no locks).
#[expect(
    unsafe_code,
    reason = "clone has no safe form; without CLONE_VM it is a fork"
)]
pub(crate) fn clone_into_namespaces() -> io::Result<Side> {
    let flags = libc::CLONE_NEWUSER
        | libc::CLONE_NEWNS
        | libc::CLONE_NEWPID
        | libc::CLONE_NEWIPC
        | libc::CLONE_NEWUTS
        | libc::SIGCHLD;
    // SAFETY: no memory is shared, and the zero stack means that the child goes on with its copy of ours.
    let answer = unsafe {
        libc::syscall(
            libc::SYS_clone,
            libc::c_long::from(flags),
            0_usize,
            0_usize,
            0_usize,
            0_usize,
        )
    };
    match libc::pid_t::try_from(answer) {
        Ok(0) => Ok(Side::Inside),
        Ok(pid) if pid > 0 => Ok(Side::Outside(Pid::from_raw(pid))),
        _ => Err(io::Error::last_os_error()),
    }
}

#[repr(C)]
struct MountAttributes {
    set: u64,
    clear: u64,
    propagation: u64,
    userns_fd: u64,
}

const RECURSIVE: libc::c_uint = 0x8000;

/// Makes a mount and all that is mounted beneath it read-only and nosuid; Linux 5.12 and later.
pub(crate) fn make_tree_read_only(at: &CStr) -> io::Result<()> {
    mount_setattr(at, RECURSIVE)
}

/// Whether [`make_tree_read_only`] is to be had. Where it is, flags that mean nothing are noticed before rights are
/// looked at; an old kernel or a filter does not get that far.
pub(crate) fn has_mount_setattr() -> bool {
    let refused = mount_setattr(c"", libc::c_uint::MAX).err();
    refused.and_then(|error| error.raw_os_error()) == Some(libc::EINVAL)
}

#[expect(unsafe_code, reason = "mount_setattr is in no crate")]
fn mount_setattr(at: &CStr, flags: libc::c_uint) -> io::Result<()> {
    const READ_ONLY: u64 = 0x1;
    const NO_SUID: u64 = 0x2;
    let attributes = MountAttributes {
        set: READ_ONLY | NO_SUID,
        clear: 0,
        propagation: 0,
        userns_fd: 0,
    };
    // SAFETY: the path ends in NUL and the structure outlives the call, which only reads it.
    let answer = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            libc::AT_FDCWD,
            at.as_ptr(),
            flags,
            ptr::from_ref(&attributes),
            size_of::<MountAttributes>(),
        )
    };
    if answer == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Arguments or variables in the form that `execve` takes.
pub(crate) struct Strings {
    pointers: Vec<*const c_char>,
    _owned: Vec<CString>,
}

impl Strings {
    pub(crate) fn new(owned: Vec<CString>) -> Self {
        let pointers = owned
            .iter()
            .map(|string| string.as_ptr())
            .chain([ptr::null()])
            .collect();
        Self {
            pointers,
            _owned: owned,
        }
    }
}

/// Becomes another program; returns only to say why not.
#[expect(
    unsafe_code,
    reason = "the safe form allocates, which a child of a thread must not"
)]
pub(crate) fn execute(program: &CStr, argv: &Strings, env: &Strings) -> io::Error {
    // SAFETY: both arrays end in a null pointer and own the strings that they point to.
    unsafe {
        libc::execve(
            program.as_ptr(),
            argv.pointers.as_ptr(),
            env.pointers.as_ptr(),
        )
    };
    io::Error::last_os_error()
}

/// Lets every descriptor but the first three end at `execve`. Kernels before 5.11 cannot; Rust's own are marked anyway.
#[expect(unsafe_code, reason = "close_range is in no crate")]
pub(crate) fn close_all_on_exec() {
    const CLOSE_ON_EXEC: libc::c_uint = 4;
    // SAFETY: marks descriptors, closes none.
    unsafe {
        libc::syscall(
            libc::SYS_close_range,
            3_u32,
            libc::c_uint::MAX,
            CLOSE_ON_EXEC,
        )
    };
}

/// Leaves the caller's session keyring behind. A kernel without keyrings has none to leave.
#[expect(unsafe_code, reason = "keyctl is in no crate that we use")]
pub(crate) fn leave_keyring() {
    const JOIN_SESSION_KEYRING: libc::c_ulong = 1;
    // SAFETY: a null name asks for an anonymous new keyring.
    unsafe {
        libc::syscall(
            libc::SYS_keyctl,
            JOIN_SESSION_KEYRING,
            ptr::null::<c_char>(),
        )
    };
}

/// Back to the default action: Rust ignores PIPE, and whoever started us may ignore CHLD, which would lose exit codes,
/// or INT, which the program would then ignore too.
#[expect(
    unsafe_code,
    reason = "setting an action is unsafe for handlers, of which this is none"
)]
pub(crate) fn default_action(signal: nix::sys::signal::Signal) {
    // SAFETY: the default action runs no code of ours. It cannot fail for the signals that we pass.
    let _ = unsafe { nix::sys::signal::signal(signal, nix::sys::signal::SigHandler::SigDfl) };
}

/// Ends the process at once: no destructor of the caller's copy may run twice.
#[expect(unsafe_code, reason = "_exit has no safe form")]
pub(crate) fn leave(code: i32) -> ! {
    // SAFETY: ends this process and touches nothing.
    unsafe { libc::_exit(code) }
}
