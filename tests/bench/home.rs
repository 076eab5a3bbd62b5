//! A task's outputs on their way home: `sortie fetch`, the whole process, after a run whose container sent them.

use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use emulator::Container;
use wire::contract::{Archive, Outputs};

use crate::Bench;
use crate::child;
use crate::contest::{Until, Way, hold};
use crate::corpus::Corpus;
use crate::harness::Machine;
use crate::peers;
use crate::platform::{self, Platform};
use crate::table::{Row, rows};
use crate::trial::{Processors, run};

/// What every container sends.
struct Sent {
    archive: Bytes,
    digest: archive::PackedOutputs,
    /// Where the last one's archive is.
    object: Mutex<String>,
}

/// Ours against `curl | tar` and a Python pass.
pub(crate) fn measure(bench: &Bench, corpus: Corpus) -> Vec<Row> {
    let scratch = bench.corpora.scratch("home");
    fs::remove_dir_all(&scratch).unwrap();
    let target = scratch.join("target");
    let archives = bench.corpora.scratch("home/archives");
    let state = bench.corpora.scratch("home/state");
    let sent = Arc::new(Sent::pack(&bench.corpora.tree(corpus)));
    fs::write(archives.join("0.tar.gz"), &sent.archive).unwrap();
    let container = {
        let sent = sent.clone();
        move |container| send(container, sent.clone())
    };
    let platform = Platform::start(&state, container);
    let storage = platform.address.trim_start_matches("http://").to_owned();
    let machine = Machine::new();
    let fresh = || {
        let _ = fs::remove_dir_all(&target);
        fs::create_dir(&target).unwrap();
    };
    let kept = a_run(&platform, &machine, &sent).1;
    let link = peers::url(&storage, &kept);
    let mut ways = vec![
        Way::new("sortie fetch", || {
            fresh();
            let run_id = a_run(&platform, &machine, &sent).0;
            let out = target.join("out");
            let words = ["fetch", &run_id, "--out", out.to_str().unwrap()];
            let trial = run(
                &mut platform.sortie(&machine, words).into(),
                Processors::All,
            );
            assert!(out.join("output").read_dir().unwrap().count() > 0);
            trial
        }),
        Way::new("limit: gunzip and create", || {
            fresh();
            run(
                &mut child::command("create", &[&archives, &target]),
                Processors::All,
            )
        }),
    ];
    if bench.peers.has("curl") {
        ways.push(Way::new("curl | tar", || {
            fresh();
            let text = format!("curl -sf '{link}' | tar xzf - -C \"$1\"");
            run(&mut peers::text(&text, &[&target]), Processors::All)
        }));
    }
    if bench.peers.python.is_some() {
        ways.push(Way::new("python tarfile", || {
            fresh();
            let mut python = bench.peers.python("fetch.py").unwrap();
            run(python.arg(&link).arg(&target), Processors::All)
        }));
    }
    let taken = hold(ways, corpus.rounds());
    rows("home again", &corpus.name(), &taken, Until::Ended)
}

/// Lets a task end; its name and the object of its outputs.
fn a_run(platform: &Platform, machine: &Machine, sent: &Sent) -> (String, String) {
    let done = platform
        .sortie(machine, ["run", "--detach", "--", "true"])
        .enter()
        .code(0);
    let run = String::from_utf8(done.stdout).unwrap().trim().to_owned();
    platform.sortie(machine, ["status", &run]).enter();
    let ended = || !sent.object.lock().unwrap().is_empty();
    crate::harness::wait_until("the container has reported", ended);
    let object = std::mem::take(&mut *sent.object.lock().unwrap());
    (run, object)
}

async fn send(container: Container, sent: Arc<Sent>) -> i32 {
    let (objects, bucket) = platform::begin(&container).await;
    let name = objects.outputs();
    let mut upload = bucket.upload(&name, &platform::new_object()).await.unwrap();
    upload.write(sent.archive.clone()).await.unwrap();
    let made = upload.finish().await.unwrap();
    let outputs = Outputs {
        entries: sent.digest.entries,
        bytes: sent.digest.bytes,
        archive: Archive::Object {
            size: made.size,
            generation: made.generation,
            sha256: sent.digest.digest.sha256.clone(),
        },
        skipped: Vec::new(),
        skipped_total: 0,
    };
    let code = platform::write_report_of(&objects, &bucket, 0, outputs, Vec::new()).await;
    *sent.object.lock().unwrap() = name;
    code
}

impl Sent {
    fn pack(tree: &Path) -> Self {
        let mut writer = archive::PackWriter::new(Vec::new());
        let digest = archive::pack_outputs(tree, &mut writer, None).unwrap();
        Self {
            archive: writer.finish().unwrap().into(),
            digest,
            object: Mutex::default(),
        }
    }
}
