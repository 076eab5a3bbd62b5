//! What an environment's image is: in its registry or not, and with which entrypoint.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use super::Healthy;

#[test]
fn an_image_with_another_entrypoint_is_told() {
    let healthy = Healthy::new();
    healthy
        .cloud
        .sortie(&["run", "-q", "--", "/bin/true"])
        .enter()
        .code(0);
    let team = &healthy.cloud.team;
    let name = team
        .objects("runs/")
        .into_iter()
        .find(|name| name.contains("/reports/"));
    let name = name.unwrap();
    let mut report: Value = serde_json::from_slice(&team.object(&name)).unwrap();
    report["entrypoint"] = json!("9.8.7");
    team.replace(&name, report.to_string());
    healthy.warns("entrypoint", " had 9.8.7, and this sortie is ", "terraform");
}

#[test]
fn an_image_that_is_gone_from_its_registry_is_told_and_no_more() {
    let healthy = Healthy::new();
    let registry = Registry::start();
    let image = format!("{}/crew/base@sha256:{}", registry.host, "ab".repeat(32));
    healthy.change_job(|task| task["containers"][0]["image"] = json!(image));
    let look = |status: u16| {
        registry.answers(status);
        healthy.found("image.default")
    };
    let (code, status, says, _) = look(200);
    assert_eq!((code, status.as_str()), (Some(0), "ok"), "{says}");
    assert_eq!(says, format!("`{image}` is in its registry"));
    registry.answers(404);
    healthy.warns(
        "image.default",
        "is no longer in its registry",
        "terraform -chdir=terraform apply -replace=",
    );
    for (answer, words) in [(401, "401"), (403, "403"), (503, "503")] {
        let (code, status, says, _) = look(answer);
        assert_eq!((code, status.as_str()), (Some(0), "unknown"), "{says}");
        assert!(says.contains(words), "{says}");
    }
    let digest = "ab".repeat(32);
    for line in registry.heard() {
        // Nothing is fetched, and no token of Google's goes there.
        let expected = format!("HEAD /v2/crew/base/manifests/sha256:{digest} HTTP/1.1");
        assert_eq!(line.lines().next(), Some(expected.as_str()), "{line}");
        assert!(!line.to_lowercase().contains("authorization"), "{line}");
    }
}

/// A registry of this machine's that has one answer to everything.
struct Registry {
    host: String,
    status: Arc<AtomicU16>,
    heard: Arc<Mutex<Vec<String>>>,
}

impl Registry {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let registry = Self {
            host: listener.local_addr().unwrap().to_string(),
            status: Arc::default(),
            heard: Arc::default(),
        };
        let (status, heard) = (registry.status.clone(), registry.heard.clone());
        std::thread::spawn(move || {
            for client in listener.incoming() {
                let mut client = client.unwrap();
                let mut request = [0; 4096];
                let length = client.read(&mut request).unwrap();
                let request = String::from_utf8_lossy(&request[..length]).into_owned();
                heard.lock().unwrap().push(request);
                let status = status.load(Ordering::Relaxed);
                let answer = format!(
                    "HTTP/1.1 {status} So\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
                );
                client.write_all(answer.as_bytes()).unwrap();
            }
        });
        registry
    }

    fn answers(&self, status: u16) {
        self.status.store(status, Ordering::Relaxed);
    }

    fn heard(&self) -> Vec<String> {
        self.heard.lock().unwrap().clone()
    }
}
