//! What comes home is what was written, whatever the command does to its surroundings.

use std::fs;

use crate::harness::Machine;

fn shell(machine: &Machine, script: &str) -> crate::harness::Done {
    machine
        .sortie(["run", "--out", "o", "--", "sh", "-c", script])
        .enter()
}

#[test]
fn results_lie_where_they_are_said_to() {
    let machine = Machine::new();
    let done = machine
        .sortie([
            "run",
            "--json",
            "--",
            "sh",
            "-c",
            "echo hi; echo x > output/f",
        ])
        .enter()
        .code(0);
    let run = done.result()["run"].as_str().unwrap().to_owned();
    let base = format!("sortie-results/{run}/0");
    assert_eq!(machine.text(&format!("{base}/stdout")), "hi\n");
    assert_eq!(machine.text(&format!("{base}/stderr")), "");
    assert_eq!(machine.text(&format!("{base}/output/f")), "x\n");
    let report: serde_json::Value =
        serde_json::from_slice(&machine.read(&format!("{base}/report.json"))).unwrap();
    assert_eq!(
        (&report["outcome"], &report["code"]),
        (&"exited".into(), &0.into())
    );
    let names = fs::read_dir(machine.path("sortie-results").join(run))
        .unwrap()
        .count();
    assert_eq!(names, 1, "nothing half-done lies beside");
}

#[test]
fn streams_that_are_no_text_are_safe() {
    let machine = Machine::new();
    let done = shell(&machine, r"printf '\377\376\000\n'; printf '\200' >&2").code(0);
    assert_eq!(done.stdout, b"\xff\xfe\x00\n");
    assert_eq!(machine.read("o/stdout"), b"\xff\xfe\x00\n");
    assert_eq!(machine.read("o/stderr"), b"\x80");
}

#[test]
fn a_removed_output_directory_is_an_empty_result() {
    let machine = Machine::new();
    shell(
        &machine,
        "rm -rf output ../workspace/output; echo still here",
    )
    .code(0)
    .prints("still here\n");
    assert_eq!(fs::read_dir(machine.path("o/output")).unwrap().count(), 0);
}

#[test]
fn an_output_directory_replaced_by_a_link_gives_nothing_away() {
    let machine = Machine::new();
    shell(&machine, "rm -rf output; ln -s /etc output").code(0);
    assert_eq!(fs::read_dir(machine.path("o/output")).unwrap().count(), 0);
}

#[test]
fn files_named_like_ours_are_the_users() {
    let machine = Machine::new();
    let script = "for f in stdout stdout.txt stderr exitcode.txt report.json; do echo mine > output/$f; done; echo real";
    shell(&machine, script).code(0).prints("real\n");
    for name in [
        "stdout",
        "stdout.txt",
        "stderr",
        "exitcode.txt",
        "report.json",
    ] {
        assert_eq!(machine.text(&format!("o/output/{name}")), "mine\n");
    }
    assert_eq!(machine.text("o/stdout"), "real\n");
}

#[test]
fn a_background_writer_loses_nothing_and_survives_nothing() {
    let machine = Machine::new();
    let script = "(trap '' TERM HUP; while :; do echo noise >> output/noise; done) & echo kept > output/kept; sleep 0.2; exit 5";
    shell(&machine, script).code(5);
    assert_eq!(machine.text("o/output/kept"), "kept\n");
    assert!(machine.text("o/output/noise").starts_with("noise\n"));
}

#[test]
fn links_to_places_on_this_machine_are_left_out_and_named() {
    let machine = Machine::new();
    let secret = machine.write("secret", "of the host");
    let script = format!(
        "cd output && ln -s {} stolen && ln -s ../../secret up && ln -s kept inside && echo x > kept",
        secret.display()
    );
    shell(&machine, &script)
        .code(0)
        .says("`stolen`")
        .says("`up`");
    assert!(fs::symlink_metadata(machine.path("o/output/stolen")).is_err());
    assert!(fs::symlink_metadata(machine.path("o/output/up")).is_err());
    assert_eq!(machine.text("o/output/inside"), "x\n");
}

#[test]
fn what_no_archive_can_carry_is_named() {
    let machine = Machine::new();
    shell(&machine, "mkfifo output/pipe; echo x > output/kept")
        .code(0)
        .says("`pipe`");
    assert_eq!(machine.text("o/output/kept"), "x\n");
}

