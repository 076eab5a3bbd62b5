//! A platform of the tests' own: the emulator with containers inside this process, and the real `sortie` against it.

use std::future::Future;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use emulator::{Account, Config, Container, Containers, Emulator, Grant, Options, Permission};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use wire::api::{Api, RetryConfig, http_client};
use wire::bucket::{Bucket, NewObject, Precondition};
use wire::contract::{
    CLAIM_KEY, Captured, Claim, Collected, Document, Outcome, Outputs, Phases, Problem, Reason,
    Report, Start, VERSION,
};
use wire::names::{Attempt, AttemptObjects, StartUri, claim};
use wire::token::Tokens;

use crate::harness::{Machine, Typed};

const TOKEN: &str = "the-owner's";
const PROJECT: &str = "a-project";
const REGION: &str = "us-central1";
const BUCKET: &str = "a-bucket";
const JOB: &str = "a-job";

/// The emulator, and the thread that serves it.
pub(crate) struct Platform {
    pub(crate) address: String,
    stop: Option<tokio::sync::oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Platform {
    /// Serves in a directory, with these containers.
    pub(crate) fn start<F: Future<Output = i32> + Send + 'static>(
        state: &Path,
        containers: impl Fn(Container) -> F + Send + Sync + 'static,
    ) -> Self {
        Self::recorded(state, containers, None)
    }

    /// Likewise, with every exchange recorded in a file.
    pub(crate) fn recorded<F: Future<Output = i32> + Send + 'static>(
        state: &Path,
        containers: impl Fn(Container) -> F + Send + Sync + 'static,
        record: Option<PathBuf>,
    ) -> Self {
        let containers: Arc<dyn Containers> = Arc::new(containers);
        let config = config(state);
        let (stop, stopped) = tokio::sync::oneshot::channel();
        let (tell, told) = std::sync::mpsc::channel();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_multi_thread()
                .worker_threads(2)
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async {
                let options = Options {
                    containers: Some(containers),
                    concurrency: 16,
                    record,
                    ..Options::default()
                };
                let emulator = Emulator::start_with(config, options).await.unwrap();
                emulator.ensure_bucket(BUCKET).await.unwrap();
                tell.send(emulator.address()).unwrap();
                let stopped = async {
                    let _ = stopped.await;
                };
                emulator.serve(stopped).await.unwrap();
            });
        });
        let platform = Self {
            address: format!("http://{}", told.recv().unwrap()),
            stop: Some(stop),
            thread: Some(thread),
        };
        platform.make_job(JOB);
        platform
    }

    pub(crate) fn make_job(&self, job: &str) {
        let definition = json!({ "template": { "template": {
            "maxRetries": 0,
            "timeout": "3600s",
            "serviceAccount": "task@a-project.iam.gserviceaccount.com",
            "containers": [{
                "image": "an/image",
                "resources": { "limits": { "cpu": "2", "memory": "4Gi" } },
            }],
        }}});
        self.ask(&format!("/jobs?jobId={job}"), Some(&definition));
    }

    /// Asks the Cloud Run API.
    pub(crate) fn ask(&self, path: &str, body: Option<&Value>) -> Value {
        let url = format!(
            "{}/v2/projects/{PROJECT}/locations/{REGION}{path}",
            self.address
        );
        crate::harness::block_on(async {
            let http = http_client().unwrap();
            let request = match body {
                Some(body) => http.post(url).json(body),
                None => http.get(url),
            };
            let answer = request.bearer_auth(TOKEN).send().await.unwrap();
            assert_eq!(answer.status(), 200);
            answer.json().await.unwrap()
        })
    }

    pub(crate) fn executions(&self) -> Vec<Value> {
        let list = self.ask(&format!("/jobs/{JOB}/executions?pageSize=100"), None);
        list["executions"].as_array().cloned().unwrap_or_default()
    }

    /// `sortie` with these words, in this project; `run` and `storage`: where it finds the APIs.
    pub(crate) fn typed_at<'a>(
        &self,
        machine: &Machine,
        words: impl IntoIterator<Item = &'a str>,
        run: &str,
    ) -> Typed {
        self.told(machine.sortie(words), run)
    }

    /// A command that finds this project.
    pub(crate) fn told(&self, typed: Typed, run: &str) -> Typed {
        typed
            .env("SORTIE_PROJECT", PROJECT)
            .env("SORTIE_REGION", REGION)
            .env("SORTIE_BUCKET", BUCKET)
            .env("SORTIE_JOB", JOB)
            .env("SORTIE_RUN_ENDPOINT", run)
            .env("STORAGE_EMULATOR_HOST", &self.address)
            .env("SORTIE_EMULATOR_TOKEN", TOKEN)
    }

    pub(crate) fn sortie<'a>(
        &self,
        machine: &Machine,
        words: impl IntoIterator<Item = &'a str>,
    ) -> Typed {
        self.typed_at(machine, words, &self.address)
    }
}

