//! Any bytes as what Claude Code prints, and as the sessions it writes.

#![no_main]

use std::fs;

use claude::{Summary, transcript};
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

const SESSION: &str = "a-session";

fuzz_target!(|input: (&[u8], &[u8], &[u8])| {
    let (main, agent, meta) = input;
    let summary = Summary::read(main).expect("memory can be read");
    serde_json::to_vec(&summary).expect("it can be written");
    let mut written = Vec::new();
    transcript::write_from_events(main, &mut written).expect("memory");
    assert_array(&written);

    let projects = tempfile::tempdir_in("/dev/shm").expect("a directory");
    let project = projects.path().join("a-project");
    let agents = project.join(SESSION).join("subagents");
    fs::create_dir_all(&agents).expect("a directory");
    for (path, bytes) in [
        (project.join(format!("{SESSION}.jsonl")), main),
        (agents.join("agent-a.jsonl"), agent),
        (agents.join("agent-a.meta.json"), meta),
        (agents.join("agent-b.jsonl"), main),
    ] {
        fs::write(path, bytes).expect("a file");
    }
    let mut written = Vec::new();
    transcript::write(projects.path(), SESSION, &mut written).expect("it is there");
    assert_array(&written);
});

fn assert_array(json: &[u8]) {
    let value: Value = serde_json::from_slice(json).expect("JSON");
    assert!(value.is_array());
}
