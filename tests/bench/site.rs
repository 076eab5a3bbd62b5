//! The emulator, and inputs in its bucket as `sortie run` puts them there.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use emulator::{Account, Config, Emulator, Grant, Permission};
use tokio::runtime::Runtime;
use url::Url;
use wire::api::{Api, RetryConfig, http_client};
use wire::bucket::{Bucket, NewObject, Precondition};
use wire::contract::{Input, InputKind, Pack, Spec, SpecSource, Start, TaskRange, VERSION};
use wire::names::{self, RunId};
use wire::token::{StaticToken, Token, Tokens};

pub(crate) const OWNER: &str = "the-owner's";
pub(crate) const BUCKET: &str = "a-bucket";

/// Gone with this value, and all that it holds.
pub(crate) struct Site {
    runtime: Runtime,
    bucket: Bucket,
    pub(crate) storage: String,
    pub(crate) metadata: String,
}

impl Site {
    /// Serves in a directory.
    pub(crate) fn start(state: &Path) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        let emulator = runtime.block_on(Emulator::start(config(state))).unwrap();
        runtime.block_on(emulator.ensure_bucket(BUCKET)).unwrap();
        let storage = emulator.address().to_string();
        let metadata = emulator.metadata_address().to_string();
        runtime.spawn(emulator.serve(std::future::pending()));
        let endpoint = Url::parse(&format!("http://{storage}")).unwrap();
        let owner = Arc::new(StaticToken(Token::new(OWNER, None)));
        let tokens = Tokens::origin(&endpoint, owner);
        let api = Api::new(http_client().unwrap(), tokens, None, RetryConfig::default());
        Self {
            runtime,
            bucket: Bucket::new(api, &endpoint, BUCKET),
            storage,
            metadata,
        }
    }

    pub(crate) fn put(&self, name: &str, body: impl Into<Bytes>) {
        let object = NewObject {
            content_type: "application/octet-stream",
            metadata: BTreeMap::new(),
            custom_time: None,
            precondition: Precondition::Absent,
        };
        let made = self.bucket.insert(name, &object, body.into());
        self.runtime.block_on(made).unwrap();
    }

    pub(crate) fn input(&self, name: &str, root: &Path) -> Input {
        let tree = archive::Tree::scan(name.as_bytes(), root).unwrap();
        let plans = tree.packs();
        let packs = plans.iter().map(|plan| {
            let mut tar = Vec::new();
            let digest = plan.write_tar(&mut tar).unwrap();
            let mut writer = archive::PackWriter::new(Vec::new());
            writer.write_all(&tar).unwrap();
            self.put(&names::pack(&digest.md5), writer.finish().unwrap());
            Pack {
                md5: digest.md5,
                sha256: digest.sha256,
                size: digest.size,
            }
        });
        Input {
            name: name.into(),
            kind: InputKind::Directory,
            packs: packs.collect(),
        }
    }

    /// Begins a run of one task, and says what its entrypoint's `SORTIE_RUN` is.
    pub(crate) fn start_of(&self, spec: Spec) -> String {
        let run = RunId::new();
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
            specs: vec![SpecSource::Inline(Box::new(spec))],
        };
        self.put(&run.start(0), serde_json::to_vec(&start).unwrap());
        format!("gs://{BUCKET}/{}", run.start(0))
    }
}

fn config(state: &Path) -> Config {
    let grant = |permission, prefix: &str| Grant {
        permission,
        prefix: prefix.to_owned(),
    };
    Config {
        state: state.to_owned(),
        listen: "127.0.0.1:0".parse().unwrap(),
        project: "a-project".to_owned(),
        region: "us-central1".to_owned(),
        runner: Vec::new(),
        owner_token: OWNER.to_owned(),
        // For the rivals, who have no token.
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
