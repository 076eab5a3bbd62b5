//! Executions of very many tasks, whose containers are futures in this process.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use emulator::{Container, Options};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::harness::{JOBS, Server, eventually, json_of};

const MANY: usize = 10_000;

/// What the containers of a test have seen.
#[derive(Default)]
struct Seen {
    indices: Mutex<BTreeSet<usize>>,
    running: AtomicUsize,
    most: AtomicUsize,
    waiting: AtomicUsize,
    terminated: AtomicUsize,
}

impl Seen {
    fn begin(&self, container: &Container) -> usize {
        let index = container.variable("CLOUD_RUN_TASK_INDEX").unwrap();
        let index = index.parse().unwrap();
        assert!(self.indices.lock().unwrap().insert(index), "{index} twice");
        let running = self.running.fetch_add(1, Ordering::SeqCst) + 1;
        self.most.fetch_max(running, Ordering::SeqCst);
        index
    }

    fn end(&self) {
        self.running.fetch_sub(1, Ordering::SeqCst);
    }
}

async fn a_job(server: &Server, template: Value) {
    let container = json!({"image": "example.test/image:1", "env": [{"name": "A", "value": "a"}]});
    let mut template = template;
    template["template"] = json!({"maxRetries": 0, "containers": [container]});
    server
        .create_job_with("many", json!({"template": template}))
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_tasks_are_one_execution() {
    let seen = Arc::new(Seen::default());
    let (gate, closed) = watch::channel(false);
    let watched = Arc::clone(&seen);
    let server = Server::with_containers(16, move |container: Container| {
        let (seen, mut open) = (Arc::clone(&watched), closed.clone());
        async move {
            let index = seen.begin(&container);
            // The gate is in the middle, so that there is a middle to look at.
            if index >= MANY / 2 {
                seen.waiting.fetch_add(1, Ordering::SeqCst);
                open.wait_for(|open| *open).await.unwrap();
            }
            tokio::task::yield_now().await;
            seen.end();
            i32::from(index % 1000 == 7)
        }
    })
    .await;
    a_job(&server, json!({"taskCount": MANY})).await;
    let (operation, path) = server.run("many", json!({})).await;
    // Those at the gate hold all places, so whoever came before them has been settled.
    eventually(async || (seen.waiting.load(Ordering::SeqCst) == 16).then_some(())).await;
    let middle = json_of(server.get(&path)).await;
    assert_eq!(middle["taskCount"], MANY, "{middle}");
    assert_eq!(middle["runningCount"], 16);
    assert_eq!(middle["failedCount"], 5);
    assert_eq!(middle["succeededCount"], MANY / 2 - 5);
    gate.send_replace(true);

    let ended = server.wait(&operation).await;
    assert_eq!(ended["error"]["code"], 10, "{ended}");
    let execution = json_of(server.get(&path)).await;
    assert_eq!(execution["succeededCount"], MANY - 10);
    assert_eq!(execution["failedCount"], 10);
    assert!(execution.get("runningCount").is_none());
    assert_eq!(seen.most.load(Ordering::SeqCst), 16);
    assert_eq!(seen.indices.lock().unwrap().len(), MANY);

    let pages = pages(&server, &path).await;
    assert_eq!(pages.iter().map(Vec::len).collect::<Vec<_>>(), [1000; 10]);
    for (index, task) in pages.iter().flatten().enumerate() {
        assert_eq!(task["index"].as_u64().unwrap_or(0), index as u64);
        let code = task["lastAttemptResult"]["exitCode"].as_i64();
        assert_eq!(code, (index % 1000 == 7).then_some(1), "{index}");
    }

    let server = Server::on(server.stop().await, |_| {}).await;
    let again = json_of(server.get(&path)).await;
    assert_eq!(again["succeededCount"], MANY - 10);
}

/// All tasks, and of each only what is asked for.
async fn pages(server: &Server, execution: &str) -> Vec<Vec<Value>> {
    let fields = "nextPageToken,tasks(index,lastAttemptResult)";
    let mut pages = Vec::new();
    let mut token = String::new();
    loop {
        let query = format!("pageSize=5000&fields={fields}&pageToken={token}");
        let page = json_of(server.get(&format!("{execution}/tasks?{query}"))).await;
        let tasks = page["tasks"].as_array().unwrap().clone();
        assert!(tasks.iter().all(|task| task.get("containers").is_none()));
        pages.push(tasks);
        match page["nextPageToken"].as_str() {
            Some(next) => next.clone_into(&mut token),
            None => return pages,
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn parallelism_is_kept_to() {
    let seen = Arc::new(Seen::default());
    let watched = Arc::clone(&seen);
    let server = Server::with_containers(16, move |container: Container| {
        let seen = Arc::clone(&watched);
        async move {
            seen.begin(&container);
            for _ in 0..20 {
                tokio::task::yield_now().await;
            }
            seen.end();
            0
        }
    })
    .await;
    a_job(&server, json!({"taskCount": 200, "parallelism": 3})).await;
    let execution = server.run_to_end("many", json!({})).await;
    assert_eq!(execution["succeededCount"], 200, "{execution}");
    assert_eq!(execution["parallelism"], 3);
    assert_eq!(seen.most.load(Ordering::SeqCst), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancel_in_the_middle_ends_what_runs_and_starts_nothing_more() {
    let seen = Arc::new(Seen::default());
    let watched = Arc::clone(&seen);
    let server = Server::with_containers(8, move |mut container: Container| {
        let seen = Arc::clone(&watched);
        async move {
            if seen.begin(&container) >= 1000 {
                container.terminated().await;
                seen.terminated.fetch_add(1, Ordering::SeqCst);
            }
            seen.end();
            0
        }
    })
    .await;
    a_job(&server, json!({"taskCount": MANY})).await;
    let (operation, path) = server.run("many", json!({})).await;
    eventually(async || (seen.running.load(Ordering::SeqCst) == 8).then_some(())).await;
    json_of(server.post(&format!("{path}:cancel")).json(&json!({}))).await;
    let ended = server.wait(&operation).await;
    let execution = &ended["response"];
    assert_eq!(execution["succeededCount"], 1000, "{execution}");
    assert_eq!(execution["cancelledCount"], MANY - 1000);
    assert_eq!(
        execution["conditions"][0]["executionReason"], "CANCELLED",
        "{execution}"
    );
    assert_eq!(seen.terminated.load(Ordering::SeqCst), 8);
    assert_eq!(seen.indices.lock().unwrap().len(), 1008);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_in_this_process_is_held_to_the_contract() {
    let server = Server::with_containers(2, |mut container: Container| async move {
        assert_eq!(container.image, "example.test/image:1");
        assert_eq!(container.variable("A"), Some("a"));
        let attempt = container.variable("CLOUD_RUN_TASK_ATTEMPT").unwrap();
        match (container.variable("CLOUD_RUN_TASK_INDEX").unwrap(), attempt) {
            ("0", _) => panic!("it does not start"),
            ("1", "0") => 3,
            ("1", _) => 0,
            _ => {
                container.terminated().await;
                5
            }
        }
    })
    .await;
    let container = json!({"image": "example.test/image:1", "env": [{"name": "A", "value": "a"}]});
    let task = json!({"maxRetries": 1, "timeout": "1s", "containers": [container]});
    let job = json!({"template": {"taskCount": 3, "template": task}});
    server.create_job_with("many", job).await;
    let execution = server.run_to_end("many", json!({})).await;
    assert_eq!(execution["succeededCount"], 1, "{execution}");
    assert_eq!(execution["failedCount"], 2);
    assert_eq!(execution["retriedCount"], 3);
    let name = execution["name"].as_str().unwrap();
    let tasks = json_of(server.get(&format!("/v2/{name}/tasks"))).await;
    let results = [0, 1, 2].map(|index| tasks["tasks"][index]["lastAttemptResult"].clone());
    assert_eq!(results[0]["status"]["code"], 13);
    assert_eq!(results[1], json!({"status": {}}));
    assert_eq!(
        (&results[2]["exitCode"], &results[2]["status"]["code"]),
        (&json!(5), &json!(4))
    );
    json_of(server.request(Method::DELETE, &format!("{JOBS}/many"))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_processes_a_cancel_leaves_none() {
    let server = Server::with_options(Options {
        concurrency: 6,
        ..Options::default()
    })
    .await;
    let script = "test $CLOUD_RUN_TASK_INDEX -lt 20 || { echo $$; exec sleep 1000; }";
    let container = json!({"image": "example.test/image:1", "command": ["sh", "-c", script]});
    let task = json!({"maxRetries": 0, "containers": [container]});
    let job = json!({"template": {"taskCount": 200, "template": task}});
    server.create_job_with("many", job).await;
    let (operation, path) = server.run("many", json!({})).await;
    let execution = json_of(server.get(&path)).await;
    let pids = eventually(async || {
        let logs = (20..26).map(|task| server.log_path(&execution, task, 0));
        let pids: Option<Vec<String>> = logs
            .map(|log| std::fs::read_to_string(log).ok())
            .map(|pid| pid.filter(|pid| pid.ends_with('\n')))
            .collect();
        pids
    })
    .await;
    json_of(server.post(&format!("{path}:cancel")).json(&json!({}))).await;
    let ended = server.wait(&operation).await;
    let execution = &ended["response"];
    assert_eq!(execution["succeededCount"], 20, "{execution}");
    assert_eq!(execution["cancelledCount"], 180);
    for pid in pids {
        let alive = std::path::Path::new("/proc").join(pid.trim()).exists();
        assert!(!alive, "{pid} is still there");
    }
    assert!(!server.log_path(execution, 26, 0).exists());
}
