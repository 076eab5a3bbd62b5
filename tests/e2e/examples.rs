//! The examples run as they stand.

use crate::harness::{Machine, project};

fn example(machine: &Machine, name: &str) -> crate::harness::Done {
    let file = project("examples").join(name);
    machine
        .sortie([
            "run".as_ref(),
            file.as_os_str(),
            "--out".as_ref(),
            "out".as_ref(),
        ])
        .enter()
}

#[test]
fn wordcount_brings_its_table_home() {
    let machine = Machine::new();
    example(&machine, "wordcount.toml")
        .code(0)
        .prints("275 words, 141 of them different\n");
    let table = machine.text("out/output/top.txt");
    let first: Vec<&str> = table.lines().next().unwrap().split_whitespace().collect();
    assert_eq!(first, ["13", "that"], "{table}");
    assert_eq!(table.lines().count(), 10);
}

#[test]
fn a_failing_command_still_returns_its_outputs() {
    let machine = Machine::new();
    example(&machine, "exit7.toml")
        .code(7)
        .says("the other half went wrong");
    assert_eq!(machine.text("out/output/partial.txt"), "half of the work\n");
    assert_eq!(machine.text("out/stderr"), "the other half went wrong\n");
}

#[test]
fn a_command_that_exceeds_its_timeout_still_returns_its_outputs() {
    let machine = Machine::new();
    example(&machine, "deadline.toml")
        .code(124)
        .says("met its timeout");
    assert!(
        machine
            .text("out/output/progress.txt")
            .starts_with("step 1\nstep 2\n")
    );
    let report: serde_json::Value =
        serde_json::from_slice(&machine.read("out/report.json")).unwrap();
    assert_eq!(report["outcome"], "deadline");
}

#[test]
fn binary_output_arrives_byte_for_byte() {
    let machine = Machine::new();
    let done = example(&machine, "binary.toml").code(0);
    assert_eq!(done.stdout, b"\x00\x01\xfe\xff\n");
    assert_eq!(machine.read("out/output/bytes.bin"), b"\x00\x01\xfe\xff\n");
    assert_eq!(machine.read("out/stdout"), b"\x00\x01\xfe\xff\n");
}
