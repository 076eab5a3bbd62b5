//! An emulator in this process, with a gate before the host and another before its tasks, which are real entrypoints.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use emulator::{Account, Config, Emulator, Grant, Options, Permission};
use serde_json::json;
use tempfile::TempDir;
use wire::api::{Api, RetryConfig, http_client};
use wire::bucket::Bucket;
use wire::token::{StaticToken, Token, Tokens};

use crate::gate::Gate;
use crate::harness::{Machine, SORTIE, Typed, is_alive, signal, wait_until};

const TOKEN: &str = "the-owner's-token";
const PROJECT: &str = "a-project";
const BUCKET: &str = "a-bucket";

/// A job whose tasks have one attempt, and one whose tasks have another after it.
pub(crate) const JOB: &str = "a-job";
pub(crate) const RETRYING: &str = "another-job";

/// Plays the container: its process is the entrypoint's, and known by a file.
const RUNNER: &str = r#"#!/bin/sh
dir=$(mktemp -d "SITE/task-XXXXXX") || exit 1
echo $$ > "$dir.new" && mv "$dir.new" "SITE/pid"
export STORAGE_EMULATOR_HOST=GATE SORTIE_WORKSPACE="$dir/workspace" TMPDIR="$dir" HOME="$dir"
PRELUDE 'SORTIE' entrypoint
"#;

/// An emulator, and the thread that serves it.
pub(crate) struct Site {
    dir: TempDir,
    /// Between the host and the emulator.
    pub(crate) host: Gate,
    /// Between its tasks and the emulator.
    pub(crate) task: Gate,
    address: String,
    stop: Option<tokio::sync::oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Site {
    pub(crate) fn start() -> Self {
        Self::with("exec")
    }

    /// `prelude`: shell text that ends with what starts the entrypoint: `exec`, or a program that comes to it.
    pub(crate) fn with(prelude: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (host, task) = (Gate::open(), Gate::open());
        let runner = dir.path().join("runner");
        let script = RUNNER
            .replace("SITE", dir.path().to_str().unwrap())
            .replace("GATE", &task.address)
            .replace("PRELUDE", prelude)
            .replace("'SORTIE'", &format!("'{SORTIE}'"));
        fs::write(&runner, script).unwrap();
        fs::set_permissions(&runner, fs::Permissions::from_mode(0o755)).unwrap();
        let config = config(&dir.path().join("state"), &runner);
        let (stop, stopped) = tokio::sync::oneshot::channel();
        let (tell, told) = std::sync::mpsc::channel();
        let thread = std::thread::spawn(move || serve(config, &tell, stopped));
        let address = told.recv().unwrap();
        host.leads_to(&address);
        task.leads_to(&address);
        let site = Self {
            dir,
            host,
            task,
            address,
            stop: Some(stop),
            thread: Some(thread),
        };
        site.make_job(JOB, 0);
        site.make_job(RETRYING, 1);
        site
    }

    fn make_job(&self, name: &str, retries: u32) {
        let definition = json!({ "template": { "template": {
            "maxRetries": retries,
            "timeout": "3600s",
            "serviceAccount": "task@a-project.iam.gserviceaccount.com",
            "containers": [{ "image": "an/image" }],
        }}});
        let url = format!(
            "http://{}/v2/projects/{PROJECT}/locations/us-central1/jobs?jobId={name}",
            self.address
        );
        crate::harness::block_on(async {
            let request = http_client().unwrap().post(url).json(&definition);
            let answer = request.bearer_auth(TOKEN).send().await.unwrap();
            assert_eq!(answer.status(), 200);
        });
    }

    /// `sortie` in this project, by way of the gate.
    pub(crate) fn sortie(&self, machine: &Machine, job: &str, words: &[&str]) -> Typed {
        dress(machine.sortie(words), job, &self.host.address)
    }

    /// Likewise, past the gate.
    pub(crate) fn straight(&self, machine: &Machine, words: &[&str]) -> Typed {
        dress(machine.sortie(words), JOB, &self.address)
    }

    /// Another program that starts `sortie` in this project.
    pub(crate) fn program(&self, machine: &Machine, words: &[&str]) -> Typed {
        let typed = machine.program(words[0], &words[1..]);
        dress(typed, JOB, &self.address)
    }

    /// The owner's hand in the bucket.
    pub(crate) fn with_bucket<T>(&self, work: impl AsyncFnOnce(Bucket) -> T) -> T {
        let endpoint = format!("http://{}", self.address).parse().unwrap();
        let token = Arc::new(StaticToken(Token::new(TOKEN, None)));
        let tokens = Tokens::origin(&endpoint, token);
        let api = Api::new(http_client().unwrap(), tokens, None, RetryConfig::default());
        let bucket = Bucket::new(api, &endpoint, BUCKET);
        crate::harness::block_on(work(bucket))
    }

    /// The process of the task that was started last.
    pub(crate) fn task_pid(&self) -> u32 {
        let file = self.dir.path().join("pid");
        wait_until("a task has begun", || file.exists());
        fs::read_to_string(file).unwrap().trim().parse().unwrap()
    }

    /// Kills the task that was started last, as the kernel does when memory is short.
    pub(crate) fn killer_of_task(&self) -> impl FnOnce() + Send + use<> {
        let file = self.dir.path().join("pid");
        move || {
            wait_until("a task has begun", || file.exists());
            kill(fs::read_to_string(file).unwrap().trim().parse().unwrap());
        }
    }

    /// Where its tasks work.
    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }
}

/// In this project, by way of this address.
fn dress(typed: Typed, job: &str, address: &str) -> Typed {
    let endpoint = format!("http://{address}");
    typed
        .env("SORTIE_PROJECT", PROJECT)
        .env("SORTIE_REGION", "us-central1")
        .env("SORTIE_BUCKET", BUCKET)
        .env("SORTIE_JOB", job)
        .env("SORTIE_RUN_ENDPOINT", &endpoint)
        .env("STORAGE_EMULATOR_HOST", &endpoint)
        .env("SORTIE_EMULATOR_TOKEN", TOKEN)
}

/// Kills a process, and waits until it is gone.
pub(crate) fn kill(pid: u32) {
    signal(pid, rustix::process::Signal::KILL);
    wait_until("it is gone", || !is_alive(pid));
}

fn serve(
    config: Config,
    tell: &std::sync::mpsc::Sender<String>,
    stopped: tokio::sync::oneshot::Receiver<()>,
) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let emulator = Emulator::start_with(config, Options::default())
            .await
            .unwrap();
        emulator.ensure_bucket(BUCKET).await.unwrap();
        tell.send(emulator.address().to_string()).unwrap();
        let stopped = async {
            let _ = stopped.await;
        };
        emulator.serve(stopped).await.unwrap();
    });
}

impl Drop for Site {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn config(state: &Path, runner: &Path) -> Config {
    let grant = |permission, prefix: &str| Grant {
        permission,
        prefix: prefix.to_owned(),
    };
    Config {
        state: PathBuf::from(state),
        listen: "127.0.0.1:0".parse().unwrap(),
        project: PROJECT.to_owned(),
        region: "us-central1".to_owned(),
        runner: vec![runner.as_os_str().to_owned()],
        owner_token: TOKEN.to_owned(),
        anonymous_storage: false,
        container_account: Account {
            email: "task@a-project.iam.gserviceaccount.com".to_owned(),
            grants: vec![
                grant(Permission::Get, "inputs/"),
                grant(Permission::Get, "runs/"),
                grant(Permission::Create, "runs/"),
            ],
        },
        idle_exit: None,
    }
}
