//! The static binary in an empty root directory.
