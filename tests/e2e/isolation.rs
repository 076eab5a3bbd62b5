//! A hostile task: with the token that every task can have, from inside a real one, it asks for what is not its own.
//!
//! What is proved here is written down for people in `docs/security.md`.

use std::fs;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use wire::contract::{Captured, Claim, Outcome, Outputs, Phases, Report, TaskRange, VERSION};
use wire::names::{Attempt, AttemptObjects, RunId};

use crate::forgeries::{generations, job_of, names};
use crate::harness::{Done, Machine, wait_until};

const SCRIPT: &str = include_str!("isolation/attack.pl");

const BUCKET: &str = "goog-sortie-local";

/// What a task asks, and the status that is the answer.
type Attacks = Vec<(u16, String)>;

fn request(status: u16, method: &str, path: &str, body: &str) -> (u16, String) {
    let kind = match path {
        _ if path.starts_with("/batch/") => "multipart/mixed; boundary=b",
        _ if body.starts_with('{') => "application/json",
        _ => "application/octet-stream",
    };
    (status, format!("{method}\t{path}\t{kind}\t{body}"))
}

fn escaped(name: &str) -> String {
    name.replace('/', "%2F")
}

fn get(status: u16, name: &str) -> (u16, String) {
    let path = format!("/storage/v1/b/{BUCKET}/o/{}?alt=media", escaped(name));
    request(status, "GET", &path, "")
}

fn create(status: u16, name: &str, body: &str) -> (u16, String) {
    let query = format!("uploadType=media&name={}", escaped(name));
    let path = format!("/upload/storage/v1/b/{BUCKET}/o?{query}");
    request(status, "POST", &path, body)
}

