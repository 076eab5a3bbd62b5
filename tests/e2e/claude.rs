//! `sortie claude`, with a program in Claude Code's place that writes down what it is told.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

use crate::forgeries::{job_of, names};
use crate::harness::{Machine, SORTIE, Typed, project, wait_until};

const KEY: &str = "sk-a-key-of-this-test";

/// Writes down its arguments, what it reads and where it is to work; leaves a session; says a word.
const TELLING: &str = r#"#!/bin/sh
printf '%s\n' "$@" > output/argv
cat > output/stdin
printf '%s' "$CLAUDE_CONFIG_DIR" > output/config
[ -n "$ANTHROPIC_API_KEY" ] && echo yes > output/key
cp -r .claude-prompts output/prompts 2> output/none || true
while [ $# -gt 1 ]; do [ "$1" = --session-id ] && id=$2; shift; done
mkdir -p "$CLAUDE_CONFIG_DIR/projects/-workspace"
echo '{"type":"user","message":{"content":"asked"}}' > "$CLAUDE_CONFIG_DIR/projects/-workspace/$id.jsonl"
echo secret > "$CLAUDE_CONFIG_DIR/.credentials.json"
echo '{"type":"system","subtype":"init","session_id":"'$id'","model":"m"}'
echo '{"type":"result","subtype":"success","result":"A word.","num_turns":2,"total_cost_usd":0.5,"session_id":"'$id'"}'
echo complaint >&2
"#;

/// Puts a program into Claude Code's place, installed as its own installer does it.
fn install(machine: &Machine, script: &str) {
    let local = machine.home().join(".local");
    fs::create_dir_all(local.join("bin")).unwrap();
    fs::create_dir_all(local.join("share/claude/versions")).unwrap();
    let version = local.join("share/claude/versions/1");
    fs::write(&version, script).unwrap();
    fs::set_permissions(&version, fs::Permissions::from_mode(0o755)).unwrap();
    symlink(&version, local.join("bin/claude")).unwrap();
}

fn with_claude(machine: &Machine, typed: Typed) -> Typed {
    let bin = machine.home().join(".local/bin");
    typed
        .env(
            "PATH",
            format!("{}:/usr/local/bin:/usr/bin:/bin", bin.display()),
        )
        .env("ANTHROPIC_API_KEY", KEY)
}

fn claude(machine: &Machine, words: &[&str]) -> Typed {
    let all = ["claude"].iter().chain(words);
    with_claude(machine, machine.sortie(all))
}

#[test]
fn flags_become_arguments_and_the_prompt_is_what_it_reads() {
    let machine = Machine::new();
    install(&machine, TELLING);
    machine.write("system", "Be brief: $(id)\n");
    let prompt = "it's \"quoted\"\nTASK_EOF\n$(id) --model x";
    let words = [
        "--model",
        "some-model",
        "--max-turns",
        "7",
        "--allowed-tool",
        "Bash(git log:*)",
        "--allowed-tool",
        "Read",
        "--disallowed-tool",
        "WebFetch",
        "--system-prompt-file",
        "system",
        "--append-system-prompt",
        "And kind.",
        "--no-output-instructions",
        "-o",
        "out",
        prompt,
    ];
    let done = claude(&machine, &words).enter().code(0).prints("A word.\n");
    done.says("verdict: done")
        .says("turns: 2")
        .says("cost: $0.5000")
        .says("complaint");
    let argv = machine.text("out/output/argv");
    let argv: Vec<&str> = argv.lines().collect();
    let at = |flag: &str| argv.iter().position(|word| *word == flag).unwrap();
    assert_eq!(
        argv[at("--allowedTools") + 1..][..2],
        ["Bash(git log:*)", "Read"]
    );
    assert_eq!(argv[at("--disallowedTools") + 1], "WebFetch");
    assert_eq!(argv[at("--model") + 1], "some-model");
    assert_eq!(argv[at("--max-turns") + 1], "7");
    assert!(!argv.contains(&"--dangerously-skip-permissions"));
    assert_eq!(machine.text("out/output/stdin"), prompt);
    assert_eq!(
        machine.text("out/output/prompts/system.txt"),
        "Be brief: $(id)\n"
    );
    assert_eq!(
        machine.text("out/output/prompts/append-system.txt"),
        "And kind."
    );
    assert_eq!(machine.text("out/output/key"), "yes\n");
    // Sessions come home, and nothing else of its directory.
    assert!(machine.text("out/transcript.json").contains("asked"));
    assert!(machine.path("out/sessions/-workspace").is_dir());
    let left: Vec<String> = names(&machine, "runs/")
        .into_iter()
        .filter(|name| name.contains("/outputs/"))
        .collect();
    assert_eq!(left, Vec::<String>::new());
}

#[test]
fn by_default_it_is_told_where_things_are() {
    let machine = Machine::new();
    install(&machine, TELLING);
    machine.write("prompt", "Do it.");
    claude(&machine, &["--prompt-file", "-", "-o", "out"])
        .stdin("From standard input.")
        .enter()
        .code(0);
    let stdin = machine.text("out/output/stdin");
    assert!(
        stdin.contains("`input/`") && stdin.ends_with("From standard input."),
        "{stdin}"
    );
    assert!(
        machine
            .text("out/output/config")
            .ends_with("/.claude-config")
    );
}

#[test]
fn a_configuration_is_sent_and_used() {
    let machine = Machine::new();
    install(&machine, TELLING);
    machine.write("mine/agents/x.md", "an agent");
    claude(
        &machine,
        &["Go", "--claude-config-dir", "mine", "-o", "out"],
    )
    .enter()
    .code(0);
    assert!(
        machine
            .text("out/output/config")
            .ends_with("/input/.claude")
    );
    assert!(machine.text("out/transcript.json").contains("asked"));
    machine.write("mine/.credentials.json", "{}");
    claude(&machine, &["Go", "--claude-config-dir", "mine"])
        .enter()
        .code(125)
        .says("holds what is nobody else's: `.credentials.json`")
        .says(".sortieignore");
}

#[test]
fn large_sessions_come_home_and_leave_the_bucket() {
    let machine = Machine::new();
    let script = TELLING.replace(
        "echo secret",
        "head -c 3000000 /dev/urandom > \"$CLAUDE_CONFIG_DIR/projects/big\"; echo secret",
    );
    install(&machine, &script);
    claude(&machine, &["Go", "-o", "out"]).enter().code(0);
    assert_eq!(machine.read("out/sessions/big").len(), 3_000_000);
    let left = names(&machine, "runs/");
    assert!(
        !left.iter().any(|name| name.contains("/outputs/")),
        "{left:?}"
    );
}

#[test]
fn one_that_dies_leaves_what_it_said() {
    let machine = Machine::new();
    let script = "#!/bin/sh\necho '{\"type\":\"assistant\",\"session_id\":\"s\",\"message\":{\"id\":\"m\",\"content\":[{\"type\":\"text\",\"text\":\"Last words\"}]}}'\nprintf '{\"type\":\"ass'\nkill -9 $$\n";
    install(&machine, script);
    let done = claude(&machine, &["Go", "-o", "out", "--json"])
        .enter()
        .code(137);
    let told = &done.result()["tasks"][0]["claude"];
    assert_eq!(
        (told["verdict"].as_str(), told["torn"].as_u64()),
        (Some("killed"), Some(1))
    );
    assert!(machine.text("out/transcript.json").contains("Last words"));
    assert!(
        machine
            .text("out/events.jsonl")
            .ends_with("{\"type\":\"ass")
    );
}

#[test]
fn make_run_takes_a_prompt() {
    let machine = Machine::new();
    install(&machine, TELLING);
    machine.write("data", "d");
    let makefile = project("Makefile");
    let prompt = "What's in $HOME, `id` and $(shell id)?";
    let words = [
        "--no-print-directory".to_owned(),
        "-f".to_owned(),
        makefile.display().to_string(),
        "run".to_owned(),
        format!("SORTIE={SORTIE}"),
        "CARGO=true".to_owned(),
        format!("TASK={prompt}"),
        "INPUTS=data".to_owned(),
    ];
    let typed = machine.program("make", words);
    let done = with_claude(&machine, typed)
        .enter()
        .code(0)
        .prints("A word.\n");
    let results = done
        .stderr
        .lines()
        .find_map(|line| line.strip_prefix("results: "))
        .unwrap();
    let stdin = machine.text(&format!("{results}/output/stdin"));
    assert!(stdin.ends_with(prompt), "{stdin}");
}

#[test]
fn a_task_of_make_run_that_reads_as_a_file_must_be_one() {
    let machine = Machine::new();
    let typed = machine
        .sortie(["run", "--from-make"])
        .env("SORTIE_MAKE_TASK", "not/there.toml");
    with_claude(&machine, typed)
        .enter()
        .code(125)
        .says("cannot use `not/there.toml`");
}

#[test]
fn a_batch_of_prompts_is_a_task_file() {
    let machine = Machine::new();
    install(&machine, TELLING);
    machine.write("answers", "42");
    machine.write(
        "tasks.toml",
        "[[task]]\nname = 'ask'\nn = 2\nprompt = 'Go'\nclaude = { max_turns = 3 }\n\
         post = ['cat input/answers > output/graded; exit 3']\npost_decides = true\npost_inputs = { answers = 'answers' }\n\
         [[task]]\nname = 'plain'\ncommand = 'echo plain'\n",
    );
    let typed = machine.sortie(["run", "tasks.toml", "-o", "out"]);
    let done = with_claude(&machine, typed).enter().code(1);
    done.says("Claude Code: 4 turns, $1.0000 for the API");
    for task in ["ask-0", "ask-1"] {
        assert_eq!(machine.text(&format!("out/{task}/response.md")), "A word.");
        assert_eq!(machine.text(&format!("out/{task}/output/graded")), "42");
    }
    assert_eq!(machine.text("out/plain/stdout"), "plain\n");
    assert!(!machine.path("out/plain/events.jsonl").exists());
    assert!(!machine.path("out/ask-0/stdout").exists());
}

#[test]
fn coming_back_knows_what_it_was() {
    let machine = Machine::new();
    install(&machine, TELLING);
    let done = claude(&machine, &["Go", "--detach", "-q"]).enter().code(0);
    let run = String::from_utf8(done.stdout).unwrap().trim().to_owned();
    fs::remove_dir_all(machine.data().join("runs")).unwrap();
    let wait = || machine.sortie(["wait", &run, "-o", "out"]).enter();
    wait().code(0).prints("A word.\n");
    assert!(machine.text("out/transcript.json").contains("asked"));
}

#[test]
fn a_dry_run_starts_nothing() {
    let machine = Machine::new();
    install(&machine, TELLING);
    let done = claude(&machine, &["Go", "--dry-run"]).enter().code(0);
    assert!(
        String::from_utf8(done.stdout)
            .unwrap()
            .contains("1 task in 1 execution")
    );
    assert_eq!(names(&machine, "runs/"), Vec::<String>::new());
}

#[test]
fn without_a_key_or_a_program_or_a_prompt_nothing_is_begun() {
    let machine = Machine::new();
    let refused = |typed: Typed, error: &str, hint: &str| {
        let done = typed.enter().code(125).prints("");
        done.says(error).says(hint);
        assert!(machine.emulator_pid().is_none(), "something was started");
    };
    refused(
        claude(&machine, &["Go"]),
        "there is no `claude` on the `PATH`",
        "install it",
    );
    install(&machine, TELLING);
    for key in ["", "absent"] {
        let typed = claude(&machine, &["Go", "--secret", "OTHER"]).env("ANTHROPIC_API_KEY", key);
        let typed = if key.is_empty() {
            typed.env("OTHER", "x")
        } else {
            typed
        };
        let name = if key.is_empty() {
            "ANTHROPIC_API_KEY"
        } else {
            "OTHER"
        };
        refused(
            typed,
            &format!("the secret `{name}` has no value here"),
            "export",
        );
    }
    refused(claude(&machine, &[]), "there is no prompt", "--prompt-file");
    refused(claude(&machine, &[" \n"]), "the prompt is empty", "");
    refused(
        claude(&machine, &["Go", "--allowed-tool", "--model"]),
        "--allowed-tool",
        "",
    );
    refused(
        claude(&machine, &["Go", "--allowed-tool=-x"]),
        "`-x` cannot be a tool",
        "",
    );
    machine.write("t.toml", "[[task]]\nprompt = 'x'\n");
    let typed = machine.sortie(["run", "t.toml", "--stdin", "t.toml"]);
    refused(
        with_claude(&machine, typed),
        "all that Claude Code reads",
        "as an input",
    );
}

#[test]
fn an_environment_without_the_key_is_sent_nothing() {
    let machine = Machine::new();
    install(&machine, TELLING);
    machine.write("data", "never to be sent");
    let first = machine
        .sortie(["run", "--json", "--", "true"])
        .enter()
        .code(0)
        .result();
    let job = job_of(&machine, first["run"].as_str().unwrap());
    let before = names(&machine, "");
    let (endpoint, token) = machine.emulator();
    let flags = [
        "--project",
        "sortie-local",
        "--region",
        "local",
        "--bucket",
        "goog-sortie-local",
    ];
    let words = [
        "Go",
        "-i",
        "data",
        "--job",
        &job,
        "--run-endpoint",
        &endpoint,
        "--storage-endpoint",
        &endpoint,
    ];
    let all: Vec<&str> = words.into_iter().chain(flags).collect();
    claude(&machine, &all)
        .env("SORTIE_EMULATOR_TOKEN", token)
        .enter()
        .code(125)
        .says("has no secret `ANTHROPIC_API_KEY`");
    assert_eq!(names(&machine, ""), before);
}

#[test]
fn where_it_cannot_be_isolated_it_does_not_skip_permissions() {
    let machine = Machine::new();
    install(&machine, TELLING);
    let forbidden = |words: &str| {
        let script = format!(
            "echo 0 > /proc/sys/user/max_user_namespaces && exec \"$0\" claude Go -o out {words}"
        );
        let typed = machine.program("unshare", ["-Ur", "sh", "-c", &script, SORTIE]);
        with_claude(&machine, typed).enter()
    };
    let done = forbidden("--skip-permissions").code(125).prints("");
    done.says("cannot isolate Claude Code, which is to skip permissions")
        .says("`--sandbox none`")
        .says("--allowed-tool");
    assert!(machine.emulator_pid().is_none(), "something was started");
    forbidden("").code(0).says("not isolated");
}

#[test]
fn an_interrupt_brings_home_what_was_said() {
    let machine = Machine::new();
    let script = "#!/bin/sh\necho '{\"type\":\"assistant\",\"session_id\":\"s\",\"message\":{\"id\":\"m\",\"content\":[{\"type\":\"text\",\"text\":\"Half\"}]}}'\necho x > output/begun\ntrap 'exit 143' TERM\nwhile :; do sleep 0.1; done\n";
    install(&machine, script);
    let running = claude(
        &machine,
        &["Go", "-o", "out", "--json", "--checkpoint", "1s"],
    )
    .start();
    wait_until("it has begun", || {
        machine.emulator_pid().is_some()
            && names(&machine, "runs/")
                .iter()
                .any(|name| name.contains("/checkpoints/"))
    });
    running.signal(rustix::process::Signal::INT);
    let done = running.end().code(130);
    assert_eq!(done.result()["tasks"][0]["claude"]["verdict"], "killed");
    assert!(machine.text("out/transcript.json").contains("Half"));
}

#[test]
fn the_library_gives_it_prompts_too() {
    let machine = Machine::new();
    install(&machine, TELLING);
    machine.write("repo/a", "a");
    let example = std::path::Path::new(SORTIE)
        .with_file_name("examples")
        .join("claude_code_job");
    let typed = machine
        .program(example, ["repo"])
        .env("SORTIE_PROGRAM", SORTIE);
    let typed = with_claude(&machine, typed);
    typed
        .enter()
        .code(0)
        .prints("done: A word., 1 entries, code 0\n2 jokes\n");
}
