//! The library's example does what it says, from a process of its own.

use crate::harness::{Machine, SORTIE};

#[test]
fn edit_and_rerun_in_one_process_is_never_stale() {
    let machine = Machine::new();
    machine.write("text", "one\ntwo\n");
    // cargo builds examples beside the tests' directory, before it runs any test.
    let example = std::path::Path::new(SORTIE)
        .with_file_name("examples")
        .join("cloud_run_job");
    let done = machine
        .program(example, ["text"])
        .env("SORTIE_PROGRAM", SORTIE)
        .enter()
        .code(0);
    done.prints("exit code 0, lines 2\nexit code 0, lines 3\n");
}
