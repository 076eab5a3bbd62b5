//! A task in its container of one processor: fetch, unpack, the command, pack, upload. The command moves its input to
//! the outputs, so that as much goes home as came.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use wire::contract::{self, Input, Spec};

use crate::Bench;
use crate::child;
use crate::contest::{Until, Way, hold};
use crate::corpus::Corpus;
use crate::peers::{self, point_gcloud, shell, upload_url, url};
use crate::site::{BUCKET, Site};
use crate::table::{Row, rows};
use crate::trial::{Processors, Trial, run, run_until};

/// The archive that the rivals fetch: one, as `tar czf` makes it.
const ARCHIVE: &str = "inputs/of-the-rivals.tar.gz";

/// The real entrypoint against `curl | tar` and `gcloud storage cp`.
pub(crate) fn measure(bench: &Bench, corpus: Corpus) -> Vec<Row> {
    let scene = Scene::set(bench, corpus);
    let (archives, target) = (
        scene.scratch.join("archives"),
        scene.scratch.join("created"),
    );
    fs::create_dir(&archives).unwrap();
    let tree = bench.corpora.tree(corpus);
    run(
        &mut child::command("archive", &[&tree, &archives]),
        Processors::All,
    );
    let mut create = child::command("create", &[&archives, &target]);
    let mut ways = vec![
        Way::new("sortie", || scene.ours()),
        Way::new("limit: gunzip and create", || {
            let _ = fs::remove_dir_all(&target);
            fs::create_dir(&target).unwrap();
            let trial = run(&mut create, Processors::One);
            Trial {
                started: Some(trial.wall),
                ..trial
            }
        }),
    ];
    if bench.peers.has("curl") {
        ways.push(Way::new("curl | tar", || scene.curl()));
    }
    if bench.peers.has("gcloud") {
        ways.push(Way::new("gcloud cp, tar", || scene.gcloud()));
    }
    let taken = hold(ways, corpus.rounds());
    let name = corpus.name();
    let mut measured = rows("task: to command", &name, &taken, Until::Started);
    let whole = rows("task: whole", &name, &taken, Until::Ended);
    // The limit is that of the way to the command.
    measured.extend(whole.into_iter().map(|row| Row { limit: None, ..row }));
    measured
}

struct Scene<'a> {
    site: Site,
    input: Input,
    entrypoint: &'a Path,
    scratch: PathBuf,
}

impl<'a> Scene<'a> {
    fn set(bench: &'a Bench, corpus: Corpus) -> Self {
        let scratch = bench.corpora.scratch("container");
        fs::remove_dir_all(&scratch).unwrap();
        fs::create_dir_all(scratch.join("state")).unwrap();
        let site = Site::start(&scratch.join("state"));
        let tree = bench.corpora.tree(corpus);
        let archive = scratch.join("archive.tar.gz");
        let text = "tar czf \"$2\" -C \"$1\" --transform 's,^\\.,data,S' .";
        run(&mut peers::text(text, &[&tree, &archive]), Processors::All);
        site.put(ARCHIVE, fs::read(&archive).unwrap());
        fs::remove_file(&archive).unwrap();
        Self {
            input: site.input("data", &tree),
            site,
            entrypoint: &bench.entrypoint,
            scratch,
        }
    }

    fn ours(&self) -> Trial {
        let (workspace, started) = self.fresh();
        let text = format!("echo > {}\nmv input/* output\n", started.0.display());
        let mut spec = Spec::new(contract::Command::Shell(text.into_bytes().into()));
        spec.inputs.push(self.input.clone());
        let mut command = Command::new(self.entrypoint);
        command
            .args((self.entrypoint.file_name().unwrap() == "sortie").then_some("entrypoint"))
            .env_clear()
            .env("PATH", "/usr/local/bin:/usr/bin:/bin")
            .env("SORTIE_WORKSPACE", &workspace)
            .env("SORTIE_RUN", self.site.start_of(spec))
            .env("STORAGE_EMULATOR_HOST", &self.site.storage)
            .env("GCE_METADATA_HOST", &self.site.metadata);
        let trial = started.time(&mut command);
        // Otherwise the outputs of an empty directory would be fast.
        let kept = fs::read_dir(workspace.join("output/data")).unwrap().count();
        assert!(kept > 0, "the command did not do its work");
        trial
    }

    fn curl(&self) -> Trial {
        let (workspace, started) = self.fresh();
        let mut command = shell("curl.sh");
        command
            .arg(url(&self.site.storage, ARCHIVE))
            .arg(upload_url(&self.site.storage, "runs/curl.tar.gz"))
            .args([&workspace, &started.0]);
        started.time(&mut command)
    }

    fn gcloud(&self) -> Trial {
        let (workspace, started) = self.fresh();
        let mut command = shell("gcloud.sh");
        command
            .arg(format!("gs://{BUCKET}/{ARCHIVE}"))
            .arg(format!("gs://{BUCKET}/runs/gcloud.tar.gz"))
            .args([&workspace, &started.0]);
        point_gcloud(
            &mut command,
            &self.site.storage,
            &self.scratch.join("gcloud"),
        );
        started.time(&mut command)
    }

    /// An empty workspace, and what the command tells its start by.
    fn fresh(&self) -> (PathBuf, Started) {
        let workspace = self.scratch.join("workspace");
        let _ = fs::remove_dir_all(&workspace);
        fs::create_dir(&workspace).unwrap();
        (workspace, Started::new(self.scratch.join("started")))
    }
}

/// A fifo into which a command writes when it begins.
struct Started(PathBuf);

impl Started {
    fn new(path: PathBuf) -> Self {
        let _ = fs::remove_file(&path);
        rustix::fs::mknodat(
            rustix::fs::CWD,
            &path,
            rustix::fs::FileType::Fifo,
            rustix::fs::Mode::RWXU,
            0,
        )
        .unwrap();
        Self(path)
    }

    fn time(&self, command: &mut Command) -> Trial {
        let path = &self.0;
        let wait = move |begun: Instant| -> Option<Duration> {
            // Opened once somebody opens the other end, who must not find it closed while he writes.
            let mut fifo = fs::File::open(path).unwrap();
            let started = begun.elapsed();
            std::io::copy(&mut fifo, &mut std::io::sink()).unwrap();
            Some(started)
        };
        run_until(command, Processors::One, wait)
    }
}
