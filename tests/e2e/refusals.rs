//! What cannot work is refused in one clear line, with a hint, before anything is sent or written.

use std::fs;
use std::io::Read;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;

use crate::harness::{Done, Machine, SORTIE};

/// One `error:` line, a `hint:` line, nothing started and nothing left.
#[track_caller]
fn refused(machine: &Machine, done: Done, error: &str, hint: &str) {
    let done = done.code(125).prints("");
    let lines: Vec<&str> = done.stderr.lines().collect();
    assert!(
        lines[0].starts_with("error: ") && lines[0].contains(error),
        "{}",
        done.stderr
    );
    assert!(
        lines[1].starts_with("hint: ") && lines[1].contains(hint),
        "{}",
        done.stderr
    );
    assert_eq!(lines.len(), 2, "{}", done.stderr);
    assert!(machine.emulator_pid().is_none(), "nothing was started");
    assert!(fs::symlink_metadata(machine.path("sortie-results")).is_err());
}

fn run(machine: &Machine, words: &[&str]) -> Done {
    machine.sortie(["run"].iter().chain(words)).enter()
}

#[test]
fn an_unknown_flag() {
    let machine = Machine::new();
    let done = run(&machine, &["--inptu", "x", "--", "true"]).code(125);
    done.says("unexpected argument '--inptu'").says("--input");
}

#[test]
fn no_command() {
    let machine = Machine::new();
    let done = run(&machine, &[]);
    refused(
        &machine,
        done,
        "there is no command to run",
        "`sortie run --input data.csv -- wc",
    );
}

#[test]
fn a_command_without_dashes() {
    let machine = Machine::new();
    let done = run(&machine, &["echo"]);
    refused(
        &machine,
        done,
        "`echo` is no task file",
        "`sortie run -- echo …`",
    );
}

#[test]
fn a_missing_input() {
    let machine = Machine::new();
    let done = run(&machine, &["-i", "nowhere", "--", "true"]);
    done.says("error: cannot read the input `nowhere`")
        .says("nowhere");
    assert!(machine.emulator_pid().is_none());
}

#[test]
fn bad_input_names() {
    let machine = Machine::new();
    machine.write("f", "x");
    for name in ["..", "a/b", "-rf", "."] {
        let done = run(&machine, &[&format!("--input={name}=f"), "--", "true"]);
        done.says("error: the task cannot be sent: the input name")
            .prints("");
        assert!(
            machine.emulator_pid().is_none(),
            "nothing was started for `{name}`"
        );
    }
    let done = run(&machine, &["-i", "x=f", "-i", "x=f", "--", "true"]);
    refused(
        &machine,
        done,
        "two inputs are named `x`",
        "--input NAME=PATH",
    );
}

#[test]
fn an_argument_that_no_kernel_takes() {
    let machine = Machine::new();
    let file = format!("[[task]]\nargv = ['echo', '{}']\n", "x".repeat(140_000));
    machine.write("t.toml", file);
    let done = run(&machine, &["t.toml"]).code(125);
    done.says("argument 1 of the command has 140000 bytes")
        .says("send it as an input file");
    assert!(machine.emulator_pid().is_none());
}

#[test]
fn an_unreadable_input() {
    let machine = Machine::of_nobody();
    let path = machine.write("dir/secret", "x");
    fs::set_permissions(path, fs::Permissions::from_mode(0o000)).unwrap();
    let done = run(&machine, &["-i", "dir", "--", "true"]).code(125);
    done.says("error: cannot pack the input `dir`: cannot read")
        .says("dir/secret")
        .says("hint: make");
    assert!(fs::symlink_metadata(machine.path("sortie-results")).is_err());
}

#[test]
fn a_socket_in_an_input() {
    let machine = Machine::new();
    fs::create_dir(machine.path("dir")).unwrap();
    let _socket = UnixListener::bind(machine.path("dir/s")).unwrap();
    run(&machine, &["-i", "dir", "--", "true"])
        .code(125)
        .says("dir/s` is a socket");
}

#[test]
fn results_never_go_where_something_is() {
    let machine = Machine::new();
    machine.write("o/mine", "precious");
    let done = run(&machine, &["--out", "o", "--", "true"]);
    refused(&machine, done, "o` is not empty", "--out");
    assert_eq!(machine.text("o/mine"), "precious");
}

