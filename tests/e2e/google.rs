//! Google as a machine sees it: a proxy that plays every `https://*.googleapis.com`, gives tokens, lets in who has one,
//! and leaves the rest to an emulator.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde_json::{Value, json};

use crate::harness::{Machine, Typed, project};

/// What every token, key and password here has in it, and nothing else.
pub(crate) const MARK: &str = "s3cr3t";

/// The service account of [`Google::key`].
pub(crate) const ROBOT: &str = "robot@team.iam.gserviceaccount.com";

/// How Google behaves.
#[derive(Default)]
pub(crate) struct Mood {
    /// Where everything but tokens is answered, and with what token.
    backend: (String, String),
    /// Every request: its host and its head.
    pub(crate) seen: Vec<Seen>,
    /// Tokens that open doors.
    valid: Vec<String>,
    /// How long a token lasts.
    pub(crate) lasts: u64,
    /// A refusal of the token server's: its status and body.
    pub(crate) refuses: Option<(u16, Value)>,
    /// The same, of who makes tokens of other accounts.
    pub(crate) refuses_impersonation: Option<(u16, Value)>,
    /// Permissions that its caller lacks.
    pub(crate) lacks: Vec<&'static str>,
    /// Paths that are refused: what they contain, status, body.
    pub(crate) denies: Vec<(&'static str, u16, Value)>,
    /// What the `Date` of an answer says instead of the time.
    pub(crate) date: Option<String>,
}

/// One request.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) host: String,
    pub(crate) line: String,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: String,
}

/// Google, on loopback.
pub(crate) struct Google {
    proxy: String,
    dir: tempfile::TempDir,
    mood: Arc<Mutex<Mood>>,
}

impl Google {
    /// In front of an emulator, with its owner's token.
    pub(crate) fn before(endpoint: &str, token: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let config = Arc::new(tls(&dir));
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let proxy = format!("http://{}", listener.local_addr().unwrap());
        let mood = Arc::new(Mutex::new(Mood {
            backend: (
                endpoint.trim_start_matches("http://").to_owned(),
                token.to_owned(),
            ),
            lasts: 3600,
            ..Mood::default()
        }));
        let shared = mood.clone();
        std::thread::spawn(move || {
            for client in listener.incoming() {
                let (config, mood) = (config.clone(), shared.clone());
                std::thread::spawn(move || serve(client.unwrap(), config, &mood));
            }
        });
        Self { proxy, dir, mood }
    }

    pub(crate) fn mood(&self) -> MutexGuard<'_, Mood> {
        self.mood.lock().unwrap()
    }

    /// No token opens a door any more, and none is made.
    pub(crate) fn revoke(&self) {
        let mut mood = self.mood();
        mood.valid.clear();
        mood.refuses = Some(revoked());
    }

    /// A command whose way to Google leads here; metadata servers there are none.
    pub(crate) fn reached_by(&self, typed: Typed) -> Typed {
        typed
            .env("HTTPS_PROXY", &self.proxy)
            .env("SSL_CERT_FILE", self.dir.path().join("ca.pem"))
            .env("NO_GCE_CHECK", "true")
    }

    /// A service account's key, in a file of the machine's.
    pub(crate) fn key(machine: &Machine) -> PathBuf {
        let pem = std::fs::read_to_string(project("tests/fixtures/throwaway_key.pem")).unwrap();
        let key = json!({
            "type": "service_account", "project_id": "team", "client_email": ROBOT, "private_key_id": "k1",
            "private_key": pem, "token_uri": "https://oauth2.googleapis.com/token",
        });
        machine.write("../home/key.json", key.to_string())
    }

    /// A person's login, where gcloud keeps it.
    pub(crate) fn login(machine: &Machine) -> PathBuf {
        machine.write(
            "../home/.config/gcloud/application_default_credentials.json",
            login().to_string(),
        )
    }
}

pub(crate) fn login() -> Value {
    json!({
        "type": "authorized_user", "account": "a@b.test", "client_id": "client",
        "client_secret": format!("client-{MARK}"), "refresh_token": format!("1//{MARK}"),
        "quota_project_id": "payer",
    })
}

/// As Google says it of a login that has ended.
pub(crate) fn revoked() -> (u16, Value) {
    let body = json!({"error": "invalid_grant", "error_description": "Token has been expired or revoked."});
    (400, body)
}

