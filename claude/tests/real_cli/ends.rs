//! How runs end, and what is said of them.

use claude::{End, Options, Verdict};
use serde_json::json;

use crate::cli::Run;
use crate::free;
use crate::messages_api::{Answer, MessagesApi};

fn bash(command: &str) -> Answer {
    Answer::Tool(
        "Bash",
        json!({"command": command, "description": "as the test wants"}),
    )
}

fn said(text: &str) -> Answer {
    Answer::Text(text.to_owned())
}

#[test]
fn an_answer_is_the_response() {
    let api = MessagesApi::start(vec![said("Hello.")]);
    let options = Options {
        session_id: Some("11111111-2222-4333-8444-555555555555".to_owned()),
        ..Options::default()
    };
    let ran = Run::start(&api, &options, b"Say hello").finish();
    let summary = ran.summary();
    assert_eq!(
        Verdict::of(&summary, End::Exited(ran.code())),
        Verdict::Done
    );
    assert_eq!(summary.response.as_deref(), Some("Hello."));
    assert_eq!(
        (summary.turns, summary.tokens.input, summary.tokens.output),
        (1, 100, 10)
    );
    assert!(summary.cost_usd.unwrap() > 0.0);
    assert!(summary.duration_ms.is_some());
    assert_eq!(summary.session_id, options.session_id);
    assert_eq!(summary.model.as_deref(), Some(claude::DEFAULT_MODEL));
    assert_eq!((summary.unknown, summary.torn, summary.giant), (0, 0, 0));
}

#[test]
fn a_denied_tool_is_counted_and_the_run_is_done_all_the_same() {
    let api = MessagesApi::start(vec![bash("echo made > output/made"), said("I may not.")]);
    let ran = Run::start(&api, &Options::default(), b"Make a file").finish();
    let summary = ran.summary();
    assert_eq!(
        Verdict::of(&summary, End::Exited(ran.code())),
        Verdict::Done
    );
    assert_eq!(summary.denied_tools["Bash"], 1);
    assert!(!ran.workspace.path().join("output/made").exists());
}

#[test]
fn the_limit_of_turns_is_a_verdict_of_its_own() {
    let api = MessagesApi::start(vec![bash("true")]);
    let options = Options {
        max_turns: 3,
        ..free()
    };
    let ran = Run::start(&api, &options, b"Go on for ever").finish();
    let summary = ran.summary();
    assert_eq!(
        Verdict::of(&summary, End::Exited(ran.code())),
        Verdict::MaxTurns
    );
    assert_eq!(summary.response, None);
    assert_eq!(summary.terminal_reason.as_deref(), Some("max_turns"));
}

#[test]
fn an_error_of_the_api_is_an_error_whatever_the_cli_calls_it() {
    for (status, kind) in [(529, "overloaded_error"), (401, "authentication_error")] {
        let api = MessagesApi::start(vec![Answer::Error(status, kind, "as the test wants")]);
        let ran = Run::start(&api, &Options::default(), b"x").finish();
        let summary = ran.summary();
        assert_eq!(
            Verdict::of(&summary, End::Exited(ran.code())),
            Verdict::Error
        );
        assert_eq!(
            (summary.response.is_none(), summary.errors.len()),
            (true, 1),
            "{summary:?}"
        );
    }
}

#[test]
fn what_a_run_that_is_cut_short_said_is_there() {
    let answers = vec![
        Answer::TextAndTool(
            "First.".to_owned(),
            "Bash",
            json!({"command": "echo a", "description": "a"}),
        ),
        Answer::Stall,
    ];
    let api = MessagesApi::start(answers);
    let run = Run::start(&api, &free(), b"Go on");
    run.until(|| api.seen().len() == 2);
    let ran = run.terminate();
    let summary = ran.summary();
    assert_eq!(Verdict::of(&summary, End::Deadline), Verdict::Deadline);
    assert_eq!(Verdict::of(&summary, End::Exited(143)), Verdict::Incomplete);
    assert_eq!(
        (summary.response.as_deref(), summary.last_text.as_deref()),
        (None, Some("First."))
    );
    assert_eq!(summary.turns, 1);
    let transcript = ran.transcript();
    assert!(transcript.to_string().contains("\"First.\""));
}
