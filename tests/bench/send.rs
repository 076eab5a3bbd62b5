//! An input on its way into the bucket, and the execution started: `sortie run --detach`, the whole process, on a machine
//! that has never sent it, on one that has, and after one file was changed.

use std::fs;
use std::path::Path;

use crate::Bench;
use crate::again::{SETTLED, a_file, change};
use crate::child;
use crate::contest::{Until, Way, hold};
use crate::corpus::Corpus;
use crate::harness::Machine;
use crate::peers::{self, point_gcloud, upload_url};
use crate::platform::{Platform, report};
use crate::site::BUCKET;
use crate::table::{Row, rows};
use crate::trial::{Processors, Trial, run};

/// Ours against `tar | curl` and `tar`, `gcloud storage cp`, which send all of it each time.
pub(crate) fn measure(bench: &Bench, corpus: Corpus) -> Vec<Row> {
    let tree = bench.corpora.tree(corpus);
    let touched = a_file(&tree);
    let mut measured = Vec::new();
    for (phase, before) in [
        ("send: cold", Before::Nothing),
        ("send: unchanged", Before::Sent),
        ("send: one changed", Before::Changed),
    ] {
        let mut round = 0;
        let mut floor = child::command(
            if before == Before::Nothing {
                "read"
            } else {
                "stat"
            },
            &[&tree],
        );
        let mut ways = vec![
            Way::new("sortie run --detach", || {
                let scene = Scene::set(bench);
                if before != Before::Nothing {
                    std::thread::sleep(SETTLED);
                    scene.ours(&tree);
                }
                if before == Before::Changed {
                    round += 1;
                    change(&touched, round);
                    std::thread::sleep(SETTLED);
                }
                scene.ours(&tree)
            }),
            Way::new(
                match before {
                    Before::Nothing => "limit: read and md5",
                    _ => "limit: stat walk",
                },
                || run(&mut floor, Processors::All),
            ),
        ];
        if bench.peers.has("curl") {
            ways.push(Way::new("tar | curl", || Scene::set(bench).curl(&tree)));
        }
        if bench.peers.has("gcloud") {
            ways.push(Way::new("tar, gcloud cp", || {
                Scene::set(bench).gcloud(bench, &tree)
            }));
        }
        let taken = hold(ways, corpus.rounds());
        measured.extend(rows(phase, &corpus.name(), &taken, Until::Ended));
    }
    measured
}

/// What happened to the input before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Before {
    Nothing,
    Sent,
    Changed,
}

/// A machine and a bucket that nobody has used.
struct Scene {
    machine: Machine,
    platform: Platform,
}

impl Scene {
    fn set(bench: &Bench) -> Self {
        let state = bench.corpora.scratch("send");
        fs::remove_dir_all(&state).unwrap();
        fs::create_dir(&state).unwrap();
        Self {
            machine: Machine::new(),
            platform: Platform::start(&state, |container| report(container, 0)),
        }
    }

    fn storage(&self) -> &str {
        self.platform.address.trim_start_matches("http://")
    }

    fn ours(&self, tree: &Path) -> Trial {
        let input = format!("data={}", tree.display());
        let words = ["run", "-q", "--detach", "-i", &input, "--", "true"];
        let mut command = self.platform.sortie(&self.machine, words).into();
        run(&mut command, Processors::All)
    }

    fn curl(&self, tree: &Path) -> Trial {
        let url = upload_url(self.storage(), "inputs/curl.tar.gz");
        let text = format!(
            "tar czf - -C \"$1\" . | curl -sf -o /dev/null -X POST -H 'Content-Type: application/gzip' -T - '{url}'"
        );
        run(&mut peers::text(&text, &[tree]), Processors::All)
    }

    fn gcloud(&self, bench: &Bench, tree: &Path) -> Trial {
        let archive = bench.corpora.scratch("packed").join("out.tar.gz");
        let text = format!(
            "tar czf \"$2\" -C \"$1\" . && gcloud storage cp \"$2\" gs://{BUCKET}/inputs/gcloud.tar.gz"
        );
        let mut command = peers::text(&text, &[tree, &archive]);
        point_gcloud(
            &mut command,
            self.storage(),
            &bench.corpora.scratch("gcloud"),
        );
        run(&mut command, Processors::All)
    }
}
