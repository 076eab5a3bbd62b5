//! What the command says while it runs.

use wire::contract::INLINE_LIMIT;
use wire::names::Stream;

use crate::proxy::{Fault, Proxy};
use crate::shell;
use crate::site::Site;
use crate::task::{Task, until};

#[test]
fn a_short_command_writes_no_chunk() {
    let site = Site::start();
    let mut spec = shell("echo out; echo err >&2");
    spec.log_interval_ms = 60_000;
    let ran = Task::new(&site, spec).finish();
    let report = ran.report();
    assert_eq!((report.stdout.chunks, report.stderr.chunks), (0, 0));
    assert_eq!(
        (ran.stdout(), ran.stderr()),
        ("out\n".to_owned(), "err\n".to_owned())
    );
    assert!(site.list(&ran.run.logs()).is_empty());
}

#[test]
fn a_long_one_can_be_followed() {
    let site = Site::start();
    let mut spec =
        shell("echo first; until [ -e go ]; do sleep 0.05; done; echo second; echo err >&2");
    spec.log_interval_ms = 100;
    let task = Task::new(&site, spec).start();
    let run = task.task.run;
    until(|| !site.list(&run.logs()).is_empty(), "the first chunk");
    let first = site.list(&run.logs());
    assert_eq!(site.get(&first[0]), &b"first\n"[..]);
    std::fs::write(task.task.workspace().join("go"), "").unwrap();
    let ran = task.finish();
    assert_eq!(
        (ran.stdout(), ran.stderr()),
        ("first\nsecond\n".to_owned(), "err\n".to_owned())
    );
}

#[test]
fn a_chunk_that_is_refused_leaves_no_gap_and_does_not_tell_the_key() {
    let site = Site::start();
    let mut spec = shell("echo first; until [ -e go ]; do sleep 0.05; done; echo second");
    spec.log_interval_ms = 100;
    let proxy = Proxy::start(&site.storage, b"/logs/", Fault::RefuseOnce);
    let task = Task::new(&site, spec)
        .env("STORAGE_EMULATOR_HOST", &proxy.address)
        .start();
    let run = task.task.run;
    until(|| !site.list(&run.logs()).is_empty(), "the first chunk");
    std::fs::write(task.task.workspace().join("go"), "").unwrap();
    let ran = task.finish();
    assert_eq!(ran.stdout(), "first\nsecond\n");
    let log = String::from_utf8_lossy(&ran.output.stderr).into_owned();
    assert!(log.contains("log chunk 0"), "{log}");
    assert!(!log.contains(&ran.objects().key), "{log}");
}

#[test]
fn a_flood_is_kept_byte_for_byte() {
    let site = Site::start();
    // 50 MiB that compress to nothing would hide a swapped chunk: every line has its number.
    let mut spec = shell("seq -f '%015.0f' 3276800; seq 100000 >&2");
    spec.log_interval_ms = 200;
    let ran = Task::new(&site, spec).finish();
    let stdout = ran.stream(Stream::Stdout);
    assert_eq!(stdout.len(), 50 << 20);
    for (index, line) in stdout.chunks(16).enumerate() {
        assert!(
            line == format!("{:015}\n", index + 1).as_bytes(),
            "line {index}"
        );
    }
    assert_eq!(ran.stderr().lines().count(), 100_000);
    assert_eq!(
        ran.output.stdout.len(),
        50 << 20,
        "the container's own stdout has it too"
    );
}

#[test]
fn streams_too_large_for_the_report_become_chunks() {
    let site = Site::start();
    let mut spec = shell(format!("head -c {INLINE_LIMIT} /dev/zero; printf x"));
    spec.log_interval_ms = 60_000;
    let ran = Task::new(&site, spec).finish();
    assert_eq!(ran.report().stdout.chunks, 1);
    assert_eq!(ran.stream(Stream::Stdout).len(), INLINE_LIMIT + 1);
}

#[test]
fn a_closed_container_log_is_no_reason_to_stop() {
    let site = Site::start();
    let run = site.run(shell(
        "for i in 1 2 3; do echo $i; sleep 0.1; done; seq 100000",
    ));
    let script = r#""$0" >&- 2>&-"#;
    let shell_argv = ["/bin/sh".as_ref(), "-c".as_ref(), script.as_ref()];
    let mut argv = shell_argv.to_vec();
    argv.push(std::ffi::OsStr::new(env!(
        "CARGO_BIN_EXE_sortie-entrypoint"
    )));
    let ran = Task::under(&site, run, &argv).finish();
    assert_eq!(ran.code(), 0);
    assert_eq!(ran.stdout().lines().count(), 100_003);
    // A pipe whose reader has left.
    let run = site.run(shell("seq 100000"));
    let script = r#""$0" | true; exit 0"#;
    argv[2] = script.as_ref();
    let ran = Task::under(&site, run, &argv).finish();
    assert_eq!(ran.stdout().lines().count(), 100_000);
}

#[test]
fn a_container_log_that_nobody_reads_is_given_up_in_the_end() {
    let site = Site::start();
    let task = Task::new(&site, shell("seq 200000")).start();
    let reports = task.task.run.reports();
    // Nobody reads our end of the pipe until the task has ended.
    until(|| !site.list(&reports).is_empty(), "the report");
    let ran = task.finish();
    assert_eq!(ran.code(), 0);
    assert_eq!(ran.stdout().lines().count(), 200_000);
    assert!(ran.output.stdout.len() < ran.stdout().len());
}
