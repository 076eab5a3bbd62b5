//! `sortie doctor`: the real binary against a set-up that is right, and the same with one thing wrong.

mod image;
mod machine;
mod whose;

use std::collections::BTreeMap;

use reqwest::Method;
use serde_json::{Value, json};

use crate::credentials::Cloud;
use crate::google::{Google, revoked};
use crate::harness::{Done, Typed, block_on};
use crate::team::job;

/// The findings of `--json`, by their check.
fn findings(done: &Done) -> BTreeMap<String, (String, String, String)> {
    let [line] = done.lines().try_into().unwrap();
    assert_eq!(
        (&line["event"], &line["version"]),
        (&json!("doctor"), &json!(1))
    );
    assert_eq!(line["exit_code"], done.code.unwrap());
    let all = line["findings"].as_array().unwrap();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let all: BTreeMap<_, _> = all
        .iter()
        .map(|f| {
            let rest = (text(&f["status"]), text(&f["says"]), text(&f["hint"]));
            (text(&f["check"]), rest)
        })
        .collect();
    let count = |status: &str| all.values().filter(|(s, ..)| s == status).count();
    assert_eq!(line["failures"], count("failure"));
    assert_eq!(line["warnings"], count("warning"));
    // Whoever is told that something is wrong is told what to type.
    for (check, (status, says, hint)) in &all {
        let wrong = status == "failure" || status == "warning";
        assert!(!wrong || !hint.is_empty(), "{check}: {says}");
    }
    all
}

/// A project with nothing wrong with it.
struct Healthy {
    cloud: Cloud,
}

impl Healthy {
    fn new() -> Self {
        let cloud = Cloud::new();
        Google::login(cloud.machine());
        let healthy = Self { cloud };
        healthy.call(
            Method::PATCH,
            "storage/v1/b/team-bucket",
            &json!({
                "lifecycle": {"rule": [
                    {"action": {"type": "Delete"}, "condition": {"matchesPrefix": ["inputs/"], "daysSinceCustomTime": 14}},
                    {"action": {"type": "Delete"}, "condition": {"matchesPrefix": ["runs/"], "age": 30}},
                ]},
                "iamConfiguration": {"publicAccessPrevention": "enforced", "uniformBucketLevelAccess": {"enabled": true}},
            }),
        );
        let services = json!({"serviceIds": ["storage.googleapis.com", "run.googleapis.com", "secretmanager.googleapis.com"]});
        healthy.call(
            Method::POST,
            "su/v1/projects/team/services:batchEnable",
            &services,
        );
        healthy
    }

    fn call(&self, method: Method, path: &str, body: &Value) -> Value {
        let (api, endpoint) = self.cloud.team.api();
        let url = endpoint.join(path).unwrap();
        block_on(api.json("cannot call", method, url, Some(body), true)).unwrap()
    }

    fn typed(&self, words: &[&str]) -> Typed {
        // The project that pays must be one that the emulator knows.
        let typed = self.cloud.sortie(&[&["doctor"], words].concat());
        typed.env("GOOGLE_CLOUD_QUOTA_PROJECT", "team")
    }

    fn examine(&self) -> Done {
        self.typed(&["--json"]).enter()
    }

    /// What is found of one thing.
    fn found(&self, check: &str) -> (Option<i32>, String, String, String) {
        let done = self.examine();
        let all = findings(&done);
        let (status, says, hint) = all
            .get(check)
            .unwrap_or_else(|| panic!("no `{check}` in {all:?}"))
            .clone();
        (done.code, status, says, hint)
    }

    /// It is wrong, and that is told with this.
    #[track_caller]
    fn fails(&self, check: &str, words: &str, typed: &str) {
        let (code, status, says, hint) = self.found(check);
        assert_eq!((code, status.as_str()), (Some(1), "failure"), "{says}");
        assert!(says.contains(words), "{says}");
        assert!(hint.contains(typed), "{hint}");
    }

    /// It is not as it should be, and runs work all the same.
    #[track_caller]
    fn warns(&self, check: &str, words: &str, typed: &str) {
        let (code, status, says, hint) = self.found(check);
        assert_eq!((code, status.as_str()), (Some(0), "warning"), "{says}");
        assert!(says.contains(words), "{says}");
        assert!(hint.contains(typed), "{hint}");
    }

