//! The static binary inside an image.

fn main() {}