#[test]
fn large_outputs_and_logs_arrive_and_leave_the_bucket() {
    let machine = Machine::new();
    let script = "head -c 3000000 /dev/urandom > output/random; cksum < output/random; seq 1 200000 > output/seq; seq 1 200000";
    let done = shell(&machine, script).code(0);
    let (sum, rest) = std::str::from_utf8(&done.stdout)
        .unwrap()
        .split_once('\n')
        .unwrap();
    let here = std::process::Command::new("cksum")
        .arg(machine.path("o/output/random"))
        .output();
    assert!(
        String::from_utf8(here.unwrap().stdout)
            .unwrap()
            .starts_with(sum),
        "{sum}"
    );
    assert_eq!(machine.text("o/output/seq"), rest);
    assert_eq!(machine.text("o/stdout"), format!("{sum}\n{rest}"));
    let left = crate::forgeries::names(&machine, "runs/");
    assert!(
        !left.iter().any(|name| name.contains("/outputs/")),
        "{left:?}"
    );
    assert!(
        left.iter().any(|name| name.contains("/reports/")),
        "{left:?}"
    );
}

#[test]
fn output_is_shown_while_the_command_runs() {
    let machine = Machine::new();
    let script = "echo first; while [ ! -e /tmp/go ] && [ $((i+=1)) -lt 600 ]; do sleep 0.1; done; echo last";
    let words = ["run", "--json", "--", "sh", "-c", script];
    let mut running = machine.sortie(words).start();
    let early = running.event("output");
    assert_eq!(early["data"], "first\n", "shown before the end");
    running.signal(rustix::process::Signal::TERM);
    assert_eq!(
        running.end().code(130).result()["tasks"][0]["outcome"],
        "cancelled"
    );
}

#[test]
fn an_empty_directory_that_is_there_is_filled() {
    let machine = Machine::new();
    fs::create_dir(machine.path("there")).unwrap();
    std::os::unix::fs::symlink("there", machine.path("link")).unwrap();
    machine
        .sortie([
            "run",
            "--out",
            "link",
            "--",
            "sh",
            "-c",
            "echo x > output/f",
        ])
        .enter()
        .code(0);
    assert_eq!(machine.text("there/output/f"), "x\n");
    let names = fs::read_dir(machine.path("there")).unwrap().count();
    assert_eq!(
        names, 4,
        "output, stdout, stderr, report.json and nothing else"
    );
    let inside = machine
        .sortie(["run", "--out", ".", "--", "true"])
        .directory("fresh");
    inside.enter().code(0);
    assert!(machine.path("fresh/report.json").exists());
}

#[test]
fn names_that_would_steer_a_terminal_are_tamed() {
    let machine = Machine::new();
    let done = shell(&machine, r#"mkfifo "$(printf 'output/\033]0;evil\007')""#).code(0);
    assert!(
        done.stderr.contains("evil") && !done.stderr.contains('\x1b'),
        "{:?}",
        done.stderr
    );
}

#[test]
fn checkpoints_survive_what_cannot_be_caught_and_go_when_all_is_home() {
    let machine = Machine::new();
    // The entrypoint itself is killed: no report, but the last checkpoint and the logs.
    let script = "echo saved > output/f; echo said; sleep 2.5; kill -9 $PPID; sleep 300";
    let words = [
        "run",
        "--json",
        "--sandbox",
        "none",
        "--checkpoint",
        "1s",
        "--out",
        "o",
        "--",
        "sh",
        "-c",
        script,
    ];
    let done = machine.sortie(words).enter().code(125);
    assert_eq!(done.result()["tasks"][0]["outcome"], "lost");
    assert_eq!(machine.text("o/output/f"), "saved\n");
    assert_eq!(machine.text("o/stdout"), "said\n");
    let words = [
        "run",
        "-q",
        "--checkpoint",
        "1s",
        "--out",
        "p",
        "--",
        "sh",
        "-c",
        "echo x > output/f; sleep 1.5",
    ];
    let before = checkpoints(&machine);
    machine.sortie(words).enter().code(0);
    assert_eq!(checkpoints(&machine), before);
}

fn checkpoints(machine: &Machine) -> usize {
    let names = crate::forgeries::names(machine, "runs/");
    names
        .iter()
        .filter(|name| name.contains("/checkpoints/"))
        .count()
}

/// Their names are more bytes than their content.
#[test]
fn empty_files_with_long_names_and_links_to_them_come_home() {
    let machine = Machine::new();
    let name = "n".repeat(200);
    let script = format!("cd output && : > {name} && ln -s {name} link");
    shell(&machine, &script).code(0).says_nothing_of("lost");
    assert_eq!(machine.text(&format!("o/output/{name}")), "");
    assert_eq!(machine.text("o/output/link"), "");
}
