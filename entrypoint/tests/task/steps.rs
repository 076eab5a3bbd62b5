//! What comes before and after the command.

use std::path::Path;

use rustix::process::{Pid, Signal, geteuid, test_kill_process};
use wire::contract::{Command, Outcome, PreparedFile, Reason, Spec, Stage, Step};

use crate::shell;
use crate::site::Site;
use crate::task::{Finished, Task};

fn step(text: &str) -> Step {
    Step::new(Command::Shell(text.into()))
}

fn output(ran: &Finished<'_>, name: &str) -> String {
    std::fs::read_to_string(ran.outputs().path().join(name)).unwrap()
}

/// Stage, number and code of every step.
fn codes(ran: &Finished<'_>) -> Vec<(Stage, u32, Option<i32>)> {
    let steps = ran.report().steps;
    steps
        .iter()
        .map(|step| (step.stage, step.index, step.code))
        .collect()
}

#[test]
fn steps_run_in_order_around_the_command_and_leave_its_output_alone() {
    let site = Site::start();
    let mut spec = shell("cat output/order; echo command >>output/order");
    spec.env.insert("GREETING".to_owned(), "hello".into());
    let argv = [
        "sh",
        "-c",
        "pwd >>output/order; echo \"$1\"",
        "sh",
        "it's \"quoted\" $(id)",
    ];
    let argv = Command::Argv(argv.iter().map(|&one| one.into()).collect());
    spec.pre = vec![
        step("echo $GREETING >output/order; echo noise; echo more >&2"),
        Step::new(argv),
    ];
    spec.post = vec![
        step("echo post >>output/order; echo graded"),
        step("exit 3"),
    ];
    let ran = Task::new(&site, spec).finish();
    assert_eq!(ran.code(), 0);
    let here = ran.workspace();
    let here = here.canonicalize().unwrap_or(here);
    assert_eq!(ran.stdout(), format!("hello\n{}\n", here.display()));
    assert!(output(&ran, "order").ends_with("command\npost\n"));
    let pre = Stage::Pre;
    let wanted = [
        (pre, 0, 0),
        (pre, 1, 0),
        (Stage::Post, 0, 0),
        (Stage::Post, 1, 3),
    ];
    assert_eq!(
        codes(&ran),
        wanted.map(|(stage, index, code)| (stage, index, Some(code)))
    );
    let report = ran.report();
    assert_eq!(
        (report.outcome, report.code, report.command),
        (Outcome::Exited, Some(0), None)
    );
    let stderr = ran.stderr();
    for printed in ["noise\n", "more\n", "it's \"quoted\" $(id)\n", "graded\n"] {
        assert!(stderr.contains(printed), "{stderr}");
    }
    assert_eq!(report.steps[1].tail.lossy(), "it's \"quoted\" $(id)\n");
    assert_eq!(report.steps[2].tail.lossy(), "graded\n");
}

#[test]
fn a_step_that_fails_before_the_command_keeps_it_from_running() {
    let site = Site::start();
    let mut spec = shell("touch output/ran");
    spec.pre = vec![
        step("echo so far >output/kept; echo why >&2; exit 7"),
        step("touch output/second"),
    ];
    spec.post = vec![step("touch output/post")];
    let ran = Task::new(&site, spec).finish();
    assert_eq!(ran.code(), 125);
    let report = ran.report();
    assert_eq!((report.outcome, report.code), (Outcome::Setup, None));
    let problem = report.problem.unwrap();
    assert_eq!(problem.reason, Reason::Step);
    assert_eq!(
        problem.message,
        "pre command 1 of 2 ended with code 7, so the command was not run"
    );
    assert_eq!(codes(&ran), [(Stage::Pre, 0, Some(7))]);
    assert_eq!(ran.stderr(), "why\n");
    let names: Vec<_> = std::fs::read_dir(ran.outputs().path()).unwrap().collect();
    assert_eq!(names.len(), 1, "{names:?}");
    assert_eq!(output(&ran, "kept"), "so far\n");
}

#[test]
fn a_step_that_cannot_be_started_or_takes_too_long_has_failed() {
    let site = Site::start();
    let mut spec = shell("touch output/ran");
    spec.pre = vec![Step::new(Command::Argv(vec!["no-such-program".into()]))];
    let ran = Task::new(&site, spec).finish();
    let report = ran.report();
    assert_eq!(
        (report.outcome, report.steps[0].outcome),
        (Outcome::Setup, Outcome::Exec)
    );
    assert_eq!(report.steps[0].code, Some(127));
    assert!(report.steps[0].tail.lossy().contains("no-such-program"));
    let mut spec = shell("touch output/ran");
    spec.pre = vec![step("sleep 60")];
    spec.pre[0].timeout_ms = 200;
    let ran = Task::new(&site, spec).finish();
    let report = ran.report();
    assert_eq!(
        (report.outcome, report.steps[0].outcome),
        (Outcome::Setup, Outcome::Deadline)
    );
    assert!(
        report
            .problem
            .unwrap()
            .message
            .contains("met its time limit")
    );
}

