//! What is typed arrives as it was.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

use crate::harness::Machine;

#[test]
fn the_commands_streams_and_code_are_sorties_own() {
    let machine = Machine::new();
    let script = "printf 'to out\\n'; printf 'to err\\n' >&2; exit 3";
    let done = machine
        .sortie(["run", "--quiet", "--", "sh", "-c", script])
        .enter();
    let done = done.code(3).prints("to out\n");
    assert_eq!(done.stderr, "to err\n");
}

#[test]
fn arguments_with_quotes_newlines_and_raw_bytes_arrive_as_they_were() {
    let machine = Machine::new();
    let odd: Vec<OsString> = [
        &b"it's \"quoted\""[..],
        b"two\nlines",
        b"$HOME `date` $(date) \\ * ; &",
        b"\xff\xfe raw",
        b"",
        b"--flag",
    ]
    .iter()
    .map(|bytes| OsString::from_vec(bytes.to_vec()))
    .collect();
    let mut words: Vec<OsString> = ["run", "-q", "--", "printf", "[%s]"]
        .map(Into::into)
        .to_vec();
    words.extend(odd);
    let done = machine.sortie(words).enter().code(0);
    let expected =
        b"[it's \"quoted\"][two\nlines][$HOME `date` $(date) \\ * ; &][\xff\xfe raw][][--flag]";
    assert_eq!(done.stdout, expected);
}

#[test]
fn a_shell_text_of_a_megabyte_works() {
    let machine = Machine::new();
    let mut text = String::from("# TASK_EOF\n");
    while text.len() < 1_000_000 {
        text.push_str(": 'a line that does nothing, with a quote'\"'\"' and a $dollar'\n");
    }
    text.push_str("echo reached the end of \"$0\" with $# arguments\n");
    machine.write("long.sh", &text);
    let done = machine
        .sortie(["run", "-q", "--shell-file", "long.sh"])
        .enter()
        .code(0);
    let said = String::from_utf8(done.stdout).unwrap();
    assert!(said.starts_with("reached the end of "), "{said}");
}

#[test]
fn a_shell_text_and_a_standard_input_come_through_a_pipe() {
    let machine = Machine::new();
    let text = "cat > output/copy; echo done";
    machine
        .sortie(["run", "-q", "--shell-file", "-", "--out", "o"])
        .stdin(text)
        .enter()
        .code(0);
    assert_eq!(machine.read("o/output/copy"), b"");
    let bytes: Vec<u8> = (0..=255).cycle().take(300_000).collect();
    let words = ["run", "-q", "--stdin", "-", "--", "cat"];
    let done = machine.sortie(words).stdin(bytes.clone()).enter().code(0);
    assert!(
        done.stdout == bytes,
        "{} bytes came back",
        done.stdout.len()
    );
}

#[test]
fn the_environment_is_the_containers_and_what_was_given() {
    let machine = Machine::new();
    let words = [
        "run",
        "-q",
        "--env",
        "A=1=2",
        "--env",
        "FROM_HERE",
        "--",
        "env",
    ];
    let done = machine
        .sortie(words)
        .env("FROM_HERE", "here")
        .env("NOT_SENT", "x")
        .enter()
        .code(0);
    let env = String::from_utf8(done.stdout).unwrap();
    let lines: Vec<&str> = env.lines().collect();
    assert!(
        lines.contains(&"A=1=2") && lines.contains(&"FROM_HERE=here"),
        "{env}"
    );
    assert!(lines.contains(&"CLOUD_RUN_TASK_INDEX=0"), "{env}");
    assert!(
        !env.contains("NOT_SENT") && !env.contains("SORTIE_"),
        "{env}"
    );
}

#[test]
fn a_value_that_looks_secret_is_warned_of() {
    let machine = Machine::new();
    let words = ["run", "--env", "MY_API_KEY=abc", "--", "true"];
    machine
        .sortie(words)
        .enter()
        .code(0)
        .says("warning: the value of `MY_API_KEY` travels")
        .says_nothing_of("abc");
}

#[test]
fn a_missing_and_a_plain_file_exit_as_in_a_shell() {
    let machine = Machine::new();
    machine
        .sortie(["run", "--", "no-such-program"])
        .enter()
        .code(127)
        .says("no-such-program");
    machine.write("plain", "text");
    let words = ["run", "--input", "plain", "--", "input/plain"];
    machine.sortie(words).enter().code(126);
}

#[test]
fn a_signal_is_told_as_a_shell_does() {
    let machine = Machine::new();
    let done = machine
        .sortie(["run", "--", "sh", "-c", "kill -KILL $$"])
        .enter();
    done.code(137).says("ended by signal 9");
}

#[test]
fn json_tells_the_phases_in_milliseconds() {
    let machine = Machine::new();
    machine.write("in.txt", "hello");
    let words = [
        "run",
        "--json",
        "--input",
        "in.txt",
        "--out",
        "o",
        "--",
        "cat",
        "input/in.txt",
    ];
    let done = machine.sortie(words).enter().code(0);
    let result = done.result();
    assert_eq!(result["exit_code"], 0);
    assert_eq!(result["version"], 1);
    let task = &result["tasks"][0];
    assert_eq!(
        (&task["index"], &task["outcome"]),
        (&0.into(), &"exited".into())
    );
    assert_eq!(
        task["directory"].as_str().unwrap(),
        machine.path("o").to_str().unwrap()
    );
    for phase in [
        "pack", "upload", "submit", "start", "fetch", "command", "collect", "download", "unpack",
    ] {
        assert!(task["phases"][phase].is_u64(), "{phase}: {task}");
    }
    let output = done
        .lines()
        .into_iter()
        .find(|line| line["event"] == "output")
        .unwrap();
    assert_eq!(
        (&output["stream"], &output["data"]),
        (&"stdout".into(), &"hello".into())
    );
    assert_eq!(done.stderr, "");
}

#[test]
fn several_copies_run_as_one_execution() {
    let machine = Machine::new();
    let script = "echo $CLOUD_RUN_TASK_INDEX > output/index; exit $CLOUD_RUN_TASK_INDEX";
    let words = [
        "run", "--json", "-n", "3", "--out", "o", "--", "sh", "-c", script,
    ];
    let done = machine.sortie(words).enter().code(1);
    let started: Vec<_> = done
        .lines()
        .into_iter()
        .filter(|line| line["event"] == "started")
        .collect();
    assert_eq!((started.len(), &started[0]["tasks"]), (1, &3.into()));
    let codes: Vec<i64> = done.result()["tasks"]
        .as_array()
        .unwrap()
        .iter()
        .map(|task| task["exit_code"].as_i64().unwrap())
        .collect();
    assert_eq!(codes, [0, 1, 2]);
    for index in 0..3 {
        assert_eq!(
            machine.text(&format!("o/{index}/output/index")),
            format!("{index}\n")
        );
    }
}
