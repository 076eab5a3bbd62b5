//! A `:run` whose answer is lost, late, doubled or a lie: the run is started once all the same.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use wire::bucket::Bucket;
use wire::names::AttemptObjects;

use crate::harness::{Done, Machine, wait_until};
use crate::platform::{Platform, begin, miss_an_input, new_object, report, write_report};

/// What becomes of the answer to the first `:run`, which the server has acted on.
#[derive(Debug, Clone, Copy)]
enum Fault {
    /// `503 Service Unavailable` in its place.
    Unavailable,
    /// The connection is reset after half of it.
    Half,
    /// Nothing, and the connection is closed.
    Silence,
    /// The question is put to the server twice; the first answer is lost.
    Twice,
    /// A page of a proxy that has logged its user out.
    Page,
}

/// Passes whole exchanges between a client and a server; the first `:run` meets a fault.
fn proxy(server: String, fault: Fault) -> (String, Arc<AtomicU32>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let asked = Arc::new(AtomicU32::new(0));
    let count = asked.clone();
    std::thread::spawn(move || {
        for client in listener.incoming() {
            let (mut client, server, count) = (client.unwrap(), server.clone(), count.clone());
            std::thread::spawn(move || {
                while let Some(request) = read_message(&mut client) {
                    let is_run = String::from_utf8_lossy(&request).contains(":run HTTP/1.1");
                    let strike = is_run && count.fetch_add(1, Ordering::SeqCst) == 0;
                    let answer = exchange(&server, &request);
                    let answer = if strike {
                        fail(fault, &server, &request, &answer)
                    } else {
                        answer
                    };
                    if client.write_all(&answer).is_err()
                        || (strike && !matches!(fault, Fault::Unavailable | Fault::Twice))
                    {
                        break;
                    }
                }
                let _ = client.shutdown(Shutdown::Both);
            });
        }
    });
    (address, asked)
}

fn fail(fault: Fault, server: &str, request: &[u8], answer: &[u8]) -> Vec<u8> {
    match fault {
        Fault::Unavailable => {
            let body = r#"{"error":{"code":503,"message":"try later","status":"UNAVAILABLE"}}"#;
            let head = "HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\n";
            format!("{head}Content-Length: {}\r\n\r\n{body}", body.len()).into_bytes()
        }
        Fault::Half => answer[..answer.len() / 2].to_vec(),
        Fault::Silence => Vec::new(),
        Fault::Twice => exchange(server, request),
        Fault::Page => {
            let body = "<html>please log in</html>";
            let head = "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nConnection: close\r\n";
            format!("{head}Content-Length: {}\r\n\r\n{body}", body.len()).into_bytes()
        }
    }
}

fn exchange(server: &str, request: &[u8]) -> Vec<u8> {
    let mut server = TcpStream::connect(server.trim_start_matches("http://")).unwrap();
    server.write_all(request).unwrap();
    read_message(&mut server).unwrap()
}

/// A message with its body, by its length or its chunks; none at the end of a connection.
fn read_message(stream: &mut TcpStream) -> Option<Vec<u8>> {
    let mut message = Vec::new();
    let mut byte = [0];
    while !message.ends_with(b"\r\n\r\n") {
        if stream.read(&mut byte).ok()? == 0 {
            return None;
        }
        message.push(byte[0]);
    }
    let head = String::from_utf8_lossy(&message).to_lowercase();
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length:"));
    if let Some(length) = length {
        let mut body = vec![0; length.trim().parse().unwrap()];
        stream.read_exact(&mut body).ok()?;
        message.extend(body);
    } else if head.contains("transfer-encoding: chunked") {
        while !message.ends_with(b"\r\n0\r\n\r\n") {
            stream.read_exact(&mut byte).ok()?;
            message.push(byte[0]);
        }
    }
    Some(message)
}

/// Passes whole exchanges; while it is told to, it answers them all with an error, and the server hears nothing.
fn closed_while(server: String, closed: Arc<AtomicBool>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for client in listener.incoming() {
            let (mut client, server, closed) = (client.unwrap(), server.clone(), closed.clone());
            std::thread::spawn(move || {
                while let Some(request) = read_message(&mut client) {
                    let answer = if closed.load(Ordering::SeqCst) {
                        fail(Fault::Unavailable, &server, &request, &[])
                    } else {
                        exchange(&server, &request)
                    };
                    if client.write_all(&answer).is_err() {
                        break;
                    }
                }
            });
        }
    });
    address
}

/// How a run of two tasks fares with a fault, and how many executions there are.
fn run_with(fault: Fault) -> (Done, usize, u32) {
    let machine = Machine::new();
    let state = tempfile::tempdir().unwrap();
    let platform = Platform::start(state.path(), |container| async move {
        // What an entrypoint does that finds its attempt claimed: the stub stumbles, and leaves.
        tokio::spawn(report(container, 0)).await.unwrap_or(75)
    });
    let (address, asked) = proxy(platform.address.clone(), fault);
    let words = ["run", "--json", "-n", "2", "--out", "o", "--", "true"];
    let done = platform.typed_at(&machine, words, &address).enter();
    let executions = platform.executions().len();
    (done, executions, asked.load(Ordering::SeqCst))
}