fn tls(dir: &tempfile::TempDir) -> ServerConfig {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    std::fs::write(dir.path().join("ca.pem"), ca.pem()).unwrap();
    let key = KeyPair::generate().unwrap();
    let names = vec!["*.googleapis.com".to_owned()];
    let leaf = CertificateParams::new(names)
        .unwrap()
        .signed_by(&key, &ca)
        .unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let chain = vec![CertificateDer::from(leaf.der().to_vec())];
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap()
}

fn serve(mut client: TcpStream, config: Arc<ServerConfig>, mood: &Mutex<Mood>) {
    let Some((connect, _)) = read_message(&mut client) else {
        return;
    };
    let target = connect.split(' ').nth(1).unwrap();
    let host = target.strip_suffix(":443").unwrap().to_owned();
    client.write_all(b"HTTP/1.1 200 OK\r\n\r\n").unwrap();
    let connection = ServerConnection::new(config).unwrap();
    let mut client = StreamOwned::new(connection, client);
    while let Some((head, body)) = read_message(&mut client) {
        let answer = answer(&host, &head, &body, mood);
        let date = mood.lock().unwrap().date.clone();
        let answer = dated(&answer, &date.unwrap_or_else(now));
        if client.write_all(&answer).is_err() || client.flush().is_err() {
            return;
        }
    }
}

fn answer(host: &str, head: &str, body: &[u8], mood: &Mutex<Mood>) -> Vec<u8> {
    let mut lines = head.lines();
    let line = lines.next().unwrap().to_owned();
    let headers: BTreeMap<String, String> = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_lowercase(), value.to_owned()))
        .collect();
    let seen = Seen {
        host: host.to_owned(),
        line: line.clone(),
        headers: headers.clone(),
        body: String::from_utf8_lossy(body).into_owned(),
    };
    let mut mood = mood.lock().unwrap();
    mood.seen.push(seen);
    match host {
        "oauth2.googleapis.com" => return token(&mut mood, body),
        "iamcredentials.googleapis.com" if mood.may_enter(&headers) => {
            return impersonated(&mut mood);
        }
        _ => {}
    }
    if !mood.may_enter(&headers) {
        let error = json!({"error": {"code": 401, "message": "Invalid Credentials", "status": "UNAUTHENTICATED"}});
        return say(401, &error);
    }
    let denied = mood.denies.iter().find(|(part, ..)| line.contains(part));
    if let Some((_, status, body)) = denied {
        return say(*status, body);
    }
    let (server, owner) = mood.backend.clone();
    let lacks = mood.lacks.clone();
    drop(mood);
    let answer = forward(&server, &owner, host, &line, &headers, body);
    if line.contains("testIamPermissions") || line.contains("testPermissions") {
        without(&answer, &lacks)
    } else {
        answer
    }
}

impl Mood {
    fn may_enter(&self, headers: &BTreeMap<String, String>) -> bool {
        let sent = headers.get("authorization").map(String::as_str);
        let sent = sent.and_then(|value| value.strip_prefix("Bearer "));
        sent.is_some_and(|token| self.valid.iter().any(|valid| valid == token))
    }

    fn mint(&mut self) -> String {
        let token = format!("ya29.{MARK}-{}", self.valid.len());
        self.valid.push(token.clone());
        token
    }

    /// Lets somebody in who has this from elsewhere.
    pub(crate) fn accept(&mut self, token: &str) {
        self.valid.push(token.to_owned());
    }
}

fn token(mood: &mut Mood, form: &[u8]) -> Vec<u8> {
    if let Some((status, body)) = &mood.refuses {
        return say(*status, body);
    }
    let form: BTreeMap<String, String> = url::form_urlencoded::parse(form).into_owned().collect();
    if form["grant_type"] == "refresh_token" {
        assert_eq!(form["refresh_token"], format!("1//{MARK}"));
        assert_eq!(form["client_secret"], format!("client-{MARK}"));
    } else {
        check_assertion(&form["assertion"]);
    }
    let token = mood.mint();
    say(
        200,
        &json!({"access_token": token, "expires_in": mood.lasts, "token_type": "Bearer"}),
    )
}

