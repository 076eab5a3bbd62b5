//! Archives that were cut, flipped or filled with rubbish: an error, never a panic.

use std::io::Write;

use archive::{Checksum, Error, Policy, Unpacker};
use flate2::Compression;
use flate2::write::GzEncoder;
use proptest::prelude::*;

use crate::raw::RawTar;
use crate::scene::Scene;
use crate::tree::gzip;

fn unpack(policy: Policy, bytes: &[u8]) -> Result<Checksum, Error> {
    let target = tempfile::tempdir().unwrap();
    let unpacker = Unpacker::new(target.path(), policy)?;
    let checksum = unpacker.unpack(bytes)?;
    unpacker.finish()?;
    Ok(checksum)
}

fn both(bytes: &[u8]) -> [Result<Checksum, Error>; 2] {
    [Policy::input(None), Policy::output(u64::MAX)].map(|policy| unpack(policy, bytes))
}

fn sample() -> Vec<u8> {
    let long = RawTar::new()
        .dir("d/", 0o755)
        .file("d/f", "data".repeat(300));
    long.pax(&[("path", b"d/other")])
        .file("x", "more")
        .link("l", "d/f")
        .finish()
}

#[test]
fn a_tar_cut_anywhere_is_an_error() {
    let tar = sample();
    for len in (0..tar.len() - 512).step_by(31) {
        for result in both(&gzip(&tar[..len])) {
            assert!(
                matches!(result, Err(Error::Damaged("it ends too early"))),
                "{len}"
            );
        }
    }
}

#[test]
fn a_gzip_cut_anywhere_is_an_error() {
    let gzip = gzip(&sample());
    for len in 0..gzip.len() {
        for result in both(&gzip[..len]) {
            assert!(
                matches!(result, Err(Error::Stream(_) | Error::Damaged(_))),
                "{len}"
            );
        }
    }
}

#[test]
fn rubbish_after_the_end() {
    let tar = [sample(), vec![0; 9000], b"rubbish".to_vec()].concat();
    let [strict, lenient] = both(&gzip(&tar));
    assert!(matches!(
        strict,
        Err(Error::Refused {
            reason: "is data after the archive's end",
            ..
        })
    ));
    assert_eq!(lenient.unwrap().size, tar.len() as u64);
    for result in both(&[gzip(&sample()), b"rubbish".to_vec()].concat()) {
        assert!(matches!(result, Err(Error::Stream(_))));
    }
}

#[test]
fn padding_counts_into_the_checksum_and_has_a_bound() {
    let short = both(&gzip(&sample())).map(Result::unwrap);
    let padded = both(&gzip(&[sample(), vec![0; 8192]].concat())).map(Result::unwrap);
    assert_eq!(short[0], short[1]);
    assert_eq!(padded[0].size, short[0].size + 8192);
    assert_ne!(padded[0].sha256, short[0].sha256);
    for result in both(&gzip(&[sample(), vec![0; 17 << 20]].concat())) {
        assert!(matches!(
            result,
            Err(Error::Damaged("it goes on after its end"))
        ));
    }
}

#[test]
fn several_members_are_one_stream() {
    let tar = sample();
    let whole = both(&gzip(&tar)).map(Result::unwrap);
    for cut in [0, 1, 512, 700, tar.len()] {
        let split = [gzip(&tar[..cut]), gzip(&tar[cut..])].concat();
        assert_eq!(both(&split).map(Result::unwrap), whole);
    }
}