#[test]
fn results_that_cannot_be_written() {
    let machine = Machine::of_nobody();
    let words = ["--json", "--out", "/proc/no/such/place", "--", "true"];
    let done = run(&machine, &words).code(125);
    let done = done
        .says("error: cannot make `/proc/no/such/place`")
        .says("hint: name a directory");
    let lines = done.lines();
    assert!(
        lines.iter().all(|line| line["event"] != "started"),
        "nothing was started"
    );
    let last = lines.last().unwrap();
    assert_eq!(
        (&last["event"], &last["exit_code"]),
        (&"error".into(), &125.into())
    );
}

#[test]
fn a_timeout_longer_than_a_week() {
    let machine = Machine::new();
    let done = run(&machine, &["--timeout", "8d", "--", "true"]);
    refused(
        &machine,
        done,
        "the timeout is longer than Cloud Run allows",
        "168 hours",
    );
}

#[test]
fn one_standard_input_for_two() {
    let machine = Machine::new();
    let done = run(&machine, &["--shell-file", "-", "--stdin", "-"]);
    refused(&machine, done, "standard input cannot be both", "as a file");
}

#[test]
fn an_environment_where_there_is_no_team() {
    let machine = Machine::new();
    let done = run(&machine, &["--environment", "gpu", "--", "true"]);
    refused(&machine, done, "no bucket is set", "`--bucket`");
}

#[test]
fn a_full_disk_is_told_and_the_results_can_still_be_had() {
    let machine = Machine::new();
    // The emulator must live outside the small disk's namespace.
    run(&machine, &["-q", "--out", "first", "--", "true"]).code(0);
    fs::create_dir(machine.path("small")).unwrap();
    let script = "mount -t tmpfs -o size=200k tmpfs small && exec \"$0\" run --json --out small/o -- sh -c 'head -c 900000 /dev/urandom > output/big'";
    let words = ["-Urm", "sh", "-c", script, SORTIE];
    let done = machine.program("unshare", words).enter().code(125);
    let done = done
        .says("No space left on device")
        .says("hint: `sortie wait ");
    let run = done
        .lines()
        .iter()
        .find(|line| line["event"] == "started")
        .unwrap()["run"]
        .clone();
    assert_eq!(fs::read_dir(machine.path("small")).unwrap().count(), 0);
    machine
        .sortie(["wait", run.as_str().unwrap()])
        .enter()
        .code(0);
    assert_eq!(machine.read("small/o/output/big").len(), 900_000);
}

#[test]
fn a_data_directory_that_cannot_be_used() {
    let machine = Machine::new();
    let path = machine.write("file", "x");
    let typed = machine
        .sortie(["run", "--", "true"])
        .env("SORTIE_DATA_DIR", path);
    typed
        .enter()
        .code(125)
        .says("error: cannot use the data directory")
        .says("hint: set `SORTIE_DATA_DIR`");
}

#[test]
fn a_port_in_use() {
    let machine = Machine::new();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let done = machine
        .sortie(["emulator", "--port", &port])
        .enter()
        .code(125)
        .prints("");
    done.says("error: cannot serve the emulator")
        .says("Address already in use")
        .says("hint:");
}

#[test]
fn a_broken_settings_file() {
    let machine = Machine::new();
    machine.write("sortie.toml", "project = 'p'\nbuckt = 'b'\n");
    run(&machine, &["--", "true"])
        .code(125)
        .says("sortie.toml`")
        .says("buckt");
    machine.write("sortie.toml", "project = 'p'\nbucket = 'b'\n");
    run(&machine, &["--", "true"])
        .code(125)
        .says("error: no environment is named `default`");
}

#[test]
fn a_token_goes_to_no_server_that_a_flag_alone_names() {
    let machine = Machine::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let heard = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut buffer = [0; 4096];
        let read = stream.read(&mut buffer).unwrap();
        String::from_utf8_lossy(&buffer[..read]).to_lowercase()
    });
    // Credentials lie ready; the endpoint is not Google's.
    let key =
        r#"{"type":"authorized_user","client_id":"i","client_secret":"s","refresh_token":"r"}"#;
    let adc = machine
        .home()
        .join(".config/gcloud/application_default_credentials.json");
    fs::create_dir_all(adc.parent().unwrap()).unwrap();
    fs::write(adc, key).unwrap();
    let words = [
        "run",
        "--project",
        "p",
        "--bucket",
        "b",
        "--job",
        "j",
        "--run-endpoint",
        &address,
        "--storage-endpoint",
        &address,
        "--",
        "true",
    ];
    let running = machine.sortie(words).start();
    let request = heard.join().unwrap();
    running.signal(rustix::process::Signal::KILL);
    running.end();
    assert!(
        request.contains("/v2/projects/p/") || request.contains("/b/b/o"),
        "{request}"
    );
    assert!(!request.contains("authorization"), "{request}");
}
