//! Where everything lies in the bucket.
//!
//! ```text
//! config/sortie.json                                the kit's settings
//! inputs/<md5>.tar.gz                               packs, by the MD5 of their tar
//! runs/<run>/run.json                               what the host says of the run
//! runs/<run>/plan.json                              what every task does, where no single start says it
//! runs/<run>/specs/<k>.json                         a spec too large for its start
//! runs/<run>/starts/<s>.json                        one per `:run` call
//! runs/<run>/claims/<task>.<attempt>                created before anything else
//! runs/<run>/logs/<task>.<attempt>.<key>/<seq>-out  (or -err)
//! runs/<run>/outputs/<task>.<attempt>.<key>.tar.gz
//! runs/<run>/outputs/<task>.<attempt>.<key>.<n>.tar.gz
//! runs/<run>/checkpoints/<task>.<attempt>.<key>/<seq>.tar.gz
//! runs/<run>/reports/<task>.<attempt>.<key>.json    written once, last
//! ```
//!
//! `<attempt>` is `<start>.<CLOUD_RUN_TASK_ATTEMPT>`. Nothing is ever written twice under one name.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Where the kit leaves its settings for a team mate.
pub const SETTINGS: &str = "config/sortie.json";

/// Every pack's name begins with this.
pub const INPUTS: &str = "inputs/";

/// Every run's objects begin with this.
pub const RUNS: &str = "runs/";

/// A name that cannot be what it should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Not 26 characters of Crockford's base 32.
    #[error("`{0}` is not a run id")]
    Run(String),
    /// An object name that is not made by this module.
    #[error("`{0}` is not an object of a run")]
    Object(String),
    /// `SORTIE_RUN` is not `gs://<bucket>/runs/<run>/starts/<s>.json`.
    #[error("`{0}` does not name a start")]
    Start(String),
}

/// The object that holds a pack; `md5` is that of the uncompressed tar, in lowercase hex.
pub fn pack(md5_hex: &str) -> String {
    format!("{INPUTS}{md5_hex}.tar.gz")
}

/// A run's name: a ULID made anew each time.
///
/// Its 80 random bits make it a capability: who knows it may read the run's objects.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RunId(ulid::Ulid);

impl RunId {
    /// A new one. Never from the monotonic generator: its successors can be guessed.
    pub fn new() -> Self {
        Self(ulid::Ulid::generate())
    }

    /// When it was made, by its maker's clock, to the millisecond.
    pub fn created_at(self) -> jiff::Timestamp {
        let ms = i64::try_from(self.0.timestamp_ms()).unwrap_or(i64::MAX);
        jiff::Timestamp::from_millisecond(ms).unwrap_or(jiff::Timestamp::MAX)
    }

    /// `runs/<run>/`, with the slash that keeps `runs/a` from meaning `runs/ab`.
    pub fn prefix(self) -> String {
        format!("{RUNS}{self}/")
    }

    /// What the host says of the run.
    pub fn record(self) -> String {
        format!("{RUNS}{self}/run.json")
    }

    /// A spec that is too large to stand in its start.
    pub fn spec(self, k: u32) -> String {
        format!("{RUNS}{self}/specs/{k}.json")
    }

    /// What one `:run` call is told.
    pub fn start(self, start: u32) -> String {
        format!("{RUNS}{self}/starts/{start}.json")
    }

    /// What every task does, where no single start says it.
    pub fn plan(self) -> String {
        format!("{RUNS}{self}/plan.json")
    }

    /// Under which all starts lie.
    pub fn starts(self) -> String {
        format!("{RUNS}{self}/starts/")
    }

    /// Under which all reports lie.
    pub fn reports(self) -> String {
        format!("{RUNS}{self}/reports/")
    }

    /// Under which all claims lie.
    pub fn claims(self) -> String {
        format!("{RUNS}{self}/claims/")
    }

    /// Under which all log chunks lie.
    pub fn logs(self) -> String {
        format!("{RUNS}{self}/logs/")
    }

    /// Under which the outputs too large for a report lie.
    pub fn outputs(self) -> String {
        format!("{RUNS}{self}/outputs/")
    }

    /// Under which all checkpoints lie.
    pub fn checkpoints(self) -> String {
        format!("{RUNS}{self}/checkpoints/")
    }
}

impl Default for RunId {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for RunId {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        ulid::Ulid::from_string(text)
            .ok()
            // The decoder takes lowercase and look-alikes; an object name does not.
            .filter(|ulid| ulid.to_string() == text)
            .map(Self)
            .ok_or_else(|| NameError::Run(text.to_owned()))
    }
}

impl TryFrom<String> for RunId {
    type Error = NameError;

    fn try_from(text: String) -> Result<Self, NameError> {
        text.parse()
    }
}

impl From<RunId> for String {
    fn from(run: RunId) -> Self {
        run.to_string()
    }
}

