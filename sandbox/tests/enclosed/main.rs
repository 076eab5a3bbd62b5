//! Programs in a sandbox, seen from inside and from outside. Needs a kernel that lets this user make namespaces, and
//! says so where it does not.

#![expect(
    clippy::unwrap_used,
    reason = "what makes the stage fails the test, too"
)]

mod enclosure;
mod lifetime;
mod tools;
mod walls;
