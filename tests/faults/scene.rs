//! What is done while something goes wrong, and what must have come of it.

use std::sync::OnceLock;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use rustix::process::Signal;
use wire::bucket::{NewObject, Precondition};

use crate::harness::{Done, wait_until};
use crate::server::runtime;
use crate::stage::{Stage, Watched, Way};

/// More than an upload's first chunk.
const MOST_NOISE: usize = 9_500_000;

/// A way to use sortie that makes certain calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scene {
    /// A small input, and outputs in the report.
    Small,
    /// Outputs in an object of one request.
    Object,
    /// Outputs in an object of several requests.
    Large,
    /// An input in an object of several requests.
    LargeInput,
    /// An input that is in the bucket and was not used for long.
    KnownInput,
    /// Output while the command runs.
    Talking,
    /// Checkpoints of a task that is killed long after one.
    Checkpoint,
    /// Of a task that is killed soon after one.
    Lost,
    /// A job of its own.
    OwnJob,
    /// Ctrl-C.
    Cancel,
    /// `sortie rm`.
    Remove,
    /// `sortie wait` after `sortie run --detach`.
    Wait,
    /// `sortie init`.
    Init,
}

impl Scene {
    /// Bytes of the input `data`.
    fn data(self) -> Vec<u8> {
        match self {
            Self::Object => noise(400_000).to_vec(),
            Self::Large => noise(6_000_000).to_vec(),
            Self::LargeInput => {
                let mut bytes = noise(MOST_NOISE).to_vec();
                bytes.resize(22_000_000, 0);
                bytes
            }
            _ => b"precious\n".to_vec(),
        }
    }

    /// What the command leaves in `output/copy`.
    fn copy(self) -> Vec<u8> {
        let mut copy = self.data();
        if self == Self::LargeInput {
            copy.truncate(1000);
        }
        copy
    }

    fn stdout(self) -> &'static str {
        match self {
            Self::Talking => "said\nmore\n",
            _ => "said\n",
        }
    }

    fn code(self) -> i32 {
        match self {
            Self::Checkpoint | Self::Lost => 125,
            Self::Cancel => 130,
            _ => 3,
        }
    }

    fn command(self, mark: &str) -> String {
        let begin = format!("echo ran >> {mark}; echo said");
        let copy = "cp input/data output/copy";
        let end = match self {
            Self::LargeInput => "head -c 1000 input/data > output/copy; exit 3".to_owned(),
            Self::Talking => format!("sleep 2.6; {copy}; echo more; exit 3"),
            Self::Checkpoint => format!("{copy}; sleep 4.5; kill -9 $PPID; sleep 60"),
            Self::Lost => format!("{copy}; sleep 1.7; kill -9 $PPID; sleep 60"),
            Self::Cancel => format!("{copy}; touch {mark}.ready; sleep 20"),
            _ => format!("{copy}; exit 3"),
        };
        format!("{begin}; {end}")
    }

    /// What comes before the fault, without it.
    pub(crate) fn prepare(self, stage: &Stage<'_>) {
        stage.machine.write("data", self.data());
        match self {
            Self::KnownInput => make_known(stage),
            Self::Remove => {
                let done = stage.enter(Way::Straight, &["run", "-q", "-o", "o", "--", "true"]);
                done.code(0);
            }
            Self::Wait => {
                let command = self.command(&stage.mark());
                let words = ["run", "-d", "-i", "data", "--", "sh", "-c", &command];
                stage.enter(Way::Straight, &words).code(0);
            }
            Self::Init => put_settings(stage),
            _ => {}
        }
    }

    /// What is typed, results going to `out`.
    pub(crate) fn act(self, stage: &Stage<'_>, out: &str) -> Done {
        match self {
            Self::Remove => stage.enter(Way::Proxied, &["rm", &run_before(stage)]),
            Self::Wait => self.come_back(stage, &run_before(stage), out),
            Self::Init => {
                let bucket = format!("gs://{}", stage.bucket);
                stage.enter(Way::Proxied, &["init", &bucket])
            }
            _ => self.run(stage, out),
        }
    }

    /// `sortie wait`.
    pub(crate) fn come_back(self, stage: &Stage<'_>, run: &str, out: &str) -> Done {
        if self == Self::Cancel {
            stage.enter(Way::Proxied, &["cancel", run]);
        }
        stage.enter(Way::Proxied, &["wait", "--json", "--out", out, run])
    }

    fn run(self, stage: &Stage<'_>, out: &str) -> Done {
        let command = self.command(&stage.mark());
        let mut words = vec!["run", "--json", "-i", "data", "--out", out];
        match self {
            Self::Checkpoint | Self::Lost => words.extend(["--checkpoint", "1s"]),
            Self::OwnJob => words.extend(["--cpu", "1", "--memory", "1Gi"]),
            _ => {}
        }
        words.extend(["--", "sh", "-c", &command]);
        if self == Self::Cancel {
            return interrupted(stage, &words);
        }
        stage.enter(Way::Proxied, &words)
    }

    /// Whether all is as it must be: `Err` says what is not.
    pub(crate) fn check(self, stage: &Stage<'_>, done: &Done, out: &str) -> Result<(), String> {
        if self == Self::Remove {
            let left = stage.names("runs/");
            return expect("exit code", &done.code, &Some(0)).and(expect(
                "objects left",
                &left,
                &Vec::new(),
            ));
        }
        if self == Self::Init {
            expect("exit code", &done.code, &Some(0))?;
            let text = std::fs::read_to_string(stage.machine.path("sortie.toml"));
            let text = text.map_err(|error| format!("sortie.toml: {error}"))?;
            return expect("its project", &text.contains(TEAM), &true);
        }
        expect("exit code", &done.code, &Some(self.code()))?;
        let read = |name: &str| std::fs::read(stage.machine.path(&format!("{out}/{name}")));
        let stdout = read("stdout").map_err(|error| format!("stdout: {error}"))?;
        expect("stdout", &*String::from_utf8_lossy(&stdout), self.stdout())?;
        let copy = read("output/copy").map_err(|error| format!("output/copy: {error}"))?;
        if copy == self.copy() {
            Ok(())
        } else {
            Err(format!("the output has {} other bytes", copy.len()))
        }
    }
}

