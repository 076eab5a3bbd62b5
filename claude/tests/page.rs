//! The page: whole whatever it shows, bounded, and nobody's to command.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::path::Path;

use claude::page::{
    Conversation, Fact, Log, OutputFile, Overview, Page, Phase, Row, StepView, Task, Tone, Turn,
};
use claude::transcript;
use proptest::prelude::*;
use serde_json::json;

fn page(overview: &Overview, tasks: &[Task]) -> String {
    let mut out = Vec::new();
    let mut page = Page::begin(&mut out, overview).unwrap();
    for task in tasks {
        page.task(task).unwrap();
    }
    page.end().unwrap();
    String::from_utf8(out).unwrap()
}

/// A run in which every field has this text.
fn everywhere(text: &str) -> (Overview, Task) {
    let said = || text.to_owned();
    let fact = Fact {
        name: said(),
        value: said(),
    };
    let row = Row {
        name: said(),
        ending: said(),
        tone: Tone::Bad,
        phases: vec![Phase {
            name: said(),
            start_ms: 10,
            length_ms: 90,
        }],
        duration_ms: Some(100),
        turns: Some(2),
        cost_usd: Some(0.5),
        output_files: 1,
        output_bytes: 5,
    };
    let task = Task {
        name: said(),
        ending: said(),
        tone: Tone::Good,
        facts: vec![fact.clone()],
        problems: vec![said()],
        response: Some(said()),
        conversation: Some(talk(text)),
        steps: vec![StepView {
            name: said(),
            ending: said(),
            tone: Tone::Plain,
            tail: said(),
        }],
        outputs: vec![OutputFile {
            path: said(),
            size: 5,
        }],
        output_files: 1,
        stdout: Log {
            tail: said().into_bytes(),
            bytes: 1000,
        },
        stderr: Log {
            tail: said().into_bytes(),
            bytes: 1000,
        },
    };
    (
        Overview {
            title: said(),
            facts: vec![fact],
            rows: vec![row],
        },
        task,
    )
}

/// A conversation in which every text is this one.
fn talk(text: &str) -> Conversation {
    let entries = [
        json!({"type": "user", "message": {"content": format!("x{text}")}}),
        json!({"type": "assistant", "message": {"content": [
            {"type": "thinking", "thinking": format!("x{text}")},
            {"type": "text", "text": format!("x{text}")},
            {"type": "tool_use", "id": "c", "name": text, "input": {"command": text, text: [text]}},
            {"type": text}]}}),
        json!({"type": "user", "message": {"content": [{"type": "tool_result", "tool_use_id": "c", "is_error": true,
            "content": format!("x{text}"),
            "subagent_transcript": [{"type": "assistant", "message": {"content": format!("x{text}")}}]}]}}),
    ];
    read(&entries)
}

fn read(entries: &[serde_json::Value]) -> Conversation {
    let lines: Vec<_> = entries.iter().map(ToString::to_string).collect();
    Conversation::read(format!("[\n{}\n]\n", lines.join(",\n")).as_bytes()).unwrap()
}

/// The tags of a page in order, without what stands between them, each seen to be closed.
fn tags(page: &str) -> Vec<String> {
    let (head, rest) = page.split_once("<style>").unwrap();
    let (_, body) = rest.split_once("</style>").unwrap();
    let page = [head, body].concat();
    let mut tags = Vec::new();
    let mut open = Vec::new();
    for piece in page.split('<').skip(1) {
        let (tag, text) = piece.split_once('>').unwrap();
        assert!(!text.contains('>'), "{text}");
        let name = tag.split([' ', '\n']).next().unwrap();
        match name.strip_prefix('/') {
            Some(name) => assert_eq!(open.pop().as_deref(), Some(name), "{tags:?}"),
            None if ["!doctype", "meta"].contains(&name) => {}
            None => open.push(name.to_owned()),
        }
        // Of attributes the names: a title's value may be a stranger's.
        let attributes = tag.split('"').step_by(2).collect::<Vec<_>>().join("\"");
        tags.push(attributes);
    }
    assert_eq!(open, [""; 0]);
    tags
}

/// The first place where two pages differ in their tags.
fn difference(one: &str, other: &str) -> Option<(Option<String>, Option<String>)> {
    let (one, other) = (tags(one), tags(other));
    let longest = one.len().max(other.len());
    let mut places = (0..longest).map(|i| (one.get(i).cloned(), other.get(i).cloned()));
    places.find(|(one, other)| one != other)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_text_changes_the_page_around_it(text in "\\PC{0,30}|[<>&\"'=/ a-z\n\u{0}\u{1b}\u{202e}]{0,40}") {
        let (overview, task) = everywhere("plain");
        let plain = page(&overview, &[task]);
        let text = format!("x{text}");
        let (overview, task) = everywhere(&text);
        let hostile = page(&overview, &[task]);
        prop_assert_eq!(difference(&hostile, &plain), None);
        let effective = hostile.chars().any(|character| "\u{1b}\u{202e}\0".contains(character));
        prop_assert!(!effective);
    }
}

