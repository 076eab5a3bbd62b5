//! Sessions as the CLI keeps them, made into transcripts.

use serde_json::{Value, json};

use crate::cli::Run;
use crate::free;
use crate::messages_api::{Answer, MessagesApi, Script};

#[test]
fn tools_their_results_and_what_they_made_are_there() {
    let note = json!({"file_path": "output/note.md", "content": "# <b>Note</b>\n"});
    let answers = vec![
        Answer::Tool("Write", note),
        Answer::Text("Written.".to_owned()),
    ];
    let api = MessagesApi::start(answers);
    let ran = Run::start(&api, &free(), b"Write a note").finish();
    let file = std::fs::read_to_string(ran.workspace.path().join("output/note.md")).unwrap();
    assert_eq!(file, "# <b>Note</b>\n");
    let transcript = ran.transcript();
    let kinds: Vec<_> = blocks(&transcript)
        .iter()
        .map(|block| block["type"].clone())
        .collect();
    assert_eq!(kinds, ["tool_use", "tool_result", "text"]);
    assert!(transcript[0].to_string().contains("Write a note"));
}

#[test]
fn a_sub_agent_stands_at_its_result() {
    for background in [false, true] {
        let call = json!({"description": "a part", "prompt": "SUBTASK: say it",
            "subagent_type": "general-purpose", "run_in_background": background});
        let echo = json!({"command": "echo from below", "description": "say it"});
        let api = MessagesApi::with_scripts(vec![
            Script {
                marker: "SUBTASK",
                answers: vec![
                    Answer::Tool("Bash", echo),
                    Answer::Text("Below.".to_owned()),
                ],
            },
            Script {
                marker: "",
                answers: vec![
                    Answer::Tool("Agent", call),
                    Answer::Text("Above.".to_owned()),
                ],
            },
        ]);
        let ran = Run::start(&api, &free(), b"Use an agent").finish();
        assert_eq!(ran.code(), 0);
        assert_eq!(ran.summary().response.as_deref(), Some("Above."));
        let transcript = ran.transcript();
        let blocks = blocks(&transcript);
        let result = blocks
            .iter()
            .find(|block| block["type"] == "tool_result")
            .unwrap();
        let below = result["subagent_transcript"].as_array().unwrap();
        assert!(below[0].to_string().contains("SUBTASK: say it"));
        assert!(below.last().unwrap().to_string().contains("Below."));
        assert!(!transcript.to_string().contains("api-request"));
    }
}

/// Of the main conversation, in order.
fn blocks(transcript: &Value) -> Vec<Value> {
    let messages = transcript.as_array().unwrap().iter();
    messages
        .filter_map(|message| message["message"]["content"].as_array())
        .flatten()
        .cloned()
        .collect()
}
