//! Ends that are not the command's own.

use rustix::process::Signal;
use wire::contract::{Archive, Outcome, Reason, SpecSource};
use wire::names::RunId;

use crate::proxy::{Fault, Proxy};
use crate::shell;
use crate::site::Site;
use crate::task::{Task, tree};

#[test]
fn a_deadline_ends_the_command_and_brings_its_outputs_home() {
    let site = Site::start();
    let mut spec = shell("echo partial >output/result; echo said; sleep 60");
    spec.timeout_ms = Some(500);
    let ran = Task::new(&site, spec).finish();
    assert_eq!(ran.code(), 124);
    let report = ran.report();
    assert_eq!(
        (report.outcome, report.code),
        (Outcome::Deadline, Some(143))
    );
    assert_eq!(ran.stdout(), "said\n");
    assert_eq!(
        std::fs::read(ran.outputs().path().join("result")).unwrap(),
        b"partial\n"
    );
}

#[test]
fn at_a_deadline_the_command_may_clean_up_in_its_grace() {
    let site = Site::start();
    let mut spec = shell("trap 'echo cleaned; exit 3' TERM; sleep 60 & wait");
    spec.timeout_ms = Some(500);
    let ran = Task::new(&site, spec).finish();
    assert_eq!(ran.code(), 124);
    assert_eq!(ran.report().code, Some(3));
    assert_eq!(ran.stdout(), "cleaned\n");
}

#[test]
fn a_command_that_ignores_its_deadline_is_killed() {
    let site = Site::start();
    let mut spec = shell("trap '' TERM; while :; do sleep 1; done");
    (spec.timeout_ms, spec.grace_ms) = (Some(300), 300);
    let ran = Task::new(&site, spec).finish();
    let report = ran.report();
    assert_eq!(
        (report.outcome, report.code),
        (Outcome::Deadline, Some(137))
    );
}

#[test]
fn sigterm_ends_a_running_command_and_brings_its_outputs_home() {
    let site = Site::start();
    for signal in [Signal::TERM, Signal::INT] {
        let task = Task::new(&site, shell("echo partial >output/result; sleep 60")).start();
        task.until("output/result");
        task.signal(signal);
        let ran = task.finish();
        assert_eq!(ran.code(), 143);
        let report = ran.report();
        assert_eq!(
            (report.outcome, report.code),
            (Outcome::Cancelled, Some(143))
        );
        assert!(ran.outputs().path().join("result").exists());
    }
}

#[test]
fn sigterm_kills_a_command_that_ignores_it() {
    let site = Site::start();
    let task = Task::new(&site, shell("trap '' TERM; touch output/up; sleep 60")).start();
    task.until("output/up");
    task.signal(Signal::TERM);
    let ran = task.finish();
    let report = ran.report();
    assert_eq!(
        (report.outcome, report.signal),
        (Outcome::Cancelled, Some(9))
    );
    assert!(ran.outputs().path().join("up").exists());
}

#[test]
fn a_migration_stops_nothing() {
    let site = Site::start();
    let task = Task::new(
        &site,
        shell("touch output/up; until [ -e go ]; do sleep 0.05; done"),
    )
    .start();
    task.until("output/up");
    task.signal(Signal::TSTP);
    task.signal(Signal::CONT);
    task.signal(Signal::TSTP);
    std::fs::write(task.task.workspace().join("go"), "").unwrap();
    assert_eq!(task.finish().code(), 0);
}

#[test]
fn sigterm_while_fetching_is_reported_at_once() {
    let site = Site::start();
    let source = tempfile::tempdir().unwrap();
    std::fs::write(source.path().join("data"), "data").unwrap();
    let mut spec = shell("touch output/ran");
    spec.inputs
        .push(site.input("data", &source.path().join("data")));
    let proxy = Proxy::start(&site.storage, b"/o/inputs%2F", Fault::Stall);
    let task = Task::new(&site, spec)
        .env("STORAGE_EMULATOR_HOST", &proxy.address)
        .start();
    crate::task::until(|| proxy.met() > 0, "the download");
    task.signal(Signal::TERM);
    let ran = task.finish();
    assert_eq!(ran.code(), 143);
    let report = ran.report();
    assert_eq!((report.outcome, report.code), (Outcome::Cancelled, None));
    assert!(!ran.workspace().join("output/ran").exists());
}

#[test]
fn sigterm_while_the_outputs_cannot_be_sent_still_reports() {
    let site = Site::start();
    let text = "head -c 3000000 /dev/urandom >output/large; echo said; exit 5";
    let proxy = Proxy::start(&site.storage, b".tar.gz\"", Fault::Stall);
    let mut spec = shell(text);
    spec.log_interval_ms = 60_000;
    let task = Task::new(&site, spec)
        .env("STORAGE_EMULATOR_HOST", &proxy.address)
        .start();
    crate::task::until(|| proxy.met() > 0, "the upload");
    task.signal(Signal::TERM);
    let ran = task.finish();
    assert_eq!(ran.code(), 143);
    let report = ran.report();
    assert_eq!((report.outcome, report.code), (Outcome::Cancelled, Some(5)));
    // The command had ended by itself before.
    assert_eq!(report.command_end().outcome, Outcome::Exited);
    assert_eq!(report.outputs.archive, Archive::None);
    assert_eq!(report.problem.as_ref().unwrap().reason, Reason::Outputs);
    assert_eq!(ran.stdout(), "said\n");
}