    fn change_job(&self, change: impl FnOnce(&mut Value)) {
        let mut changed = job();
        change(&mut changed["template"]["template"]);
        let team = &self.cloud.team;
        team.run_api(Method::PATCH, "jobs/crew-default", Some(&changed));
    }

    fn change_bucket(&self, patch: &Value) {
        self.call(Method::PATCH, "storage/v1/b/team-bucket", patch);
    }
}

/// What there is to look at in a project.
const CHECKS: &[&str] = &[
    "program",
    "settings",
    "environments",
    "data directory",
    "disk",
    "emulator",
    "credentials",
    "network",
    "clock",
    "apis",
    "quota project",
    "bucket",
    "bucket.inputs",
    "bucket.runs",
    "bucket.soft-delete",
    "bucket.public-access",
    "bucket.uniform-access",
    "bucket.rights",
    "job.default",
    "job.default.rights",
    "quota",
];

#[test]
fn a_healthy_project_is_well_and_nothing_in_it_is_changed() {
    let healthy = Healthy::new();
    let all = findings(&healthy.examine().code(0));
    for &check in CHECKS {
        assert_eq!(all[check].0, "ok", "{check}: {:?}", all.get(check));
    }
    assert!(all["settings"].1.contains("sortie.toml`: project `team`"));
    assert!(
        all["credentials"]
            .1
            .starts_with("the login of `a@b.test`, saved in `")
    );
    assert!(all["job.default"].1.contains("crew-default@team.iam"));
    assert_eq!(all["entrypoint"].0, "unknown");
    for seen in &healthy.cloud.google.mood().seen {
        let method = seen.line.split(' ').next().unwrap();
        let asks = seen.line.contains("ermissions") || seen.host == "oauth2.googleapis.com";
        assert!(method == "GET" || asks, "{}", seen.line);
    }
    // After a run, its report tells which entrypoint the image has.
    healthy
        .cloud
        .sortie(&["run", "-q", "--", "/bin/true"])
        .enter()
        .code(0);
    let all = findings(&healthy.examine().code(0));
    assert!(all["entrypoint"].1.contains("as sortie"), "{all:?}");
    let done = healthy.typed(&[]).enter().code(0);
    let text = String::from_utf8(done.stdout).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    assert!(lines[0].starts_with("ok       program "), "{text}");
    let at = |word: &str| {
        lines
            .iter()
            .position(|line| line.split_whitespace().nth(1) == Some(word))
    };
    assert!(
        at("settings") < at("credentials") && at("credentials") < at("bucket"),
        "{text}"
    );
    assert!(at("bucket.rights") < at("job.default"), "{text}");
    assert!(done.stderr.is_empty());
}

#[test]
fn what_is_wrong_with_the_bucket_is_told() {
    let healthy = Healthy::new();
    let rule = |condition: Value| json!({"action": {"type": "Delete"}, "condition": condition});
    healthy.change_bucket(&json!({"lifecycle": {"rule": [rule(json!({"age": 30}))]}}));
    healthy.fails(
        "bucket.inputs",
        "by their age",
        "terraform -chdir=terraform apply",
    );
    let kept = |days: u32| {
        let of_runs = json!({"matchesPrefix": ["runs/"], "age": days});
        let of_inputs = json!({"matchesPrefix": ["inputs/"], "daysSinceCustomTime": 14});
        json!({"lifecycle": {"rule": [rule(of_inputs), rule(of_runs)]}})
    };
    healthy.change_bucket(&kept(3));
    healthy.warns(
        "bucket.runs",
        "forgotten after 3 days, perhaps before they are fetched",
        "terraform",
    );
    healthy.change_bucket(&json!({"lifecycle": null}));
    healthy.warns(
        "bucket.runs",
        "for ever",
        "terraform -chdir=terraform apply",
    );
    healthy.warns(
        "bucket.inputs",
        "for ever",
        "terraform -chdir=terraform apply",
    );
    healthy.change_bucket(&json!({
        "softDeletePolicy": {"retentionDurationSeconds": "604800"},
        "iamConfiguration": {"publicAccessPrevention": "inherited"},
    }));
    healthy.warns("bucket.soft-delete", "for 7 days", "--clear-soft-delete");
    healthy.warns(
        "bucket.public-access",
        "not prevented",
        "--public-access-prevention",
    );
    healthy.change_bucket(
        &json!({"iamConfiguration": {"uniformBucketLevelAccess": {"enabled": false}}}),
    );
    healthy.warns(
        "bucket.uniform-access",
        "cannot be held",
        "--uniform-bucket-level-access",
    );
    healthy.cloud.machine().write(
        "sortie.toml",
        healthy
            .cloud
            .machine()
            .text("sortie.toml")
            .replace("team-bucket", "no-such-bucket"),
    );
    healthy.fails("bucket", "there is no bucket `no-such-bucket`", "terraform");
}