/// One try of one task: `<task>.<start>.<retry>` in object names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Attempt {
    /// The task's number within the run, from 0.
    pub task: u32,
    /// The `:run` call that started it, from 0.
    pub start: u32,
    /// `CLOUD_RUN_TASK_ATTEMPT`.
    pub retry: u32,
}

impl fmt::Display for Attempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.task, self.start, self.retry)
    }
}

impl FromStr for Attempt {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        parse_attempt(text).ok_or_else(|| NameError::Object(text.to_owned()))
    }
}

fn parse_attempt(text: &str) -> Option<Attempt> {
    let mut numbers = text.split('.').map(|part| part.parse().ok());
    let attempt = Attempt {
        task: numbers.next()??,
        start: numbers.next()??,
        retry: numbers.next()??,
    };
    // `+1` and `01` parse too, and would be second names for one attempt.
    (numbers.next().is_none() && attempt.to_string() == text).then_some(attempt)
}

/// Which of the command's streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

impl Stream {
    fn suffix(self) -> &'static str {
        match self {
            Self::Stdout => "out",
            Self::Stderr => "err",
        }
    }
}

/// The objects that one attempt writes, all but its claim named with its key.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct AttemptObjects {
    /// The run.
    pub run: RunId,
    /// The attempt.
    pub attempt: Attempt,
    /// The attempt's key, 32 hex digits.
    pub key: String,
}

impl AttemptObjects {
    /// Created before anything else; holds the key's SHA-256.
    pub fn claim(&self) -> String {
        claim(self.run, self.attempt)
    }

    /// The report, written once, last.
    pub fn report(&self) -> String {
        format!("{}{}.{}.json", self.run.reports(), self.attempt, self.key)
    }

    /// The packed output directory.
    pub fn outputs(&self) -> String {
        format!("{}{}.{}.tar.gz", self.run.outputs(), self.attempt, self.key)
    }

    /// A packed directory that was collected beside the outputs, by its place in the spec.
    pub fn collected(&self, index: usize) -> String {
        let outputs = self.run.outputs();
        format!("{outputs}{}.{}.{index}.tar.gz", self.attempt, self.key)
    }

    /// The prefix of the attempt's log chunks.
    pub fn logs(&self) -> String {
        format!("{}{}.{}/", self.run.logs(), self.attempt, self.key)
    }

    /// One log chunk; numbers are padded so that a listing is in order.
    pub fn log(&self, sequence: u32, stream: Stream) -> String {
        format!("{}{sequence:08}-{}", self.logs(), stream.suffix())
    }

    /// The prefix of the attempt's checkpoints.
    pub fn checkpoints(&self) -> String {
        format!("{}{}.{}/", self.run.checkpoints(), self.attempt, self.key)
    }

    /// One checkpoint of the output directory.
    pub fn checkpoint(&self, sequence: u32) -> String {
        format!("{}{sequence:08}.tar.gz", self.checkpoints())
    }

    /// Reads a report's name back.
    pub fn from_report(run: RunId, name: &str) -> Result<Self, NameError> {
        name.strip_prefix(&run.reports())
            .and_then(|rest| rest.strip_suffix(".json"))
            .and_then(|stem| Self::from_stem(run, stem))
            .ok_or_else(|| NameError::Object(name.to_owned()))
    }

    /// Reads a log chunk's name back, with its number and stream.
    pub fn from_log(run: RunId, name: &str) -> Result<(Self, u32, Stream), NameError> {
        Self::parse_log(run, name).ok_or_else(|| NameError::Object(name.to_owned()))
    }

    /// Reads the prefix of an attempt's log chunks back.
    pub fn from_logs(run: RunId, prefix: &str) -> Result<Self, NameError> {
        prefix
            .strip_prefix(&run.logs())
            .and_then(|rest| rest.strip_suffix('/'))
            .and_then(|stem| Self::from_stem(run, stem))
            .ok_or_else(|| NameError::Object(prefix.to_owned()))
    }

    /// Reads a checkpoint's name back, with its number.
    pub fn from_checkpoint(run: RunId, name: &str) -> Result<(Self, u32), NameError> {
        let parse = || {
            let rest = name.strip_prefix(&run.checkpoints())?;
            let (stem, number) = rest.split_once('/')?;
            let sequence = number.strip_suffix(".tar.gz")?.parse().ok()?;
            let objects = Self::from_stem(run, stem)?;
            // A number has one spelling: a stranger's other one would be a second checkpoint of the same number.
            (objects.checkpoint(sequence) == name).then_some((objects, sequence))
        };
        parse().ok_or_else(|| NameError::Object(name.to_owned()))
    }

    fn parse_log(run: RunId, name: &str) -> Option<(Self, u32, Stream)> {
        let rest = name.strip_prefix(&run.logs())?;
        let (stem, chunk) = rest.split_once('/')?;
        let (number, suffix) = chunk.split_once('-')?;
        let stream = match suffix {
            "out" => Stream::Stdout,
            "err" => Stream::Stderr,
            _ => return None,
        };
        let (objects, sequence) = (Self::from_stem(run, stem)?, number.parse().ok()?);
        // A number has one spelling: a stranger's other one would be a second chunk in the place of the first.
        (objects.log(sequence, stream) == name).then_some((objects, sequence, stream))
    }

