//! What comes back.

use std::os::unix::fs::PermissionsExt;

use wire::contract::{Archive, INLINE_LIMIT, Outcome};

use crate::shell;
use crate::site::Site;
use crate::task::{Task, tree, unpack, until};

#[test]
fn a_small_result_rides_in_the_report() {
    let site = Site::start();
    let ran = Task::new(
        &site,
        shell("echo hi >output/a; mkdir output/d; ln -s ../a output/d/l"),
    )
    .finish();
    let report = ran.report();
    assert!(
        matches!(report.outputs.archive, Archive::Inline(_)),
        "{report:?}"
    );
    assert_eq!(report.outputs.entries, 3);
    assert_eq!(report.outputs.bytes, 3);
    assert_eq!(
        tree(ran.outputs().path()),
        tree(&ran.workspace().join("output"))
    );
    assert!(site.list(&ran.run.outputs()).is_empty());
}

#[test]
fn larger_results_are_objects_whatever_their_size() {
    let site = Site::start();
    for size in [INLINE_LIMIT, 3 << 20, 21 << 20] {
        let text = format!("head -c {size} /dev/urandom >output/random; seq 1000 >output/text");
        let ran = Task::new(&site, shell(text)).finish();
        let report = ran.report();
        assert!(
            matches!(report.outputs.archive, Archive::Object { .. }),
            "{report:?}"
        );
        assert_eq!(
            tree(ran.outputs().path()),
            tree(&ran.workspace().join("output"))
        );
    }
}

#[test]
fn streams_and_archive_share_the_reports_room() {
    let site = Site::start();
    let half = INLINE_LIMIT / 2 + 1;
    let text = format!("head -c {half} /dev/urandom | tee output/copy");
    let mut spec = shell(text);
    spec.log_interval_ms = 60_000;
    let ran = Task::new(&site, spec).finish();
    let report = ran.report();
    assert!(report.stdout.inline.is_some());
    assert!(
        matches!(report.outputs.archive, Archive::Object { .. }),
        "{:?}",
        report.outputs
    );
}

#[test]
fn permissions_come_back() {
    let site = Site::start();
    let text = "for m in 755 700 750 644 444; do echo $m >output/f$m; chmod $m output/f$m; mkdir output/d$m; \
                echo x >output/d$m/x; done; chmod 700 output/d700; chmod 750 output/d750; chmod 555 output/d444";
    let ran = Task::new(&site, shell(text)).finish();
    let outputs = ran.outputs();
    for mode in [0o755, 0o700, 0o750, 0o644, 0o444] {
        let found = std::fs::metadata(outputs.path().join(format!("f{mode:o}"))).unwrap();
        assert_eq!(found.permissions().mode() & 0o777, mode);
    }
    let mode = std::fs::metadata(outputs.path().join("d750"))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o750);
}

#[test]
fn a_directory_that_is_gone_or_replaced_is_an_empty_result() {
    let site = Site::start();
    let elsewhere = tempfile::tempdir().unwrap();
    std::fs::write(elsewhere.path().join("secret"), "secret").unwrap();
    let link = format!("rmdir output; ln -s {} output", elsewhere.path().display());
    for text in [
        "rm -rf output",
        &link,
        "rmdir output; echo file >output",
        "cd /; rm -rf \"$OLDPWD\"",
        "true",
    ] {
        let ran = Task::new(&site, shell(text)).finish();
        assert_eq!(ran.code(), 0, "{text}: {:?}", ran.output);
        let report = ran.report();
        assert_eq!(report.outcome, Outcome::Exited);
        assert_eq!(
            (report.outputs.entries, report.outputs.archive),
            (0, Archive::None),
            "{text}"
        );
    }
}

#[test]
fn the_users_own_files_are_safe() {
    let site = Site::start();
    let text = "for f in stdout stderr stdout.txt stderr.txt exitcode.txt report.json; do echo mine >output/$f; done; ls -A";
    let ran = Task::new(&site, shell(text)).finish();
    assert_eq!(
        ran.stdout(),
        "input\noutput\n",
        "nothing of ours lies beside them"
    );
    let found = tree(ran.outputs().path());
    assert_eq!(found.len(), 6);
    assert!(found.iter().all(|(_, _, _, content)| content == b"mine\n"));
}

#[test]
fn special_files_are_listed_and_left_out() {
    let site = Site::start();
    let ran = Task::new(&site, shell("mkfifo output/fifo; echo x >output/file")).finish();
    let report = ran.report();
    assert_eq!(
        (report.outputs.entries, report.outputs.skipped_total),
        (1, 1)
    );
    assert_eq!(report.outputs.skipped[0].path, "fifo".into());
}

#[test]
fn an_output_limit_leaves_out_and_names() {
    let site = Site::start();
    let mut spec = shell("head -c 1000 /dev/zero >output/a; head -c 1000 /dev/zero >output/b");
    spec.output_limit = Some(1500);
    let report = Task::new(&site, spec).finish().report();
    assert_eq!(
        (report.outputs.bytes, report.outputs.skipped_total),
        (1000, 1)
    );
}

#[test]
fn a_writer_in_the_background_breaks_nothing() {
    let site = Site::start();
    let text =
        "echo done >output/result; (while :; do echo line >>output/growing; done) & sleep 0.2";
    let ran = Task::new(&site, shell(text)).finish();
    assert_eq!(ran.code(), 0, "{:?}", ran.output);
    assert_eq!(
        std::fs::read(ran.outputs().path().join("result")).unwrap(),
        b"done\n"
    );
}

#[test]
fn checkpoints_are_whole_archives_of_a_running_command() {
    let site = Site::start();
    let mut spec = shell(
        "echo one >output/one; until [ -e first ]; do sleep 0.05; done; \
         head -c 2000000 /dev/urandom >output/two; until [ -e second ]; do sleep 0.05; done",
    );
    spec.checkpoint_interval_ms = Some(100);
    let task = Task::new(&site, spec).start();
    let run = task.task.run;
    let count = || site.list(&run.checkpoints()).len();
    until(|| count() >= 1, "the first checkpoint");
    std::fs::write(task.task.workspace().join("first"), "").unwrap();
    let before = count();
    until(|| count() > before + 1, "later checkpoints");
    let names = site.list(&run.checkpoints());
    let first = unpack(&site.get(&names[0]));
    assert_eq!(std::fs::read(first.path().join("one")).unwrap(), b"one\n");
    let last = unpack(&site.get(names.last().unwrap()));
    assert!(last.path().join("two").exists());
    std::fs::write(task.task.workspace().join("second"), "").unwrap();
    let ran = task.finish();
    assert_eq!(ran.code(), 0);
    assert_eq!(
        std::fs::metadata(ran.outputs().path().join("two"))
            .unwrap()
            .len(),
        2_000_000
    );
}
