//! Bytes that are not what they say: poisoned inputs, forged reports, twin starts.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use serde_json::{Value, json};
use wire::api::{Api, RetryConfig, http_client};
use wire::bucket::{Bucket, List, NewObject, ObjectMeta, Precondition};
use wire::names::{Attempt, AttemptObjects, RunId};
use wire::token::{StaticToken, Token, Tokens};

use crate::harness::{Machine, block_on, wait_until};

fn with_bucket<T>(machine: &Machine, work: impl AsyncFnOnce(Bucket) -> T) -> T {
    let (endpoint, token) = machine.emulator();
    let endpoint = endpoint.parse().unwrap();
    let source = Arc::new(StaticToken(Token::new(token, None)));
    let tokens = Tokens::origin(&endpoint, source);
    let api = Api::new(http_client().unwrap(), tokens, None, RetryConfig::default());
    let bucket = Bucket::new(api, &endpoint, "goog-sortie-local");
    block_on(work(bucket))
}

fn objects(machine: &Machine, prefix: &str) -> Vec<ObjectMeta> {
    with_bucket(machine, async |bucket| {
        bucket
            .list(&List {
                prefix,
                ..List::default()
            })
            .await
            .unwrap()
            .objects
    })
}

/// The names of what the bucket holds.
pub(crate) fn names(machine: &Machine, prefix: &str) -> Vec<String> {
    objects(machine, prefix)
        .into_iter()
        .map(|object| object.name)
        .collect()
}

/// Everything the bucket holds, with its generations.
pub(crate) fn generations(machine: &Machine) -> BTreeMap<String, u64> {
    let all = objects(machine, "").into_iter();
    all.map(|object| (object.name, object.generation)).collect()
}

/// Deletes what the bucket holds under a prefix.
pub(crate) fn delete_all(machine: &Machine, prefix: &str) {
    for name in names(machine, prefix) {
        with_bucket(machine, async |bucket| {
            bucket.delete(&name, None).await.unwrap();
        });
    }
}

fn insert(
    machine: &Machine,
    name: &str,
    metadata: BTreeMap<String, String>,
    over: Precondition,
    body: &[u8],
) {
    let object = NewObject {
        content_type: "application/octet-stream",
        metadata,
        custom_time: None,
        precondition: over,
    };
    let body = Bytes::copy_from_slice(body);
    with_bucket(machine, async |bucket| {
        bucket.insert(name, &object, body).await.unwrap()
    });
}

#[test]
fn a_poisoned_object_is_noticed_before_the_command_starts() {
    let machine = Machine::new();
    machine.write("good", "good");
    machine.write("evil", "evil");
    let run = |input: &str| {
        let input = format!("data={input}");
        machine
            .sortie([
                "run",
                "--json",
                "-i",
                &input,
                "--",
                "sh",
                "-c",
                "cat input/data; echo ran > output/ran",
            ])
            .enter()
    };
    run("good").code(0);
    let good = objects(&machine, "inputs/").remove(0);
    run("evil").code(0);
    let evil = objects(&machine, "inputs/")
        .into_iter()
        .find(|o| o.name != good.name)
        .unwrap();
    let bytes = with_bucket(&machine, async |bucket| {
        bucket.read(&evil.name, 1 << 20).await.unwrap().1
    });
    // Whoever may write inputs can make an object that looks like the good one to a host.
    insert(
        &machine,
        &good.name,
        good.metadata,
        Precondition::Generation(good.generation),
        &bytes,
    );
    let result = run("good").code(125).result();
    let task = &result["tasks"][0];
    assert_eq!(task["outcome"], "setup");
    assert!(
        task["problem"].as_str().unwrap().contains(&good.name),
        "{task}"
    );
    let directory = std::path::Path::new(task["directory"].as_str().unwrap());
    assert!(!directory.join("output/ran").exists() && directory.join("output").exists());
}

#[test]
fn an_object_that_is_not_ours_by_its_metadata_is_replaced_and_said() {
    let machine = Machine::new();
    machine.write("data", "good");
    let words = ["run", "-i", "data", "--", "cat", "input/data"];
    machine.sortie(words).enter().code(0).prints("good");
    let good = objects(&machine, "inputs/").remove(0);
    insert(
        &machine,
        &good.name,
        BTreeMap::new(),
        Precondition::Generation(good.generation),
        b"junk",
    );
    machine
        .sortie(words)
        .enter()
        .code(0)
        .prints("good")
        .says("held other bytes than its name says");
    machine
        .sortie(words)
        .enter()
        .code(0)
        .prints("good")
        .says("already in the bucket");
}

