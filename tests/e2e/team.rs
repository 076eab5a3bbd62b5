//! A team's project: settings in its bucket, jobs that others have made.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use reqwest::Method;
use rustix::process::Signal;
use serde_json::{Value, json};
use wire::api::{Api, RetryConfig, http_client};
use wire::bucket::{Bucket, List, NewObject, Precondition};
use wire::token::{StaticToken, Token, Tokens};

use crate::harness::{Machine, Running, SORTIE, Typed, block_on};

const BUCKET: &str = "team-bucket";

/// `sortie emulator` plays the project `team`, and a job's container is a process.
pub(crate) struct Team {
    pub(crate) machine: Machine,
    emulator: Option<Running>,
    environment: BTreeMap<String, String>,
}

impl Team {
    pub(crate) fn new() -> Self {
        Self::started_by(|machine, words| machine.sortie(words))
    }

    /// Its emulator is typed so.
    pub(crate) fn started_by(typed: impl FnOnce(&Machine, &[&str]) -> Typed) -> Self {
        let machine = Machine::new();
        let words = [
            "emulator",
            "--state",
            "team",
            "--project",
            "team",
            "--region",
            "europe-west1",
            "--bucket",
            BUCKET,
            "--runner",
            SORTIE,
            "--runner",
            "container",
        ];
        let mut emulator = typed(&machine, &words).start();
        let mut environment = BTreeMap::new();
        while !environment.contains_key("CLOUDSDK_AUTH_ACCESS_TOKEN") {
            let line = emulator.line();
            let words = line.strip_prefix("export ").unwrap();
            let (name, value) = words.split_once('=').unwrap();
            environment.insert(name.to_owned(), value.trim_matches('\'').to_owned());
        }
        Self {
            machine,
            emulator: Some(emulator),
            environment,
        }
    }

    /// Where the servers are and a token, and nothing of what they hold.
    pub(crate) fn sortie(&self, words: &[&str]) -> Typed {
        let names = [
            "STORAGE_EMULATOR_HOST",
            "SORTIE_RUN_ENDPOINT",
            "SORTIE_EMULATOR_TOKEN",
        ];
        let typed = self.machine.sortie(words);
        names.into_iter().fold(typed, |typed, name| {
            typed.env(name, &self.environment[name])
        })
    }

    /// The process that `prlimit`, for one, has become.
    pub(crate) fn emulator_pid(&self) -> u32 {
        self.emulator.as_ref().unwrap().pid()
    }

    /// Where the emulator answers, and its owner's token.
    pub(crate) fn server(&self) -> (String, String) {
        let value = |name: &str| self.environment[name].clone();
        (value("SORTIE_RUN_ENDPOINT"), value("SORTIE_EMULATOR_TOKEN"))
    }

    pub(crate) fn api(&self) -> (Api, url::Url) {
        let endpoint = self.environment["SORTIE_RUN_ENDPOINT"].parse().unwrap();
        let token = Token::new(self.environment["SORTIE_EMULATOR_TOKEN"].as_str(), None);
        let tokens = Tokens::origin(&endpoint, Arc::new(StaticToken(token)));
        let api = Api::new(http_client().unwrap(), tokens, None, RetryConfig::default());
        (api, endpoint)
    }

    /// One call of the Cloud Run API.
    pub(crate) fn run_api(&self, method: Method, path: &str, body: Option<&Value>) -> Value {
        let (api, endpoint) = self.api();
        let url = format!("v2/projects/team/locations/europe-west1/{path}");
        let url = endpoint.join(&url).unwrap();
        block_on(api.json("cannot call", method, url, body, false)).unwrap()
    }

    fn bucket(&self) -> Bucket {
        let (api, endpoint) = self.api();
        Bucket::new(api, &endpoint, BUCKET)
    }

    /// The names in the bucket that begin so.
    pub(crate) fn objects(&self, prefix: &str) -> Vec<String> {
        let list = List {
            prefix,
            ..List::default()
        };
        let page = block_on(self.bucket().list(&list)).unwrap();
        page.objects.into_iter().map(|object| object.name).collect()
    }

