//! What the real CLI once wrote (2.1.331, against a stub of the API), whole, torn anywhere, and in hostile hands.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::path::{Path, PathBuf};

use claude::transcript::{self, TranscriptError, Written};
use claude::{End, Summary, Verdict};
use proptest::prelude::*;
use serde_json::{Value, json};

const SESSION: &str = "11111111-2222-4333-8444-555555555555";

fn recorded(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/recorded")
        .join(name)
}

fn events(name: &str) -> Vec<u8> {
    std::fs::read(recorded(&format!("{name}.jsonl"))).unwrap()
}

fn read(events: &[u8]) -> Summary {
    Summary::read(events).unwrap()
}

#[test]
fn every_recorded_run_has_its_verdict() {
    let verdict = |name: &str, code| Verdict::of(&read(&events(name)), End::Exited(code)).as_str();
    assert_eq!(verdict("answer", 0), "done");
    assert_eq!(verdict("denied", 0), "done");
    assert_eq!(verdict("sub_agent", 0), "done");
    assert_eq!(verdict("max_turns", 1), "max_turns");
    assert_eq!(verdict("overloaded", 1), "error");
    assert_eq!(verdict("cut_short", 143), "incomplete");
}

#[test]
fn a_summary_has_what_the_result_says() {
    let summary = read(&events("sub_agent"));
    assert_eq!(summary.response.as_deref(), Some("All done."));
    assert_eq!((summary.turns, summary.cost_usd), (2, Some(0.003)));
    assert_eq!((summary.tokens.input, summary.tokens.output), (400, 40));
    assert_eq!(summary.session_id.as_deref(), Some(SESSION));
    assert_eq!(summary.cli_version.as_deref(), Some("2.1.331"));
    assert_eq!(read(&events("denied")).denied_tools["Bash"], 1);
    let overloaded = read(&events("overloaded"));
    assert!(overloaded.errors[0].contains("529"), "{overloaded:?}");
    assert_eq!(overloaded.response, None);
    assert_eq!(
        read(&events("max_turns")).errors,
        ["Reached maximum number of turns (3)"]
    );
}

#[test]
fn the_words_of_a_summary_are_a_contract() {
    let json = serde_json::to_value(read(&events("max_turns"))).unwrap();
    let names: Vec<_> = json
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect();
    assert_eq!(
        names,
        [
            "cli_version",
            "cost_usd",
            "denied_tools",
            "duration_ms",
            "errors",
            "giant",
            "last_text",
            "model",
            "response",
            "result",
            "session_id",
            "stop_reason",
            "terminal_reason",
            "tokens",
            "torn",
            "turns",
            "unknown"
        ]
    );
    assert_eq!(json["result"], "max_turns");
}

#[test]
fn a_later_result_takes_the_place_of_an_earlier_one() {
    let result = |text: &str, cost: f64, turns: u64| {
        json!({"type": "result", "subtype": "success", "is_error": false, "result": text,
            "total_cost_usd": cost, "num_turns": turns, "duration_ms": 10})
        .to_string()
    };
    let summary = read(
        [result("one", 0.5, 2), result("two", 0.75, 1)]
            .join("\n")
            .as_bytes(),
    );
    assert_eq!(summary.response.as_deref(), Some("two"));
    assert_eq!(
        (summary.cost_usd, summary.turns, summary.duration_ms),
        (Some(0.75), 3, Some(20))
    );
}

#[test]
fn what_is_no_event_is_counted_and_takes_nothing_with_it() {
    let mut bytes =
        b"npm warn something\n{\"type\":\"from_the_future\"}\n[1]\n{}\n\xff\xfe\n".to_vec();
    bytes.extend(events("answer"));
    bytes.extend(b"{\"type\":\"assistant\",\"mess");
    let summary = read(&bytes);
    assert_eq!(summary.response.as_deref(), Some("Hello."));
    assert_eq!((summary.unknown, summary.torn), (2, 4));
}

#[test]
fn events_of_the_wrong_shape_are_no_harm() {
    let hostile = [
        json!({"type": "result", "subtype": 7, "result": {"a": 1}, "errors": "x", "permission_denials": {},
            "num_turns": -1, "total_cost_usd": "1", "modelUsage": [1], "session_id": 5}),
        json!({"type": "assistant", "message": "text"}),
        json!({"type": "assistant", "message": {"content": [1, {"text": []}], "id": {}}}),
        json!({"type": "system", "subtype": "init", "model": []}),
        json!({"type": ["system"]}),
    ];
    let lines = hostile.map(|event| event.to_string()).join("\n");
    let summary = read(lines.as_bytes());
    assert_eq!(Verdict::of(&summary, End::Exited(0)), Verdict::Error);
    assert_eq!(
        (summary.turns, summary.unknown, summary.session_id),
        (0, 1, None)
    );
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn cut_anywhere_the_events_before_the_cut_count(at in 0_usize..20_000) {
        let whole = events("sub_agent");
        let at = at.min(whole.len());
        let cut = read(&whole[..at]);
        prop_assert!(cut.torn <= 1);
        let of_whole = read(&whole);
        prop_assert!(cut.turns <= of_whole.turns);
        let has_result = at + 1 >= whole.len();
        prop_assert_eq!(cut.response.is_some(), has_result);
    }

    #[test]
    fn no_bytes_are_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..2000)) {
        let summary = read(&bytes);
        prop_assert_eq!(summary.response, None);
    }
}

fn transcript(projects: &Path, session: &str) -> Result<(Value, Written), TranscriptError> {
    let mut json = Vec::new();
    let written = transcript::write(projects, session, &mut json)?;
    Ok((serde_json::from_slice(&json).unwrap(), written))
}

