//! An emulator of one's own, and a client to talk to it.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use emulator::{Account, Config, Containers, Emulator, Error, Grant, Options, Permission};
use reqwest::{Method, RequestBuilder, Response, StatusCode};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

pub(crate) const OWNER: &str = "owner-token-for-tests";
pub(crate) const BUCKET: &str = "goog-tests";

/// A configuration with an account that may get all and create below `out/`.
pub(crate) fn config(state: &Path) -> Config {
    let grant = |permission, prefix: &str| Grant {
        permission,
        prefix: prefix.into(),
    };
    Config {
        state: state.into(),
        listen: SocketAddr::from(([127, 0, 0, 1], 0)),
        project: "tests".into(),
        region: "us-central1".into(),
        runner: Vec::new(),
        owner_token: OWNER.into(),
        anonymous_storage: false,
        container_account: Account {
            email: "runner@tests.iam.gserviceaccount.com".into(),
            grants: vec![
                grant(Permission::Get, ""),
                grant(Permission::Create, "out/"),
            ],
        },
        idle_exit: None,
    }
}

/// A running emulator.
pub(crate) struct Server {
    pub(crate) base: String,
    pub(crate) metadata: String,
    pub(crate) client: reqwest::Client,
    stop: oneshot::Sender<()>,
    served: JoinHandle<Result<(), Error>>,
    pub(crate) state: TempDir,
}

impl Server {
    pub(crate) async fn start() -> Self {
        Self::start_with(|_| {}).await
    }

    /// With containers started by a runner: these words, then what the emulator adds.
    pub(crate) async fn with_runner(words: &[&str]) -> Self {
        let runner = words.iter().map(OsString::from).collect();
        Self::start_with(|config| config.runner = runner).await
    }

    pub(crate) async fn start_with(change: impl FnOnce(&mut Config)) -> Self {
        let state = TempDir::new().unwrap();
        Self::on(state, change).await
    }

    pub(crate) async fn with_options(options: Options) -> Self {
        Self::on_with(TempDir::new().unwrap(), options).await
    }

    /// On state that may be there already.
    pub(crate) async fn on_with(state: TempDir, options: Options) -> Self {
        let config = config(state.path());
        Self::serving(state, Emulator::start_with(config, options).await.unwrap()).await
    }

    /// With containers that are futures here, of which at most so many run at once.
    pub(crate) async fn with_containers(
        concurrency: usize,
        containers: impl Containers + 'static,
    ) -> Self {
        Self::with_options(Options {
            concurrency,
            containers: Some(Arc::new(containers)),
            ..Options::default()
        })
        .await
    }

    /// On state that may be there already.
    pub(crate) async fn on(state: TempDir, change: impl FnOnce(&mut Config)) -> Self {
        let mut config = config(state.path());
        change(&mut config);
        Self::serving(state, Emulator::start(config).await.unwrap()).await
    }

    async fn serving(state: TempDir, emulator: Emulator) -> Self {
        emulator.ensure_bucket(BUCKET).await.unwrap();
        let base = format!("http://{}", emulator.address());
        let metadata = format!("http://{}", emulator.metadata_address());
        let (stop, stopped) = oneshot::channel();
        let served = tokio::spawn(emulator.serve(async {
            let _ = stopped.await;
        }));
        let client = client();
        Self {
            base,
            metadata,
            client,
            stop,
            served,
            state,
        }
    }

    /// Ends the emulator, and gives back its state.
    pub(crate) async fn stop(self) -> TempDir {
        let _ = self.stop.send(());
        self.served.await.unwrap().unwrap();
        self.state
    }

