//! Any bytes as a tar: no panic, and nothing outside the target.

#![no_main]

use archive::{Links, Policy, Refuse};
use libfuzzer_sys::fuzz_target;
use sortie_fuzz::{Scene, gzip, stranger};

fuzz_target!(|tar: &[u8]| {
    let gzip = gzip(tar);
    for policy in [
        stranger(),
        Policy {
            links: Links::Keep,
            refuse: Refuse::Fail,
            ..stranger()
        },
    ] {
        let scene = Scene::default();
        if let Ok(checksum) = scene.unpack(policy, &gzip) {
            assert_eq!(checksum.size, tar.len() as u64);
        }
    }
});
