//! What comes home.

use serde_json::json;

use crate::desk::{Desk, bash, said};
use crate::messages_api::{Answer, MessagesApi, Script};

#[test]
fn the_answer_is_on_standard_output_and_the_conversation_in_the_results() {
    let desk = Desk::new(vec![said("Three files.")]);
    desk.machine.write("repo/a", "a");
    let done = desk
        .claude(&["What is in input/repo?", "-i", "repo", "-o", "out"])
        .enter()
        .code(0)
        .prints("Three files.\n");
    done.says("verdict: done").says("turns: 1").says("cost: $");
    let verdict = desk.json("out/claude.json");
    assert_eq!(verdict["verdict"], "done");
    assert_eq!(desk.machine.text("out/response.md"), "Three files.");
    let transcript = desk.json("out/transcript.json").to_string();
    assert!(
        transcript.contains("What is in input/repo?"),
        "{transcript}"
    );
    let events = desk.machine.text("out/events.jsonl");
    assert!(events.lines().count() >= 3, "{events}");
    let session = verdict["session_id"].as_str().unwrap();
    let sessions = std::fs::read_dir(desk.machine.path("out/sessions")).unwrap();
    let found = sessions
        .flatten()
        .any(|dir| dir.path().join(format!("{session}.jsonl")).is_file());
    assert!(found, "no session {session}");
}

#[test]
fn what_it_makes_in_output_comes_home() {
    let desk = Desk::new(vec![bash("cat input/data > output/made"), said("Made.")]);
    desk.machine.write("data", "some bytes\n");
    let result = desk
        .claude(&[
            "Make it",
            "--skip-permissions",
            "-i",
            "data",
            "-o",
            "out",
            "--json",
        ])
        .enter()
        .code(0)
        .result();
    assert_eq!(desk.machine.text("out/output/made"), "some bytes\n");
    let claude = &result["tasks"][0]["claude"];
    assert_eq!(
        (&claude["verdict"], &claude["response"]),
        (&json!("done"), &json!("Made."))
    );
    assert!(claude["turns"].as_u64().unwrap() >= 2, "{claude}");
}

#[test]
fn a_tool_that_was_not_allowed_is_told() {
    let desk = Desk::new(vec![bash("echo x > output/made"), said("I may not.")]);
    let done = desk.claude(&["Make it", "-o", "out"]).enter().code(0);
    done.says("not allowed: `Bash` 1×").says("verdict: done");
    assert_eq!(desk.json("out/claude.json")["denied_tools"]["Bash"], 1);
    assert!(!desk.machine.path("out/output/made").exists());
}

#[test]
fn a_tool_with_spaces_and_brackets_is_allowed() {
    let desk = Desk::new(vec![bash("git log --oneline"), said("Looked.")]);
    let script = "git init -q . && git -c user.name=a -c user.email=a@b commit -q --allow-empty -m first-of-all";
    let done = desk
        .claude(&[
            "Look",
            "--allowed-tool",
            "Bash(git log:*)",
            "--pre",
            script,
            "-o",
            "out",
        ])
        .enter()
        .code(0);
    done.says_nothing_of("not allowed")
        .says("Bash: git log --oneline");
    let transcript = desk.json("out/transcript.json").to_string();
    assert!(transcript.contains("first-of-all"), "{transcript}");
}

#[test]
fn a_sub_agent_is_in_the_transcript_and_on_the_page() {
    let task =
        json!({"description": "d", "prompt": "INNER: say it", "subagent_type": "general-purpose"});
    let api = MessagesApi::with_scripts(vec![
        Script {
            marker: "INNER",
            answers: vec![said("said by the inner one")],
        },
        Script {
            marker: "",
            answers: vec![Answer::Tool("Agent", task), said("All done.")],
        },
    ]);
    let desk = Desk::with(api);
    let result = desk
        .claude(&["Delegate", "--skip-permissions", "-o", "out", "--json"])
        .enter()
        .code(0)
        .result();
    let transcript = desk.json("out/transcript.json").to_string();
    assert!(transcript.contains("subagent_transcript"), "{transcript}");
    assert!(transcript.contains("said by the inner one"), "{transcript}");
    let run = result["run"].as_str().unwrap();
    desk.sortie(&["report", run, "-o", "page.html"])
        .enter()
        .code(0);
    let page = desk.machine.text("page.html");
    for words in [
        "Delegate",
        "said by the inner one",
        "All done.",
        "sub-agent",
    ] {
        assert!(page.contains(words), "no `{words}`");
    }
}
