//! The one emulator that all cases share, in this process.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use emulator::{Account, Config, Emulator, Grant, Options, Permission};
use serde_json::{Value, json};
use tokio::runtime::Runtime;

pub(crate) const TOKEN: &str = "the-owner's";
pub(crate) const PROJECT: &str = "a-project";
pub(crate) const REGION: &str = "us-central1";
/// What Claude Code is known by.
const SECRET: &str = "ANTHROPIC_API_KEY";
const ACCOUNT: &str = "task@a-project.iam.gserviceaccount.com";

/// Where proxies and the emulator live.
pub(crate) fn runtime() -> &'static Runtime {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| {
        tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap()
    })
}

/// The emulator; served until the process ends.
pub(crate) struct Server {
    /// `host:port`.
    pub(crate) address: String,
    /// Likewise, of the metadata server.
    pub(crate) metadata: String,
    state: PathBuf,
}

impl Server {
    pub(crate) fn start(directory: &Path) -> Self {
        let state = directory.join("state");
        let config = config(&state);
        let options = Options {
            concurrency: 64,
            ..Options::default()
        };
        let emulator = runtime()
            .block_on(Emulator::start_with(config, options))
            .unwrap();
        let (address, metadata) = (emulator.address(), emulator.metadata_address());
        runtime().spawn(emulator.serve(std::future::pending()));
        let server = Self {
            address: address.to_string(),
            metadata: metadata.to_string(),
            state,
        };
        server.make_secret();
        server
    }

    fn make_secret(&self) {
        let base = format!("http://{}/v1/projects/{PROJECT}/secrets", self.address);
        Self::ask(format!("{base}?secretId={SECRET}"), Some(&json!({})));
        let version = json!({ "payload": { "data": "YS1rZXk=" } });
        Self::ask(format!("{base}/{SECRET}:addVersion"), Some(&version));
    }

    pub(crate) fn make_bucket(&self, name: &str) {
        let url = format!("http://{}/storage/v1/b?project={PROJECT}", self.address);
        Self::ask(url, Some(&json!({ "name": name })));
    }

    /// A job whose container is this command.
    pub(crate) fn make_job(&self, job: &str, command: &[String]) {
        let definition = json!({ "template": { "template": {
            "maxRetries": 0,
            "timeout": "600s",
            "serviceAccount": ACCOUNT,
            "containers": [{
                "image": "an/image",
                "command": command,
                "env": [{ "name": SECRET, "valueSource": { "secretKeyRef": { "secret": SECRET, "version": "latest" } } }],
                "resources": { "limits": { "cpu": "2", "memory": "4Gi" } },
            }],
        }}});
        self.cloud_run(&format!("/jobs?jobId={job}"), Some(&definition));
    }

    pub(crate) fn has_job(&self, job: &str) -> bool {
        let path = format!("/v2/projects/{PROJECT}/locations/{REGION}/jobs/{job}");
        let url = format!("http://{}{path}", self.address);
        runtime().block_on(async {
            let http = wire::api::http_client().unwrap();
            let answer = http.get(url).bearer_auth(TOKEN).send().await.unwrap();
            answer.status() == 200
        })
    }

    /// The environments of all executions of a job, `-` of all.
    pub(crate) fn executions(&self, job: &str) -> Vec<String> {
        let mut found = Vec::new();
        let mut page = String::new();
        loop {
            let path = format!("/jobs/{job}/executions?pageSize=100&pageToken={page}");
            let list = self.cloud_run(&path, None);
            let executions = list["executions"].as_array().cloned().unwrap_or_default();
            for execution in executions {
                let env = &execution["template"]["containers"][0]["env"];
                let env = env.as_array().cloned().unwrap_or_default();
                let mut runs = env.iter().filter(|one| one["name"] == "SORTIE_RUN");
                let run = runs.next().and_then(|one| one["value"].as_str());
                found.push(run.unwrap_or_default().to_owned());
            }
            match list["nextPageToken"].as_str() {
                Some(next) if !next.is_empty() => next.clone_into(&mut page),
                _ => return found,
            }
        }
    }

    fn cloud_run(&self, path: &str, body: Option<&Value>) -> Value {
        let base = format!("/v2/projects/{PROJECT}/locations/{REGION}{path}");
        Self::ask(format!("http://{}{base}", self.address), body)
    }

    fn ask(url: String, body: Option<&Value>) -> Value {
        runtime().block_on(async {
            let http = wire::api::http_client().unwrap();
            let request = match body {
                Some(body) => http.post(url).json(body),
                None => http.get(url),
            };
            let answer = request.bearer_auth(TOKEN).send().await.unwrap();
            assert_eq!(answer.status(), 200);
            answer.json().await.unwrap()
        })
    }

    /// What entrypoints have said that ended in a panic.
    pub(crate) fn panics(&self) -> Vec<String> {
        let logs = walkdir::WalkDir::new(self.state.join("logs"));
        let files = logs.into_iter().filter_map(Result::ok);
        let texts = files.filter_map(|file| std::fs::read(file.path()).ok());
        let texts = texts.map(|text| String::from_utf8_lossy(&text).into_owned());
        texts.filter(|text| text.contains("panicked")).collect()
    }
}

fn config(state: &Path) -> Config {
    let grant = |permission, prefix: &str| Grant {
        permission,
        prefix: prefix.to_owned(),
    };
    Config {
        state: state.to_owned(),
        listen: ([127, 0, 0, 1], 0).into(),
        project: PROJECT.to_owned(),
        region: REGION.to_owned(),
        runner: Vec::new(),
        owner_token: TOKEN.to_owned(),
        anonymous_storage: false,
        container_account: Account {
            email: ACCOUNT.to_owned(),
            grants: vec![
                grant(Permission::Get, "inputs/"),
                grant(Permission::Get, "runs/"),
                grant(Permission::Create, "runs/"),
            ],
        },
        idle_exit: None,
    }
}
