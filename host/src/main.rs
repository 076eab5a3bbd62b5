//! The program people type.

fn main() {}
