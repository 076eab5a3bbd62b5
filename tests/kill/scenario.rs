//! A run that uses everything: an input, a log in chunks, outputs as an object, a code of its own.

use std::fs;
use std::path::Path;

use crate::harness::Machine;
use crate::points::Dice;

/// Of the command.
pub(crate) const CODE: i32 = 7;

const LINES: usize = 200_000;

/// A machine with the input, and what must come of it.
pub(crate) struct Scenario {
    pub(crate) machine: Machine,
    data: Vec<u8>,
}

impl Scenario {
    pub(crate) fn new(dice: u64) -> Self {
        let machine = Machine::new();
        let data = Dice(dice).bytes(2_000_000);
        machine.write("data/large", &data);
        machine.write("data/below/small", "small\n");
        Self { machine, data }
    }

    /// What is typed; `pause`: shell text between making the outputs and the rest.
    pub(crate) fn words(out: &str, flags: &[&str], pause: &str) -> Vec<String> {
        let script = format!(
            "cp -r input/data output/copy; {pause} seq {LINES}; echo said >&2; exit {CODE}"
        );
        let first = ["run", "--json", "-i", "data", "--out", out];
        let last = ["--", "sh", "-c", &script];
        let words = first.iter().chain(flags).chain(&last);
        words.map(|word| (*word).to_owned()).collect()
    }

    /// Whether a result is there, in which case it is whole.
    pub(crate) fn is_landed(&self, out: &str) -> bool {
        let landed = self.machine.path(out).join("report.json").exists();
        if landed {
            self.check(out);
        }
        landed
    }

    /// A result that is whole, byte for byte.
    pub(crate) fn check(&self, out: &str) {
        let read = |name: &str| self.machine.read(&format!("{out}/{name}"));
        assert!(read("output/copy/large") == self.data, "other bytes");
        assert_eq!(read("output/copy/below/small"), b"small\n");
        assert!(read("stdout") == Self::stdout().as_bytes(), "another log");
        assert_eq!(read("stderr"), b"said\n");
        let report: serde_json::Value = serde_json::from_slice(&read("report.json")).unwrap();
        assert_eq!(
            (&report["outcome"], &report["code"]),
            (&"exited".into(), &CODE.into())
        );
        let mut names = names(&self.machine.path(out));
        names.sort();
        assert_eq!(names, ["output", "report.json", "stderr", "stdout"]);
    }

    /// What a checkpoint holds: as much as there was.
    pub(crate) fn check_checkpoint(&self, out: &str) {
        let copy = self.machine.read(&format!("{out}/output/copy/large"));
        assert!(self.data.starts_with(&copy));
    }

    /// All that is printed.
    pub(crate) fn stdout() -> String {
        let lines: Vec<String> = (1..=LINES).map(|line| line.to_string()).collect();
        lines.join("\n") + "\n"
    }
}

fn names(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).unwrap().flatten();
    entries
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect()
}
