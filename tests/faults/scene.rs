//! What is done while something goes wrong, and what must have come of it.

mod prepare;

use std::sync::OnceLock;
use std::time::Duration;

use rustix::process::Signal;

use crate::harness::{Done, wait_until};
use crate::stage::{Stage, Watched, Way};
use prepare::{LEFT_JOB, PLANNED, TEAM};

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
    /// `sortie wait` after `sortie run --detach` of a run with a plan.
    PlannedWait,
    /// Tasks that run one after the other.
    Planned,
    /// A task that is described in an object of its own.
    Spec,
    /// A directory beside the outputs, as Claude Code's sessions are.
    Collected,
    /// `sortie gc`.
    Sweep,
    /// `sortie init`.
    Init,
}

impl Scene {
    /// Bytes of the input `data`.
    fn data(self) -> Vec<u8> {
        match self {
            Self::Object | Self::Collected => noise(400_000).to_vec(),
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
        if matches!(self, Self::LargeInput | Self::Collected) {
            copy.truncate(1000);
        }
        copy
    }

    fn stdout(self) -> &'static str {
        match self {
            Self::Talking => "said\nmore\n",
            Self::Collected => SAID,
            _ => "said\n",
        }
    }

    fn code(self) -> i32 {
        match self {
            Self::Checkpoint | Self::Lost => 125,
            Self::Cancel => 130,
            Self::Planned | Self::PlannedWait => 1,
            _ => 3,
        }
    }

    fn command(self, mark: &str) -> String {
        let begin = match self {
            Self::Collected => format!("echo ran >> {mark}; printf '%s' '{SAID}'"),
            _ => format!("echo ran >> {mark}; echo said"),
        };
        let copy = "cp input/data output/copy";
        let end = match self {
            Self::LargeInput => "head -c 1000 input/data > output/copy; exit 3".to_owned(),
            Self::Collected => {
                "head -c 1000 input/data > output/copy; mkdir -p \"$CLAUDE_CONFIG_DIR/projects\"; \
                cp input/data \"$CLAUDE_CONFIG_DIR/projects/session\"; exit 3"
                    .to_owned()
            }
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
        prepare::prepare(self, stage);
    }

    /// So many tasks it has.
    pub(crate) fn tasks(self) -> usize {
        if self.is_planned() { 2 } else { 1 }
    }

    /// Whether its run is started before the case.
    pub(crate) fn comes_back(self) -> bool {
        matches!(self, Self::Wait | Self::PlannedWait)
    }

    /// Whether no container runs in it.
    pub(crate) fn runs_nothing(self) -> bool {
        matches!(self, Self::Remove | Self::Sweep | Self::Init)
    }

    fn is_planned(self) -> bool {
        matches!(self, Self::Planned | Self::PlannedWait)
    }

    /// What is typed, results going to `out`.
    pub(crate) fn act(self, stage: &Stage<'_>, out: &str) -> Done {
        match self {
            Self::Remove => stage.enter(Way::Proxied, &["rm", &run_before(stage)]),
            Self::Wait | Self::PlannedWait => self.come_back(stage, &run_before(stage), out),
            Self::Sweep => stage.enter(Way::Proxied, &["gc", "--older-than", "0s"]),
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
        if self == Self::Collected {
            let words = ["claude", "--json", "-i", "data", "--out", out, "Go"];
            return stage.enter(Way::Proxied, &words);
        }
        let command = self.command(&stage.mark());
        let mut words = vec!["run", "--json", "-i", "data", "--out", out];
        match self {
            Self::Checkpoint | Self::Lost => words.extend(["--checkpoint", "1s"]),
            Self::Planned => words.extend(PLANNED),
            Self::Spec => words.extend(["--stdin", "many"]),
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
        match self {
            Self::Remove | Self::Sweep => {
                expect("exit code", &done.code, &Some(0))?;
                expect("objects left", &stage.names("runs/"), &Vec::new())?;
            }
            Self::Init => {
                expect("exit code", &done.code, &Some(0))?;
                let text = std::fs::read_to_string(stage.machine.path("sortie.toml"));
                let text = text.map_err(|error| format!("sortie.toml: {error}"))?;
                expect("its project", &text.contains(TEAM), &true)?;
            }
            _ => {
                expect("exit code", &done.code, &Some(self.code()))?;
                self.check_stdout(stage, out)?;
                self.check_outputs(stage, out)?;
                if self == Self::Collected {
                    self.each_file(stage, out, "sessions/session", &self.data())?;
                }
            }
        }
        if self == Self::Sweep {
            let job = stage.machine.text(LEFT_JOB);
            expect("a job left", &stage.server.has_job(&job), &false)?;
        }
        Ok(())
    }

    /// What the command said.
    pub(crate) fn check_stdout(self, stage: &Stage<'_>, out: &str) -> Result<(), String> {
        let name = match self {
            Self::Collected => "events.jsonl",
            _ => "stdout",
        };
        self.each_file(stage, out, name, self.stdout().as_bytes())
    }

    /// What the command left.
    pub(crate) fn check_outputs(self, stage: &Stage<'_>, out: &str) -> Result<(), String> {
        self.each_file(stage, out, "output/copy", &self.copy())
    }

    /// What is there of what the command said.
    pub(crate) fn check_rest_of_stdout(self, stage: &Stage<'_>, out: &str) -> Result<(), String> {
        let rest = stage.machine.text(&format!("{out}/stdout"));
        if self.stdout().contains(&rest) {
            return Ok(());
        }
        Err(format!("stdout has what nobody said: {rest:?}"))
    }

    fn each_file(
        self,
        stage: &Stage<'_>,
        out: &str,
        name: &str,
        expected: &[u8],
    ) -> Result<(), String> {
        for task in 0..self.tasks() {
            let path = if self.is_planned() {
                format!("{out}/{task}/{name}")
            } else {
                format!("{out}/{name}")
            };
            let read = std::fs::read(stage.machine.path(&path));
            let read = read.map_err(|error| format!("{path}: {error}"))?;
            if read != expected {
                let begin = &read[..read.len().min(80)];
                return Err(format!(
                    "{path}: {} bytes instead of {}: {}",
                    read.len(),
                    expected.len(),
                    String::from_utf8_lossy(begin)
                ));
            }
        }
        Ok(())
    }
}

/// What the program in Claude Code's place prints.
const SAID: &str =
    "{\"type\":\"result\",\"subtype\":\"success\",\"result\":\"said\",\"num_turns\":1}\n";

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
