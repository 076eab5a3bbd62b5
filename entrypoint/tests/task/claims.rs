//! One attempt, one container.

use wire::contract::{Command, Outcome, Reason, Spec, SpecSource, VERSION};
use wire::names::RunId;

use crate::proxy::{Fault, Proxy};
use crate::shell;
use crate::site::Site;
use crate::task::Task;

#[test]
fn a_twin_leaves_without_running_or_reporting() {
    let site = Site::start();
    let run = site.run(shell("echo ran"));
    let first = Task::of_run(&site, run).finish();
    assert_eq!(first.code(), 0);
    let twin = Task::of_run(&site, run).finish();
    assert_eq!(twin.code(), i32::from(entrypoint::exit::TWIN));
    assert!(twin.output.stdout.is_empty());
    assert!(String::from_utf8_lossy(&twin.output.stderr).contains("another container"));
    // There is still one report, and it is the first's.
    assert_eq!(first.stdout(), "ran\n");
    // A retry is another attempt.
    let retry = Task::of_run(&site, run)
        .env("CLOUD_RUN_TASK_ATTEMPT", "1")
        .finish();
    assert_eq!(retry.code(), 0);
    assert_eq!(site.list(&run.reports()).len(), 2);
}

#[test]
fn two_that_start_together_run_once() {
    let site = Site::start();
    let run = site.run(shell("echo ran"));
    let tasks = [
        Task::of_run(&site, run).start(),
        Task::of_run(&site, run).start(),
    ];
    let mut codes = tasks.map(|task| task.finish().code());
    codes.sort_unstable();
    assert_eq!(codes, [0, i32::from(entrypoint::exit::TWIN)]);
    assert_eq!(site.list(&run.reports()).len(), 1);
}

#[test]
fn a_lost_answer_to_the_claim_makes_no_twin_of_ourselves() {
    let site = Site::start();
    let proxy = Proxy::start(&site.storage, b"/claims/", Fault::LoseAnswer);
    let task = Task::new(&site, shell("echo ran")).env("STORAGE_EMULATOR_HOST", &proxy.address);
    let ran = task.finish();
    assert_eq!(ran.code(), 0, "{:?}", ran.output);
    assert_eq!(ran.stdout(), "ran\n");
    assert!(proxy.met() > 1, "the claim was tried again");
}

#[test]
fn a_lost_answer_to_the_report_is_no_failure() {
    let site = Site::start();
    let proxy = Proxy::start(&site.storage, b"/reports/", Fault::LoseAnswer);
    let task = Task::new(&site, shell("exit 3")).env("STORAGE_EMULATOR_HOST", &proxy.address);
    let ran = task.finish();
    assert_eq!(ran.code(), 3, "{:?}", ran.output);
    assert_eq!(ran.report().code, Some(3));
    assert!(proxy.met() > 1, "the report was tried again");
}

#[test]
fn a_spec_may_stand_in_an_object_of_its_own() {
    let site = Site::start();
    let run = RunId::new();
    let spec = shell("echo from its object");
    site.put(&run.spec(3), serde_json::to_vec(&spec).unwrap());
    site.start_run(run, SpecSource::Object(3));
    let ran = Task::of_run(&site, run).finish();
    assert_eq!(ran.stdout(), "from its object\n");
}

#[test]
fn a_spec_that_cannot_be_used_is_reported() {
    let site = Site::start();
    let run = RunId::new();
    site.start_run(run, SpecSource::Object(9));
    let missing = Task::of_run(&site, run).finish();
    let mut refused = Spec::new(Command::Argv(Vec::new()));
    refused.version = VERSION;
    let refused = Task::new(&site, refused).finish();
    let mut newer = shell("touch output/ran");
    newer.version = VERSION + 1;
    let run = RunId::new();
    site.put(&run.spec(0), serde_json::to_vec(&newer).unwrap());
    site.start_run(run, SpecSource::Object(0));
    let newer = Task::of_run(&site, run).finish();
    for ran in [missing, refused, newer] {
        assert_eq!(ran.code(), 125);
        let report = ran.report();
        assert_eq!(report.outcome, Outcome::Setup);
        assert_eq!(report.problem.unwrap().reason, Reason::Spec);
    }
}

#[test]
fn a_start_of_a_newer_version_is_reported_too() {
    let site = Site::start();
    let run = RunId::new();
    let start = format!(
        r#"{{"version":3,"run":"{run}","start":0,"tasks":[{{"index":0,"task":0,"count":1,"spec":0}}],"specs":[]}}"#
    );
    site.put(&run.start(0), start);
    let ran = Task::of_run(&site, run).finish();
    assert_eq!(ran.code(), 125);
    let problem = ran.report().problem.unwrap();
    assert_eq!(problem.reason, Reason::Spec);
    assert!(problem.message.contains("version 3"), "{problem:?}");
}

#[test]
fn a_start_that_cannot_be_read_leaves_a_message_and_no_claim() {
    let site = Site::start();
    let run = RunId::new();
    let ran = Task::of_run(&site, run).finish();
    assert_eq!(ran.code(), 125);
    let stderr = String::from_utf8_lossy(&ran.output.stderr).into_owned();
    assert!(stderr.contains(&run.start(0)), "{stderr}");
    assert!(stderr.contains("legacyObjectReader"), "{stderr}");
    let run = site.run(shell("true"));
    let beyond = Task::of_run(&site, run)
        .env("CLOUD_RUN_TASK_INDEX", "5")
        .finish();
    assert_eq!(beyond.code(), 125);
    assert!(String::from_utf8_lossy(&beyond.output.stderr).contains("CLOUD_RUN_TASK_INDEX 5"));
    assert_eq!(site.list(&run.claims()), [""; 0]);
}