/// Signed by the account's key, for an hour at most, and for this reader.
fn check_assertion(assertion: &str) {
    let (signed, signature) = assertion.rsplit_once('.').unwrap();
    let signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
    let key = std::fs::read(project("tests/fixtures/throwaway_key.pub.der")).unwrap();
    let algorithms = rustls::crypto::ring::default_provider().signature_verification_algorithms;
    let good = algorithms.all.iter().any(|algorithm| {
        algorithm
            .verify_signature(&key, signed.as_bytes(), &signature)
            .is_ok()
    });
    assert!(good, "the signature does not fit");
    let claims = URL_SAFE_NO_PAD.decode(signed.split_once('.').unwrap().1);
    let claims: Value = serde_json::from_slice(&claims.unwrap()).unwrap();
    assert_eq!(claims["iss"], ROBOT);
    assert_eq!(claims["aud"], "https://oauth2.googleapis.com/token");
    let lasts = claims["exp"].as_u64().unwrap() - claims["iat"].as_u64().unwrap();
    assert!(lasts <= 3600, "{claims}");
}

fn impersonated(mood: &mut Mood) -> Vec<u8> {
    if let Some((status, body)) = &mood.refuses_impersonation {
        return say(*status, body);
    }
    let token = mood.mint();
    say(
        200,
        &json!({"accessToken": token, "expireTime": "2099-01-01T00:00:00Z"}),
    )
}

fn say(status: u16, body: &Value) -> Vec<u8> {
    let body = body.to_string();
    format!(
        "HTTP/1.1 {status} So\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

/// Five of Google's APIs share their paths, so the emulator has each below a name of its own.
fn forward(
    server: &str,
    owner: &str,
    host: &str,
    line: &str,
    headers: &BTreeMap<String, String>,
    body: &[u8],
) -> Vec<u8> {
    let below = match host {
        "cloudresourcemanager.googleapis.com" => "/crm",
        "serviceusage.googleapis.com" => "/su",
        "secretmanager.googleapis.com" => "/sm",
        "storage.googleapis.com" | "run.googleapis.com" => "",
        other => panic!("nobody plays `{other}`"),
    };
    let mut request = line.replacen(" /", &format!(" {below}/"), 1);
    for (name, value) in headers {
        let value = match name.as_str() {
            "authorization" => format!("Bearer {owner}"),
            "host" => server.to_owned(),
            "connection" => continue,
            _ => value.clone(),
        };
        request.extend(["\r\n", name, ": ", &value]);
    }
    request.push_str("\r\nconnection: close\r\n\r\n");
    let mut server = TcpStream::connect(server).unwrap();
    server.write_all(request.as_bytes()).unwrap();
    server.write_all(body).unwrap();
    let (head, body) = read_message(&mut server).unwrap();
    let head: Vec<&str> = head
        .lines()
        .filter(|line| !line.to_lowercase().starts_with("connection:"))
        .collect();
    [format!("{}\r\n\r\n", head.join("\r\n")).into_bytes(), body].concat()
}

fn without(answer: &[u8], lacks: &[&str]) -> Vec<u8> {
    let text = String::from_utf8(answer.to_vec()).unwrap();
    let (_, body) = text.split_once("\r\n\r\n").unwrap();
    let mut json: Value = serde_json::from_str(body).unwrap();
    if let Some(held) = json["permissions"].as_array_mut() {
        held.retain(|name| !lacks.contains(&name.as_str().unwrap()));
    }
    say(200, &json)
}

/// As every server of Google's says it.
fn now() -> String {
    jiff::fmt::rfc2822::DateTimePrinter::new()
        .timestamp_to_rfc9110_string(&jiff::Timestamp::now())
        .unwrap()
}

fn dated(answer: &[u8], date: &str) -> Vec<u8> {
    let end = answer.windows(4).position(|w| w == b"\r\n\r\n").unwrap();
    let head = String::from_utf8(answer[..end].to_vec()).unwrap();
    let kept: Vec<&str> = head
        .split("\r\n")
        .filter(|line| !line.to_lowercase().starts_with("date:"))
        .collect();
    let head = format!("{}\r\nDate: {date}", kept.join("\r\n"));
    [head.as_bytes(), &answer[end..]].concat()
}

/// A message's head without its last line break, and its body.
fn read_message(stream: &mut impl Read) -> Option<(String, Vec<u8>)> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        if stream.read(&mut byte).ok()? == 0 {
            return None;
        }
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).unwrap().trim_end().to_owned();
    let lower = head.to_lowercase();
    let length = lower
        .lines()
        .find_map(|line| line.strip_prefix("content-length:"));
    let mut body = Vec::new();
    if let Some(length) = length {
        body = vec![0; length.trim().parse().unwrap()];
        stream.read_exact(&mut body).ok()?;
    } else if lower.contains("transfer-encoding: chunked") {
        while !body.ends_with(b"0\r\n\r\n") {
            stream.read_exact(&mut byte).ok()?;
            body.push(byte[0]);
        }
    }
    Some((head, body))
}