    pub(crate) fn object(&self, name: &str) -> Bytes {
        block_on(self.bucket().read(name, 1 << 20)).unwrap().1
    }

    /// Writes over an object, as its owner may.
    pub(crate) fn replace(&self, name: &str, body: String) {
        let (object, _) = block_on(self.bucket().read(name, 1 << 20)).unwrap();
        let precondition = Precondition::Generation(object.generation);
        self.insert(name, precondition, body);
    }

    fn insert(&self, name: &str, precondition: Precondition, body: String) {
        let object = NewObject {
            content_type: "application/json",
            metadata: BTreeMap::new(),
            custom_time: None,
            precondition,
        };
        let body = Bytes::from(body);
        block_on(async { self.bucket().insert(name, &object, body).await.unwrap() });
    }

    fn leave_settings(&self, settings: &Value) {
        let name = wire::names::SETTINGS;
        self.insert(name, Precondition::Absent, settings.to_string());
    }
}

impl Drop for Team {
    fn drop(&mut self) {
        if let Some(emulator) = self.emulator.take() {
            emulator.signal(Signal::TERM);
            emulator.end();
        }
    }
}

fn settings() -> Value {
    json!({
        "format": 1, "project": "team", "region": "europe-west1", "bucket": BUCKET,
        "environments": { "default": {
            "job": "crew-default", "image": "pkg.test/base@sha256:00", "cpu": "1", "memory": "2Gi",
            "timeout_seconds": 600, "secrets": [],
        }},
    })
}

/// As the kit makes an environment's.
pub(crate) fn job() -> Value {
    json!({ "template": { "taskCount": 1, "template": {
        "serviceAccount": "crew-default@team.iam.gserviceaccount.com",
        "maxRetries": 0,
        "timeout": "600s",
        "containers": [{
            "name": "task",
            "image": "pkg.test/base@sha256:00",
            "env": [{ "name": "GREETING", "value": "hello" }],
            "resources": { "limits": { "cpu": "1", "memory": "2Gi" } },
        }],
    }}})
}

#[test]
fn a_team_mate_needs_the_buckets_name_and_no_more() {
    let team = Team::new();
    team.leave_settings(&settings());
    team.run_api(Method::POST, "jobs?jobId=crew-default", Some(&job()));
    let init = ["init", "gs://team-bucket/"];
    let done = team.sortie(&init).enter().code(0);
    done.says("sortie.toml` is written: project `team`, environments `default`")
        .says("next: sortie run");
    team.sortie(&["run", "--", "printenv", "GREETING"])
        .enter()
        .code(0)
        .prints("hello\n")
        .says("sortie.toml");
    team.sortie(&init).enter().code(0).says("says so already");
    team.machine.write("sortie.toml", "project = \"mine\"\n");
    team.sortie(&init).enter().code(125).says("--force");
    assert_eq!(team.machine.text("sortie.toml"), "project = \"mine\"\n");
    team.sortie(&["init", "--force", "team-bucket"])
        .enter()
        .code(0);
    assert!(
        team.machine
            .text("sortie.toml")
            .contains("job = \"crew-default\"")
    );
}

#[test]
fn settings_that_are_not_there_or_of_another_format_are_refused() {
    let team = Team::new();
    let init = ["init", "gs://team-bucket"];
    team.sortie(&init).enter().code(125).says("terraform apply");
    team.sortie(&["init", "gs://no-such-bucket"])
        .enter()
        .code(125)
        .says("gs://no-such-bucket");
    let mut newer = settings();
    newer["format"] = json!(2);
    team.leave_settings(&newer);
    team.sortie(&init).enter().code(125).says("its format is 2");
    assert!(!team.machine.path("sortie.toml").exists());
    team.sortie(&["init", "gs://"])
        .enter()
        .code(125)
        .says("is no bucket");
}

fn image(digit: &str) -> String {
    format!(
        "europe-west1-docker.pkg.dev/team/crew/app@sha256:{}",
        digit.repeat(64)
    )
}