#[test]
fn a_container_log_that_nobody_reads_takes_no_time_from_the_outputs_after_sigterm() {
    let site = Site::start();
    // More than our end of the pipe holds, less than that and the command's own.
    let task = Task::new(&site, shell("seq 20000; touch output/up; sleep 60")).start();
    task.until("output/up");
    task.signal(Signal::TERM);
    let reports = task.task.run.reports();
    // Nobody reads before the task has ended.
    crate::task::until(|| !site.list(&reports).is_empty(), "the report");
    let ran = task.finish();
    assert_eq!(ran.code(), 143);
    assert_eq!(ran.stdout().lines().count(), 20_000);
    assert!(ran.outputs().path().join("up").exists());
    assert!(ran.output.stdout.len() < ran.stdout().len());
}

#[test]
fn sigterm_between_claim_and_spec_is_reported() {
    let site = Site::start();
    let run = RunId::new();
    site.start_run(run, SpecSource::Object(3));
    let proxy = Proxy::start(&site.storage, b"specs%2F", Fault::Stall);
    let task = Task::of_run(&site, run)
        .env("STORAGE_EMULATOR_HOST", &proxy.address)
        .start();
    crate::task::until(
        || proxy.met() > 0 && !site.list(&run.claims()).is_empty(),
        "the spec's reading",
    );
    task.signal(Signal::TERM);
    let ran = task.finish();
    assert_eq!(ran.code(), 143);
    assert_eq!(ran.report().outcome, Outcome::Cancelled);
}

#[test]
fn sigterm_after_the_command_changes_nothing_if_all_is_saved() {
    let site = Site::start();
    // The command's end finds a process that ignores SIGTERM, which keeps the collecting busy for a second.
    let text = "(trap '' TERM; touch output/up; sleep 60) & until [ -e output/up ]; do sleep 0.01; done; exit 4";
    let task = Task::new(&site, shell(text)).start();
    task.until("output/up");
    std::thread::sleep(std::time::Duration::from_millis(300));
    task.signal(Signal::TERM);
    let ran = task.finish();
    // Whether the signal came while the command ran or after it, nothing is lost.
    let report = ran.report();
    match report.outcome {
        Outcome::Exited => assert_eq!((ran.code(), report.code), (4, Some(4))),
        other => assert_eq!((ran.code(), other), (143, Outcome::Cancelled)),
    }
    assert!(ran.outputs().path().join("up").exists());
}

#[test]
fn outputs_that_cannot_be_sent_leave_the_code() {
    let site = Site::start();
    // Whoever holds the claim's key could take the name first; here the bucket just refuses the account.
    let text = "printf x >output/small; head -c 400000 /dev/urandom >output/large; exit 6";
    let proxy = Proxy::start(&site.storage, b".tar.gz\"", Fault::Refuse);
    let ran = Task::new(&site, shell(text))
        .env("STORAGE_EMULATOR_HOST", &proxy.address)
        .finish();
    assert_eq!(ran.code(), 125);
    let report = ran.report();
    assert_eq!((report.outcome, report.code), (Outcome::Collect, Some(6)));
    assert_eq!(report.problem.unwrap().reason, Reason::Outputs);
}

#[test]
fn a_user_is_refused_where_there_is_no_root_or_no_such_user() {
    let site = Site::start();
    let mut spec = shell("true");
    spec.user = Some("no-such-user".to_owned());
    let ran = Task::new(&site, spec).finish();
    assert_eq!(ran.code(), 125);
    let report = ran.report();
    assert_eq!(report.outcome, Outcome::Setup);
    assert_eq!(report.problem.unwrap().reason, Reason::User);
}

#[test]
fn root_drops_to_the_specs_user() {
    let site = Site::start();
    let mut spec =
        shell("id -u; id -g; id -G; echo $HOME; touch output/mine; stat -c %u output/mine");
    let (uid, gid) = if rustix::process::geteuid().is_root() {
        (4242, 4343)
    } else {
        (
            rustix::process::geteuid().as_raw(),
            rustix::process::getegid().as_raw(),
        )
    };
    spec.user = Some(format!("{uid}:{gid}"));
    let task = Task::new(&site, spec);
    // The temporary directory's own mode keeps the user out of paths from the top.
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(task.directory.path(), open).unwrap();
    let ran = task.finish();
    assert_eq!(ran.code(), 0, "{:?}", ran.output);
    let stdout = ran.stdout();
    let lines: Vec<_> = stdout.lines().collect();
    assert_eq!(&lines[..2], [uid.to_string(), gid.to_string()]);
    assert!(lines[2].split(' ').any(|group| group == gid.to_string()));
    assert_eq!(lines[4], uid.to_string());
    assert_eq!(tree(ran.outputs().path()).len(), 1);
}

#[test]
fn without_a_run_it_says_what_it_is_for() {
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_sortie-entrypoint"))
        .env_clear()
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(125));
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(
        stderr.contains("SORTIE_RUN") && stderr.contains("sortie run"),
        "{stderr}"
    );
}

#[test]
fn it_tells_its_version() {
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_sortie-entrypoint"))
        .arg("--version")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert!(
        String::from_utf8(output.stdout)
            .unwrap()
            .contains(env!("CARGO_PKG_VERSION"))
    );
}