    /// A request of the owner's.
    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.client
            .request(method, format!("{}{path}", self.base))
            .bearer_auth(OWNER)
    }

    pub(crate) fn get(&self, path: &str) -> RequestBuilder {
        self.request(Method::GET, path)
    }

    pub(crate) fn post(&self, path: &str) -> RequestBuilder {
        self.request(Method::POST, path)
    }

    /// The token of the metadata server.
    pub(crate) async fn container_token(&self) -> String {
        let url = format!(
            "{}/computeMetadata/v1/instance/service-accounts/default/token",
            self.metadata
        );
        let token = json_of(self.client.get(url).header("Metadata-Flavor", "Google")).await;
        token["access_token"].as_str().unwrap().to_owned()
    }

    /// Stores an object by `uploadType=media`.
    pub(crate) async fn put(&self, name: &str, content: impl Into<reqwest::Body>) -> Value {
        let path = format!(
            "/upload/storage/v1/b/{BUCKET}/o?uploadType=media&name={}",
            escape(name)
        );
        json_of(self.post(&path).body(content)).await
    }

    /// Makes a job of one container.
    pub(crate) async fn create_job(&self, id: &str, container: Value) {
        let container = merged(json!({"image": "example.test/image:1"}), container);
        self.create_job_with(
            id,
            json!({"template": {"template": {"maxRetries": 0, "containers": [container]}}}),
        )
        .await;
    }

    pub(crate) async fn create_job_with(&self, id: &str, job: Value) {
        let operation = json_of(self.post(&format!("{JOBS}?jobId={id}")).json(&job)).await;
        assert_eq!(operation["done"], true, "{operation}");
    }

    /// Starts a job, and returns the operation and the execution's path.
    pub(crate) async fn run(&self, job: &str, request: Value) -> (Value, String) {
        let operation = json_of(self.post(&format!("{JOBS}/{job}:run")).json(&request)).await;
        let execution = format!("/v2/{}", operation["metadata"]["name"].as_str().unwrap());
        (operation, execution)
    }

    /// Waits for an operation's end.
    pub(crate) async fn wait(&self, operation: &Value) -> Value {
        let path = format!("/v2/{}:wait", operation["name"].as_str().unwrap());
        loop {
            let now = json_of(self.post(&path).json(&json!({"timeout": "30s"}))).await;
            if now["done"] == true {
                return now;
            }
        }
    }

    /// Runs a job to its end, and returns its execution.
    pub(crate) async fn run_to_end(&self, job: &str, request: Value) -> Value {
        let (operation, execution) = self.run(job, request).await;
        self.wait(&operation).await;
        json_of(self.get(&execution)).await
    }

    /// What an attempt of an execution's task wrote.
    pub(crate) fn log(&self, execution: &Value, task: usize, attempt: usize) -> String {
        std::fs::read_to_string(self.log_path(execution, task, attempt)).unwrap()
    }

    /// Where it writes that.
    pub(crate) fn log_path(&self, execution: &Value, task: usize, attempt: usize) -> PathBuf {
        let name = execution["name"].as_str().unwrap();
        let logs = self.state.path().join("logs");
        logs.join(name.rsplit('/').next().unwrap())
            .join(format!("{task}.{attempt}.log"))
    }
}

/// Follows nothing: an unfinished upload's 308 is not a redirect.
fn client() -> reqwest::Client {
    // Whoever was first has set it, and set the same.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let builder = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none());
    builder.tls_certs_only([]).build().unwrap()
}

pub(crate) const JOBS: &str = "/v2/projects/tests/locations/us-central1/jobs";

/// The path of an object's resource.
pub(crate) fn object(name: &str) -> String {
    format!("/storage/v1/b/{BUCKET}/o/{}", escape(name))
}

pub(crate) fn merged(mut base: Value, over: Value) -> Value {
    for (key, value) in over.as_object().unwrap() {
        base[key] = value.clone();
    }
    base
}

pub(crate) fn escape(name: &str) -> String {
    name.bytes()
        .map(|byte| {
            if byte.is_ascii_alphanumeric() {
                char::from(byte).to_string()
            } else {
                format!("%{byte:02X}")
            }
        })
        .collect()
}

/// Sends, and insists on success.
pub(crate) async fn ok(request: RequestBuilder) -> Response {
    let response = request.send().await.unwrap();
    let status = response.status();
    if status.is_success() {
        return response;
    }
    panic!("{status}: {}", response.text().await.unwrap());
}

pub(crate) async fn json_of(request: RequestBuilder) -> Value {
    ok(request).await.json().await.unwrap()
}

/// Sends, insists on this error, and returns its body.
pub(crate) async fn refused(request: RequestBuilder, code: u16) -> Value {
    let response = request.send().await.unwrap();
    assert_eq!(response.status(), StatusCode::from_u16(code).unwrap());
    let text = response.text().await.unwrap();
    let body: Value = serde_json::from_str(&text).unwrap_or(Value::String(text));
    if body.is_object() {
        assert_eq!(body["error"]["code"], code, "{body}");
    }
    body
}

/// Looks again and again until there is something to see. Ends only a broken test.
pub(crate) async fn eventually<T>(mut look: impl AsyncFnMut() -> Option<T>) -> T {
    for _ in 0..1200 {
        if let Some(seen) = look().await {
            return seen;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("it never came to be");
}
