//! What the archive format promises, on real files.

#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests stop at the first surprise, as tests do"
)]

mod bombs;
mod borders;
mod damage;
mod format;
mod hostile;
mod input;
mod outputs;
mod properties;
mod raw;
mod removal;
mod scene;
mod smuggling;
mod swap;
mod tree;
mod unpack;
