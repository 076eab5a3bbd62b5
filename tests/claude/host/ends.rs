//! How runs end.

use crate::desk::{Desk, bash, said};
use crate::messages_api::Answer;

#[test]
fn an_error_of_the_api_is_an_error() {
    let desk = Desk::new(vec![Answer::Error(
        529,
        "overloaded_error",
        "as the test wants",
    )]);
    let done = desk.claude(&["Go", "-o", "out"]).enter().code(1);
    done.says("verdict: error").says("as the test wants");
    assert_eq!(desk.json("out/claude.json")["verdict"], "error");
}

#[test]
fn the_limit_of_turns_is_a_verdict() {
    let desk = Desk::new(vec![bash("true")]);
    let words = [
        "Go on",
        "--skip-permissions",
        "--max-turns",
        "2",
        "-o",
        "out",
    ];
    desk.claude(&words)
        .enter()
        .code(1)
        .says("verdict: max_turns");
}

#[test]
fn a_stall_meets_the_timeout_and_what_was_said_so_far_is_there() {
    let first = Answer::TextAndTool(
        "Said before the stall.".to_owned(),
        "Bash",
        serde_json::json!({"command": "echo half > output/half", "description": "d"}),
    );
    let desk = Desk::new(vec![first, Answer::Stall]);
    let words = [
        "Go on",
        "--skip-permissions",
        "--timeout",
        "15s",
        "-o",
        "out",
    ];
    desk.claude(&words)
        .enter()
        .code(124)
        .says("verdict: deadline");
    let transcript = desk.json("out/transcript.json").to_string();
    assert!(
        transcript.contains("Said before the stall."),
        "{transcript}"
    );
    assert!(transcript.contains("Go on"), "{transcript}");
    assert_eq!(desk.machine.text("out/output/half"), "half\n");
}

#[test]
fn another_machine_brings_the_conversation_home() {
    let desk = Desk::new(vec![said("Heard elsewhere.")]);
    let done = desk.claude(&["Go", "--detach", "-q"]).enter().code(0);
    let run = String::from_utf8(done.stdout).unwrap();
    let run = run.trim();
    // As if it had never been here: all it knows is the bucket.
    std::fs::remove_dir_all(desk.machine.data().join("runs")).unwrap();
    desk.sortie(&["wait", run, "--local", "-o", "out"])
        .directory("elsewhere")
        .enter()
        .code(0)
        .prints("Heard elsewhere.\n");
    assert_eq!(desk.json("elsewhere/out/claude.json")["verdict"], "done");
    let transcript = desk.json("elsewhere/out/transcript.json").to_string();
    assert!(transcript.contains("Heard elsewhere."), "{transcript}");
}
