//! A network that loses answers.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use rustix::process::Signal;

use crate::forgeries::{executions, job_of};
use crate::harness::{Done, Machine, Typed, wait_until};

/// What a proxy does when a request has its words.
type Strike = dyn Fn() -> Then + Send + Sync;

/// And then.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Then {
    /// The answer comes.
    Answer,
    /// The server acts on it, and the client never hears.
    Silence,
}

/// Passes bytes between a client and a server, and strikes when a request contains `words`.
fn proxy(
    server: String,
    words: &'static str,
    strike: impl Fn() -> Then + Send + Sync + 'static,
) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let strike: Arc<Strike> = Arc::new(strike);
    std::thread::spawn(move || {
        for client in listener.incoming() {
            let server = TcpStream::connect(server.trim_start_matches("http://")).unwrap();
            let strike = strike.clone();
            std::thread::spawn(move || pass(&client.unwrap(), &server, words, strike.as_ref()));
        }
    });
    address
}

fn pass(client: &TcpStream, server: &TcpStream, words: &str, strike: &Strike) {
    let (mut answers, mut to_client) = (server.try_clone().unwrap(), client.try_clone().unwrap());
    let silent = Arc::new(AtomicBool::new(false));
    let hush = silent.clone();
    let back = std::thread::spawn(move || {
        let mut buffer = vec![0; 65536];
        while let Ok(read @ 1..) = answers.read(&mut buffer) {
            if hush.load(Ordering::SeqCst) || to_client.write_all(&buffer[..read]).is_err() {
                break;
            }
        }
        let _ = to_client.shutdown(Shutdown::Both);
        let _ = answers.shutdown(Shutdown::Both);
    });
    let (mut questions, mut to_server) = (client, server);
    let mut buffer = vec![0; 65536];
    while let Ok(read @ 1..) = questions.read(&mut buffer) {
        let request = String::from_utf8_lossy(&buffer[..read]);
        if request.contains(words) && strike() == Then::Silence {
            silent.store(true, Ordering::SeqCst);
        }
        if to_server.write_all(&buffer[..read]).is_err() {
            break;
        }
    }
    let _ = server.shutdown(Shutdown::Write);
    let _ = back.join();
}

/// Strikes the first time only, and counts.
fn once(then: Then) -> (Arc<AtomicUsize>, impl Fn() -> Then) {
    let count = Arc::new(AtomicUsize::new(0));
    let counter = count.clone();
    let strike = move || {
        if counter.fetch_add(1, Ordering::SeqCst) == 0 {
            then
        } else {
            Then::Answer
        }
    };
    (count, strike)
}

/// `sortie run` in the machine's emulator, told to find its servers at these addresses.
fn at(machine: &Machine, run: &str, storage: &str, words: &[&str]) -> Done {
    typed_at(machine, run, storage, words).enter()
}

fn typed_at(machine: &Machine, run: &str, storage: &str, words: &[&str]) -> Typed {
    let first = machine
        .sortie(["run", "--json", "--", "true"])
        .enter()
        .code(0)
        .result();
    let job = job_of(machine, first["run"].as_str().unwrap());
    let flags = [
        "run",
        "--json",
        "--project",
        "sortie-local",
        "--region",
        "local",
        "--bucket",
        "goog-sortie-local",
        "--job",
        &job,
        "--run-endpoint",
        run,
        "--storage-endpoint",
        storage,
    ];
    let (_, token) = machine.emulator();
    let typed = machine.sortie(flags.iter().chain(words));
    typed.env("SORTIE_EMULATOR_TOKEN", token)
}

/// The endpoint of the machine's emulator, which is started for it.
fn emulator(machine: &Machine) -> String {
    machine.sortie(["run", "-q", "--", "true"]).enter().code(0);
    machine.emulator().0
}

#[test]
fn a_lost_answer_to_run_starts_nothing_twice() {
    let machine = Machine::new();
    let endpoint = emulator(&machine);
    let (asked, strike) = once(Then::Silence);
    let lossy = proxy(endpoint.clone(), ":run HTTP/1.1", strike);
    let words = ["--", "sh", "-c", "echo once; exit 4"];
    let result = at(&machine, &lossy, &endpoint, &words).code(4).result();
    assert_eq!(
        asked.load(Ordering::SeqCst),
        1,
        "the question was not asked again"
    );
    let job = job_of(&machine, result["run"].as_str().unwrap());
    assert_eq!(
        executions(&machine, &job).len(),
        3,
        "two of `true`, one of this"
    );
}

