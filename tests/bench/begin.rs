//! What it costs to begin: a process that does nothing, and a command on this machine that does nothing.

use std::path::Path;
use std::process::Command;

use crate::Bench;
use crate::contest::{Until, Way, hold};
use crate::harness::{Machine, SORTIE};
use crate::table::{Row, rows};
use crate::trial::{Processors, run};

const ROUNDS: usize = 15;

/// `--version` of ours against Google's command line and Python's start.
pub(crate) fn processes(bench: &Bench) -> Vec<Row> {
    let mut measured = Vec::new();
    for (name, program) in [
        ("sortie", Path::new(SORTIE)),
        ("entrypoint", &bench.entrypoint),
    ] {
        let mut ways = vec![
            Way::new(name, || {
                run(Command::new(program).arg("--version"), Processors::All)
            }),
            Way::new("limit: true", || {
                run(&mut Command::new("true"), Processors::All)
            }),
        ];
        if let Some(python) = &bench.peers.python {
            let import = "import tarfile, urllib.request";
            let begin = move || run(Command::new(python).args(["-c", import]), Processors::All);
            ways.push(Way::new("python, two imports", begin));
        }
        let taken = hold(ways, ROUNDS);
        measured.extend(rows("process start", name, &taken, Until::Ended));
    }
    if bench.peers.has("gcloud") {
        let ways = vec![
            Way::new("sortie", || {
                run(Command::new(SORTIE).arg("--version"), Processors::All)
            }),
            Way::new("gcloud version", || {
                run(Command::new("gcloud").arg("version"), Processors::All)
            }),
        ];
        let taken = hold(ways, 3);
        measured.extend(rows("process start", "sortie", &taken, Until::Ended));
    }
    measured
}

/// `sortie run -- true` on this machine, whose emulator runs already; with the sandbox and without.
pub(crate) fn local() -> Vec<Row> {
    let machine = Machine::new();
    let mut round = 0;
    let mut enter = |sandbox: &str| {
        round += 1;
        let out = format!("o{round}");
        let words = ["run", "--sandbox", sandbox, "--out", &out, "--", "true"];
        run(&mut machine.sortie(words).into(), Processors::All)
    };
    enter("none");
    let mut measured = Vec::new();
    for sandbox in ["namespaces", "none"] {
        let ways = vec![
            Way::new("sortie run -- true", || enter(sandbox)),
            Way::new("limit: true", || {
                run(&mut Command::new("true"), Processors::All)
            }),
        ];
        let taken = hold(ways, ROUNDS);
        measured.extend(rows("run -- true", sandbox, &taken, Until::Ended));
    }
    measured
}