#[test]
fn a_forged_report_is_ignored() {
    let machine = Machine::new();
    let script = "echo real > output/f; while [ $((i+=1)) -lt 15 ]; do sleep 0.1; done; exit 6";
    let words = ["run", "--json", "--", "sh", "-c", script];
    let mut running = machine.sortie(words).start();
    let run: RunId = running.event("started")["run"]
        .as_str()
        .unwrap()
        .parse()
        .unwrap();
    wait_until("it is claimed", || {
        !names(&machine, &run.claims()).is_empty()
    });
    let forged = AttemptObjects {
        run,
        attempt: Attempt {
            task: 0,
            start: 0,
            retry: 0,
        },
        key: "00000000000000000000000000000000".to_owned(),
    };
    let later = AttemptObjects {
        attempt: Attempt {
            task: 0,
            start: 0,
            retry: 1,
        },
        ..forged.clone()
    };
    for objects in [&forged, &later] {
        insert(
            &machine,
            &objects.report(),
            BTreeMap::new(),
            Precondition::Absent,
            b"{\"version\":1}",
        );
    }
    let done = running.end().code(6);
    let warned = done.lines().iter().any(|line| {
        line["event"] == "warning"
            && line["text"]
                .as_str()
                .unwrap()
                .contains("not written by its entrypoint")
    });
    assert!(warned, "{}", String::from_utf8_lossy(&done.stdout));
    let directory = done.result()["tasks"][0]["directory"]
        .as_str()
        .unwrap()
        .to_owned();
    assert_eq!(
        std::fs::read_to_string(directory + "/output/f").unwrap(),
        "real\n"
    );
}

#[test]
fn a_twin_start_finds_the_claim_and_leaves() {
    let machine = Machine::new();
    let words = [
        "run",
        "--json",
        "--out",
        "o",
        "--",
        "sh",
        "-c",
        "echo ran >> output/f",
    ];
    let done = machine.sortie(words).enter().code(0);
    let run: RunId = done.result()["run"].as_str().unwrap().parse().unwrap();
    let before = names(&machine, "runs/");
    start_again(&machine, run);
    assert_eq!(names(&machine, "runs/"), before, "the twin wrote nothing");
    let job = job_of(&machine, &run.to_string());
    let twin = executions(&machine, &job).remove(0);
    let name = twin["name"].as_str().unwrap().rsplit('/').next().unwrap();
    let tasks = ask(&machine, &job, &format!("/executions/{name}/tasks"), None);
    assert_eq!(
        tasks["tasks"][0]["lastAttemptResult"]["exitCode"], 75,
        "{tasks}"
    );
}

/// The job that a run was started as.
pub(crate) fn job_of(machine: &Machine, run: &str) -> String {
    let run: RunId = run.parse().unwrap();
    let record: Value = with_bucket(machine, async |bucket| {
        serde_json::from_slice(&bucket.read(&run.record(), 1 << 20).await.unwrap().1).unwrap()
    });
    record["job"].as_str().unwrap().to_owned()
}

/// Asks the emulator's Cloud Run API about a job.
fn ask(machine: &Machine, job: &str, verb: &str, body: Option<Value>) -> Value {
    let (endpoint, token) = machine.emulator();
    let url = format!("{endpoint}/v2/projects/sortie-local/locations/local/jobs/{job}{verb}");
    block_on(async {
        let http = http_client().unwrap();
        let request = match body {
            Some(body) => http.post(url).json(&body),
            None => http.get(url),
        };
        let answer = request.bearer_auth(&token).send().await.unwrap();
        assert_eq!(answer.status(), 200);
        answer.json().await.unwrap()
    })
}

/// A job's executions.
pub(crate) fn executions(machine: &Machine, job: &str) -> Vec<Value> {
    let list = ask(machine, job, "/executions", None);
    list["executions"].as_array().cloned().unwrap_or_default()
}

/// The same start once more, as a `:run` that was asked twice would make it; to the end of its execution.
fn start_again(machine: &Machine, run: RunId) {
    let job = job_of(machine, &run.to_string());
    let uri = format!("gs://goog-sortie-local/{}", run.start(0));
    let env = json!([{ "name": "SORTIE_RUN", "value": uri }]);
    let body = json!({ "overrides": { "containerOverrides": [{ "env": env }] } });
    ask(machine, &job, ":run", Some(body));
    wait_until("both executions have ended", || {
        let all = executions(machine, &job);
        assert_eq!(all.len(), 2);
        all.iter()
            .all(|execution| execution["completionTime"].is_string())
    });
}