#[test]
fn what_a_pre_step_leaves_running_serves_the_command_and_no_post_step() {
    let site = Site::start();
    let mut spec = shell("kill -0 $(cat output/server) && echo served");
    let serve = "(while :; do sleep 1; done) & echo $! >output/server";
    spec.pre = vec![step(serve), step("kill -0 $(cat output/server)")];
    spec.post = vec![step("! kill -0 $(cat output/server) 2>/dev/null")];
    let ran = Task::new(&site, spec).finish();
    assert_eq!(ran.stdout(), "served\n");
    assert_eq!(ran.report().steps[2].code, Some(0));
}

#[test]
fn post_steps_find_nobody_of_the_commands() {
    let site = Site::start();
    // In a session of its own, deaf to SIGTERM.
    let mut spec = shell(
        "setsid sh -c 'trap \"\" TERM; echo $$ >output/away; while :; do sleep 1; done' & \
         until [ -s output/away ]; do sleep 0.05; done; exit 5",
    );
    spec.post = vec![step(
        "kill -0 $(cat output/away) 2>/dev/null && echo alive; true",
    )];
    let ran = Task::new(&site, spec).finish();
    assert_eq!(ran.code(), 5);
    assert_eq!(ran.report().steps[0].tail.lossy(), "");
    let pid: i32 = output(&ran, "away").trim().parse().unwrap();
    assert!(test_kill_process(Pid::from_raw(pid).unwrap()).is_err());
}

#[test]
fn a_post_step_decides_if_it_shall_and_the_commands_own_end_stands_beside() {
    let site = Site::start();
    let decide = |command: &str, post: &[&str]| {
        let mut spec = shell(command);
        spec.post = post.iter().map(|text| step(text)).collect();
        spec.post_decides = true;
        let ran = Task::new(&site, spec).finish();
        let report = ran.report();
        let own = report.command.unwrap();
        assert_eq!(report.command_end(), own);
        (ran.code(), report.outcome, (own.outcome, own.code))
    };
    let exited = |code| (Outcome::Exited, Some(code));
    assert_eq!(decide("exit 4", &["true"]), (0, Outcome::Exited, exited(4)));
    assert_eq!(
        decide("true", &["exit 9", "true"]),
        (9, Outcome::Exited, exited(0))
    );
    assert_eq!(decide("true", &["true", "kill -9 $$"]).1, Outcome::Signaled);
    let killed = (0, Outcome::Exited, (Outcome::Signaled, Some(137)));
    assert_eq!(decide("kill -9 $$", &["true"]), killed);
}

#[test]
fn post_steps_come_after_a_deadline_too_and_have_a_time_of_their_own() {
    let site = Site::start();
    let mut spec = shell("echo part >output/part; sleep 60");
    spec.timeout_ms = Some(500);
    spec.post = vec![step("sleep 1; cat output/part")];
    spec.post_decides = true;
    let ran = Task::new(&site, spec).finish();
    assert_eq!(ran.code(), 0);
    let report = ran.report();
    assert_eq!(report.steps[0].tail.lossy(), "part\n");
    assert_eq!(report.command.unwrap().outcome, Outcome::Deadline);
}

#[test]
fn no_post_step_comes_after_a_command_that_did_not_start() {
    let site = Site::start();
    let mut spec = Spec::new(Command::Argv(vec!["no-such-program".into()]));
    spec.post = vec![step("touch output/post")];
    spec.post_decides = true;
    let ran = Task::new(&site, spec).finish();
    assert_eq!(ran.code(), 127);
    assert_eq!(ran.report().steps, []);
}

#[test]
fn a_cancel_in_any_step_is_reported_with_what_was_made() {
    let site = Site::start();
    for stage in [Stage::Pre, Stage::Post] {
        let mut spec = shell("echo done >output/command");
        let slow = vec![step("touch output/up; sleep 60"), step("touch output/next")];
        match stage {
            Stage::Pre => spec.pre = slow,
            _ => spec.post = slow,
        }
        spec.post_decides = true;
        let task = Task::new(&site, spec).start();
        task.until("output/up");
        task.signal(Signal::TERM);
        let ran = task.finish();
        assert_eq!(ran.code(), 143, "{stage:?}");
        let report = ran.report();
        assert_eq!(report.outcome, Outcome::Cancelled);
        assert_eq!(report.steps.len(), 1);
        assert_eq!(report.steps[0].outcome, Outcome::Cancelled);
        let outputs = ran.outputs();
        assert!(outputs.path().join("up").exists() && !outputs.path().join("next").exists());
        let own = report.command.map(|end| (end.outcome, end.code));
        let wanted = (stage == Stage::Post).then_some((Outcome::Exited, Some(0)));
        assert_eq!(own, wanted);
    }
}