impl Team {
    fn jobs(&self) -> Vec<String> {
        let listed = self.run_api(Method::GET, "jobs", None);
        let jobs = listed["jobs"].as_array().unwrap();
        let short = |job: &Value| {
            job["name"]
                .as_str()
                .unwrap()
                .rsplit_once('/')
                .unwrap()
                .1
                .to_owned()
        };
        jobs.iter().map(short).collect()
    }
}

#[test]
fn an_image_of_ones_own_makes_a_job_like_the_environments_once() {
    let team = Team::new();
    team.leave_settings(&settings());
    team.run_api(Method::POST, "jobs?jobId=crew-default", Some(&job()));
    team.sortie(&["init", "gs://team-bucket"]).enter().code(0);
    let app = image("1");
    let command = ["--", "sh", "-c", "echo $GREETING $CLOUD_RUN_JOB"];
    let run = |flags: &[&str]| {
        let words = [&["run", "-q"], flags, &command].concat();
        let done = team.sortie(&words).enter().code(0);
        let text = String::from_utf8(done.stdout).unwrap();
        let job = text.trim().strip_prefix("hello ").unwrap();
        job.to_owned()
    };
    let flags = ["--image", &app, "--cpu", "2", "--memory", "4Gi"];
    let dry = [&["run", "--dry-run", "--json"], &flags[..], &command].concat();
    let forecast = team.sortie(&dry).enter().code(0).lines();
    let forecast = forecast.last().unwrap();
    // A minute of 2 CPUs and 4 GiB.
    assert!(
        (forecast["least_cost"].as_f64().unwrap() - 0.00264).abs() < 1e-9,
        "{forecast}"
    );
    assert_eq!(team.jobs(), ["crew-default"], "nothing is made");
    let first = run(&flags);
    assert!(first.starts_with("sortie-adhoc-"), "{first}");
    assert_eq!(forecast["jobs"], json!([first]));
    assert_eq!(run(&flags), first, "the same is used again");
    let made = team.run_api(Method::GET, &format!("jobs/{first}"), None);
    let task = &made["template"]["template"];
    assert_eq!(
        task["serviceAccount"],
        "crew-default@team.iam.gserviceaccount.com"
    );
    let container = &task["containers"][0];
    assert_eq!(container["image"], app.as_str());
    assert_eq!(
        container["resources"]["limits"],
        json!({ "cpu": "2", "memory": "4Gi" })
    );
    assert!(made["labels"]["sortie-owner"].is_string(), "{made}");
    let other = run(&["--cpu", "2", "--memory", "2Gi"]);
    assert!(
        other.starts_with("sortie-adhoc-") && other != first,
        "{other}"
    );
    assert_eq!(
        run(&["--cpu", "1"]),
        "crew-default",
        "which has that already"
    );
    assert_eq!(team.jobs().len(), 3);
    let gone = ["gc", "--older-than", "0s"];
    team.sortie(&gone).enter().code(0);
    assert_eq!(team.jobs(), ["crew-default"]);
}

#[test]
fn what_cannot_be_is_refused_before_a_job_is_made() {
    let team = Team::new();
    team.leave_settings(&settings());
    team.run_api(Method::POST, "jobs?jobId=crew-default", Some(&job()));
    team.sortie(&["init", "gs://team-bucket"]).enter().code(0);
    let app = image("2");
    team.machine.write(
        "tasks.toml",
        "[[task]]\nname = \"a\"\nenvironment = \"default\"\ncommand = \"true\"\n",
    );
    for (flags, says) in [
        (&["--cpu", "8"][..], "4Gi to 32Gi"),
        (&["--cpu", "three"], "1, 2, 4, 6 or 8"),
        (&["--image", "python:3.13"], "HOST/python:3.13"),
        (&["--gpu"], "--cpu 4 --memory 16Gi"),
    ] {
        let words = [&["run"], flags, &["--", "true"]].concat();
        team.sortie(&words).enter().code(125).says(says);
    }
    assert_eq!(team.jobs(), ["crew-default"]);
    team.sortie(&["run", "--image", &app, "tasks.toml"])
        .enter()
        .code(125)
        .says("leave one of them out");
}