/// Everything that would read, change or destroy what stands under a name, by every door there is.
fn on_object(name: &str) -> Attacks {
    let object = format!("/storage/v1/b/{BUCKET}/o/{}", escaped(name));
    let batch = format!(
        "--b\u{1}Content-Type: application/http\u{1}\u{1}DELETE {object} HTTP/1.1\u{1}\u{1}\u{1}--b--\u{1}"
    );
    let upload = format!("/upload/storage/v1/b/{BUCKET}/o");
    let resumable = format!("{upload}?uploadType=resumable&name={}", escaped(name));
    let source = json!({ "sourceObjects": [{ "name": name }] }).to_string();
    vec![
        create(403, name, "poison"),
        request(403, "POST", &resumable, "{}"),
        request(403, "PARTS", &format!("/{BUCKET}/{name}"), "poison"),
        // Of the XML API the emulator has no more than Google's clients need.
        request(405, "PUT", &format!("/{BUCKET}/{name}"), "poison"),
        request(405, "DELETE", &format!("/{BUCKET}/{name}"), ""),
        request(403, "DELETE", &object, ""),
        request(403, "POST", "/batch/storage/v1", &batch),
        request(403, "PATCH", &object, r#"{"metadata":{"sha256":"x"}}"#),
        request(403, "PUT", &object, "{}"),
        request(403, "POST", &format!("{object}/compose"), &source),
        request(401, "-GET", &object, ""),
    ]
}

/// The bucket as a whole.
fn on_bucket(run: RunId) -> Attacks {
    let bucket = format!("/storage/v1/b/{BUCKET}");
    let list = |prefix: &str| format!("{bucket}/o?prefix={}", escaped(prefix));
    vec![
        request(403, "GET", "/storage/v1/b?project=sortie-local", ""),
        request(403, "GET", &bucket, ""),
        request(403, "GET", &list(""), ""),
        request(403, "GET", &list("inputs/"), ""),
        request(403, "GET", &list(&run.prefix()), ""),
        request(
            403,
            "GET",
            &format!("/{BUCKET}/?prefix={}", run.prefix()),
            "",
        ),
        request(403, "PATCH", &bucket, r#"{"lifecycle":{"rule":[]}}"#),
        request(403, "DELETE", &bucket, ""),
        request(403, "GET", &format!("{bucket}/iam"), ""),
        request(403, "PUT", &format!("{bucket}/iam"), r#"{"bindings":[]}"#),
        request(
            403,
            "POST",
            "/storage/v1/b?project=sortie-local",
            r#"{"name":"mine"}"#,
        ),
        create(403, "inputs/0123456789abcdef0123456789abcdef.tar.gz", "new"),
        create(403, "config/sortie.json", "{}"),
        create(403, "elsewhere", "x"),
        get(403, "config/sortie.json"),
    ]
}

/// Everything that is not storage.
fn on_other_apis(job: &str) -> Attacks {
    let v2 = "/v2/projects/sortie-local/locations/local";
    let v1 = "/apis/run.googleapis.com/v1/namespaces/sortie-local";
    let run = format!("{v2}/jobs/{job}:run");
    let secrets = "/v1/projects/sortie-local/secrets";
    vec![
        request(403, "POST", &run, "{}"),
        request(401, &format!("-{}", "POST"), &run, "{}"),
        request(403, "GET", &format!("{v2}/jobs"), ""),
        request(403, "GET", &format!("{v2}/jobs/{job}"), ""),
        request(403, "DELETE", &format!("{v2}/jobs/{job}"), ""),
        request(403, "POST", &format!("{v2}/jobs?jobId=mine"), "{}"),
        request(403, "GET", &format!("{v2}/jobs/{job}/executions"), ""),
        request(
            403,
            "POST",
            &format!("{v2}/jobs/{job}/executions/any:cancel"),
            "{}",
        ),
        request(403, "GET", &format!("{v1}/jobs"), ""),
        request(403, "POST", &format!("{v1}/jobs/{job}:run"), "{}"),
        request(403, "GET", secrets, ""),
        request(403, "GET", &format!("/sm{secrets}"), ""),
        request(
            403,
            "GET",
            &format!("{secrets}/any/versions/latest:access"),
            "",
        ),
        request(
            403,
            "POST",
            "/crm/v1/projects/sortie-local:setIamPolicy",
            "{}",
        ),
        request(
            403,
            "GET",
            "/iam/v1/projects/sortie-local/serviceAccounts",
            "",
        ),
        request(403, "GET", "/su/v1/projects/sortie-local/services", ""),
        request(
            403,
            "GET",
            "/ar/v1/projects/sortie-local/locations/local/repositories",
            "",
        ),
    ]
}

/// Files of requests, and the script that makes them, beside the others of a machine.
fn arm(machine: &Machine, attacks: &Attacks) {
    machine.write("attack.pl", SCRIPT);
    machine.write("attacks", in_lines(attacks));
}

fn in_lines(attacks: &Attacks) -> String {
    let lines: Vec<&str> = attacks.iter().map(|(_, line)| line.as_str()).collect();
    lines.join(
        "
",
    ) + "
"
}

/// Every answer was the one it had to be.
#[track_caller]
fn check(said: &str, attacks: &Attacks) {
    let answers: Vec<&str> = said.lines().collect();
    assert_eq!(answers.len(), attacks.len(), "{said}");
    let wrong: Vec<String> = attacks
        .iter()
        .zip(answers)
        .filter(|((status, _), answer)| !answer.starts_with(&format!("{status} ")))
        .map(|((status, attack), answer)| format!("{status} expected: {answer} ({attack})"))
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn isolated(machine: &Machine, words: &[&str], script: &str) -> crate::harness::Typed {
    let first = ["run", "--json", "--sandbox", "namespaces"];
    let last = ["--", "sh", "-c", script];
    machine.sortie(first.iter().chain(words).chain(&last))
}

fn run_of(value: &Value) -> RunId {
    value["run"].as_str().unwrap().parse().unwrap()
}

fn stdout_of(done: &Done, task: usize) -> String {
    let directory = done.result()["tasks"][task]["directory"]
        .as_str()
        .unwrap()
        .to_owned();
    fs::read_to_string(directory + "/stdout").unwrap()
}

/// A run of somebody else's that is over and not fetched yet, with an input, a secret and an output.
fn victim(machine: &Machine) -> RunId {
    machine.write("theirs", "their data");
    let script =
        "cp input/theirs output/; head -c 400000 /dev/urandom > output/big; echo said; exit 4";
    let words = [
        "run", "-q", "--detach", "--secret", "KEY", "-i", "theirs", "--", "sh", "-c", script,
    ];
    let done = machine
        .sortie(words)
        .env("KEY", "the secret")
        .enter()
        .code(0);
    let run = String::from_utf8(done.stdout).unwrap();
    let run: RunId = run.trim().parse().unwrap();
    wait_until("it has reported", || {
        !names(machine, &run.reports()).is_empty()
    });
    run
}

#[test]
fn what_is_anothers_can_neither_be_listed_nor_changed_nor_started() {
    let machine = Machine::new();
    let theirs = victim(&machine);
    let job = job_of(&machine, &theirs.to_string());
    let held = names(&machine, "");
    let mut attacks = on_bucket(theirs);
    attacks.extend(held.iter().flat_map(|name| on_object(name)));
    attacks.extend(on_other_apis(&job));
    // A name that is not known is not there, and nobody says whether it is.
    attacks.extend([get(403, &RunId::new().record()), get(403, &theirs.spec(7))]);
    // A copy of what may be read goes nowhere but where anything may be made.
    let pack = held
        .iter()
        .find(|name| name.starts_with("inputs/"))
        .unwrap();
    for verb in ["copyTo", "rewriteTo"] {
        let from = format!("/storage/v1/b/{BUCKET}/o/{}", escaped(&theirs.record()));
        let to = format!("{from}/{verb}/b/{BUCKET}/o/{}", escaped(pack));
        attacks.push(request(403, "POST", &to, "{}"));
    }
    // And a name that is known is a capability: it can be read.
    attacks.extend(held.iter().map(|name| get(200, name)));
    arm(&machine, &attacks);
    let before = generations(&machine);
    let words = ["-i", "attack.pl", "-i", "attacks"];
    let done = isolated(&machine, &words, "perl input/attack.pl input/attacks");
    let done = done.enter().code(0);
    check(&stdout_of(&done, 0), &attacks);
    let after = generations(&machine);
    for (name, generation) in &before {
        assert_eq!(after.get(name), Some(generation), "{name}");
    }
    let mine = run_of(&done.result()).prefix();
    let new = after.keys().filter(|name| !before.contains_key(*name));
    for name in new.filter(|name| !name.starts_with("inputs/")) {
        assert!(name.starts_with(&mine), "{name}");
    }
    let words = ["wait", "--out", "o", &theirs.to_string()];
    machine.sortie(words).enter().code(4).prints("said\n");
    assert_eq!(machine.text("o/output/theirs"), "their data");
}

/// A report as an entrypoint would write it, and the claim that makes it good.
fn forged(run: RunId, attempt: Attempt) -> (AttemptObjects, String, String) {
    let key = "0123456789abcdef0123456789abcdef".to_owned();
    let digest: Vec<String> = Sha256::digest(key.as_bytes())
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let now = jiff::Timestamp::now();
    let claim = Claim {
        version: VERSION,
        key_sha256: digest.concat(),
        entrypoint: "0".to_owned(),
        created_at: now,
    };
    let report = Report {
        version: VERSION,
        run,
        attempt,
        entrypoint: "0".to_owned(),
        outcome: Outcome::Exited,
        code: Some(0),
        signal: None,
        problem: None,
        stdout: Captured {
            bytes: 7,
            inline: Some("forged\n".into()),
            ..Captured::default()
        },
        stderr: Captured::default(),
        outputs: Outputs::default(),
        phases: Phases::default(),
        started_at: now,
        finished_at: now,
        steps: Vec::new(),
        command: None,
        collected: Vec::new(),
    };
    let objects = AttemptObjects { run, attempt, key };
    (objects, json!(claim).to_string(), json!(report).to_string())
}

const FIRST: Attempt = Attempt {
    task: 0,
    start: 0,
    retry: 0,
};

#[test]
fn what_is_made_up_under_anothers_name_is_not_believed() {
    let machine = Machine::new();
    let theirs = victim(&machine);
    let (objects, claim, report) = forged(theirs, FIRST);
    let later = Attempt { retry: 1, ..FIRST };
    let unclaimed = AttemptObjects {
        attempt: later,
        ..objects.clone()
    };
    let spec = json!({
        "version": VERSION, "command": { "argv": ["touch", "/tmp/evil"] }, "grace_ms": 1, "log_interval_ms": 1000,
    });
    let range = TaskRange {
        index: 0,
        task: 0,
        count: 1,
        spec: 0,
        step: 0,
    };
    let job = job_of(&machine, &theirs.to_string());
    let start = json!({
        "version": VERSION, "run": theirs, "start": 1, "job": job, "specs": [{ "inline": spec }], "tasks": [range],
    });
    let attacks = vec![
        create(403, &objects.claim(), &claim),
        create(200, &objects.report(), &report),
        create(200, &unclaimed.report(), &report),
        create(200, &objects.outputs(), "evil"),
        create(200, &objects.log(0, wire::names::Stream::Stdout), "evil"),
        create(200, &theirs.start(1), &start.to_string()),
        create(200, &RunId::new().record(), "{}"),
    ];
    arm(&machine, &attacks);
    let words = ["-q", "-i", "attack.pl", "-i", "attacks"];
    let done = isolated(&machine, &words, "perl input/attack.pl input/attacks")
        .enter()
        .code(0);
    check(&stdout_of(&done, 0), &attacks);
    let words = ["wait", "--retries", "3", "--out", "o", &theirs.to_string()];
    let done = machine.sortie(words).enter().code(4).prints("said\n");
    done.says("not written by its entrypoint");
    assert_eq!(machine.text("o/output/theirs"), "their data");
    let executions = crate::forgeries::executions(&machine, &job);
    assert_eq!(
        executions.len(),
        1,
        "of theirs, and nothing that was made up"
    );
}

#[test]
fn a_task_finds_no_key_to_this_machine_and_is_not_told_its_own_run() {
    let machine = Machine::new();
    let adc = machine
        .home()
        .join(".config/gcloud/application_default_credentials.json");
    fs::create_dir_all(adc.parent().unwrap()).unwrap();
    fs::write(&adc, "private").unwrap();
    machine.sortie(["run", "-q", "--", "true"]).enter().code(0);
    let (_, token) = machine.emulator();
    let emulator = machine.emulator_pid().unwrap();
    let data = machine.data();
    let script = format!(
        "cat {adc} {data}/emulator.json {data}/emulator/* /proc/{emulator}/environ 2>/dev/null
         cat /proc/1/environ /proc/1/cmdline /proc/*/environ 2>/dev/null; env; mount; hostname
         ls -d {data} /root /home/* 2>/dev/null; kill -9 {emulator} 2>/dev/null && echo killed; true",
        adc = adc.display(),
        data = data.display(),
    );
    let done = isolated(&machine, &[], &script).enter().code(0);
    let said = stdout_of(&done, 0);
    assert!(said.contains("CLOUD_RUN_TASK_INDEX=0"), "{said}");
    let run = done.result()["run"].as_str().unwrap().to_owned();
    for secret in ["private", &token, &run, "killed"] {
        assert!(!said.contains(secret), "`{secret}` in {said}");
    }
    assert_eq!(machine.emulator_pid(), Some(emulator));
}

/// Two tasks: the first works until it is let go, the second asks what it is given.
fn siblings(machine: &Machine, parallel: &str) -> crate::harness::Running {
    fs::create_dir_all(machine.path("given")).unwrap();
    machine.write("given/attack.pl", SCRIPT);
    machine.write("data", "of both");
    let given = machine.path("given");
    let script = format!(
        "cd {given}; wait_for() {{ while [ ! -e $1 ]; do sleep 0.05; done; }}
         if [ $CLOUD_RUN_TASK_INDEX = $(cat attacker) ]; then wait_for attacks; perl attack.pl attacks; exit 0; fi
         echo real; echo real > /workspace/output/f; wait_for go; exit 6",
        given = given.display()
    );
    let words = [
        "-n",
        "2",
        "--parallel",
        parallel,
        "-i",
        "data",
        "--mount",
        "given",
        "--out",
        "o",
    ];
    isolated(machine, &words, &script).start()
}

/// Hands requests over, whole.
fn give(machine: &Machine, attacks: &Attacks) {
    let beside = machine.write("given/new", in_lines(attacks));
    fs::rename(beside, machine.path("given/attacks")).unwrap();
}

#[test]
fn a_sibling_reads_what_can_be_named_and_changes_nothing() {
    let machine = Machine::new();
    machine.write("given/attacker", "1");
    let mut running = siblings(&machine, "2");
    let run = run_of(&running.event("started"));
    wait_until("both have begun", || {
        names(&machine, &run.claims()).len() == 2
    });
    let pack = names(&machine, "inputs/").remove(0);
    let (objects, claim, report) = forged(run, FIRST);
    let mut attacks = vec![
        // The names that can be known where the run's is: who it is for, what it does, and the inputs that says.
        get(200, &run.record()),
        get(200, &run.start(0)),
        get(200, &objects.claim()),
        get(200, &pack),
        // The names of what a task writes hold a key that it alone knows.
        get(403, &objects.report()),
        get(403, &objects.outputs()),
        create(403, &objects.claim(), &claim),
        create(200, &objects.report(), &report),
        create(200, &objects.outputs(), "evil"),
        request(
            403,
            "GET",
            &format!("/storage/v1/b/{BUCKET}/o?prefix={}", escaped(&run.prefix())),
            "",
        ),
    ];
    let held = [run.record(), run.start(0), objects.claim(), pack];
    attacks.extend(held.iter().flat_map(|name| on_object(name)));
    give(&machine, &attacks);
    wait_until("it has asked", || {
        !names(&machine, &run.reports()).is_empty()
    });
    machine.write("given/go", "");
    let done = running.end().code(1);
    check(&stdout_of(&done, 1), &attacks);
    assert_eq!(done.result()["tasks"][0]["exit_code"], 6);
    assert_eq!(machine.text("o/0/stdout"), "real\n");
    assert_eq!(machine.text("o/0/output/f"), "real\n");
}

/// This is no promise but its limit: the tasks of one run are not isolated from each other. It takes the run's name,
/// which no command is told.
#[test]
fn a_sibling_that_knows_the_runs_name_can_take_the_place_of_one_that_has_not_begun() {
    let machine = Machine::new();
    machine.write("given/attacker", "0");
    let mut running = siblings(&machine, "1");
    let run = run_of(&running.event("started"));
    wait_until("the first has begun", || {
        names(&machine, &run.claims()).len() == 1
    });
    let (objects, claim, report) = forged(run, Attempt { task: 1, ..FIRST });
    let attacks = vec![
        create(200, &objects.claim(), &claim),
        create(200, &objects.report(), &report),
    ];
    give(&machine, &attacks);
    let done = running.end().code(0);
    check(&stdout_of(&done, 0), &attacks);
    assert_eq!(stdout_of(&done, 1), "forged\n");
}
