//! Whose credentials, where they come from, where they go, and what is said when there are none.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use reqwest::Method;
use serde_json::{Value, json};

use crate::google::{Google, MARK, ROBOT, login, revoked};
use crate::harness::{Done, Machine, Typed};
use crate::team::{Team, job};

/// A team whose Google is [`Google`], with settings in the working directory.
pub(crate) struct Cloud {
    pub(crate) team: Team,
    pub(crate) google: Google,
}

impl Cloud {
    pub(crate) fn new() -> Self {
        let team = Team::new();
        team.run_api(Method::POST, "jobs?jobId=crew-default", Some(&job()));
        let settings = "project = 'team'\nregion = 'europe-west1'\nbucket = 'team-bucket'\n\
            [environments.default]\njob = 'crew-default'\nimage = 'pkg.test/base@sha256:00'\ncpu = '1'\n\
            memory = '2Gi'\ntimeout_seconds = 600\nsecrets = []\n";
        team.machine.write("sortie.toml", settings);
        let (endpoint, token) = team.server();
        let google = Google::before(&endpoint, &token);
        Self { team, google }
    }

    pub(crate) fn machine(&self) -> &Machine {
        &self.team.machine
    }

    /// With a program directory that has no gcloud.
    pub(crate) fn sortie(&self, words: &[&str]) -> Typed {
        let bin = self.machine().path("bin");
        std::fs::create_dir_all(&bin).unwrap();
        let typed = self.machine().sortie(words).env("PATH", bin);
        self.google.reached_by(typed)
    }

    fn try_run(&self, prepare: impl FnOnce(Typed) -> Typed) -> Done {
        prepare(self.sortie(&["run", "-q", "--", "/bin/echo", "hello"])).enter()
    }

    /// A `gcloud` that does this.
    pub(crate) fn gcloud(&self, script: &str) {
        let path = self
            .machine()
            .write("bin/gcloud", format!("#!/bin/sh\n{script}\n"));
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }

    fn hosts(&self) -> Vec<String> {
        let mut hosts: Vec<_> = self
            .google
            .mood()
            .seen
            .iter()
            .map(|s| s.host.clone())
            .collect();
        hosts.sort();
        hosts.dedup();
        hosts
    }
}

#[test]
fn a_persons_login_and_its_quota_project_are_used() {
    let cloud = Cloud::new();
    Google::login(cloud.machine());
    cloud.try_run(|typed| typed).code(0).prints("hello\n");
    let mood = cloud.google.mood();
    for seen in &mood.seen {
        let payer = seen.headers.get("x-goog-user-project").map(String::as_str);
        let expected = (seen.host != "oauth2.googleapis.com").then_some("payer");
        assert_eq!(payer, expected, "{}", seen.line);
        if seen.host == "oauth2.googleapis.com" {
            assert!(!seen.headers.contains_key("authorization"));
        } else {
            let value = &seen.headers["authorization"];
            assert_eq!(value, &format!("Bearer ya29.{MARK}-0"), "one token will do");
        }
    }
}

#[test]
fn the_quota_project_of_the_environment_counts_more() {
    let cloud = Cloud::new();
    Google::login(cloud.machine());
    cloud
        .try_run(|typed| typed.env("GOOGLE_CLOUD_QUOTA_PROJECT", "other"))
        .code(0);
    let mood = cloud.google.mood();
    let paid = mood
        .seen
        .iter()
        .filter_map(|s| s.headers.get("x-goog-user-project"));
    assert!(paid.clone().count() > 0 && paid.into_iter().all(|payer| payer == "other"));
}

#[test]
fn another_directory_of_gclouds_is_looked_at() {
    let cloud = Cloud::new();
    let dir = cloud.machine().write(
        "gcloud/application_default_credentials.json",
        login().to_string(),
    );
    cloud
        .try_run(|typed| typed.env("CLOUDSDK_CONFIG", dir.parent().unwrap()))
        .code(0)
        .prints("hello\n");
}