#[test]
fn a_member_who_may_not_see_the_buckets_settings_is_well() {
    let healthy = Healthy::new();
    let forbidden = json!({"error": {"code": 403, "message": "a@b.test does not have storage.buckets.get access to the Google Cloud Storage bucket."}});
    healthy.cloud.google.mood().denies = vec![("/b/team-bucket HTTP", 403, forbidden)];
    let (code, status, says, _) = healthy.found("bucket");
    assert_eq!((code, status.as_str()), (Some(0), "unknown"));
    assert!(says.contains("not for you to see"), "{says}");
}

#[test]
fn each_missing_right_is_named() {
    let healthy = Healthy::new();
    healthy.cloud.google.mood().lacks = vec!["storage.objects.list", "run.jobs.runWithOverrides"];
    healthy.fails(
        "bucket.rights",
        "missing: `storage.objects.list`",
        "roles/storage.objectUser",
    );
    healthy.fails(
        "job.default.rights",
        "missing: `run.jobs.runWithOverrides`",
        "roles/run.jobsExecutorWithOverrides",
    );
    let denied = json!({"error": {"code": 403, "status": "PERMISSION_DENIED",
        "message": "Permission 'run.executions.list' denied on resource 'x' (or resource may not exist)."}});
    healthy.cloud.google.mood().lacks = vec!["serviceusage.services.use"];
    healthy.warns(
        "quota project",
        "`team` may not be used",
        "set-quota-project team",
    );
    healthy.cloud.google.mood().denies = vec![("/executions?", 403, denied)];
    healthy.fails(
        "job.default.rights",
        "run.executions.list",
        "roles/run.viewer",
    );
}

#[test]
fn what_is_wrong_with_a_job_is_told() {
    let healthy = Healthy::new();
    healthy.change_job(|task| task["maxRetries"] = json!(3));
    healthy.warns("job.default", "tries a task 3 times more", "make config");
    healthy.change_job(|task| task["containers"][0]["image"] = json!("pkg.test/base@sha256:11"));
    healthy.warns(
        "job.default",
        "and the settings say `pkg.test/base@sha256:00`",
        "make config",
    );
    healthy.change_job(|task| {
        task["serviceAccount"] = json!("1-compute@developer.gserviceaccount.com");
    });
    healthy.warns("job.default", "much more than they should", "terraform");
    healthy.change_job(|task| task["containers"][0]["command"] = json!(["sh"]));
    healthy.fails("job.default", "has `command` of its own", "terraform");
    let toml = healthy.cloud.machine().text("sortie.toml");
    let machine = healthy.cloud.machine();
    machine.write(
        "sortie.toml",
        toml.replace("secrets = []", "secrets = ['KEY']"),
    );
    healthy.change_job(|_| ());
    healthy.fails("job.default", "lacks the secrets `KEY`", "terraform");
    machine.write("sortie.toml", toml.replace("crew-default", "crew-gone"));
    healthy.fails(
        "job.default",
        "there is no job `crew-gone`",
        "terraform -chdir=terraform apply",
    );
}

