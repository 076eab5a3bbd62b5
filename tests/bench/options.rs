//! What of all is to be measured: from the environment, as `make` passes it on.

use std::path::PathBuf;

/// All that can be told.
pub(crate) struct Options {
    /// The parts, by name; none = all.
    parts: Vec<String>,
    /// The large trees as well.
    pub(crate) large: bool,
    /// A small tree instead of all, to see that it works.
    pub(crate) quick: bool,
    /// Where the largest tree and what is made of it lie: 45 GiB.
    pub(crate) place: Option<PathBuf>,
    /// Where earlier measurements are, and this one goes.
    pub(crate) history: PathBuf,
    /// Print what two commits took instead.
    pub(crate) compare: Option<(String, String)>,
    /// The static entrypoint.
    pub(crate) entrypoint: Option<PathBuf>,
}

/// In their order.
pub(crate) const PARTS: [&str; 8] = [
    "pack",
    "again",
    "send",
    "container",
    "home",
    "start",
    "batches",
    "scaling",
];

impl Options {
    #[expect(clippy::disallowed_methods, reason = "a bench has no settings to read")]
    pub(crate) fn read() -> Self {
        let given = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let parts = given("BENCH").unwrap_or_default();
        let parts: Vec<_> = parts
            .split([',', ' '])
            .filter(|part| !part.is_empty())
            .map(str::to_owned)
            .collect();
        for part in &parts {
            assert!(
                PARTS.contains(&part.as_str()),
                "BENCH=`{part}` is none of {PARTS:?}"
            );
        }
        let beside = std::env::current_exe().unwrap();
        let target = beside.ancestors().nth(3).unwrap().to_owned();
        Self {
            parts,
            large: given("BENCH_LARGE").is_some(),
            quick: given("BENCH_QUICK").is_some(),
            place: given("BENCH_DIR").map(PathBuf::from),
            history: given("BENCH_HISTORY")
                .map_or_else(|| target.join("bench-history.jsonl"), PathBuf::from),
            compare: given("A").zip(given("B")),
            entrypoint: given("SORTIE_STATIC_ENTRYPOINT").map(PathBuf::from),
        }
    }

    pub(crate) fn wants(&self, part: &str) -> bool {
        self.parts.is_empty() || self.parts.iter().any(|one| one == part)
    }
}
