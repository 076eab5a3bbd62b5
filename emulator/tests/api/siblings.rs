//! The end of a task concerns the task alone, however many others start or look on at that moment.

use std::fs::File;
use std::process::Command;

use serde_json::{Value, json};

use crate::harness::{Server, eventually};

/// A job whose tasks run a script.
async fn create(server: &Server, id: &str, tasks: usize, script: &str, env: Value) {
    let container = json!({"image": "x", "command": ["sh", "-c", script], "env": env});
    let template = json!({"maxRetries": 0, "containers": [container]});
    let job = json!({"template": {"taskCount": tasks, "template": template}});
    server.create_job_with(id, job).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn short_tasks_of_executions_at_once_all_succeed() {
    const EXECUTIONS: usize = 6;
    const TASKS: usize = 6;
    let server = Server::start().await;
    // The shell is searched for in thousands of places, so that each task is long between its fork and its exec.
    let path = "/no:".repeat(8_000) + "/usr/bin:/bin";
    let env = json!([{"name": "PATH", "value": path}]);
    create(&server, "short", TASKS, "echo $CLOUD_RUN_TASK_INDEX", env).await;
    let mut operations = Vec::new();
    for _ in 0..EXECUTIONS {
        operations.push(server.run("short", json!({})).await.0);
    }
    for operation in operations {
        let done = server.wait(&operation).await;
        assert_eq!(done["response"]["succeededCount"], TASKS, "{done}");
        for task in 0..TASKS {
            let log = server.log(&done["response"], task, 0);
            assert_eq!(log, format!("{task}\n"));
        }
    }
}

#[tokio::test]
async fn who_reads_the_log_of_a_task_outlives_it() {
    let server = Server::start().await;
    let go = server.state.path().join("go");
    let wait = format!(
        "echo begun; while ! test -e {}; do sleep 0.02; done",
        go.display()
    );
    create(&server, "read", 1, &wait, json!([])).await;
    let (operation, execution) = server.run("read", json!({})).await;
    let execution = json!({"name": execution});
    let log = server.log_path(&execution, 0, 0);
    eventually(async || {
        std::fs::read_to_string(&log)
            .ok()
            .filter(|text| text == "begun\n")
    })
    .await;
    let mut reader = Command::new("sleep")
        .arg("1000")
        .stdin(File::open(&log).unwrap())
        .spawn()
        .unwrap();
    std::fs::write(&go, "").unwrap();
    let done = server.wait(&operation).await;
    let ended = reader.try_wait().unwrap();
    let _ = reader.kill();
    reader.wait().unwrap();
    assert_eq!(done["response"]["succeededCount"], 1, "{done}");
    assert_eq!(ended, None);
}