#[test]
fn an_answer_that_is_an_error_starts_nothing_twice() {
    let (done, executions, asked) = run_with(Fault::Unavailable);
    done.code(0);
    assert_eq!((executions, asked), (1, 1), "it was looked for, and found");
}

#[test]
fn an_answer_that_breaks_off_starts_nothing_twice() {
    let (done, executions, asked) = run_with(Fault::Half);
    done.code(0);
    assert_eq!((executions, asked), (1, 1));
}

#[test]
fn an_answer_that_never_comes_starts_nothing_twice() {
    let (done, executions, asked) = run_with(Fault::Silence);
    done.code(0);
    assert_eq!((executions, asked), (1, 1));
}

#[test]
fn an_answer_of_a_stranger_starts_nothing_twice() {
    let (done, executions, asked) = run_with(Fault::Page);
    done.code(0);
    assert_eq!((executions, asked), (1, 1));
}

#[test]
fn a_question_that_arrives_twice_has_one_set_of_results() {
    let (done, executions, _) = run_with(Fault::Twice);
    let result = done.code(0).result();
    assert_eq!(executions, 2, "the platform was asked twice");
    assert_eq!(result["tasks"].as_array().unwrap().len(), 2);
}

#[test]
fn who_comes_back_to_twins_waits_for_the_one_that_works() {
    let machine = Machine::new();
    let state = tempfile::tempdir().unwrap();
    let platform = Platform::start(state.path(), |container| async move {
        let begun = tokio::spawn(async move {
            let (objects, bucket) = begin(&container).await;
            (objects, bucket)
        });
        // Who finds its attempt claimed leaves at once; the other works on.
        let Ok((objects, bucket)) = begun.await else {
            return 75;
        };
        tokio::time::sleep(std::time::Duration::from_secs(3)).await;
        write_report(&objects, &bucket, 0).await
    });
    let (address, _) = proxy(platform.address.clone(), Fault::Twice);
    let words = ["run", "-q", "--detach", "-n", "4", "--", "true"];
    let done = platform.typed_at(&machine, words, &address).enter().code(0);
    let run = String::from_utf8(done.stdout).unwrap().trim().to_owned();
    assert_eq!(platform.executions().len(), 2);
    let other = Machine::new();
    platform.sortie(&other, ["wait", &run]).enter().code(0);
}

/// Two tasks found the input gone before it was sent again, and one of them is heard of only after.
#[test]
fn an_input_that_was_gone_for_several_tasks_is_no_missing_right() {
    let state = tempfile::tempdir().unwrap();
    let again = Arc::new(AtomicBool::new(false));
    let platform = Platform::start(state.path(), move |container| {
        let again = again.clone();
        async move {
            let (objects, bucket) = begin(&container).await;
            if objects.attempt.start > 0 {
                again.store(true, Ordering::SeqCst);
                return write_report(&objects, &bucket, 0).await;
            }
            while objects.attempt.task > 0 && !again.load(Ordering::SeqCst) {
                tokio::time::sleep(std::time::Duration::from_millis(10)).await;
            }
            miss_an_input(&objects, &bucket).await
        }
    });
    let machine = Machine::new();
    machine.write("data", "x");
    let words = ["run", "-n", "2", "-i", "data", "--", "true"];
    platform.sortie(&machine, words).enter().code(0);
    assert_eq!(platform.executions().len(), 3);
}

#[test]
fn an_input_that_is_there_and_not_to_be_read_is_a_missing_right() {
    let state = tempfile::tempdir().unwrap();
    let platform = Platform::start(state.path(), |container| async move {
        let (objects, bucket) = begin(&container).await;
        miss_an_input(&objects, &bucket).await
    });
    let machine = Machine::new();
    machine.write("data", "x");
    platform
        .sortie(&machine, ["run", "-i", "data", "--", "true"])
        .enter()
        .code(125)
        .says("the task may not read its inputs, which are in the bucket")
        .says("roles/storage.legacyObjectReader");
}

/// The first task's execution is known when Cloud Run goes away, for longer than any one question is repeated.
#[test]
fn a_cloud_run_that_is_away_for_a_while_ends_no_run_that_is_under_way() {
    let (state, closed) = (
        tempfile::tempdir().unwrap(),
        Arc::new(AtomicBool::new(false)),
    );
    let close = closed.clone();
    let platform = Platform::start(state.path(), move |container| {
        let close = close.clone();
        async move {
            let (objects, bucket) = begin(&container).await;
            let code = write_report(&objects, &bucket, 0).await;
            close.store(objects.attempt.task == 0, Ordering::SeqCst);
            code
        }
    });
    let address = closed_while(platform.address.clone(), closed.clone());
    let machine = Machine::new();
    let words = ["run", "-n", "3", "--parallel", "1", "--", "true"];
    let typed = platform.typed_at(&machine, words, &address);
    let running = typed.env("SORTIE_HASTE", "200").start();
    wait_until("Cloud Run is away", || closed.load(Ordering::SeqCst));
    std::thread::sleep(std::time::Duration::from_secs(8));
    closed.store(false, Ordering::SeqCst);
    running.end().code(0);
    assert_eq!(platform.executions().len(), 3);
}

