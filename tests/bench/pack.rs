//! A tree into packs, nothing known of it: read, hashed, compressed, and thrown away.

use std::path::Path;

use crate::Bench;
use crate::child;
use crate::contest::{Until, Way, hold};
use crate::corpus::Corpus;
use crate::peers;
use crate::table::{Row, rows};
use crate::trial::{Processors, run};

/// Ours against a Python pass, `tar | gzip -6` and `tar | pigz -1`.
pub(crate) fn measure(bench: &Bench, corpus: Corpus) -> Vec<Row> {
    let tree = bench.corpora.tree(corpus);
    let scratch = bench.corpora.scratch("packed");
    let out = scratch.join("out.tar.gz");
    let simple = |command: std::process::Command| {
        let mut command = command;
        move || run(&mut command, Processors::All)
    };
    let mut ways = vec![
        Way::new("sortie", simple(child::command("pack", &[&tree]))),
        Way::new(
            "limit: read and md5",
            simple(child::command("read", &[&tree])),
        ),
    ];
    if let Some(mut python) = bench.peers.python("pack.py") {
        python.args([&tree, &out]);
        ways.push(Way::new("python tarfile", simple(python)));
    }
    for (tool, level) in [("gzip", "-6"), ("pigz", "-1")] {
        if bench.peers.has(tool) {
            let text = format!("tar cf - -C \"$1\" . | {tool} {level} > \"$2\"");
            let name = format!("tar | {tool} {level}");
            ways.push(Way::new(name, simple(peers::text(&text, &[&tree, &out]))));
        }
    }
    let taken = hold(ways, corpus.rounds());
    print_bytes(corpus, &tree);
    rows("pack", &corpus.name(), &taken, Until::Ended)
}

/// How much is sent, beside what `gzip -9` would make of it.
fn print_bytes(corpus: Corpus, tree: &Path) {
    let ours = child::packed_bytes(tree);
    let text = "tar cf - -C \"$1\" . | gzip -9 | wc -c";
    let theirs = peers::text(text, &[tree]).output().unwrap();
    let theirs: u64 = String::from_utf8_lossy(&theirs.stdout)
        .trim()
        .parse()
        .unwrap();
    #[expect(clippy::cast_precision_loss, reason = "for people")]
    let ratio = ours as f64 / theirs as f64;
    println!(
        "packed bytes of {}: {ours}, {ratio:.2} × gzip -9",
        corpus.name()
    );
}