pub(crate) fn expect<T: PartialEq + std::fmt::Debug + ?Sized>(
    what: &str,
    got: &T,
    expected: &T,
) -> Result<(), String> {
    if got == expected {
        return Ok(());
    }
    Err(format!("{what}: {got:?} instead of {expected:?}"))
}

/// The run that came before the case.
fn run_before(stage: &Stage<'_>) -> String {
    let names = stage.names("runs/");
    names[0].split('/').nth(1).unwrap().to_owned()
}

fn interrupted(stage: &Stage<'_>, words: &[&str]) -> Done {
    let running = stage.typed(Way::Proxied, words).start();
    let watched = Watched::new(running.pid());
    let ready = stage.machine.path("mark.ready");
    wait_until("the command runs", || ready.exists());
    // It has a moment to learn that it runs.
    std::thread::sleep(Duration::from_millis(300));
    running.signal(Signal::INT);
    let done = running.end();
    drop(watched);
    done
}

/// The input lies in the bucket, and its lifecycle's clock stands at the day before yesterday.
fn make_known(stage: &Stage<'_>) {
    let words = ["run", "-q", "-i", "data", "-o", "before", "--", "true"];
    stage.enter(Way::Straight, &words).code(0);
    let name = stage.names("inputs/").remove(0);
    let old = Timestamp::now() - SignedDuration::from_hours(48);
    let bucket = stage.bucket();
    runtime().block_on(async {
        let meta = bucket.stat(&name).await.unwrap();
        let (_, bytes) = bucket.read(&name, 1 << 20).await.unwrap();
        bucket.delete(&name, Some(meta.generation)).await.unwrap();
        let object = NewObject {
            content_type: "application/gzip",
            metadata: meta.metadata,
            custom_time: Some(old),
            precondition: Precondition::Absent,
        };
        bucket.insert(&name, &object, bytes).await.unwrap();
    });
}

/// The project that the kit's settings name.
const TEAM: &str = "the-teams-own";

fn put_settings(stage: &Stage<'_>) {
    let settings = serde_json::json!({
        "format": 1, "project": TEAM, "region": "us-central1", "bucket": stage.bucket, "environments": {},
    });
    let object = NewObject {
        content_type: "application/json",
        metadata: std::collections::BTreeMap::new(),
        custom_time: None,
        precondition: Precondition::Absent,
    };
    let json = bytes::Bytes::from(settings.to_string());
    let bucket = stage.bucket();
    let put = bucket.insert(wire::names::SETTINGS, &object, json);
    runtime().block_on(put).unwrap();
}

/// Bytes that no compression makes less.
fn noise(length: usize) -> &'static [u8] {
    static NOISE: OnceLock<Vec<u8>> = OnceLock::new();
    let noise = NOISE.get_or_init(|| {
        let mut noise = vec![0; MOST_NOISE];
        getrandom::fill(&mut noise).unwrap();
        noise
    });
    &noise[..length]
}
