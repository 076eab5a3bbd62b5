//! What the CLI is given arrives as it was given.

use claude::Options;
use serde_json::{Value, json};

use crate::cli::Run;
use crate::messages_api::{Answer, MessagesApi};

#[test]
fn a_prompt_of_a_megabyte_arrives_byte_for_byte() {
    let mut prompt =
        "it's \"quoted\" $(id) `id` ${HOME} \\ %s\nTASK_EOF\nEOF\n\n--model x\n…\u{1f680}\n"
            .to_owned();
    while prompt.len() < 1 << 20 {
        prompt.push_str("0123456789abcdef and more of it ");
    }
    prompt.push_str("the end");
    let api = MessagesApi::start(vec![Answer::Text("Read.".to_owned())]);
    let ran = Run::start(&api, &Options::default(), prompt.as_bytes()).finish();
    assert_eq!(ran.code(), 0);
    assert!(
        api.seen()
            .iter()
            .any(|seen| seen.user_text().contains(&prompt))
    );
}

#[test]
fn system_prompts_of_any_size_arrive() {
    let long = |end: &str| format!("{} {end}", "It is a rule. ".repeat(20_000));
    let system = |own: Option<String>, more: Option<String>| {
        let api = MessagesApi::start(vec![Answer::Text("Yes.".to_owned())]);
        let options = Options {
            system_prompt: own.map(String::into_bytes),
            append_system_prompt: more.map(String::into_bytes),
            ..Options::default()
        };
        assert_eq!(Run::start(&api, &options, b"x").finish().code(), 0);
        api.seen()
            .iter()
            .map(|seen| text(&seen.body["system"]))
            .collect::<String>()
    };
    assert!(system(Some(long("FIRST")), None).contains(&long("FIRST")));
    let both = system(Some(long("FIRST")), Some(long("SECOND")));
    assert!(both.contains(&long("FIRST")) && both.contains(&long("SECOND")));
    assert!(system(None, Some(long("SECOND"))).contains(&long("SECOND")));
}

fn text(system: &Value) -> String {
    let blocks = system.as_array().into_iter().flatten();
    blocks.filter_map(|block| block["text"].as_str()).collect()
}

#[test]
fn a_tool_with_spaces_and_brackets_is_allowed_and_no_other() {
    let run = |command: &str| {
        let call = json!({"command": command, "description": "as the test wants"});
        let api = MessagesApi::start(vec![
            Answer::Tool("Bash", call),
            Answer::Text("So.".to_owned()),
        ]);
        let options = Options {
            allowed_tools: vec!["Bash(mkdir -p:*)".to_owned(), "Bash(git log:*)".to_owned()],
            ..Options::default()
        };
        Run::start(&api, &options, b"Use the tool").finish()
    };
    let allowed = run("mkdir -p output/a/b");
    assert!(allowed.workspace.path().join("output/a/b").is_dir());
    assert!(allowed.summary().denied_tools.is_empty());
    assert!(run("git log --oneline").summary().denied_tools.is_empty());
    let denied = run("mkdir output/c");
    assert!(!denied.workspace.path().join("output/c").exists());
    assert_eq!(denied.summary().denied_tools["Bash"], 1);
}

#[test]
fn the_key_goes_to_the_api_alone() {
    let api = MessagesApi::start(vec![Answer::Text("Hello.".to_owned())]);
    let ran = Run::start(&api, &Options::default(), b"x").finish();
    let key = crate::cli::KEY;
    let with_key = |(name, value): &(String, String)| name == "x-api-key" && value == key;
    assert!(
        api.seen()
            .iter()
            .any(|seen| seen.headers.iter().any(with_key))
    );
    let holds = |bytes: &[u8]| {
        bytes
            .windows(key.len())
            .any(|window| window == key.as_bytes())
    };
    assert!(!holds(&ran.output.stdout) && !holds(&ran.output.stderr));
    let mut looked_at = 0;
    ran.each_file(|path, content| {
        looked_at += 1;
        assert!(!holds(content), "{}", path.display());
    });
    assert!(looked_at > 0);
}
