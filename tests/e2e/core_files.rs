//! What a crash of sortie's leaves behind: no core file with secrets in it; and of a user's command what the user wants.

use std::fs;
use std::os::unix::fs::MetadataExt;

use crate::google::Google;
use crate::harness::{Machine, Running, SORTIE, Typed, wait_until};
use crate::team::Team;

#[test]
fn who_holds_a_token_leaves_no_core_file() {
    let machine = Machine::of_nobody();
    machine.write(
        "sortie.toml",
        "project = 'team'\nbucket = 'b'\n[environments.default]\njob = 'j'\n",
    );
    Google::login(&machine);
    // Google is slow today: whoever asks waits.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let proxy = format!("http://{}", silent.local_addr().unwrap());
    let typed = machine.sortie(["run", "--", "/bin/true"]);
    let running = typed.env("HTTPS_PROXY", proxy).start();
    // What of a process that may be dumped is its user's is root's where it may not.
    let environ = format!("/proc/{}/environ", running.pid());
    wait_until("it may not be dumped", || {
        std::fs::metadata(&environ).unwrap().uid() == 0
    });
    running.signal(rustix::process::Signal::INT);
    running.end().code(130);
}

/// What a user says who wants core files, in bytes.
const WISH: &str = "8192";

/// The same command line, typed by that user.
fn wished(machine: &Machine, words: &[&str]) -> Typed {
    let core = format!("--core={WISH}:");
    machine.program("prlimit", [&[core.as_str(), SORTIE], words].concat())
}

/// The soft limit, as `limits` of a process says it.
fn soft(limits: &str) -> &str {
    let line = limits
        .lines()
        .find(|line| line.starts_with("Max core file size"));
    line.unwrap().split_whitespace().nth(4).unwrap()
}

fn limits(pid: u32) -> String {
    fs::read_to_string(format!("/proc/{pid}/limits")).unwrap()
}

/// A limit below the smallest file.
#[track_caller]
fn leaves_none(pid: u32) {
    let limits = limits(pid);
    assert!(["0", "1"].contains(&soft(&limits)), "{limits}");
}

fn ends(running: Running, go_on: &std::path::Path) {
    fs::write(go_on, "").unwrap();
    let done = running.end().code(0);
    let said = String::from_utf8(done.stdout).unwrap();
    assert_eq!(soft(&said), WISH, "the command's own");
}

#[test]
fn local_mode_leaves_no_core_file_and_a_users_command_may() {
    for sandbox in ["namespaces", "none"] {
        let machine = Machine::new();
        // Of this machine a task sees what it is shown: the gate that it waits at.
        let gate = machine.path("gate");
        fs::create_dir(&gate).unwrap();
        let shown = gate.to_str().unwrap();
        let script =
            format!("cat /proc/self/limits; until test -e {shown}/open; do sleep 0.05; done");
        let flags = ["run", "-q", "--sandbox", sandbox, "--mount", shown];
        let words = [&flags[..], &["--", "/bin/sh", "-c", &script]].concat();
        let running = wished(&machine, &words).start();
        wait_until("the emulator serves", || machine.emulator_pid().is_some());
        leaves_none(running.pid());
        leaves_none(machine.emulator_pid().unwrap());
        ends(running, &gate.join("open"));
    }
}

#[test]
fn an_emulator_for_other_programs_does_likewise() {
    let team = Team::started_by(wished);
    leaves_none(team.emulator_pid());
    let job = serde_json::json!({ "template": { "template": {
        "maxRetries": 0,
        "containers": [{ "image": "pkg.test/a", "command": ["/bin/cat"], "args": ["/proc/self/limits"] }],
    }}});
    team.run_api(reqwest::Method::POST, "jobs?jobId=plain", Some(&job));
    team.run_api(
        reqwest::Method::POST,
        "jobs/plain:run",
        Some(&serde_json::json!({})),
    );
    let logs = team.machine.path("team/logs");
    let said = || {
        let files = walkdir::WalkDir::new(&logs).into_iter().flatten();
        let mut texts = files.filter_map(|file| fs::read_to_string(file.path()).ok());
        texts.find(|text| text.contains("Max core file size"))
    };
    wait_until("the command has said it", || said().is_some());
    assert_eq!(soft(&said().unwrap()), WISH);
}