#[test]
fn a_key_is_used_and_pays_for_itself() {
    let cloud = Cloud::new();
    let key = Google::key(cloud.machine());
    cloud
        .try_run(|typed| typed.env("GOOGLE_APPLICATION_CREDENTIALS", key))
        .code(0)
        .prints("hello\n");
    let mood = cloud.google.mood();
    let quota = |seen: &crate::google::Seen| seen.headers.contains_key("x-goog-user-project");
    assert!(!mood.seen.iter().any(quota));
}

#[test]
fn the_metadata_server_is_asked_where_it_is() {
    let cloud = Cloud::new();
    let metadata = metadata(&[
        ("/email", ROBOT),
        (
            "/token",
            r#"{"access_token":"ya29.of-the-machine","expires_in":3600,"token_type":"Bearer"}"#,
        ),
    ]);
    cloud.google.mood().accept("ya29.of-the-machine");
    let asked = |typed: Typed| {
        typed
            .env("NO_GCE_CHECK", "")
            .env("GCE_METADATA_HOST", &metadata)
    };
    cloud.try_run(asked).code(0).prints("hello\n");
    let nobody = |typed: Typed| {
        typed
            .env("NO_GCE_CHECK", "")
            .env("GCE_METADATA_HOST", "127.0.0.1:1")
    };
    cloud
        .try_run(nobody)
        .code(125)
        .says("no metadata server with a service account answers at `127.0.0.1:1`")
        .says("unset GCE_METADATA_HOST");
}

/// Answers a GET whose path ends so.
pub(crate) fn metadata(answers: &'static [(&'static str, &'static str)]) -> String {
    use std::io::{Read, Write};
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        for client in listener.incoming() {
            let mut client = client.unwrap();
            let mut request = [0; 4096];
            let read = client.read(&mut request).unwrap();
            let text = String::from_utf8_lossy(&request[..read]);
            assert!(text.to_lowercase().contains("metadata-flavor: google"));
            let path = text.split(' ').nth(1).unwrap();
            let (_, body) = answers.iter().find(|(end, _)| path.ends_with(end)).unwrap();
            let head = "HTTP/1.1 200 OK\r\nMetadata-Flavor: Google\r\nConnection: close\r\n";
            let answer = format!("{head}Content-Length: {}\r\n\r\n{body}", body.len());
            client.write_all(answer.as_bytes()).unwrap();
        }
    });
    address
}

#[test]
fn gcloud_gives_what_sortie_cannot_make() {
    let cloud = Cloud::new();
    cloud.google.mood().accept("ya29.by-gcloud");
    cloud.gcloud(
        "case $* in 'auth print-access-token --quiet') echo ya29.by-gcloud ;; *) exit 9 ;; esac",
    );
    cloud.try_run(|typed| typed).code(0).prints("hello\n");
    let federated = json!({"type": "external_account", "audience": "//iam.googleapis.com/x"});
    let file = cloud
        .machine()
        .write("federated.json", federated.to_string());
    let named = |typed: Typed| typed.env("GOOGLE_APPLICATION_CREDENTIALS", &file);
    cloud.gcloud(
        "case $* in 'auth application-default print-access-token --quiet') echo ya29.by-gcloud ;; *) exit 9 ;; esac",
    );
    cloud.try_run(named).code(0).prints("hello\n");
    std::fs::remove_file(cloud.machine().path("bin/gcloud")).unwrap();
    cloud
        .try_run(named)
        .code(125)
        .says("of the kind `external_account`, which takes gcloud")
        .says("hint: install the Google Cloud CLI");
}

#[test]
fn gclouds_own_words_are_told() {
    let cloud = Cloud::new();
    cloud.gcloud("echo 'ERROR: (gcloud.auth.print-access-token) You do not currently have an active account selected.' >&2; echo 'Please run:' >&2; exit 1");
    cloud
        .try_run(|typed| typed)
        .code(125)
        .says("`gcloud auth print-access-token --quiet` failed: ERROR:")
        .says("active account selected")
        .says("hint: log in: `gcloud auth application-default login`");
    cloud.gcloud("echo; echo two words");
    cloud
        .try_run(|typed| typed)
        .code(125)
        .says("printed no token");
}

