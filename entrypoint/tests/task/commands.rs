//! What is run, and with what.

use wire::contract::{Outcome, Reason};
use wire::names::Stream;

use crate::site::Site;
use crate::task::Task;
use crate::{argv, shell};

#[test]
fn the_exit_code_is_the_commands() {
    let site = Site::start();
    for (text, code) in [("true", 0), ("exit 7", 7), ("exit 255", 255)] {
        let ran = Task::new(&site, shell(text)).finish();
        assert_eq!(ran.code(), code, "{text}");
        let report = ran.report();
        assert_eq!((report.outcome, report.code), (Outcome::Exited, Some(code)));
        let metadata = ran.metadata();
        assert_eq!(metadata["outcome"], "exited");
        assert_eq!(metadata["code"], code.to_string());
    }
}

#[test]
fn a_signal_is_told_from_a_code() {
    let site = Site::start();
    for (signal, number) in [("KILL", 9), ("SEGV", 11), ("RTMIN", 34)] {
        let ran = Task::new(&site, shell(format!("kill -{number} $$"))).finish();
        assert_eq!(ran.code(), 128 + number, "{signal}");
        let report = ran.report();
        assert_eq!(report.outcome, Outcome::Signaled);
        assert_eq!(
            (report.code, report.signal),
            (Some(128 + number), Some(number))
        );
    }
}

#[test]
fn a_command_that_is_not_there_is_127_and_says_so_on_its_stderr() {
    let site = Site::start();
    for program in ["no-such-program", "/no/such/program", "./no"] {
        let ran = Task::new(&site, argv(&[program])).finish();
        assert_eq!(ran.code(), 127, "{program}");
        let report = ran.report();
        assert_eq!((report.outcome, report.code), (Outcome::Exec, Some(127)));
        assert_eq!(report.problem.as_ref().unwrap().reason, Reason::Exec);
        assert!(ran.stderr().contains(program), "{:?}", ran.stderr());
    }
}

#[test]
fn a_command_that_may_not_be_executed_is_126() {
    let site = Site::start();
    let source = tempfile::tempdir().unwrap();
    let file = source.path().join("data");
    std::fs::write(&file, "not a program").unwrap();
    let input = site.input("data", &file);
    for program in ["input/data", "/", "/etc/passwd"] {
        let mut spec = argv(&[program]);
        spec.inputs.push(input.clone());
        let ran = Task::new(&site, spec).finish();
        assert_eq!(ran.code(), 126, "{program}");
        assert_eq!(ran.report().outcome, Outcome::Exec);
    }
}

#[test]
fn arguments_arrive_as_they_are() {
    let site = Site::start();
    let arguments: [&[u8]; 7] = [
        b"it's",
        b"\"double\" $HOME `id`",
        b"",
        b"two\nlines",
        b"\xff\xfe",
        b"-n",
        b"*",
    ];
    let mut all: Vec<&[u8]> = vec![b"printf", b"%s\\0"];
    all.extend(arguments);
    let ran = Task::new(&site, argv(&all)).finish();
    let mut expected = arguments.join(&0);
    expected.push(0);
    assert_eq!(ran.stream(Stream::Stdout), expected);
}

#[test]
fn stdout_may_be_any_bytes() {
    let site = Site::start();
    let ran = Task::new(&site, shell(r"printf '\377\000\200ok'; printf '\376' >&2")).finish();
    assert_eq!(ran.stream(Stream::Stdout), b"\xff\0\x80ok");
    assert_eq!(ran.stream(Stream::Stderr), b"\xfe");
    assert_eq!(
        ran.output.stdout, b"\xff\0\x80ok",
        "the container's own stdout has it too"
    );
    assert_eq!(ran.output.stderr, b"\xfe");
}

