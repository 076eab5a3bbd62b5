//! What only the steps after the command see, and what comes home beside the outputs.

use std::os::unix::fs::symlink;

use base64::Engine;
use rustix::process::geteuid;
use wire::contract::{Archive, Collect, Command, Outcome, Reason, Step};

use crate::shell;
use crate::site::Site;
use crate::task::{Finished, Task, tree, unpack};

fn step(text: &str) -> Step {
    Step::new(Command::Shell(text.into()))
}

fn collect(path: &str, name: &str) -> Collect {
    let (path, name) = (path.into(), name.into());
    Collect { path, name }
}

/// A grader that passes what says `right`.
fn grader() -> tempfile::TempDir {
    let source = tempfile::tempdir().unwrap();
    std::fs::write(source.path().join("grade"), "grep -qx right output/answer").unwrap();
    source
}

#[test]
fn a_post_input_appears_when_the_command_is_gone() {
    let site = Site::start();
    let grader = grader();
    let mut spec = shell("ls -A input >output/seen; echo right >output/answer");
    spec.post_inputs.push(site.input("grader", grader.path()));
    spec.post = vec![step("sh input/grader/grade")];
    spec.post_decides = true;
    let ran = Task::new(&site, spec).finish();
    assert_eq!(ran.code(), 0);
    let seen = std::fs::read_to_string(ran.outputs().path().join("seen")).unwrap();
    assert_eq!(seen, "");
    assert_eq!(
        tree(&ran.workspace().join("input/grader")),
        tree(grader.path())
    );
}

#[test]
fn what_the_command_put_in_the_graders_place_does_not_grade() {
    let site = Site::start();
    let grader = grader();
    let input = site.input("grader", grader.path());
    let outside = tempfile::tempdir().unwrap();
    let away = outside.path().display();
    for trick in [
        "mkdir -p input/grader; echo true >input/grader/grade".to_owned(),
        "echo true >input/grader".to_owned(),
        format!("ln -s {away} input/grader"),
        format!("rmdir input; ln -s {away} input"),
        "rmdir input; touch input".to_owned(),
        "rmdir input".to_owned(),
    ] {
        let mut spec = shell(format!("{trick}; echo wrong >output/answer"));
        spec.post_inputs.push(input.clone());
        spec.post = vec![step("sh input/grader/grade")];
        spec.post_decides = true;
        let ran = Task::new(&site, spec).finish();
        assert_eq!(ran.code(), 1, "{trick}");
        assert_eq!(ran.report().steps[0].code, Some(1), "{trick}");
        assert_eq!(
            std::fs::read_dir(outside.path()).unwrap().count(),
            0,
            "{trick}"
        );
    }
}

#[test]
fn a_post_input_that_is_not_there_is_a_problem_and_decides_nothing_but_where_it_shall() {
    let site = Site::start();
    let grader = grader();
    let mut spec = shell("exit 4");
    let mut input = site.input("grader", grader.path());
    input.packs[0].md5 = "0".repeat(32);
    spec.post_inputs.push(input);
    spec.post = vec![step("true")];
    let ran = Task::new(&site, spec.clone()).finish();
    assert_eq!(ran.code(), 4);
    let report = ran.report();
    assert_eq!((report.outcome, report.steps.len()), (Outcome::Exited, 0));
    assert_eq!(report.problem.unwrap().reason, Reason::Step);
    spec.post_decides = true;
    let ran = Task::new(&site, spec).finish();
    assert_eq!(ran.code(), 125);
    let report = ran.report();
    assert_eq!((report.outcome, report.code), (Outcome::Setup, None));
    assert_eq!(report.command.unwrap().code, Some(4));
}

/// A collected directory, unpacked.
fn collected(site: &Site, ran: &Finished<'_>, index: usize) -> tempfile::TempDir {
    match &ran.report().collected[index].outputs.archive {
        Archive::None => tempfile::tempdir().unwrap(),
        Archive::Inline(text) => {
            let engine = base64::engine::general_purpose::STANDARD;
            unpack(&engine.decode(text).unwrap())
        }
        Archive::Object { .. } => unpack(&site.get(&ran.objects().collected(index))),
    }
}