#[test]
fn impersonation_is_one_token_for_another() {
    let cloud = Cloud::new();
    let file = json!({
        "type": "impersonated_service_account", "delegates": [], "source_credentials": login(),
        "service_account_impersonation_url": format!(
            "https://iamcredentials.googleapis.com/v1/projects/-/serviceAccounts/{ROBOT}:generateAccessToken"),
    });
    let file = cloud.machine().write("acts.json", file.to_string());
    let by_file = |typed: Typed| typed.env("GOOGLE_APPLICATION_CREDENTIALS", &file);
    cloud.try_run(by_file).code(0).prints("hello\n");
    {
        let mood = cloud.google.mood();
        let asked = |seen: &&crate::google::Seen| seen.host == "iamcredentials.googleapis.com";
        let asked = mood.seen.iter().find(asked).unwrap();
        assert_eq!(
            asked.headers["authorization"],
            format!("Bearer ya29.{MARK}-0")
        );
        let body: Value = serde_json::from_str(&asked.body).unwrap();
        assert_eq!(
            body["scope"][0],
            "https://www.googleapis.com/auth/cloud-platform"
        );
        let storage = mood
            .seen
            .iter()
            .find(|s| s.host == "storage.googleapis.com");
        let sent = &storage.unwrap().headers["authorization"];
        assert_eq!(sent, &format!("Bearer ya29.{MARK}-1"));
    }
    let denied = json!({"error": {"code": 403, "status": "PERMISSION_DENIED",
        "message": "Permission 'iam.serviceAccounts.getAccessToken' denied on resource (or it may not exist)."}});
    cloud.google.mood().refuses_impersonation = Some((403, denied));
    Google::login(cloud.machine());
    let by_variable = |typed: Typed| typed.env("GOOGLE_IMPERSONATE_SERVICE_ACCOUNT", ROBOT);
    for done in [cloud.try_run(by_file), cloud.try_run(by_variable)] {
        done.code(125)
            .says(&format!("`{ROBOT}` cannot be impersonated"))
            .says("roles/iam.serviceAccountTokenCreator");
    }
}

#[test]
fn impersonation_goes_through_delegates_and_on_to_another_account() {
    let cloud = Cloud::new();
    let through = "projects/-/serviceAccounts/between@team.iam.gserviceaccount.com";
    let file = json!({
        "type": "impersonated_service_account", "delegates": [through], "source_credentials": login(),
        "service_account_impersonation_url": format!(
            "https://iamcredentials.googleapis.com/v1/projects/-/serviceAccounts/{ROBOT}:generateAccessToken"),
    });
    let file = cloud.machine().write("acts.json", file.to_string());
    let last = "last@team.iam.gserviceaccount.com";
    let both = |typed: Typed| {
        typed
            .env("GOOGLE_APPLICATION_CREDENTIALS", &file)
            .env("GOOGLE_IMPERSONATE_SERVICE_ACCOUNT", last)
    };
    cloud.try_run(both).code(0).prints("hello\n");
    let mood = cloud.google.mood();
    let sent = |seen: &crate::google::Seen| seen.headers["authorization"].clone();
    let asked: Vec<_> = mood
        .seen
        .iter()
        .filter(|seen| seen.host == "iamcredentials.googleapis.com")
        .collect();
    // The login's token makes the file's account's, and that one's the last.
    let [first, second] = asked[..] else {
        panic!("{asked:?}")
    };
    let body = |seen: &crate::google::Seen| serde_json::from_str::<Value>(&seen.body).unwrap();
    assert!(
        first.line.contains(&format!("/{ROBOT}:generate")),
        "{}",
        first.line
    );
    assert_eq!(body(first)["delegates"], json!([through]));
    assert_eq!(sent(first), format!("Bearer ya29.{MARK}-0"));
    assert!(
        second.line.contains(&format!("/{last}:generate")),
        "{}",
        second.line
    );
    assert_eq!(body(second)["delegates"], json!([]));
    assert_eq!(sent(second), format!("Bearer ya29.{MARK}-1"));
    let storage = mood
        .seen
        .iter()
        .find(|seen| seen.host == "storage.googleapis.com");
    assert_eq!(sent(storage.unwrap()), format!("Bearer ya29.{MARK}-2"));
}

