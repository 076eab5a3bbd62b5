//! Measures each phase that is ours against the others' way of doing it, in turns, in one run. `make bench` prints it.
#![expect(
    clippy::unwrap_used,
    reason = "a measurement stops at the first surprise"
)]
#![expect(clippy::print_stdout, reason = "the table is what it is for")]

mod again;
mod batches;
mod begin;
mod child;
mod container;
mod contest;
mod corpus;
#[expect(dead_code, reason = "the tests use more of it")]
#[path = "../e2e/harness.rs"]
mod harness;
mod history;
mod home;
mod options;
mod pack;
mod peers;
#[expect(dead_code, reason = "the tests use more of it")]
#[path = "../e2e/platform.rs"]
mod platform;
mod scaling;
mod send;
mod site;
mod table;
mod trial;

use std::path::PathBuf;

use corpus::{Corpora, Corpus};
use options::Options;
use peers::Peers;
use table::Row;

/// What every part needs.
struct Bench {
    corpora: Corpora,
    peers: Peers,
    /// The static one, where it was built: what an image holds.
    entrypoint: PathBuf,
    large: bool,
    /// For what is too large for memory.
    place: Option<PathBuf>,
}

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    if child::is_one(&words) {
        return;
    }
    let options = Options::read();
    if let Some((one, other)) = &options.compare {
        return history::compare(&options.history, one, other);
    }
    let before = history::load();
    println!("{}, load {before}", history::machine());
    println!(
        "medians of alternating rounds; cpu: user and system; MiB: the whole tree's peak; ratio: theirs by ours, pair by pair"
    );
    let bench = Bench {
        corpora: Corpora::new(None),
        peers: Peers::find(),
        entrypoint: entrypoint(&options),
        large: options.large,
        place: options.place.clone(),
    };
    println!("{}", table::head());
    let mut rows = phases(&bench, &options);
    if options.wants("batches") {
        rows.extend(batches::print());
    }
    if options.wants("scaling") {
        rows.extend(scaling::print(&bench));
    }
    println!(
        "\nload {before} to {}; kept in {}",
        history::load(),
        options.history.display()
    );
    history::append(&options.history, before, rows);
}

fn entrypoint(options: &Options) -> PathBuf {
    if let Some(path) = &options.entrypoint {
        return path.clone();
    }
    println!("missing here: SORTIE_STATIC_ENTRYPOINT; `sortie entrypoint` takes its place");
    harness::SORTIE.into()
}

fn phases(bench: &Bench, options: &Options) -> Vec<Row> {
    let mut measured = Vec::new();
    let mut add = |rows: Vec<Row>| {
        for row in &rows {
            println!("{}", row.shown());
        }
        measured.extend(rows);
    };
    let trees = [Corpus::Repo, Corpus::Wide]
        .into_iter()
        .chain(options.large.then_some(Corpus::Big));
    let trees: Vec<_> = if options.quick {
        vec![Corpus::Files(1000)]
    } else {
        trees.collect()
    };
    if options.wants("pack") {
        for &corpus in &trees {
            add(pack::measure(bench, corpus));
        }
    }
    if options.wants("again") {
        for &corpus in &trees {
            add(again::measure(bench, corpus));
        }
    }
    if options.wants("send") {
        for &corpus in &trees {
            add(send::measure(bench, corpus));
        }
    }
    if options.wants("container") {
        add(container::measure(bench, Corpus::Tiny));
        for &corpus in &trees {
            add(container::measure(bench, corpus));
        }
    }
    if options.wants("home") {
        for &corpus in &trees {
            add(home::measure(bench, corpus));
        }
    }
    if options.wants("start") {
        add(begin::processes(bench));
        add(begin::local());
    }
    measured
}
