//! Any bytes as what describes the next entry: pax records, a GNU long name, a GNU long target, in any order.

#![no_main]

use libfuzzer_sys::fuzz_target;
use sortie_fuzz::{Scene, gzip, stranger};

fuzz_target!(|input: (Vec<(u8, Vec<u8>)>, u8, Vec<u8>)| {
    let (before, kind, data) = input;
    let mut tar = Vec::new();
    for (kind, value) in before {
        let kind = b"xxxgLK"[usize::from(kind) % 6];
        entry(&mut tar, kind, b"described", &value);
    }
    let kind = b"0125671S"[usize::from(kind) % 8];
    entry(&mut tar, kind, b"short", &data);
    entry(&mut tar, b'0', b"last", b"lands");
    tar.resize(tar.len() + 1024, 0);
    let scene = Scene::default();
    let _ = scene.unpack(stranger(), &gzip(&tar));
});

fn entry(tar: &mut Vec<u8>, kind: u8, name: &[u8], data: &[u8]) {
    let mut header = [0; 512];
    header[..name.len()].copy_from_slice(name);
    header[100..108].copy_from_slice(b"0000644\0");
    header[108..124].copy_from_slice(b"0000000\x000000000\0");
    header[124..136].copy_from_slice(format!("{:011o}\0", data.len()).as_bytes());
    header[136..148].copy_from_slice(b"00000000000\0");
    header[148..156].fill(b' ');
    header[156] = kind;
    header[157..161].copy_from_slice(b"last");
    header[257..265].copy_from_slice(b"ustar\x0000");
    let sum: u32 = header.iter().map(|&byte| u32::from(byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    tar.extend_from_slice(&header);
    tar.extend_from_slice(data);
    tar.resize(tar.len().next_multiple_of(512), 0);
}