#[test]
fn shell_text_may_have_any_size_and_any_bytes() {
    let site = Site::start();
    let mut text = b"echo begin\n".to_vec();
    while text.len() < 1 << 20 {
        text.extend_from_slice(b": padding 'with quotes' \"$HOME\" \xff\n");
    }
    text.extend_from_slice(b"echo end\n");
    let ran = Task::new(&site, shell(text)).finish();
    assert_eq!(ran.stdout(), "begin\nend\n");
}

#[test]
fn the_environment_is_the_containers_and_the_specs_but_not_ours() {
    let site = Site::start();
    let mut spec = argv(&["env", "-0"]);
    spec.env
        .insert("ADDED".to_owned(), b"\xff\n=".to_vec().into());
    spec.env.insert("REPLACED".to_owned(), "by the spec".into());
    let ran = Task::new(&site, spec)
        .env("REPLACED", "by nobody")
        .env("KEPT", "kept")
        .env("SORTIE_SECRET", "x")
        .finish();
    let bytes = ran.stream(Stream::Stdout);
    let has = |variable: &[u8]| {
        bytes
            .split(|&byte| byte == 0)
            .any(|found| found == variable)
    };
    assert!(has(b"ADDED=\xff\n=") && has(b"REPLACED=by the spec") && has(b"KEPT=kept"));
    assert!(
        bytes
            .split(|&byte| byte == 0)
            .any(|found| found.starts_with(b"HOME=/"))
    );
    assert!(
        !bytes.windows(6).any(|window| window == b"SORTIE"),
        "{bytes:?}"
    );
}

#[test]
fn the_specs_path_finds_the_program() {
    let site = Site::start();
    let source = tempfile::tempdir().unwrap();
    let tool = source.path().join("only-here");
    std::fs::write(&tool, "#!/bin/sh\necho found by $0\n").unwrap();
    std::fs::set_permissions(&tool, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let mut spec = argv(&["only-here"]);
    spec.inputs.push(site.input("tools", source.path()));
    spec.env
        .insert("PATH".to_owned(), "input/tools:/usr/bin:/bin".into());
    let ran = Task::new(&site, spec).finish();
    assert_eq!(ran.stdout(), "found by input/tools/only-here\n");
}

#[test]
fn stdin_is_the_specs_whatever_its_size() {
    let site = Site::start();
    let stdin: Vec<u8> = (0..2_000_000_u32)
        .map(|i| i.to_le_bytes()[i as usize % 3])
        .collect();
    let mut spec = shell("cat >output/copy; echo read");
    spec.stdin = Some(stdin.clone().into());
    let ran = Task::new(&site, spec).finish();
    assert_eq!(
        std::fs::read(ran.workspace().join("output/copy")).unwrap(),
        stdin
    );
    // A command that does not care is not stopped by it.
    let mut spec = argv(&["true"]);
    spec.stdin = Some(stdin.into());
    assert_eq!(Task::new(&site, spec).finish().code(), 0);
}

#[test]
fn without_stdin_there_is_nothing_to_read() {
    let site = Site::start();
    let ran = Task::new(&site, shell("cat; echo end")).finish();
    assert_eq!(ran.stdout(), "end\n");
}

#[test]
fn it_runs_in_the_workspace_with_default_signals_and_no_descriptors_of_ours() {
    let site = Site::start();
    let text = "pwd; ls /proc/$$/fd; grep -E 'SigIgn|SigBlk' /proc/self/status";
    let ran = Task::new(&site, shell(text)).finish();
    let stdout = ran.stdout();
    let lines: Vec<_> = stdout.lines().collect();
    assert_eq!(lines[0], ran.workspace().to_str().unwrap());
    let fds = lines[1..]
        .iter()
        .filter_map(|line| line.parse::<u32>().ok());
    // 10 is the shell's own, 100 the script's, 255 another shell's own.
    assert!(
        fds.clone().all(|fd| matches!(fd, 0..=2 | 10 | 100 | 255)),
        "{stdout}"
    );
    assert!(stdout.contains("SigBlk:\t0000000000000000"), "{stdout}");
    assert!(stdout.contains("SigIgn:\t0000000000000000"), "{stdout}");
}
