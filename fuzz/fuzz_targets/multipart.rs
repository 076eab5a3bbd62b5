//! Any bytes as the body of a multipart request: cut into pieces anywhere, it is understood alike.

#![no_main]

use emulator::fuzzing::multipart;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (String, u8, Vec<u8>)| {
    let (content_type, step, body) = input;
    let whole = multipart(&content_type, &body, body.len().max(1));
    let pieces = multipart(&content_type, &body, usize::from(step) + 1);
    assert_eq!(whole, pieces);
});