#[test]
fn a_refusal_in_a_chain_names_the_account_that_is_refused() {
    let cloud = Cloud::new();
    let file = json!({
        "type": "impersonated_service_account", "delegates": ["d@team.iam.gserviceaccount.com"],
        "source_credentials": login(), "service_account_impersonation_url": format!(
            "https://iamcredentials.googleapis.com/v1/projects/-/serviceAccounts/{ROBOT}:generateAccessToken"),
    });
    let file = cloud.machine().write("acts.json", file.to_string());
    let denied = json!({"error": {"code": 403, "status": "PERMISSION_DENIED", "message": "no"}});
    cloud.google.mood().refuses_impersonation = Some((403, denied));
    cloud
        .try_run(|typed| {
            typed.env("GOOGLE_APPLICATION_CREDENTIALS", &file).env(
                "GOOGLE_IMPERSONATE_SERVICE_ACCOUNT",
                "last@team.iam.gserviceaccount.com",
            )
        })
        .code(125)
        .says(&format!("`{ROBOT}` cannot be impersonated"))
        .says_nothing_of("last@team");
}

#[test]
fn what_is_wrong_with_a_file_is_told_with_the_command_that_mends_it() {
    let cloud = Cloud::new();
    cloud
        .try_run(|typed| typed)
        .code(125)
        .says("there are no Google credentials: no `GOOGLE_APPLICATION_CREDENTIALS`, no `")
        .says("hint: install the Google Cloud CLI and `gcloud auth application-default login`");
    let with = |name: &str, content: &str| {
        let file = cloud.machine().write(name, content);
        cloud.try_run(|typed| typed.env("GOOGLE_APPLICATION_CREDENTIALS", file))
    };
    with(
        "cut.json",
        "{\"type\": \"authorized_user\", \"refresh_token\": \"1//s3cr3t",
    )
    .code(125)
    .says("cut.json`: not JSON, at line 1")
    .says("hint: `gcloud auth application-default login`")
    .says_nothing_of(MARK);
    with("odd.json", r#"{"type": "s3cr3t"}"#)
        .code(125)
        .says("its `type` is none that sortie knows")
        .says_nothing_of(MARK);
    with("bare.json", r#"{"type": "service_account"}"#)
        .code(125)
        .says("it has no `client_email`");
    cloud
        .try_run(|typed| typed.env("GOOGLE_APPLICATION_CREDENTIALS", "nowhere.json"))
        .code(125)
        .says("cannot read the credentials `nowhere.json`: entity not found")
        .says("unset GOOGLE_APPLICATION_CREDENTIALS");
    assert!(cloud.hosts().is_empty(), "nothing was asked");
}

#[test]
fn what_the_token_server_refuses_is_told_with_the_command_that_mends_it() {
    let cloud = Cloud::new();
    Google::login(cloud.machine());
    let key = Google::key(cloud.machine());
    let by_key = |typed: Typed| typed.env("GOOGLE_APPLICATION_CREDENTIALS", &key);
    let refuse = |status, body| cloud.google.mood().refuses = Some((status, body));
    let (status, body) = revoked();
    refuse(status, body);
    cloud
        .try_run(|typed| typed)
        .code(125)
        .says("the saved login has ended or was revoked: the token server answered 400: invalid_grant: Token has been expired or revoked.")
        .says("hint: log in again: `gcloud auth application-default login`");
    refuse(
        400,
        json!({"error": "invalid_grant", "error_description":
        "Invalid JWT: Token must be a short-lived token (60 minutes) and in a reasonable timeframe. Check your iat and exp values in the JWT claim."}),
    );
    cloud
        .try_run(by_key)
        .code(125)
        .says("the clock of this machine is wrong")
        .says("timedatectl");
    refuse(
        400,
        json!({"error": "invalid_grant", "error_description": "Invalid JWT Signature."}),
    );
    cloud
        .try_run(by_key)
        .code(125)
        .says(&format!("the key of `{ROBOT}` is no longer good"))
        .says("gcloud iam service-accounts keys create");
    // A server that repeats what it was told must not make us do so.
    refuse(
        400,
        json!({"error": "invalid_request", "error_description": format!("bad refresh_token 1//{MARK}")}),
    );
    cloud
        .try_run(|typed| typed)
        .code(125)
        .says("the saved login is refused")
        .says_nothing_of(MARK);
}

#[test]
fn a_long_run_outlives_its_tokens() {
    let cloud = Cloud::new();
    Google::login(cloud.machine());
    cloud.google.mood().lasts = 2;
    let command = ["run", "-q", "--", "/bin/sh", "-c", "sleep 5; echo done"];
    cloud.sortie(&command).enter().code(0).prints("done\n");
    let mood = cloud.google.mood();
    let refreshes = mood
        .seen
        .iter()
        .filter(|s| s.host == "oauth2.googleapis.com");
    assert!(refreshes.count() > 2);
}

#[test]
fn a_login_revoked_in_mid_run_leaves_a_run_to_come_back_to() {
    let cloud = Cloud::new();
    Google::login(cloud.machine());
    let command = ["run", "--json", "--", "/bin/sh", "-c", "sleep 3; echo done"];
    let mut running = cloud.sortie(&command).start();
    let started = running.event("started");
    cloud.google.revoke();
    let run = started["run"].as_str().unwrap().to_owned();
    running
        .end()
        .code(125)
        .says("the saved login has ended or was revoked")
        .says(&format!("log in again: `gcloud auth application-default login`; `sortie wait {run}` brings the results home"));
    cloud.google.mood().refuses = None;
    let done = cloud.sortie(&["wait", "-q", &run]).enter();
    done.code(0).prints("done\n");
}

#[test]
fn no_secret_is_written_anywhere_at_any_verbosity() {
    let cloud = Cloud::new();
    let login = Google::login(cloud.machine());
    let key = Google::key(cloud.machine());
    let pem = std::fs::read_to_string(crate::harness::project("tests/fixtures/throwaway_key.pem"));
    let of_key = pem.unwrap().lines().nth(3).unwrap().to_owned();
    let mut said = Vec::new();
    let loud = |typed: Typed| {
        typed
            .env("SORTIE_LOG", "trace")
            .env("RUST_LOG", "trace")
            .env("RUST_BACKTRACE", "full")
    };
    for words in [
        &["run", "--", "/bin/sh", "-c", "env; echo hello > output/o"][..],
        &["ps"],
        &["doctor"],
        &["run", "--json", "--", "/bin/echo", "hello"],
    ] {
        let done = loud(cloud.sortie(words)).enter();
        assert!(
            done.stderr.contains("DEBUG") || done.stderr.contains("TRACE"),
            "{}",
            done.stderr
        );
        said.push(done);
        let by_key = loud(cloud.sortie(words)).env("GOOGLE_APPLICATION_CREDENTIALS", &key);
        said.push(by_key.enter());
    }
    let (status, body) = revoked();
    cloud.google.mood().refuses = Some((status, body));
    said.push(
        loud(cloud.sortie(&["run", "--", "/bin/true"]))
            .enter()
            .code(125),
    );
    for done in &said {
        let text = format!("{}{}", String::from_utf8_lossy(&done.stdout), done.stderr);
        for secret in [MARK, of_key.as_str()] {
            assert!(!text.contains(secret), "{text}");
        }
    }
    let work = cloud.machine().work();
    let by_trade = [&login, &key].map(|path| std::fs::canonicalize(path).unwrap());
    let mut files = 0;
    for entry in walkdir::WalkDir::new(work.parent().unwrap()) {
        let entry = entry.unwrap();
        // The two that hold secrets by trade; below `work/team` lies the bucket.
        let is_by_trade = by_trade.contains(&std::fs::canonicalize(entry.path()).unwrap());
        if !entry.file_type().is_file() || is_by_trade {
            continue;
        }
        files += 1;
        for secret in [MARK, of_key.as_str()] {
            assert!(!holds(entry.path(), secret), "{}", entry.path().display());
        }
    }
    assert!(files > 10, "{files}");
}

fn holds(file: &Path, secret: &str) -> bool {
    let content = std::fs::read(file).unwrap_or_default();
    content
        .windows(secret.len())
        .any(|part| part == secret.as_bytes())
}
