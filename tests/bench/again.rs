//! A tree that was packed before: nothing of it has changed, or one file.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::Bench;
use crate::child;
use crate::contest::{Until, Way, hold};
use crate::corpus::Corpus;
use crate::table::{Row, rows};
use crate::trial::{Processors, run};

/// An index believes nothing as young as itself.
pub(crate) const SETTLED: Duration = Duration::from_millis(200);

/// Ours against a Python pass, which remembers nothing.
pub(crate) fn measure(bench: &Bench, corpus: Corpus) -> Vec<Row> {
    let tree = bench.corpora.tree(corpus);
    let index = bench.corpora.scratch("index");
    let out = bench.corpora.scratch("packed").join("out.tar.gz");
    let touched = a_file(&tree);
    let mut measured = Vec::new();
    for (phase, changes) in [("again: unchanged", false), ("again: one changed", true)] {
        let mut ours = child::command("again", &[&tree, &index]);
        std::thread::sleep(SETTLED);
        run(&mut ours, Processors::All);
        let mut floor = child::command("stat", &[&tree]);
        let mut round = 0;
        let mut ways = vec![
            Way::new("sortie", || {
                if changes {
                    round += 1;
                    change(&touched, round);
                    std::thread::sleep(SETTLED);
                }
                run(&mut ours, Processors::All)
            }),
            Way::new("limit: stat walk", || run(&mut floor, Processors::All)),
        ];
        if let Some(mut python) = bench.peers.python("pack.py") {
            python.args([&tree, &out]);
            ways.push(Way::new("python tarfile", move || {
                run(&mut python, Processors::All)
            }));
        }
        let taken = hold(ways, corpus.rounds());
        measured.extend(rows(phase, &corpus.name(), &taken, Until::Ended));
    }
    measured
}

/// One in the middle.
pub(crate) fn a_file(tree: &Path) -> PathBuf {
    let files: Vec<_> = walkdir::WalkDir::new(tree)
        .sort_by_file_name()
        .into_iter()
        .map(Result::unwrap)
        .filter(|entry| entry.file_type().is_file())
        .collect();
    files[files.len() / 2].path().to_owned()
}

pub(crate) fn change(path: &Path, round: u32) {
    let mut bytes = fs::read(path).unwrap();
    bytes.extend_from_slice(format!("# changed {round}\n").as_bytes());
    fs::write(path, bytes).unwrap();
}