#[test]
fn a_secret_without_a_version_is_told() {
    let healthy = Healthy::new();
    healthy.change_job(|task| {
        let reference = json!({"secretKeyRef": {"secret": "api-key", "version": "latest"}});
        task["containers"][0]["env"] = json!([{"name": "KEY", "valueSource": reference}]);
    });
    healthy.fails(
        "secret.api-key",
        "no version `latest`",
        "gcloud secrets versions add api-key",
    );
    let replication = json!({"replication": {"automatic": {}}});
    healthy.call(
        Method::POST,
        "sm/v1/projects/team/secrets?secretId=api-key",
        &replication,
    );
    let payload = json!({"payload": {"data": "eA=="}});
    healthy.call(
        Method::POST,
        "sm/v1/projects/team/secrets/api-key:addVersion",
        &payload,
    );
    let (code, status, ..) = healthy.found("secret.api-key");
    assert_eq!((code, status.as_str()), (Some(0), "ok"));
    healthy.call(
        Method::POST,
        "sm/v1/projects/team/secrets/api-key/versions/1:disable",
        &json!({}),
    );
    healthy.fails(
        "secret.api-key",
        "not enabled",
        "gcloud secrets versions enable",
    );
}

#[test]
fn a_disabled_api_and_a_wrong_clock_are_told() {
    let healthy = Healthy::new();
    healthy.call(
        Method::POST,
        "su/v1/projects/team/services/run.googleapis.com:disable",
        &json!({}),
    );
    healthy.fails(
        "apis",
        "off in `team`: `run.googleapis.com`",
        "gcloud services enable run.googleapis.com --project=team",
    );
    let early = Healthy::new();
    early.cloud.google.mood().date = Some("Tue, 01 Dec 2020 00:00:00 GMT".to_owned());
    early.warns("clock", "s ahead of the server", "timedatectl");
    let (_, bucket, ..) = early.found("bucket");
    assert_eq!(bucket, "ok", "runs work, and so does the rest of this");
}

#[test]
fn an_environment_that_is_not_listed_is_told() {
    let healthy = Healthy::new();
    let typed = healthy.typed(&["--json"]).env("SORTIE_ENVIRONMENT", "typo");
    let all = findings(&typed.enter().code(0));
    let (status, says, hint) = &all["environments"];
    assert_eq!(status, "warning", "{says}");
    assert!(says.contains("is not among them") && hint.contains("--environment"));
}

#[test]
fn without_credentials_or_network_the_rest_is_told_all_the_same() {
    let healthy = Healthy::new();
    let (status, body) = revoked();
    healthy.cloud.google.mood().refuses = Some((status, body));
    healthy.fails(
        "credentials",
        "the saved login has ended",
        "gcloud auth application-default login",
    );
    healthy.fails("bucket", "not asked: see `credentials`", "sortie doctor");
    healthy.cloud.google.mood().refuses = None;
    let offline = healthy
        .typed(&["--json"])
        .env("HTTPS_PROXY", "http://127.0.0.1:1");
    let all = findings(&offline.enter().code(1));
    for check in ["program", "settings", "data directory", "disk", "emulator"] {
        assert_eq!(all[check].0, "ok", "{check}");
    }
    for check in ["network", "credentials", "apis", "bucket", "jobs"] {
        assert_eq!(all[check].0, "failure", "{check}");
    }
    assert!(all["network"].2.contains("HTTPS_PROXY"), "{all:?}");
    assert!(all["bucket"].1.contains("see `network`"), "{all:?}");
}

#[test]
fn another_server_than_googles_is_asked_for_less() {
    let healthy = Healthy::new();
    let words = ["doctor", "--json"];
    let all = findings(&healthy.cloud.team.sortie(&words).enter().code(0));
    assert!(all["credentials"].1.contains("SORTIE_EMULATOR_TOKEN"));
    assert_eq!(all["apis"].0, "unknown");
    assert_eq!(all["job.default"].0, "ok");
    assert_eq!(all["image.default"].0, "unknown");
}

#[test]
fn a_clock_that_is_a_little_behind_is_told() {
    let healthy = Healthy::new();
    let there = jiff::Timestamp::now() + jiff::SignedDuration::from_secs(200);
    let date = jiff::fmt::rfc2822::DateTimePrinter::new().timestamp_to_rfc9110_string(&there);
    healthy.cloud.google.mood().date = Some(date.unwrap());
    healthy.warns("clock", "s behind the server", "timedatectl");
}