#[test]
fn a_lost_answer_to_a_look_is_asked_for_again() {
    let machine = Machine::new();
    let endpoint = emulator(&machine);
    let (asked, strike) = once(Then::Silence);
    let lossy = proxy(endpoint.clone(), "/executions/local-", strike);
    at(&machine, &lossy, &endpoint, &["--", "sh", "-c", "exit 4"]).code(4);
    assert!(asked.load(Ordering::SeqCst) > 1);
}

#[test]
fn a_second_ctrl_c_does_not_take_the_first_one_back() {
    let machine = Machine::new();
    let endpoint = emulator(&machine);
    let (asked, strike) = once(Then::Answer);
    let slow = proxy(endpoint.clone(), ":cancel HTTP/1.1", move || {
        std::thread::sleep(Duration::from_secs(1));
        strike()
    });
    let words = ["--out", "o", "--", "sh", "-c", "echo begun; sleep 300"];
    let mut running = typed_at(&machine, &slow, &endpoint, &words).start();
    running.event("output");
    running.signal(Signal::INT);
    running.event("cancelling");
    running.signal(Signal::INT);
    let left = running.end().code(130);
    assert_eq!(asked.load(Ordering::SeqCst), 1);
    let run = left.lines().last().unwrap()["run"]
        .as_str()
        .unwrap()
        .to_owned();
    let ended = || {
        let job = job_of(&machine, &run);
        let all = executions(&machine, &job);
        let state = |e: &serde_json::Value| e["completionTime"].is_string();
        all.iter().all(state)
    };
    wait_until("it is cancelled", ended);
}

#[test]
fn an_input_that_expires_beneath_a_run_is_sent_again_and_its_task_started_again() {
    let machine = Arc::new(Machine::new());
    let endpoint = emulator(&machine);
    machine.write("data", "precious");
    // The lifecycle rule strikes between the host's look at the pack and the container's fetch of it.
    let (struck, strike) = once(Then::Answer);
    let (owner, hit) = (machine.clone(), struck.clone());
    let slow = proxy(endpoint.clone(), "/starts/0.json", move || {
        if hit.load(Ordering::SeqCst) == 0 {
            crate::forgeries::delete_all(&owner, "inputs/");
        }
        strike()
    });
    let words = [
        "-i",
        "data",
        "--out",
        "o",
        "--",
        "sh",
        "-c",
        "cp input/data output/; exit 3",
    ];
    let done = at(&machine, &endpoint, &slow, &words).code(3);
    assert!(struck.load(Ordering::SeqCst) > 0, "the pack was deleted");
    let starts = done
        .lines()
        .iter()
        .filter(|line| line["event"] == "started")
        .count();
    assert_eq!(starts, 2, "{}", String::from_utf8_lossy(&done.stdout));
    assert_eq!(machine.text("o/output/data"), "precious");
}

#[test]
fn an_emulator_that_dies_in_the_middle_is_brought_back_and_the_task_told_as_lost() {
    let machine = Machine::new();
    let script = "echo begun > output/f; echo begun; sleep 300";
    let mut running = machine
        .sortie(["run", "--json", "--out", "o", "--", "sh", "-c", script])
        .start();
    running.event("output");
    machine.kill_emulator();
    let done = running.end().code(125);
    assert_eq!(done.result()["tasks"][0]["outcome"], "lost");
    assert_eq!(
        machine.text("o/stdout"),
        "begun\n",
        "what was seen of it is kept"
    );
}

#[test]
fn a_lost_piece_of_the_log_is_told_and_the_rest_is_there() {
    let machine = Machine::new();
    let script = "for i in 1 2 3; do echo line $i; sleep 1.5; done";
    let words = [
        "run", "--json", "-n", "2", "--out", "o", "--", "sh", "-c", script,
    ];
    let running = machine.sortie(words).start();
    let chunks = |machine: &Machine| {
        let names = crate::forgeries::names(machine, "runs/");
        names
            .into_iter()
            .filter(|name| name.contains("/logs/0.0.0."))
            .collect::<Vec<_>>()
    };
    wait_until("the emulator serves", || machine.emulator_pid().is_some());
    wait_until("there are two chunks", || chunks(&machine).len() > 1);
    crate::forgeries::delete_all(&machine, &chunks(&machine)[0]);
    let done = running.end().code(0);
    let run = done.result()["run"].as_str().unwrap().to_owned();
    let told = |done: &Done| done.result()["tasks"][0]["left_out"].to_string();
    assert!(told(&done).contains("7 bytes of `stdout` were lost"));
    assert_eq!(machine.text("o/0/stdout"), "line 2\nline 3\n");
    assert_eq!(machine.text("o/1/stdout"), "line 1\nline 2\nline 3\n");
    let again = machine.sortie(["wait", "--json", &run]).enter().code(0);
    assert_eq!(told(&again), told(&done), "whoever asks later is told too");
}
