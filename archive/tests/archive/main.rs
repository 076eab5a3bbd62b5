//! What the archive format promises, on real files.

mod format;
mod input;
mod tree;
