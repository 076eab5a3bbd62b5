//! Where the key of the API goes, and where it does not.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::desk::{Desk, KEY, bash, said};
use crate::harness::Machine;

/// Every connection's bytes, as they crossed.
type Recorded = Arc<Mutex<Vec<Arc<Mutex<Vec<u8>>>>>>;

/// Passes bytes between clients and a server, and keeps them.
fn recorder(server: String) -> (String, Recorded) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let recorded = Recorded::default();
    let all = recorded.clone();
    std::thread::spawn(move || {
        for client in listener.incoming().map_while(Result::ok) {
            let server = server.trim_start_matches("http://").trim_end_matches('/');
            let server = TcpStream::connect(server).unwrap();
            let bytes = Arc::new(Mutex::new(Vec::new()));
            all.lock().unwrap().push(bytes.clone());
            let ends = (client.try_clone().unwrap(), server.try_clone().unwrap());
            let heard = bytes.clone();
            std::thread::spawn(move || pass(ends.1, ends.0, &heard));
            std::thread::spawn(move || pass(client, server, &bytes));
        }
    });
    (address, recorded)
}

/// Lets what is typed from now on find the emulator at another address.
fn move_emulator(machine: &Machine, endpoint: &str) {
    let file = machine.data().join("emulator.json");
    let json = std::fs::read(&file).unwrap();
    let mut record: serde_json::Value = serde_json::from_slice(&json).unwrap();
    record["endpoint"] = endpoint.into();
    std::fs::write(&file, record.to_string()).unwrap();
}

fn pass(mut from: TcpStream, mut to: TcpStream, kept: &Mutex<Vec<u8>>) {
    let mut buffer = vec![0; 65536];
    while let Ok(read @ 1..) = from.read(&mut buffer) {
        kept.lock().unwrap().extend_from_slice(&buffer[..read]);
        if to.write_all(&buffer[..read]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Write);
}

fn holds(bytes: &[u8], text: &str) -> bool {
    bytes
        .windows(text.len())
        .any(|window| window == text.as_bytes())
}

/// The key, and the end of it that the CLI itself notes down.
fn key_parts() -> [&'static str; 2] {
    [KEY, &KEY[KEY.len() - 20..]]
}

fn search_files(directory: &Path, found: &mut Vec<String>, seen: &mut usize) {
    let base64 = STANDARD.encode(KEY);
    for entry in std::fs::read_dir(directory).unwrap().flatten() {
        let kind = entry.file_type().unwrap();
        if kind.is_dir() {
            search_files(&entry.path(), found, seen);
        } else if kind.is_file() {
            *seen += 1;
            let bytes = std::fs::read(entry.path()).unwrap();
            if key_parts()
                .iter()
                .chain([&&*base64])
                .any(|part| holds(&bytes, part))
            {
                found.push(entry.path().display().to_string());
            }
        }
    }
}

#[test]
fn the_key_crosses_to_the_secret_manager_and_is_written_nowhere() {
    let desk = Desk::new(vec![bash("echo made > output/made"), said("Done.")]);
    // The emulator is there before the run, which then finds it at the recorder's address.
    desk.sortie(&["run", "-q", "--", "true"]).enter().code(0);
    let (address, recorded) = recorder(desk.machine.emulator().0);
    move_emulator(&desk.machine, &address);
    let words = [
        "Make it",
        "--skip-permissions",
        "-o",
        "out",
        "--retries",
        "1",
    ];
    desk.claude(&words).enter().code(0);
    assert_eq!(desk.machine.text("out/output/made"), "made\n");
    let sent = desk.api.seen();
    let key = |seen: &crate::messages_api::Seen| {
        seen.headers
            .iter()
            .any(|(name, value)| name == "x-api-key" && value == KEY)
    };
    assert!(sent.iter().any(key), "the CLI did not get the key");

    let base64 = STANDARD.encode(KEY);
    let mut crossings = 0;
    for connection in recorded.lock().unwrap().iter() {
        let bytes = connection.lock().unwrap();
        for part in key_parts() {
            assert!(!holds(&bytes, part), "the key crossed as it is");
        }
        let text = String::from_utf8_lossy(&bytes);
        for (at, _) in text.match_indices(&base64) {
            crossings += 1;
            let before = text[..at]
                .rfind("/v1/projects/sortie-local/secrets/")
                .map(|from| &text[from..at]);
            let request = before
                .and_then(|before| before.lines().next())
                .unwrap_or_default();
            assert!(
                request.contains(":addVersion") || request.contains(":access"),
                "{request}"
            );
        }
    }
    assert!(
        crossings > 0,
        "the key never crossed: the recorder saw nothing"
    );

    let (mut found, mut files) = (Vec::new(), 0);
    for directory in [
        desk.machine.data(),
        desk.machine.work(),
        desk.machine.home(),
    ] {
        search_files(&directory, &mut found, &mut files);
    }
    assert!(files > 20, "only {files} files were looked at");
    assert_eq!(found, Vec::<String>::new());
}
