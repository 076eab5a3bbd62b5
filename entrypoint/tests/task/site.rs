//! An emulator with one bucket, and the owner's hand in it.

use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use emulator::{Account, Config, Emulator, Grant, Permission};
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tokio::sync::oneshot;
use url::Url;
use wire::api::{Api, RetryConfig, http_client};
use wire::bucket::{Bucket, List, NewObject, Precondition};
use wire::contract::{Input, InputKind, Pack, Spec, SpecSource, Start, TaskRange, VERSION};
use wire::names::{self, RunId};
use wire::token::{StaticToken, Token, Tokens};

const OWNER: &str = "owner-token-of-this-test";
pub(crate) const BUCKET: &str = "bucket-of-this-test";

/// One emulator, gone with this value.
pub(crate) struct Site {
    runtime: Runtime,
    pub(crate) bucket: Bucket,
    pub(crate) storage: String,
    pub(crate) metadata: String,
    shutdown: Option<oneshot::Sender<()>>,
    _state: TempDir,
}

impl Site {
    pub(crate) fn start() -> Self {
        let state = tempfile::tempdir().unwrap();
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let (shutdown, stop) = oneshot::channel::<()>();
        let emulator = runtime
            .block_on(Emulator::start(config(state.path())))
            .unwrap();
        runtime.block_on(emulator.ensure_bucket(BUCKET)).unwrap();
        let storage = emulator.address().to_string();
        let metadata = emulator.metadata_address().to_string();
        runtime.spawn(emulator.serve(async {
            let _ = stop.await;
        }));
        let endpoint = Url::parse(&format!("http://{storage}")).unwrap();
        let tokens = Tokens::origin(
            &endpoint,
            std::sync::Arc::new(StaticToken(Token::new(OWNER, None))),
        );
        let api = Api::new(http_client().unwrap(), tokens, None, RetryConfig::default());
        let bucket = Bucket::new(api, &endpoint, BUCKET);
        Self {
            runtime,
            bucket,
            storage,
            metadata,
            shutdown: Some(shutdown),
            _state: state,
        }
    }

    pub(crate) fn wait<T>(&self, future: impl Future<Output = T>) -> T {
        self.runtime.block_on(future)
    }

    /// Puts an object where none may be.
    pub(crate) fn put(&self, name: &str, body: impl Into<Bytes>) {
        let object = NewObject {
            content_type: "application/octet-stream",
            metadata: std::collections::BTreeMap::new(),
            custom_time: None,
            precondition: Precondition::Absent,
        };
        self.wait(self.bucket.insert(name, &object, body.into()))
            .unwrap();
    }

    pub(crate) fn get(&self, name: &str) -> Bytes {
        self.wait(self.bucket.read(name, u64::MAX)).unwrap().1
    }

    pub(crate) fn list(&self, prefix: &str) -> Vec<String> {
        let list = List {
            prefix,
            ..List::default()
        };
        let page = self.wait(self.bucket.list(&list)).unwrap();
        assert!(page.next.is_none(), "more than one page");
        page.objects.into_iter().map(|object| object.name).collect()
    }

    /// Starts a run of this one spec.
    pub(crate) fn run(&self, spec: Spec) -> RunId {
        let run = RunId::new();
        self.start_run(run, SpecSource::Inline(Box::new(spec)));
        run
    }

    pub(crate) fn start_run(&self, run: RunId, spec: SpecSource) {
        let start = Start {
            version: VERSION,
            run,
            start: 0,
            tasks: vec![TaskRange {
                index: 0,
                task: 0,
                count: 1,
                spec: 0,
                step: 0,
            }],
            job: "job".to_owned(),
            timeout_s: None,
            by: String::new(),
            specs: vec![spec],
        };
        self.put(&run.start(0), serde_json::to_vec(&start).unwrap());
    }

    /// Packs and uploads an input as the host does.
    pub(crate) fn input(&self, name: &str, root: &Path) -> Input {
        let tree = archive::Tree::scan(name.as_bytes(), root).unwrap();
        let plans = tree.packs();
        let packs = plans.iter().map(|plan| {
            let mut tar = Vec::new();
            let digest = plan.write_tar(&mut tar).unwrap();
            self.put(&names::pack(&digest.md5), gzip(&tar));
            Pack {
                md5: digest.md5,
                sha256: digest.sha256,
                size: digest.size,
            }
        });
        Input {
            name: name.into(),
            kind: if root.is_dir() {
                InputKind::Directory
            } else {
                InputKind::File
            },
            packs: packs.collect(),
        }
    }
}

pub(crate) fn gzip(tar: &[u8]) -> Vec<u8> {
    let mut writer = archive::PackWriter::new(Vec::new());
    std::io::Write::write_all(&mut writer, tar).unwrap();
    writer.finish().unwrap()
}

fn config(state: &Path) -> Config {
    let grant = |permission, prefix: &str| Grant {
        permission,
        prefix: prefix.to_owned(),
    };
    Config {
        state: state.to_owned(),
        listen: "127.0.0.1:0".parse().unwrap(),
        project: "test-project".to_owned(),
        region: "us-central1".to_owned(),
        runner: Vec::new(),
        owner_token: OWNER.to_owned(),
        anonymous_storage: false,
        container_account: Account {
            email: "container@test-project.iam.gserviceaccount.com".to_owned(),
            grants: vec![
                grant(Permission::Get, "inputs/"),
                grant(Permission::Get, "runs/"),
                grant(Permission::Create, "runs/"),
            ],
        },
        idle_exit: None,
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        if let Some(shutdown) = self.shutdown.take() {
            let _ = shutdown.send(());
        }
        // Nothing runs in it, so there is nothing to wait for.
        std::thread::sleep(Duration::ZERO);
    }
}