impl Drop for Platform {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn config(state: &Path) -> Config {
    let grant = |permission, prefix: &str| Grant {
        permission,
        prefix: prefix.to_owned(),
    };
    Config {
        state: state.to_owned(),
        listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
        project: PROJECT.to_owned(),
        region: REGION.to_owned(),
        runner: Vec::new(),
        owner_token: TOKEN.to_owned(),
        anonymous_storage: true,
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

/// A container's own client of the bucket.
fn bucket(container: &Container, start: &StartUri) -> Bucket {
    let host = container.variable("STORAGE_EMULATOR_HOST").unwrap();
    let endpoint = if host.contains("://") {
        host.parse().unwrap()
    } else {
        format!("http://{host}").parse().unwrap()
    };
    let http = http_client().unwrap();
    let api = Api::new(http, Tokens::anonymous(), None, RetryConfig::default());
    Bucket::new(api, &endpoint, &start.bucket)
}

/// What a well-behaved entrypoint does of a task that has nothing to do: reads its start, claims, reports.
pub(crate) async fn report(container: Container, code: i32) -> i32 {
    let (objects, bucket) = begin(&container).await;
    write_report(&objects, &bucket, code).await
}

/// The end of what [`begin`] began.
pub(crate) async fn write_report(objects: &AttemptObjects, bucket: &Bucket, code: i32) -> i32 {
    write_report_with(objects, bucket, code, Vec::new()).await
}

/// With directories that were collected, as it says.
pub(crate) async fn write_report_with(
    objects: &AttemptObjects,
    bucket: &Bucket,
    code: i32,
    collected: Vec<Collected>,
) -> i32 {
    write_report_of(objects, bucket, code, Outputs::default(), collected).await
}

/// With outputs, as it says.
pub(crate) async fn write_report_of(
    objects: &AttemptObjects,
    bucket: &Bucket,
    code: i32,
    outputs: Outputs,
    collected: Vec<Collected>,
) -> i32 {
    let report = Report {
        outcome: Outcome::Exited,
        code: Some(code),
        outputs,
        collected,
        ..blank(objects)
    };
    write(objects, bucket, &report, "exited", &code.to_string()).await;
    code
}

/// Says that an input is not in the bucket.
pub(crate) async fn miss_an_input(objects: &AttemptObjects, bucket: &Bucket) -> i32 {
    let report = Report {
        outcome: Outcome::Setup,
        problem: Some(Problem {
            reason: Reason::InputMissing,
            message: "input `data` is not in the bucket, or may not be read".to_owned(),
        }),
        ..blank(objects)
    };
    write(objects, bucket, &report, "setup", "125").await;
    125
}

fn blank(objects: &AttemptObjects) -> Report {
    let now = jiff::Timestamp::now();
    Report {
        version: VERSION,
        run: objects.run,
        attempt: objects.attempt,
        entrypoint: "0".to_owned(),
        outcome: Outcome::Exited,
        code: None,
        signal: None,
        problem: None,
        stdout: Captured {
            bytes: 2,
            inline: Some("x\n".into()),
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
    }
}

async fn write(
    objects: &AttemptObjects,
    bucket: &Bucket,
    report: &Report,
    outcome: &str,
    code: &str,
) {
    let mut object = new_object();
    let said = [("outcome", outcome), ("code", code)];
    object.metadata = said
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .into();
    let json = serde_json::to_vec(report).unwrap();
    let written = bucket
        .insert(&objects.report(), &object, Bytes::from(json))
        .await;
    written.unwrap();
}

/// Reads its start and claims; a task that goes no further leaves no report.
pub(crate) async fn begin(container: &Container) -> (AttemptObjects, Bucket) {
    let number = |name: &str| container.variable(name).unwrap().parse::<u32>().unwrap();
    let uri: StartUri = container.variable("SORTIE_RUN").unwrap().parse().unwrap();
    let bucket = bucket(container, &uri);
    let name = uri.run.start(uri.start);
    let (_, json) = bucket.read(&name, 64 << 20).await.unwrap();
    let start = Start::from_json(&json).unwrap();
    let (task, _) = start.find(number("CLOUD_RUN_TASK_INDEX")).unwrap();
    let attempt = Attempt {
        task,
        start: uri.start,
        retry: number("CLOUD_RUN_TASK_ATTEMPT"),
    };
    let key = format!("{:032x}", u128::from(task) + (u128::from(uri.start) << 64));
    let digest: Vec<String> = Sha256::digest(key.as_bytes())
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let digest = digest.concat();
    let said = Claim {
        version: VERSION,
        key_sha256: digest.clone(),
        entrypoint: "0".to_owned(),
        created_at: jiff::Timestamp::now(),
    };
    let mut object = new_object();
    object.metadata.insert(CLAIM_KEY.to_owned(), digest);
    let json = serde_json::to_vec(&said).unwrap();
    let claimed = bucket
        .insert(&claim(uri.run, attempt), &object, Bytes::from(json))
        .await;
    claimed.unwrap();
    let objects = AttemptObjects {
        run: uri.run,
        attempt,
        key,
    };
    (objects, bucket)
}

/// A document, where none may be.
pub(crate) fn new_object() -> NewObject {
    NewObject {
        content_type: "application/json",
        metadata: std::collections::BTreeMap::new(),
        custom_time: None,
        precondition: Precondition::Absent,
    }
}
