//! One case's own world: a user's machine, a bucket, a job, a proxy before everything.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use wire::api::{Api, RetryConfig, http_client};
use wire::bucket::{Bucket, List};
use wire::contract::{Document, Start};
use wire::token::{StaticToken, Token, Tokens};

use crate::harness::{Done, Machine, SORTIE, Typed, signal};
use crate::proxy::{Proxy, Rule, Side};
use crate::server::{PROJECT, REGION, Server, TOKEN, runtime};

/// All waiting for servers is so many times shorter: a minute of silence is two seconds.
const HASTE: &str = "30";

/// Whatever takes so long hangs.
const PATIENCE: Duration = Duration::from_mins(3);

/// Whom sortie talks to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    Straight,
    Proxied,
}

pub(crate) struct Stage<'a> {
    pub(crate) server: &'a Server,
    pub(crate) machine: Machine,
    pub(crate) proxy: Proxy,
    pub(crate) bucket: String,
    pub(crate) job: String,
    host: String,
}

impl<'a> Stage<'a> {
    pub(crate) fn set(server: &'a Server, rules: Vec<Rule>) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let proxy = Proxy::new(rules);
        let before = |server: &str, side| runtime().block_on(proxy.stand_before(server, side));
        let host = before(&server.address, Side::Host);
        let storage = before(&server.address, Side::Task);
        let metadata = before(&server.metadata, Side::Metadata);
        let machine = Machine::new();
        let (bucket, job) = (format!("bucket-{number}"), format!("job-{number}"));
        server.make_bucket(&bucket);
        let script = format!(
            "export STORAGE_EMULATOR_HOST=http://{storage} GCE_METADATA_HOST={metadata} SORTIE_HASTE={HASTE} \
             PATH={}:$PATH SORTIE_WORKSPACE=$(mktemp -d {}/task.XXXXXX); exec {SORTIE} entrypoint",
            machine.work().display(),
            machine.home().display()
        );
        let command = ["/bin/sh", "-c", &script].map(str::to_owned);
        for job in [&job, &straight(&job)] {
            server.make_job(job, &command);
        }
        Self {
            server,
            machine,
            proxy,
            bucket,
            job,
            host,
        }
    }

    /// `sortie`, in this project.
    pub(crate) fn typed(&self, way: Way, words: &[&str]) -> Typed {
        let (at, job) = match way {
            Way::Straight => (&self.server.address, straight(&self.job)),
            Way::Proxied => (&self.host, self.job.clone()),
        };
        let endpoint = format!("http://{at}");
        self.machine
            .sortie(words)
            // What is one user's is no other case's.
            .env("USER", &self.job)
            .env("SORTIE_PROJECT", PROJECT)
            .env("SORTIE_REGION", REGION)
            .env("SORTIE_BUCKET", &self.bucket)
            .env("SORTIE_JOB", job)
            .env("SORTIE_RUN_ENDPOINT", &endpoint)
            .env("STORAGE_EMULATOR_HOST", &endpoint)
            .env("SORTIE_EMULATOR_TOKEN", TOKEN)
            .env("SORTIE_HASTE", HASTE)
    }

    /// To its end, or what has hung is killed.
    pub(crate) fn enter(&self, way: Way, words: &[&str]) -> Done {
        let running = self.typed(way, words).start();
        let watched = Watched::new(running.pid());
        let done = running.end();
        drop(watched);
        done
    }

    pub(crate) fn mark(&self) -> String {
        self.machine.path("mark").display().to_string()
    }

    /// How often the command has run.
    pub(crate) fn ran(&self) -> usize {
        let mark = std::fs::read_to_string(self.mark()).unwrap_or_default();
        mark.lines().count()
    }

    /// What was started with this bucket's starts, `before` the case or in it.
    pub(crate) fn started(&self, before: bool) -> Vec<String> {
        let begin = format!("gs://{}/", self.bucket);
        let earlier = straight(&self.job);
        let mut jobs = self.used_jobs();
        jobs.retain(|job| (*job == earlier) == before);
        let all = jobs.iter().flat_map(|job| self.server.executions(job));
        all.filter(|run| run.starts_with(&begin)).collect()
    }

    /// The jobs that the bucket's starts name.
    pub(crate) fn used_jobs(&self) -> Vec<String> {
        let mut names = self.names("runs/");
        names.retain(|name| name.contains("/starts/"));
        let bucket = self.bucket();
        let job = |name: &String| {
            let read = runtime().block_on(bucket.read(name, 1 << 20));
            Start::from_json(&read.unwrap().1).unwrap().job
        };
        let jobs: BTreeSet<String> = names.iter().map(job).collect();
        jobs.into_iter().collect()
    }

    /// The bucket, past the proxy.
    pub(crate) fn bucket(&self) -> Bucket {
        let endpoint = format!("http://{}", self.server.address);
        let endpoint = endpoint.parse().unwrap();
        let source = Arc::new(StaticToken(Token::new(TOKEN, None)));
        let tokens = Tokens::origin(&endpoint, source);
        let api = Api::new(http_client().unwrap(), tokens, None, RetryConfig::default());
        Bucket::new(api, &endpoint, &self.bucket)
    }

    /// The names of what the bucket holds.
    pub(crate) fn names(&self, prefix: &str) -> Vec<String> {
        let list = List {
            prefix,
            ..List::default()
        };
        let page = runtime().block_on(async { self.bucket().list(&list).await.unwrap() });
        page.objects.into_iter().map(|object| object.name).collect()
    }
}

/// The same job for what comes before the case.
fn straight(job: &str) -> String {
    format!("{job}-before")
}

/// Kills a process that hangs.
pub(crate) struct Watched(Arc<AtomicBool>);

impl Watched {
    pub(crate) fn new(pid: u32) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let (ended, begun) = (over.clone(), Instant::now());
        std::thread::spawn(move || {
            while !ended.load(Ordering::SeqCst) {
                if begun.elapsed() > PATIENCE {
                    signal(pid, rustix::process::Signal::KILL);
                    return;
                }
                std::thread::sleep(Duration::from_millis(200));
            }
        });
        Self(over)
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}