/// As `gzip` compresses.
fn strangers(tar: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(tar).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn members_of_ours_and_of_strangers_may_follow_each_other() {
    let tar = sample();
    let whole = unpack(Policy::input(None), &gzip(&tar)).unwrap();
    let third = tar.len() / 3;
    let parts = [&tar[..third], &tar[third..2 * third], &tar[2 * third..]];
    for ours in 0..8 {
        let members = parts.iter().enumerate().map(|(at, part)| {
            if ours >> at & 1 == 1 {
                gzip(part)
            } else {
                strangers(part)
            }
        });
        let checksum = unpack(Policy::input(None), &members.collect::<Vec<_>>().concat());
        assert_eq!(checksum.unwrap(), whole);
    }
}

#[test]
fn members_of_nothing_are_passed_over() {
    let whole = unpack(Policy::input(None), &gzip(&sample())).unwrap();
    let many = [gzip(b"").repeat(20_000), gzip(&sample())].concat();
    assert_eq!(unpack(Policy::input(None), &many).unwrap(), whole);
}

#[test]
fn a_member_that_lies_about_its_length_is_damaged() {
    let good = gzip(&sample());
    let length = u32::from_le_bytes(good[16..20].try_into().unwrap());
    assert_eq!(length as usize, good.len());
    for lie in [28, length - 1, length + 1, length + 8] {
        let mut bad = good.clone();
        bad[16..20].copy_from_slice(&lie.to_le_bytes());
        for bad in [bad.clone(), [bad, good.clone()].concat()] {
            for result in both(&bad) {
                assert!(matches!(result, Err(Error::Stream(_))), "{lie}: {result:?}");
            }
        }
    }
    // No member of ours is that long, or that short: it is read as anybody's, who need not say the truth there.
    for odd in [0, 27, u32::MAX] {
        let mut bytes = good.clone();
        bytes[16..20].copy_from_slice(&odd.to_le_bytes());
        assert!(both(&bytes).iter().all(Result::is_ok));
    }
}

#[test]
fn a_member_of_more_than_a_block_is_read_if_it_does_not_say_that_it_is_ours() {
    let tar = RawTar::new().file("large", vec![1; 5 << 20]).finish();
    let mut large = strangers(&tar);
    assert!(both(&large).iter().all(Result::is_ok));
    let body = large.split_off(10);
    let length = u32::try_from(20 + body.len()).unwrap();
    let start = [&gzip(b"")[..16], &length.to_le_bytes()].concat();
    for result in both(&[start, body].concat()) {
        assert!(matches!(result, Err(Error::Stream(_))), "{result:?}");
    }
}

#[test]
fn what_is_no_archive_is_an_error() {
    for bytes in [&b""[..], b"plain text", &[0; 2000], b"\x1f\x8b"] {
        assert!(both(bytes).iter().all(Result::is_err));
    }
    for result in both(&gzip(&[7; 2048])) {
        assert!(matches!(
            result,
            Err(Error::Damaged("a header's checksum is wrong"))
        ));
    }
}

#[test]
fn a_failing_source_is_told_from_a_cut_archive() {
    struct Failing<'a>(&'a [u8]);
    impl std::io::Read for Failing<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
            match self.0.read(buffer)? {
                0 => Err(std::io::Error::new(
                    std::io::ErrorKind::ConnectionReset,
                    "reset",
                )),
                count => Ok(count),
            }
        }
    }
    // Large enough to be unpacked by two threads.
    let gzip = gzip(&RawTar::new().file("large", vec![1; 3 << 20]).finish());
    let target = tempfile::tempdir().unwrap();
    let unpacker = Unpacker::new(target.path(), Policy::input(None)).unwrap();
    let error = unpacker
        .unpack(Failing(&gzip[..gzip.len() / 2]))
        .unwrap_err();
    assert!(
        matches!(error, Error::Stream(source) if source.kind() == std::io::ErrorKind::ConnectionReset)
    );
}

/// One bit of every byte of the headers, and of some of the data.
#[test]
fn a_tar_with_any_byte_flipped_is_another_one() {
    let tar = sample();
    let good = unpack(Policy::input(None), &gzip(&tar)).unwrap();
    let scene = Scene::new();
    for at in 0..tar.len() {
        let in_data = (1024..2048).contains(&at);
        if in_data && at % 64 != 0 {
            continue;
        }
        let mut bad = tar.clone();
        bad[at] ^= 1_u8 << (at % 8);
        let policies = [Policy::input(None), Policy::output(u64::MAX)];
        let unpacker = Unpacker::new(&scene.target(), policies[at / 8 % 2].clone()).unwrap();
        let result = unpacker.unpack(&gzip(&bad)[..]);
        assert!(result.is_err() || result.is_ok_and(|other| other.sha256 != good.sha256));
        // Permissions that forbid all may have been set.
        let _ = unpacker.finish();
        archive::remove_tree(&scene.target()).unwrap();
        std::fs::create_dir(scene.target()).unwrap();
    }
    scene.assert_untouched();
}

#[test]
fn a_gzip_with_any_bit_flipped_never_passes_for_another() {
    let gzip = gzip(&sample());
    let good = unpack(Policy::input(None), &gzip).unwrap();
    for at in 0..gzip.len() {
        for bit in 0..8 {
            let mut bad = gzip.clone();
            bad[at] ^= 1 << bit;
            let result = unpack(Policy::output(u64::MAX), &bad);
            // A header's flags and times are covered by no checksum; the tar is.
            assert!(result.is_err() || result.is_ok_and(|other| other == good));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn flipped_bits_of_the_tar_never_panic(flips in prop::collection::vec((any::<prop::sample::Index>(), 0..8), 1..20)) {
        let mut tar = sample();
        for (at, bit) in flips {
            let at = at.index(tar.len());
            tar[at] ^= 1_u8 << bit;
        }
        for result in both(&gzip(&tar)) {
            prop_assert!(result.is_err() || result.is_ok_and(|checksum| checksum.size == tar.len() as u64));
        }
    }

    #[test]
    fn rubbish_never_panics(rubbish in prop::collection::vec(any::<u8>(), 0..3000)) {
        for result in both(&gzip(&rubbish)) {
            prop_assert!(result.is_err());
        }
        for result in both(&rubbish) {
            prop_assert!(result.is_err());
        }
    }
}