    fn from_stem(run: RunId, stem: &str) -> Option<Self> {
        let (attempt, key) = stem.rsplit_once('.')?;
        let hex = key.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        (key.len() == 32 && hex).then_some(())?;
        Some(Self {
            run,
            attempt: attempt.parse().ok()?,
            key: key.to_owned(),
        })
    }
}

/// The claim of an attempt.
pub fn claim(run: RunId, attempt: Attempt) -> String {
    format!("{}{attempt}", run.claims())
}

/// The value of `SORTIE_RUN`: the only thing that goes through Cloud Run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StartUri {
    /// The bucket, without `gs://`.
    pub bucket: String,
    /// The run.
    pub run: RunId,
    /// Which of the run's `:run` calls.
    pub start: u32,
}

impl fmt::Display for StartUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "gs://{}/{}", self.bucket, self.run.start(self.start))
    }
}

impl FromStr for StartUri {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let parse = || {
            let (bucket, name) = text.strip_prefix("gs://")?.split_once('/')?;
            let (run, start) = name.strip_prefix(RUNS)?.split_once("/starts/")?;
            let uri = Self {
                bucket: bucket.to_owned(),
                run: run.parse().ok()?,
                start: start.strip_suffix(".json")?.parse().ok()?,
            };
            (!bucket.is_empty() && uri.to_string() == text).then_some(uri)
        };
        parse().ok_or_else(|| NameError::Start(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RUN: &str = "01KAVXA2B3C4D5E6F7G8H9JKMN";
    const KEY: &str = "00112233445566778899aabbccddeeff";

    fn objects() -> AttemptObjects {
        AttemptObjects {
            run: RUN.parse().unwrap(),
            attempt: "7.0.2".parse().unwrap(),
            key: KEY.to_owned(),
        }
    }

    #[test]
    fn names_of_an_attempt_read_back() {
        let objects = objects();
        assert_eq!(objects.claim(), format!("runs/{RUN}/claims/7.0.2"));
        assert_eq!(
            objects.report(),
            format!("runs/{RUN}/reports/7.0.2.{KEY}.json")
        );
        let back = AttemptObjects::from_report(objects.run, &objects.report()).unwrap();
        assert_eq!(back, objects);
        let log = objects.log(3, Stream::Stderr);
        assert_eq!(log, format!("runs/{RUN}/logs/7.0.2.{KEY}/00000003-err"));
        let back = AttemptObjects::from_log(objects.run, &log).unwrap();
        assert_eq!(back, (objects.clone(), 3, Stream::Stderr));
        let back = AttemptObjects::from_logs(objects.run, &objects.logs()).unwrap();
        assert_eq!(back, objects);
        let back = AttemptObjects::from_checkpoint(objects.run, &objects.checkpoint(12)).unwrap();
        assert_eq!(back, (objects, 12));
    }

    #[test]
    fn a_number_has_one_spelling() {
        let objects = objects();
        for number in ["3", "003", "+0000003", "000000003", "-0000003", ""] {
            let log = format!("{}{number}-out", objects.logs());
            assert!(
                AttemptObjects::from_log(objects.run, &log).is_err(),
                "{log}"
            );
            let checkpoint = format!("{}{number}.tar.gz", objects.checkpoints());
            let read = AttemptObjects::from_checkpoint(objects.run, &checkpoint);
            assert!(read.is_err(), "{checkpoint}");
        }
        let large = objects.log(u32::MAX, Stream::Stdout);
        assert!(AttemptObjects::from_log(objects.run, &large).is_ok());
    }

    #[test]
    fn a_start_reads_back_and_nothing_else_does() {
        let text = format!("gs://team-bucket/runs/{RUN}/starts/0.json");
        assert_eq!(text.parse::<StartUri>().unwrap().to_string(), text);
        for bad in [
            "gs:///runs/x/starts/0.json",
            "https://b/runs/01KAVXA2B3C4D5E6F7G8H9JKMN/starts/0.json",
            "gs://b/runs/01KAVXA2B3C4D5E6F7G8H9JKMN/starts/00.json",
            "gs://b/runs/../starts/0.json",
        ] {
            assert!(bad.parse::<StartUri>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_run_has_one_spelling() {
        assert!(RUN.parse::<RunId>().is_ok());
        assert!(RUN.to_lowercase().parse::<RunId>().is_err());
        assert!("01KAVXA2B3C4D5E6F7G8H9JKM".parse::<RunId>().is_err());
    }

    #[test]
    fn an_attempt_has_one_spelling() {
        for bad in ["1.2", "1.2.3.4", "01.0.0", "+1.0.0", "1.0.", "a.b.c"] {
            assert!(bad.parse::<Attempt>().is_err(), "{bad}");
        }
    }
}
