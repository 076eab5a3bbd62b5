//! Where one pack ends and the next begins, by content: so that one changed file changes one pack.

use sha2::{Digest, Sha256};

use crate::plan::PackPlan;
use crate::tree::Tree;

const MIB: u64 = 1024 * 1024;
/// A pack is not cut before.
const MIN: u64 = 4 * MIB;
/// From here on a cut is sought in earnest.
const AIM: u64 = 8 * MIB;
/// No pack is larger, but for one that holds a single file.
const MAX: u64 = 16 * MIB;
/// Mean distance between cuts after [`MIN`], and after [`AIM`].
const RARE: u64 = 8 * MIB;
const OFTEN: u64 = MIB;

pub(crate) fn cut(tree: &Tree) -> Vec<PackPlan<'_>> {
    let entries = tree.nodes.iter().map(|node| {
        let record = tree.entry(node).record();
        (record.path, record.weight())
    });
    let mut begin = 0;
    let mut plans = Vec::new();
    for end in ends(entries) {
        plans.push(PackPlan::new(tree, begin..end));
        begin = end;
    }
    plans
}

/// The indices at which packs end, given the entries' paths and their bytes in the tar.
fn ends<'a>(entries: impl Iterator<Item = (&'a [u8], u64)>) -> Vec<usize> {
    let mut ends = Vec::new();
    let mut filled = 0;
    let mut count = 0;
    for (index, (path, weight)) in entries.enumerate() {
        if filled > 0 && filled + weight > MAX {
            ends.push(index);
            filled = 0;
        }
        filled += weight;
        count = index + 1;
        if filled >= MAX || (filled >= MIN && is_cut(path, weight, filled)) {
            ends.push(count);
            filled = 0;
        }
    }
    if filled > 0 {
        ends.push(count);
    }
    ends
}

/// Whether a pack ends after this entry: the hash of its path says so, more often the larger the entry is, so that
/// packs have about the same bytes whether files are large or small.
fn is_cut(path: &[u8], weight: u64, filled: u64) -> bool {
    let hash = Sha256::digest(path);
    let mut first = [0; 4];
    first.copy_from_slice(&hash[..4]);
    let drawn = u64::from(u32::from_be_bytes(first));
    let distance = if filled < AIM { RARE } else { OFTEN };
    // drawn / 2^32 < weight / distance
    drawn * distance < weight << 32
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn numbered(count: usize, weight: u64) -> Vec<(Vec<u8>, u64)> {
        let path = |index: usize| {
            (
                format!("name/dir{:03}/file{index:06}", index / 100).into_bytes(),
                weight,
            )
        };
        (0..count).map(path).collect()
    }

    fn ends_of(entries: &[(Vec<u8>, u64)]) -> Vec<usize> {
        ends(entries.iter().map(|(path, weight)| (&path[..], *weight)))
    }

    /// Packs by their first path, their entries and their bytes, so that two cuts can be compared.
    fn packs(entries: &[(Vec<u8>, u64)]) -> HashSet<(&[u8], usize, u64)> {
        let mut begin = 0;
        let mut packs = HashSet::new();
        for end in ends_of(entries) {
            let pack = &entries[begin..end];
            packs.insert((
                &pack[0].0[..],
                pack.len(),
                pack.iter().map(|(_, weight)| weight).sum(),
            ));
            begin = end;
        }
        packs
    }

    #[test]
    fn constants_are_fixed_because_they_decide_addresses() {
        assert_eq!(
            ends_of(&numbered(20_000, 4096)),
            [
                1066, 3127, 4328, 6443, 8487, 11126, 13197, 15092, 16710, 18858, 19962, 20000
            ]
        );
    }

    #[test]
    fn a_small_input_is_one_pack() {
        assert_eq!(ends_of(&numbered(1, 512)), [1]);
        assert_eq!(ends_of(&numbered(7000, 512)), [7000]);
    }

    #[test]
    fn a_large_file_is_alone() {
        let mut entries = numbered(9, 512);
        entries[4].1 = MAX + 1;
        assert_eq!(ends_of(&entries), [4, 5, 9]);
        entries[4].1 = 100 * MAX;
        entries[8].1 = MAX;
        assert_eq!(ends_of(&entries), [4, 5, 8, 9]);
    }

    #[test]
    fn packs_keep_between_the_bounds() {
        for weight in [1024, 4096, 65536, MIB, 5 * MIB] {
            let entries = numbered(usize::try_from(400 * MIB / weight).unwrap(), weight);
            let ends = ends_of(&entries);
            let mut begin = 0;
            for &end in &ends {
                let size = (end - begin) as u64 * weight;
                assert!(size <= MAX && (size >= MIN || end == entries.len()));
                begin = end;
            }
            assert_eq!(begin, entries.len());
            assert!(
                (30..=80).contains(&ends.len()),
                "{} packs of 400 MiB at {weight}",
                ends.len()
            );
        }
    }

    #[test]
    fn one_more_or_less_or_larger_file_changes_few_packs() {
        let entries = numbered(20_000, 4096);
        let before = packs(&entries);
        let mut changed_total = 0;
        let places: Vec<usize> = (0..entries.len()).step_by(1999).collect();
        for &place in &places {
            for change in 0..3 {
                let mut entries = entries.clone();
                match change {
                    0 => drop(entries.remove(place)),
                    1 => entries.insert(place, ([&entries[place].0[..], b"-new"].concat(), 9216)),
                    _ => entries[place].1 += 1024,
                }
                let changed = packs(&entries).difference(&before).count();
                assert!(
                    (1..=4).contains(&changed),
                    "{changed} packs changed at {place}"
                );
                changed_total += changed;
            }
        }
        assert!(
            changed_total * 10 < places.len() * 3 * 13,
            "{changed_total}"
        );
    }
}
