//! The rows, as people read them and as the history keeps them.

use serde::{Deserialize, Serialize};

use crate::contest::{Taken, Until};

/// Ours and one of theirs.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Row {
    pub(crate) phase: String,
    pub(crate) corpus: String,
    pub(crate) ours: Cost,
    pub(crate) peer: String,
    pub(crate) theirs: Option<Cost>,
    /// Theirs by ours, pair by pair, the median.
    pub(crate) ratio: Option<f64>,
    /// What cannot be done faster, and its seconds.
    pub(crate) limit: Option<(String, f64)>,
}

/// What a way took.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Cost {
    pub(crate) wall_s: f64,
    pub(crate) cpu_s: f64,
    pub(crate) peak_kb: u64,
}

impl Cost {
    pub(crate) fn of(taken: &Taken, until: Until) -> Self {
        Self {
            wall_s: taken.seconds(until),
            cpu_s: taken.cpu(),
            peak_kb: taken.peak_kb(),
        }
    }

    fn shown(&self) -> String {
        let (wall, cpu) = (seconds(self.wall_s), seconds(self.cpu_s));
        format!("{wall:>7} {cpu:>7} {:>5}", self.peak_kb.div_ceil(1024))
    }
}

/// One row for each of theirs. `taken`: ours, the limit (named `limit: …`) if there is one, and theirs.
pub(crate) fn rows(phase: &str, corpus: &str, taken: &[Taken], until: Until) -> Vec<Row> {
    let (ours, others) = taken.split_first().unwrap();
    let limit = |one: &Taken| Some(one.name.strip_prefix("limit: ")?.to_owned());
    let floor = others
        .iter()
        .find_map(|one| Some((limit(one)?, one.seconds(until))));
    let row = |theirs: Option<&Taken>| Row {
        phase: phase.to_owned(),
        corpus: corpus.to_owned(),
        ours: Cost::of(ours, until),
        peer: theirs.map_or_else(String::new, |one| one.name.clone()),
        theirs: theirs.map(|one| Cost::of(one, until)),
        ratio: theirs.map(|one| one.against(ours, until)),
        limit: floor.clone(),
    };
    let peers: Vec<_> = others.iter().filter(|one| limit(one).is_none()).collect();
    if peers.is_empty() {
        return vec![row(None)];
    }
    peers.into_iter().map(|one| row(Some(one))).collect()
}

/// Of a part that has a table of its own: for the history.
pub(crate) fn alone(phase: &str, corpus: String, wall_s: f64, cpu_s: f64, peak_kb: u64) -> Row {
    Row {
        phase: phase.to_owned(),
        corpus,
        ours: Cost {
            wall_s,
            cpu_s,
            peak_kb,
        },
        peer: String::new(),
        theirs: None,
        ratio: None,
        limit: None,
    }
}

pub(crate) fn head() -> String {
    format!(
        "{:<18} {:<11} {:>7} {:>7} {:>5}  {:<22} {:>7} {:>7} {:>5} {:>7}  {:<24} {:>7} {:>6}",
        "phase",
        "corpus",
        "ours s",
        "cpu s",
        "MiB",
        "theirs",
        "s",
        "cpu s",
        "MiB",
        "ratio",
        "limit",
        "s",
        "share"
    )
}

impl Row {
    pub(crate) fn shown(&self) -> String {
        let theirs = self.theirs.as_ref().map_or_else(String::new, Cost::shown);
        let ratio = self
            .ratio
            .map_or_else(String::new, |ratio| format!("{ratio:.2}×"));
        let (limit, floor, share) = match &self.limit {
            Some((name, floor)) => {
                let share = format!("{:.0} %", 100.0 * floor / self.ours.wall_s);
                (name.as_str(), seconds(*floor), share)
            }
            None => ("", String::new(), String::new()),
        };
        let line = format!(
            "{:<18} {:<11} {}  {:<22} {theirs:>21} {ratio:>7}  {limit:<24} {floor:>7} {share:>6}",
            self.phase,
            self.corpus,
            self.ours.shown(),
            self.peer,
        );
        line.trim_end().to_owned()
    }
}

/// Four digits or so, whatever the size.
pub(crate) fn seconds(value: f64) -> String {
    match value {
        v if v < 0.1 => format!("{v:.4}"),
        v if v < 10.0 => format!("{v:.3}"),
        v => format!("{v:.1}"),
    }
}