/// Puts something where the next start will be, as any task may.
async fn plant(objects: &AttemptObjects, bucket: &Bucket, text: String) {
    let name = objects.run.start(objects.attempt.start + 1);
    let planted = bucket.insert(&name, &new_object(), text.into()).await;
    planted.unwrap();
}

/// Starts a run of two tasks, one after the other, and does not wait for it; its name.
fn leave_two_in_turn(platform: &Platform, machine: &Machine) -> String {
    let words = "run -q --detach -n 2 --parallel 1 -- true";
    let done = platform.sortie(machine, words.split(' ')).enter().code(0);
    String::from_utf8(done.stdout).unwrap().trim().to_owned()
}

#[test]
fn what_is_no_start_takes_its_number_and_nothing_else() {
    let state = tempfile::tempdir().unwrap();
    let platform = Platform::start(state.path(), |container| async move {
        let (objects, bucket) = begin(&container).await;
        plant(&objects, &bucket, "no start".to_owned()).await;
        write_report(&objects, &bucket, 0).await
    });
    let machine = Machine::new();
    let words = ["run", "-n", "3", "--parallel", "1", "--", "true"];
    platform.sortie(&machine, words).enter().code(0);
    assert_eq!(platform.executions().len(), 3);
    let run = leave_two_in_turn(&platform, &machine);
    platform.sortie(&machine, ["wait", &run]).enter().code(0);
    assert_eq!(platform.executions().len(), 5);
}

#[test]
fn what_another_has_started_since_says_nothing_of_ones_own_inputs() {
    let state = tempfile::tempdir().unwrap();
    let platform = Platform::start(state.path(), |container| async move {
        let (objects, bucket) = begin(&container).await;
        if objects.attempt.start > 1 {
            return write_report(&objects, &bucket, 0).await;
        }
        if objects.attempt.start == 0 {
            // As another sortie does, which has not sent the input again.
            let (_, json) = bucket.read(&objects.run.start(0), 1 << 20).await.unwrap();
            let mut start: serde_json::Value = serde_json::from_slice(&json).unwrap();
            start["start"] = 1.into();
            plant(&objects, &bucket, start.to_string()).await;
        }
        miss_an_input(&objects, &bucket).await
    });
    let machine = Machine::new();
    machine.write("data", "x");
    let words = ["run", "-i", "data", "--", "true"];
    platform
        .sortie(&machine, words)
        .enter()
        .code(0)
        .prints("x\n");
    assert_eq!(platform.executions().len(), 3);
}

#[test]
fn a_task_that_is_started_again_for_its_inputs_shows_its_output() {
    let state = tempfile::tempdir().unwrap();
    let platform = Platform::start(state.path(), |container| async move {
        let (objects, bucket) = begin(&container).await;
        if objects.attempt.start == 0 {
            return miss_an_input(&objects, &bucket).await;
        }
        write_report(&objects, &bucket, 0).await
    });
    let machine = Machine::new();
    machine.write("data", "x");
    let words = ["run", "-i", "data", "--", "true"];
    platform
        .sortie(&machine, words)
        .enter()
        .code(0)
        .prints("x\n");
}

/// A copy of the first start under the last number there is, after which no other would come.
#[test]
fn a_start_beyond_all_others_is_none() {
    let state = tempfile::tempdir().unwrap();
    let platform = Platform::start(state.path(), |container| async move {
        let (objects, bucket) = begin(&container).await;
        if objects.attempt.start == 0 {
            let (_, json) = bucket.read(&objects.run.start(0), 1 << 20).await.unwrap();
            let mut start: serde_json::Value = serde_json::from_slice(&json).unwrap();
            start["start"] = u32::MAX.into();
            let (name, json) = (objects.run.start(u32::MAX), start.to_string());
            let planted = bucket.insert(&name, &new_object(), json.into()).await;
            planted.unwrap();
        }
        write_report(&objects, &bucket, 0).await
    });
    let machine = Machine::new();
    let run = leave_two_in_turn(&platform, &machine);
    wait_until("the first task has ended", || {
        let executions = platform.executions();
        executions
            .iter()
            .any(|execution| execution["completionTime"].is_string())
    });
    platform.sortie(&machine, ["wait", &run]).enter().code(0);
    assert_eq!(platform.executions().len(), 2);
}
