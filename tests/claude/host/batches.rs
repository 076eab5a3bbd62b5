//! Many prompts.

use crate::desk::{Desk, said};

#[test]
fn copies_have_conversations_of_their_own() {
    let desk = Desk::new(vec![said("One of two.")]);
    let result = desk
        .claude(&["Go", "-n", "2", "-o", "out", "--json"])
        .enter()
        .code(0)
        .result();
    for task in ["0", "1"] {
        assert_eq!(
            desk.json(&format!("out/{task}/claude.json"))["verdict"],
            "done"
        );
        assert!(desk.json(&format!("out/{task}/transcript.json")).is_array());
    }
    assert_eq!(result["tasks"].as_array().unwrap().len(), 2);
}

#[test]
fn a_task_file_has_prompts_and_commands() {
    let desk = Desk::new(vec![said("In a batch.")]);
    let base = desk.api.url();
    let file = format!(
        "[[task]]\nname = 'ask'\nprompt = 'Go'\nenv = {{ ANTHROPIC_BASE_URL = '{base}' }}\nclaude = {{ max_turns = 3 }}\n\
         [[task]]\nname = 'plain'\ncommand = 'echo plain'\n"
    );
    desk.machine.write("tasks.toml", file);
    desk.sortie(&["run", "tasks.toml", "-o", "out"])
        .enter()
        .code(0)
        .says("Claude Code: 1 turn");
    assert_eq!(desk.machine.text("out/ask/response.md"), "In a batch.");
    assert_eq!(desk.machine.text("out/plain/stdout"), "plain\n");
    assert!(!desk.machine.path("out/plain/claude.json").exists());
}
