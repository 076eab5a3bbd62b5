//! The emulator's process: one per data directory, found again, gone when idle; and `sortie emulator`.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;

use rustix::process::Signal;

use crate::harness::{Machine, block_on, wait_until};

/// One request as it stands; the status of its answer.
fn status(endpoint: &str, request: &str) -> u16 {
    let mut stream = TcpStream::connect(endpoint.trim_start_matches("http://")).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
        .split_whitespace()
        .nth(1)
        .unwrap_or_else(|| panic!("{answer}"))
        .parse()
        .unwrap()
}

fn get(endpoint: &str, path: &str, headers: &str) -> u16 {
    let host = if headers.contains("Host:") {
        ""
    } else {
        "Host: 127.0.0.1\r\n"
    };
    status(
        endpoint,
        &format!("GET {path} HTTP/1.1\r\n{host}{headers}Connection: close\r\n\r\n"),
    )
}

#[test]
fn one_process_serves_all_runs_of_a_data_directory() {
    let machine = Machine::new();
    let starts: Vec<_> = (0..4)
        .map(|_| machine.sortie(["run", "-q", "--", "true"]).start())
        .collect();
    for running in starts {
        running.end().code(0);
    }
    let pid = machine.emulator_pid().unwrap();
    machine.sortie(["run", "-q", "--", "true"]).enter().code(0);
    assert_eq!(machine.emulator_pid(), Some(pid));
    let mode = fs::metadata(machine.data().join("emulator.json"))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600, "its token is its owner's alone");
}

#[test]
fn a_killed_one_is_replaced_and_its_state_is_there() {
    let machine = Machine::new();
    machine.write("data", "x");
    let words = ["run", "-i", "data", "--", "cat", "input/data"];
    machine.sortie(words).enter().code(0);
    machine.kill_emulator();
    machine
        .sortie(words)
        .enter()
        .code(0)
        .prints("x")
        .says("already in the bucket");
}

#[test]
fn it_leaves_when_idle() {
    let machine = Machine::new();
    let typed = machine
        .sortie(["run", "-q", "--", "true"])
        .env("SORTIE_EMULATOR_IDLE", "1s");
    typed.enter().code(0);
    wait_until("it has left", || machine.emulator_pid().is_none());
    machine.sortie(["run", "-q", "--", "true"]).enter().code(0);
}

#[test]
fn its_door_is_shut_to_who_has_no_token_and_to_browsers() {
    let machine = Machine::new();
    machine.sortie(["run", "-q", "--", "true"]).enter().code(0);
    let (endpoint, token) = machine.emulator();
    let jobs = "/v2/projects/sortie-local/locations/local/jobs";
    let auth = format!("Authorization: Bearer {token}\r\n");
    assert_eq!(get(&endpoint, jobs, &auth), 200);
    assert_eq!(get(&endpoint, jobs, ""), 401);
    assert_eq!(get(&endpoint, jobs, "Authorization: Bearer guess\r\n"), 401);
    assert_eq!(
        get(
            &endpoint,
            jobs,
            &format!("{auth}Origin: http://evil.test\r\n")
        ),
        403
    );
    assert_eq!(
        get(&endpoint, jobs, &format!("{auth}Host: evil.test\r\n")),
        403
    );
    let objects = "/storage/v1/b/goog-sortie-local/o";
    assert_eq!(get(&endpoint, objects, &auth), 200);
    assert_eq!(get(&endpoint, objects, ""), 401);
}

#[test]
fn a_tasks_own_token_opens_only_what_its_run_names() {
    let machine = Machine::new();
    machine.write("data", "x");
    let done = machine
        .sortie(["run", "-q", "-i", "data", "--", "env"])
        .enter()
        .code(0);
    let env = String::from_utf8(done.stdout).unwrap();
    let value = |name: &str| {
        env.lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix('='))
            .unwrap()
            .to_owned()
    };
    let said = block_on(probe(
        &value("GCE_METADATA_HOST"),
        &value("STORAGE_EMULATOR_HOST"),
    ));
    let expected = [
        ("list", 403),
        ("jobs", 403),
        ("write inputs", 403),
        ("write runs", 200),
        ("overwrite", 403),
        ("delete", 403),
        ("absent", 403),
    ];
    assert_eq!(said, expected);
}

