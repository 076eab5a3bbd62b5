//! What grows with the files and with the bytes, and what does not.

use std::fs;

use crate::Bench;
use crate::child;
use crate::contest::{Taken, Until, Way, hold};
use crate::corpus::{Corpora, Corpus};
use crate::table::{Row, alone, seconds};
use crate::trial::{Processors, run};

/// Prints the time of each file and each MiB, and the memory, for packing and unpacking.
pub(crate) fn print(bench: &Bench) -> Vec<Row> {
    let mut rows = Vec::new();
    println!("\nscaling: files of 1 KiB, then one file of so many MiB, half text, half random");
    println!(
        "{:<14} {:>9} {:>10} {:>5}   {:>9} {:>10} {:>5}",
        "", "pack s", "each µs", "MiB", "unpack s", "each µs", "MiB"
    );
    let mut files = vec![10, 1_000, 50_000];
    if bench.large {
        files.push(500_000);
    }
    for count in files {
        rows.extend(line(&bench.corpora, Corpus::Files(count), count));
    }
    for mib in [1, 32, 1024] {
        rows.extend(line(&bench.corpora, Corpus::Sized(mib), mib));
    }
    if bench.large {
        // More than fits into memory.
        let place = bench.place.clone().unwrap_or_else(std::env::temp_dir);
        let mib = 16 * 1024;
        let corpora = Corpora::new(Some(place));
        rows.extend(line(&corpora, Corpus::Sized(mib), mib));
    }
    rows
}

fn line(corpora: &Corpora, corpus: Corpus, units: usize) -> Vec<Row> {
    let tree = corpora.tree(corpus);
    let archives = corpora.scratch("archives");
    let target = corpora.scratch("unpacked");
    run(
        &mut child::command("archive", &[&tree, &archives]),
        Processors::All,
    );
    let mut pack = child::command("pack", &[&tree]);
    let mut unpack = child::command("unpack", &[&archives, &target]);
    let ways = vec![
        Way::new("pack", || run(&mut pack, Processors::All)),
        Way::new("unpack", || {
            fs::remove_dir_all(&target).unwrap();
            fs::create_dir(&target).unwrap();
            run(&mut unpack, Processors::All)
        }),
    ];
    let taken = hold(ways, corpus.rounds());
    let cells = taken.iter().map(|way| {
        let wall = way.seconds(Until::Ended);
        #[expect(clippy::cast_precision_loss, reason = "for people")]
        let each = wall * 1e6 / units as f64;
        format!(
            "{:>9} {each:>10.1} {:>5}",
            seconds(wall),
            way.peak_kb().div_ceil(1024)
        )
    });
    println!(
        "{:<14} {}",
        corpus.name(),
        cells.collect::<Vec<_>>().join("   ")
    );
    for used in [&archives, &target] {
        fs::remove_dir_all(used).unwrap();
    }
    corpora.forget(corpus);
    let row = |way: &Taken| {
        let phase = format!("scaling: {}", way.name);
        let wall = way.seconds(Until::Ended);
        alone(&phase, corpus.name(), wall, way.cpu(), way.peak_kb())
    };
    taken.iter().map(row).collect()
}