#[test]
fn a_cancel_between_two_steps_lets_the_first_decide_nothing() {
    let site = Site::start();
    // The signal and the end of the step that sends it come together, in an order that nobody knows: the signal may be
    // heard before that end, between the steps, or when the next step has begun, which then is ended.
    for _ in 0..8 {
        let mut spec = shell("true");
        spec.post = vec![step("kill -TERM $PPID"), step("sleep 60")];
        spec.post_decides = true;
        let ran = Task::new(&site, spec).finish();
        assert_eq!(ran.code(), 143);
        let report = ran.report();
        assert_eq!(report.outcome, Outcome::Cancelled);
        let ends: Vec<_> = report.steps.iter().map(|step| step.outcome).collect();
        match ends[..] {
            [Outcome::Exited] => {
                let message = report.problem.unwrap().message;
                assert!(message.contains("before post command 2 of 2"), "{message}");
            }
            [Outcome::Cancelled] | [Outcome::Exited, Outcome::Cancelled] => {}
            _ => panic!("{ends:?}"),
        }
    }
}

#[test]
fn setup_is_roots_and_the_rest_the_users() {
    let site = Site::start();
    let mut spec = shell("id -u >output/command; cat output/setup");
    spec.setup = vec![step("id -u >output/setup; chmod 644 output/setup")];
    spec.pre = vec![step("id -u >output/pre")];
    spec.post = vec![step("id -u >output/post")];
    if !geteuid().is_root() {
        let ran = Task::new(&site, spec).finish();
        let problem = ran.report().problem.unwrap();
        assert_eq!(problem.reason, Reason::User);
        assert!(problem.message.contains("setup commands"), "{problem:?}");
        return;
    }
    spec.user = Some("4321:4321".to_owned());
    let task = Task::new(&site, spec);
    open(task.directory.path());
    let ran = task.finish();
    assert_eq!(ran.code(), 0);
    assert_eq!(ran.stdout(), "0\n");
    for name in ["pre", "command", "post"] {
        assert_eq!(output(&ran, name), "4321\n", "{name}");
    }
}

#[test]
fn prepared_files_are_the_users_own_and_paths_are_absolute() {
    let site = Site::start();
    let mut spec = shell("stat -c '%a %u' .conf/a/prompt; cat .conf/a/prompt; echo $CONF");
    let content = b"\xff$(id)\n".to_vec().into();
    let path = ".conf/a/prompt".into();
    spec.files = vec![PreparedFile { path, content }];
    spec.workspace_env.insert("CONF".to_owned(), ".conf".into());
    if geteuid().is_root() {
        spec.user = Some("4321:4321".to_owned());
    }
    let user = spec.user.as_ref().map_or(geteuid().as_raw(), |_| 4321);
    let task = Task::new(&site, spec);
    open(task.directory.path());
    let ran = task.finish();
    let conf = ran.workspace().join(".conf");
    let mode = format!("600 {user}\n");
    let wanted = [
        mode.as_bytes(),
        b"\xff$(id)\n",
        conf.as_os_str().as_encoded_bytes(),
        b"\n",
    ];
    assert_eq!(ran.stream(wire::names::Stream::Stdout), wanted.concat());
}

#[test]
fn a_prepared_file_goes_through_no_link_of_an_input() {
    let site = Site::start();
    let source = tempfile::tempdir().unwrap();
    let outside = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink(outside.path(), source.path().join("link")).unwrap();
    let mut spec = shell("touch output/ran");
    spec.inputs.push(site.input("repo", source.path()));
    let path = "input/repo/link/evil".into();
    let content = "x".into();
    spec.files = vec![PreparedFile { path, content }];
    let ran = Task::new(&site, spec).finish();
    assert_eq!(ran.code(), 125);
    assert_eq!(ran.report().problem.unwrap().reason, Reason::Workspace);
    assert_eq!(std::fs::read_dir(outside.path()).unwrap().count(), 0);
}

/// Another user must be able to get there.
fn open(directory: &Path) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(directory, std::fs::Permissions::from_mode(0o755)).unwrap();
}