/// What a hostile task would try with the token that the metadata server hands it.
async fn probe(metadata: &str, base: &str) -> Vec<(&'static str, u16)> {
    let http = wire::api::http_client().unwrap();
    let url =
        format!("http://{metadata}/computeMetadata/v1/instance/service-accounts/default/token");
    let answer = http
        .get(url)
        .header("Metadata-Flavor", "Google")
        .send()
        .await
        .unwrap();
    let token: serde_json::Value = answer.json().await.unwrap();
    let token = token["access_token"].as_str().unwrap();
    let objects = format!("{base}/storage/v1/b/goog-sortie-local/o");
    let upload = format!("{base}/upload/storage/v1/b/goog-sortie-local/o?uploadType=media&name=");
    let jobs = format!("{base}/v2/projects/sortie-local/locations/local/jobs");
    let tries = [
        ("list", http.get(&objects)),
        ("jobs", http.get(jobs)),
        (
            "write inputs",
            http.post(format!("{upload}inputs/evil.tar.gz")).body("x"),
        ),
        (
            "write runs",
            http.post(format!("{upload}runs/mine")).body("x"),
        ),
        (
            "overwrite",
            http.post(format!("{upload}runs/mine")).body("y"),
        ),
        ("delete", http.delete(format!("{objects}/runs%2Fmine"))),
        ("absent", http.get(format!("{objects}/runs%2Fabsent"))),
    ];
    let mut said = Vec::new();
    for (what, request) in tries {
        let answer = request.bearer_auth(token).send().await.unwrap();
        said.push((what, answer.status().as_u16()));
    }
    said
}

#[test]
fn sortie_emulator_prints_where_to_point_other_clients() {
    let machine = Machine::new();
    let words = [
        "emulator",
        "--state",
        "state",
        "--bucket",
        "their-bucket",
        "--anonymous",
    ];
    let mut running = machine.sortie(words).start();
    let mut endpoint = String::new();
    for _ in 0..13 {
        let line = running.line();
        let (name, value) = line
            .strip_prefix("export ")
            .unwrap()
            .split_once('=')
            .unwrap();
        assert!(
            value.starts_with('\'') && value.ends_with('\'') && value.len() > 2,
            "{line}"
        );
        if name == "STORAGE_EMULATOR_HOST" {
            endpoint = value.trim_matches('\'').to_owned();
        }
    }
    assert_eq!(get(&endpoint, "/storage/v1/b/their-bucket/o", ""), 200);
    assert_eq!(
        get(
            &endpoint,
            "/v2/projects/sortie-local/locations/us-central1/jobs",
            ""
        ),
        401
    );
    running.signal(Signal::INT);
    running.end().code(0);
}

#[test]
fn another_build_lets_running_tasks_be_and_takes_over_when_they_are_done() {
    let machine = Machine::new();
    let other = machine.home().join("sortie");
    fs::copy(crate::harness::SORTIE, &other).unwrap();
    let words = [
        "run",
        "--json",
        "--out",
        "o",
        "--",
        "sh",
        "-c",
        "sleep 2; echo x > output/f",
    ];
    let mut working = machine.sortie(words).start();
    working.event("started");
    let first = machine.emulator_pid().unwrap();
    machine
        .program(&other, ["run", "-q", "--", "true"])
        .enter()
        .code(0);
    assert_eq!(machine.emulator_pid(), Some(first), "a task runs in it");
    working.end().code(0);
    machine
        .program(&other, ["run", "-q", "--", "true"])
        .enter()
        .code(0);
    assert_ne!(
        machine.emulator_pid(),
        Some(first),
        "nothing runs in it any more"
    );
}

#[test]
fn a_link_to_the_program_is_the_program() {
    let machine = Machine::new();
    let link = machine.home().join("sortie");
    std::os::unix::fs::symlink(crate::harness::SORTIE, &link).unwrap();
    machine.sortie(["run", "-q", "--", "true"]).enter().code(0);
    let pid = machine.emulator_pid();
    machine
        .program(&link, ["run", "-q", "--", "true"])
        .enter()
        .code(0);
    assert_eq!(machine.emulator_pid(), pid);
}

#[test]
fn its_bucket_forgets_inputs_nobody_uses_and_old_runs() {
    let machine = Machine::new();
    machine.sortie(["run", "-q", "--", "true"]).enter().code(0);
    let (endpoint, token) = machine.emulator();
    let rules = || {
        let request = format!(
            "GET /storage/v1/b/goog-sortie-local HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {token}\r\nConnection: close\r\n\r\n"
        );
        let mut stream = TcpStream::connect(endpoint.trim_start_matches("http://")).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let body = answer.split_once("\r\n\r\n").unwrap().1.to_owned();
        let bucket: serde_json::Value = serde_json::from_str(&body).unwrap();
        bucket["lifecycle"]["rule"].clone()
    };
    wait_until("there are rules", || rules().is_array());
    let conditions: Vec<_> = rules()
        .as_array()
        .unwrap()
        .iter()
        .map(|rule| rule["condition"].clone())
        .collect();
    assert_eq!(
        conditions,
        [
            serde_json::json!({ "matchesPrefix": ["inputs/"], "daysSinceCustomTime": 14 }),
            serde_json::json!({ "matchesPrefix": ["runs/"], "age": 30 }),
        ]
    );
}