#[test]
fn markup_in_any_field_is_text() {
    let hostile =
        "</title></style></pre><script>alert(1)</script><img src=x onerror=alert(2)>\" onload='x'";
    let (overview, task) = everywhere(hostile);
    let (plain_overview, plain_task) = everywhere("plain");
    let shown = page(&overview, &[task]);
    let plain = page(&plain_overview, &[plain_task]);
    assert_eq!(difference(&shown, &plain), None);
    assert!(!shown.contains("<script") && !shown.contains("<img"));
    assert!(shown.contains("&lt;script&gt;alert(1)&lt;/script&gt;"));
}

#[test]
fn the_page_needs_nothing_beside_it() {
    let (overview, task) = everywhere("x");
    let shown = page(&overview, &[task]);
    assert!(shown.contains("default-src 'none'"));
    for loads in [
        "<script",
        "<link",
        "src=",
        "@import",
        "url(",
        "http-equiv=\"refresh",
    ] {
        assert!(!shown.contains(loads), "{loads}");
    }
}

#[test]
fn what_is_long_is_cut_with_a_note() {
    let task = Task {
        stdout: Log {
            tail: vec![b'o'; 1 << 20],
            bytes: 5_000_000_000,
        },
        output_files: 100_000,
        outputs: vec![
            OutputFile {
                path: "p".to_owned(),
                size: 1
            };
            1000
        ],
        ..Task::default()
    };
    let overview = Overview {
        rows: vec![
            Row {
                phases: vec![Phase {
                    length_ms: 1,
                    ..Phase::default()
                }],
                ..Row::default()
            };
            1000
        ],
        ..Overview::default()
    };
    let shown = page(&overview, &[task]);
    assert!(shown.len() < 600_000, "{}", shown.len());
    for note in [
        "5.0 GB are left out here",
        "99500 more files not listed",
        "500 more tasks are not drawn",
    ] {
        assert!(shown.contains(note), "{note}");
    }
}

#[test]
fn a_page_that_is_long_enough_names_its_other_tasks_and_no_more() {
    let task = Task {
        response: Some("r".repeat(50_000)),
        ..Task::default()
    };
    let overview = Overview {
        rows: vec![Row::default(); 100],
        ..Overview::default()
    };
    let mut out = Vec::new();
    let mut page = Page::begin(&mut out, &overview)
        .unwrap()
        .with_limit(200_000);
    for _ in 0..100 {
        page.task(&task).unwrap();
    }
    page.end().unwrap();
    let shown = String::from_utf8(out).unwrap();
    assert!(shown.len() < 300_000, "{}", shown.len());
    assert!(shown.contains("id=\"task-99\"") && shown.contains("the page is long enough"));
}

#[test]
fn a_transcript_reads_as_a_conversation() {
    let projects = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/recorded/projects");
    let mut json = Vec::new();
    transcript::write(&projects, "11111111-2222-4333-8444-555555555555", &mut json).unwrap();
    let conversation = Conversation::read(&json[..]).unwrap();
    let [
        Turn::User(asked),
        Turn::Tool {
            name,
            gist,
            result,
            agent,
            ..
        },
        Turn::Assistant(said),
    ] = &conversation.turns[..]
    else {
        panic!("{conversation:?}")
    };
    assert!(asked.ends_with("Use an agent"));
    assert_eq!(
        (name.as_str(), gist.as_str(), said.as_str()),
        ("Agent", "a sub task", "All done.")
    );
    assert!(!result.as_ref().unwrap().failed);
    let below = &agent.as_ref().unwrap().turns;
    assert!(matches!(&below[1], Turn::Tool { name, .. } if name == "Bash"));
    assert_eq!(below[2], Turn::Assistant("Sub says hi.".to_owned()));
}

#[test]
fn results_without_calls_calls_without_results_and_torn_entries_are_no_harm() {
    let mut conversation = read(&[
        json!({"type": "user", "message": {"content": [{"type": "tool_result", "tool_use_id": 5}]}}),
        json!({"type": "assistant", "message": {"content": [{"type": "tool_use", "id": "a", "name": "B"}, 7, {}]}}),
        json!({"type": "subagent", "subagent_transcript": "no array"}),
        json!({"type": "system", "content": "told"}),
        json!({"type": "user", "isMeta": true, "message": {"content": "meant for the model"}}),
    ]);
    let notes: Vec<_> = conversation.turns.split_off(3);
    assert_eq!(
        notes,
        [
            Turn::Note("told".to_owned()),
            Turn::Note("meant for the model".to_owned())
        ]
    );
    let is_tool = |turn: &Turn| matches!(turn, Turn::Tool { .. });
    assert!(conversation.turns.iter().all(is_tool), "{conversation:?}");
    let torn = Conversation::read(
        &b"[\n{\"type\":\"user\",\"message\":{\"content\":\"x\"}},\n{\"type"[..],
    )
    .unwrap();
    assert_eq!(torn.turns, [Turn::User("x".to_owned())]);
}