#[test]
fn collected_directories_come_home_apart_from_the_outputs() {
    let site = Site::start();
    let mut spec = shell(
        "mkdir -p .conf/projects/p; echo session >.conf/projects/p/s.jsonl; echo secret >.conf/credentials; \
         echo mine >output/s.jsonl; mkdir big; head -c 400000 /dev/urandom >big/noise",
    );
    spec.collect = vec![
        collect(".conf/projects", "sessions"),
        collect("big", "noise"),
        collect("no/where", "none"),
    ];
    let ran = Task::new(&site, spec).finish();
    assert_eq!(ran.code(), 0);
    let report = ran.report();
    let names: Vec<_> = report
        .collected
        .iter()
        .map(|one| one.name.lossy())
        .collect();
    assert_eq!(names, ["sessions", "noise", "none"]);
    assert!(report.collected.iter().all(|one| one.problem.is_none()));
    assert!(matches!(
        report.collected[0].outputs.archive,
        Archive::Inline(_)
    ));
    assert!(matches!(
        report.collected[1].outputs.archive,
        Archive::Object { .. }
    ));
    assert_eq!(report.collected[2].outputs.entries, 0);
    let workspace = ran.workspace();
    assert_eq!(
        tree(collected(&site, &ran, 0).path()),
        tree(&workspace.join(".conf/projects"))
    );
    assert_eq!(
        tree(collected(&site, &ran, 1).path()),
        tree(&workspace.join("big"))
    );
    assert_eq!(tree(ran.outputs().path()), tree(&workspace.join("output")));
}

#[test]
fn no_link_leads_the_collecting_out_of_the_workspace() {
    let site = Site::start();
    let outside = tempfile::tempdir().unwrap();
    std::fs::create_dir(outside.path().join("projects")).unwrap();
    std::fs::write(outside.path().join("projects/secret"), "secret").unwrap();
    let away = outside.path().display();
    for trick in [
        format!("ln -s {away} .conf"),
        format!("mkdir .conf; ln -s {away}/projects .conf/projects"),
        "mkdir .conf; echo file >.conf/projects".to_owned(),
    ] {
        let mut spec = shell(trick.clone());
        spec.collect = vec![collect(".conf/projects", "sessions")];
        let ran = Task::new(&site, spec).finish();
        let report = ran.report();
        assert_eq!(
            report.collected[0].outputs.archive,
            Archive::None,
            "{trick}"
        );
        assert_eq!(report.outcome, Outcome::Exited);
    }
}

#[test]
fn what_is_collected_comes_home_from_a_deadline_and_a_failed_step_too() {
    let site = Site::start();
    let mut spec = shell("mkdir conf; echo so far >conf/s; sleep 60");
    spec.timeout_ms = Some(500);
    spec.collect = vec![collect("conf", "sessions")];
    let ran = Task::new(&site, spec).finish();
    assert_eq!(ran.report().outcome, Outcome::Deadline);
    assert!(collected(&site, &ran, 0).path().join("s").exists());
    let mut spec = shell("true");
    spec.pre = vec![step("mkdir conf; echo so far >conf/s; exit 1")];
    spec.collect = vec![collect("conf", "sessions")];
    let ran = Task::new(&site, spec).finish();
    assert_eq!(ran.report().outcome, Outcome::Setup);
    assert!(collected(&site, &ran, 0).path().join("s").exists());
}

#[test]
fn a_users_private_directory_is_collected() {
    if !geteuid().is_root() {
        return;
    }
    let site = Site::start();
    let mut spec = shell(
        "mkdir -p conf/projects; echo x >conf/projects/s; chmod 700 conf/projects; chmod 711 conf",
    );
    spec.user = Some("4321:4321".to_owned());
    spec.collect = vec![collect("conf/projects", "sessions")];
    let task = Task::new(&site, spec);
    std::os::unix::fs::chown(task.directory.path(), Some(4321), None).unwrap();
    let ran = task.finish();
    assert_eq!(ran.report().collected[0].outputs.entries, 1);
}

#[test]
fn a_link_in_what_is_collected_is_kept_as_one() {
    let site = Site::start();
    let mut spec = shell("mkdir conf; ln -s /etc/passwd conf/link");
    spec.collect = vec![collect("conf", "sessions")];
    let ran = Task::new(&site, spec).finish();
    let wanted = tempfile::tempdir().unwrap();
    symlink("/etc/passwd", wanted.path().join("link")).unwrap();
    assert_eq!(tree(collected(&site, &ran, 0).path()), tree(wanted.path()));
}