#[test]
fn a_transcript_has_the_messages_and_each_sub_agent_at_its_result() {
    let (transcript, written) = transcript(&recorded("projects"), SESSION).unwrap();
    assert_eq!(
        written,
        Written {
            messages: 8,
            subagents: 1,
            torn: 0
        }
    );
    let transcript = transcript.as_array().unwrap();
    let kinds: Vec<_> = transcript
        .iter()
        .map(|message| message["type"].as_str().unwrap())
        .collect();
    assert_eq!(kinds, ["user", "assistant", "user", "assistant"]);
    let below = &transcript[2]["message"]["content"][0]["subagent_transcript"];
    assert_eq!(below.as_array().unwrap().len(), 4);
    assert_eq!(below[3]["message"]["content"][0]["text"], "Sub says hi.");
}

/// A `projects` directory of one session's lines and its agents'.
fn projects(main: &str, agents: &[(&str, Option<&str>, &str)]) -> tempfile::TempDir {
    let projects = tempfile::tempdir().unwrap();
    let directory = projects.path().join("-workspace");
    let below = directory.join("s-1/subagents");
    std::fs::create_dir_all(&below).unwrap();
    std::fs::write(directory.join("s-1.jsonl"), main).unwrap();
    std::fs::write(
        directory.join("other.jsonl"),
        "{\"type\":\"user\",\"other\":true}\n",
    )
    .unwrap();
    for (id, call, lines) in agents {
        std::fs::write(below.join(format!("agent-{id}.jsonl")), lines).unwrap();
        if let Some(call) = call {
            let meta = json!({"toolUseId": call}).to_string();
            std::fs::write(below.join(format!("agent-{id}.meta.json")), meta).unwrap();
        }
    }
    projects
}

fn result(call: &str) -> String {
    let block = json!({"type": "tool_result", "tool_use_id": call, "content": "x"});
    json!({"type": "user", "message": {"role": "user", "content": [block]}}).to_string()
}

fn said(text: &str) -> String {
    json!({"type": "assistant", "message": {"content": [{"type": "text", "text": text}]}})
        .to_string()
}

#[test]
fn agents_of_agents_are_inlined_and_those_without_a_result_come_last() {
    let main = format!("{}\n{{torn\n{}\n", said("up"), result("call-1"));
    let first = format!("{}\n{}", result("call-2"), said("one"));
    let agents = [
        ("a", Some("call-1"), first.as_str()),
        ("b", Some("call-2"), &said("two")),
        ("c", Some("call-3"), &said("lost")),
        ("d", None, &said("nameless")),
    ];
    let projects = projects(&main, &agents);
    let (transcript, written) = transcript(projects.path(), "s-1").unwrap();
    assert_eq!(
        written,
        Written {
            messages: 7,
            subagents: 4,
            torn: 1
        }
    );
    let one = &transcript[1]["message"]["content"][0]["subagent_transcript"];
    let two = &one[0]["message"]["content"][0]["subagent_transcript"];
    assert_eq!(one[1]["message"]["content"][0]["text"], "one");
    assert_eq!(two[0]["message"]["content"][0]["text"], "two");
    let last: Vec<_> = (2..4)
        .map(|i| transcript[i]["tool_use_id"].clone())
        .collect();
    assert_eq!(last, ["agent-d", "call-3"]);
    assert!(transcript[4].is_null());
}

#[test]
fn an_agent_that_names_itself_as_its_own_caller_ends() {
    let main = result("loop");
    let projects = projects(&main, &[("a", Some("loop"), &result("loop"))]);
    let (_, written) = transcript(projects.path(), "s-1").unwrap();
    assert_eq!(written.subagents, 1);
}

#[test]
fn only_the_session_itself_is_the_transcript() {
    let projects = projects("", &[]);
    let (found, written) = transcript(projects.path(), "s-1").unwrap();
    assert_eq!((found, written), (json!([]), Written::default()));
    for none in ["s-2", "", "../s-1", "-workspace/s-1", "s-1.jsonl"] {
        let error = transcript(projects.path(), none).unwrap_err();
        assert!(matches!(error, TranscriptError::NoSession(_)), "{none}");
    }
    let link = projects.path().join("-workspace/s-3.jsonl");
    std::os::unix::fs::symlink("/etc/passwd", link).unwrap();
    assert!(transcript(projects.path(), "s-3").is_err());
}

#[test]
fn events_alone_make_a_transcript_too() {
    let from = |events: &[u8]| {
        let mut json = Vec::new();
        let written = transcript::write_from_events(events, &mut json).unwrap();
        (serde_json::from_slice::<Value>(&json).unwrap(), written)
    };
    let (transcript, written) = from(&events("sub_agent"));
    assert_eq!(
        (written.messages, written.subagents, written.torn),
        (6, 1, 0)
    );
    let kinds: Vec<_> = transcript
        .as_array()
        .unwrap()
        .iter()
        .map(|message| message["type"].clone())
        .collect();
    assert_eq!(kinds, ["assistant", "user", "assistant"]);
    let below = &transcript[1]["message"]["content"][0]["subagent_transcript"];
    assert_eq!(below.as_array().unwrap().len(), 3);
    // Cut before the agent's result: what it said comes last.
    let whole = String::from_utf8(events("sub_agent")).unwrap();
    let some: Vec<_> = whole.lines().take(7).collect();
    let (transcript, written) = from((some.join("\n") + "\n{\"type\":\"us").as_bytes());
    assert_eq!((written.subagents, written.torn), (1, 1));
    assert_eq!(transcript[1]["type"], "subagent");
    assert_eq!(transcript[1]["tool_use_id"], "toolu_0007");
}
