//! What the agent is told, and what it is not.

use crate::desk::{Desk, bash, said};

#[test]
fn a_prompt_of_a_megabyte_arrives_byte_for_byte() {
    let desk = Desk::new(vec![said("Read.")]);
    let line =
        "it's \"quoted\" \\n `id` $(id) ${HOME} %s \u{e9}\u{1f600}\nTASK_EOF\nEOF\n'; exit 1; '\n";
    let mut prompt = line.repeat(1 + 1_000_000 / line.len());
    prompt.push_str("the end");
    desk.machine.write("prompt", &prompt);
    desk.claude(&["--prompt-file", "prompt", "--no-output-instructions", "-q"])
        .enter()
        .code(0)
        .prints("Read.\n");
    let seen = desk.api.seen();
    assert!(seen.iter().any(|seen| seen.user_text().contains(&prompt)));
}

#[test]
fn a_system_prompt_takes_the_place_of_the_clis_own() {
    let desk = Desk::new(vec![said("Aye.")]);
    desk.claude(&["Go", "--system-prompt", "Speak as $(a pirate) would.", "-q"])
        .enter()
        .code(0);
    let seen = desk.api.seen();
    let told = |seen: &crate::messages_api::Seen| seen.body["system"].to_string();
    assert!(
        seen.iter()
            .any(|seen| told(seen).contains("Speak as $(a pirate) would."))
    );
}

#[test]
fn a_configuration_is_its_own_and_says_what_it_says() {
    let desk = Desk::new(vec![said("As told.")]);
    desk.machine
        .write("config/CLAUDE.md", "Never say die: 4711.\n");
    desk.claude(&["Go", "--claude-config-dir", "config", "-o", "out"])
        .enter()
        .code(0);
    let requests: String = desk
        .api
        .seen()
        .iter()
        .map(|seen| seen.body.to_string())
        .collect();
    assert!(requests.contains("Never say die: 4711."));
    assert!(
        !desk
            .json("out/transcript.json")
            .as_array()
            .unwrap()
            .is_empty()
    );
}

#[test]
fn a_grader_has_the_last_word_and_its_key_is_not_seen_before() {
    let desk = Desk::new(vec![
        bash("ls input; cat input/answers || echo NOTHING-THERE; echo 41 > output/n"),
        said("41."),
    ]);
    desk.machine.write("answers", "42\n");
    let words = [
        "Compute",
        "--skip-permissions",
        "--post-input",
        "answers",
        "--post",
        "cmp input/answers output/n",
        "--post-decides",
        "-o",
        "out",
    ];
    desk.claude(&words).enter().code(1).says("verdict: done");
    let transcript = desk.json("out/transcript.json").to_string();
    assert!(transcript.contains("NOTHING-THERE"), "{transcript}");
    let report = desk.json("out/report.json");
    assert_eq!(report["command"]["code"], 0, "{report}");
}
