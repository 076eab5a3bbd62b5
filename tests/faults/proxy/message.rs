//! HTTP/1.1 as far as these clients and servers speak it.

use std::borrow::Cow;
use std::fmt::Write;

use percent_encoding::percent_decode_str;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// So many bytes of a body tell what it is about.
pub(super) const GLANCE: usize = 2048;

/// A request; its body as far as it has been read.
#[derive(Debug)]
pub(crate) struct Request {
    pub(super) method: String,
    pub(super) target: String,
    headers: Vec<(String, String)>,
    pub(super) body: Vec<u8>,
    pub(super) length: usize,
}

/// An answer, whole.
#[derive(Debug, Clone)]
pub(super) struct Answer {
    status: String,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Vec<u8>,
}

impl Request {
    /// `None` where the client has nothing more to ask.
    pub(super) async fn read_head(client: &mut TcpStream) -> std::io::Result<Option<Self>> {
        let mut read = Vec::new();
        let end = loop {
            if let Some(at) = find(&read, b"\r\n\r\n") {
                break at + 4;
            }
            if client.read_buf(&mut read).await? == 0 {
                return Ok(None);
            }
        };
        let body = read.split_off(end);
        let (first, headers) = head(&read);
        let mut words = first.split(' ');
        let mut word = || words.next().unwrap_or_default().to_owned();
        let (method, target) = (word(), word());
        let length = value(&headers, "content-length").map_or(0, |text| text.parse().unwrap());
        Ok(Some(Self {
            method,
            target,
            headers,
            body,
            length,
        }))
    }

    /// Reads on until so many bytes of the body are there, or all.
    pub(super) async fn read_at_least(
        &mut self,
        client: &mut TcpStream,
        length: usize,
    ) -> std::io::Result<()> {
        while self.body.len() < length.min(self.length) {
            if client.read_buf(&mut self.body).await? == 0 {
                return Err(std::io::ErrorKind::UnexpectedEof.into());
            }
        }
        Ok(())
    }

    pub(super) fn header(&self, name: &str) -> Option<&str> {
        value(&self.headers, name)
    }

    pub(super) fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or_default()
    }

    pub(super) fn line(&self) -> String {
        let range = self.header("content-range").unwrap_or_default();
        format!("{} {} {range}", self.method, self.target)
    }

    /// Words that say what it is about. A run's id is `RUN` there, a key or a digest `KEY`.
    pub(super) fn subject(&self) -> String {
        let target = percent_decode_str(&self.target).decode_utf8_lossy();
        let mut glance = &self.body[..self.body.len().min(GLANCE)];
        // What is said of an object, and not what it says: a report may tell of other objects.
        if self.target.contains("uploadType=multipart")
            && let Some(end) = find(glance.get(2..).unwrap_or_default(), b"\r\n--")
        {
            glance = &glance[..end + 2];
        }
        let text = format!("{target} {}", String::from_utf8_lossy(glance));
        let pieces = text.split_inclusive(|c: char| !c.is_ascii_alphanumeric());
        pieces.map(without_id).collect()
    }

    /// Passes it on, over a connection of its own, and reads the whole answer.
    pub(super) async fn forward(&self, server: &str) -> std::io::Result<Answer> {
        let mut stream = TcpStream::connect(server).await?;
        let mut head = format!("{} {} HTTP/1.1\r\n", self.method, self.target);
        for (name, value) in &self.headers {
            let value = if name == "host" { server } else { value };
            let _ = write!(head, "{name}: {value}\r\n");
        }
        head.push_str("connection: close\r\n\r\n");
        stream.write_all(head.as_bytes()).await?;
        stream.write_all(&self.body).await?;
        let mut read = Vec::new();
        stream.read_to_end(&mut read).await?;
        let mut answer = Answer::parse(&read);
        answer.turn_back(server, self.header("host").unwrap_or_default());
        Ok(answer)
    }
}

impl Answer {
    /// One that the proxy makes itself.
    pub(super) fn new(status: &str, headers: &[(&str, &str)], body: &str) -> Self {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        Self {
            status: status.to_owned(),
            headers: headers.iter().map(owned).collect(),
            body: body.as_bytes().to_vec(),
        }
    }

    fn parse(read: &[u8]) -> Self {
        let end = find(read, b"\r\n\r\n").expect("a server answers") + 4;
        let (status, mut headers) = head(&read[..end]);
        let mut body = read[end..].to_vec();
        if value(&headers, "transfer-encoding").is_some_and(|coding| coding == "chunked") {
            body = unchunk(&body);
        }
        let ours = ["connection", "transfer-encoding", "content-length"];
        headers.retain(|(name, _)| !ours.contains(&name.as_str()));
        Self {
            status,
            headers,
            body,
        }
    }

    /// An upload session lies at the server, and is to be reached through us.
    fn turn_back(&mut self, server: &str, us: &str) {
        for (name, value) in &mut self.headers {
            if name == "location" {
                *value = value.replacen(server, us, 1);
            }
        }
    }

    pub(super) fn head(&self) -> Vec<u8> {
        let mut head = format!("{}\r\n", self.status);
        for (name, value) in &self.headers {
            let _ = write!(head, "{name}: {value}\r\n");
        }
        if !self.status.contains(" 204") {
            let _ = write!(head, "content-length: {}\r\n", self.body.len());
        }
        head.push_str("\r\n");
        head.into_bytes()
    }

    pub(super) fn bytes(&self) -> Vec<u8> {
        let mut bytes = self.head();
        bytes.extend_from_slice(&self.body);
        bytes
    }

    /// Up to the middle of its body, or of its head where there is no body.
    pub(super) fn half(&self) -> Vec<u8> {
        let mut bytes = self.head();
        match self.body.len() {
            0 => bytes.truncate(bytes.len() / 2),
            length => bytes.extend_from_slice(&self.body[..length / 2]),
        }
        bytes
    }
}

/// A word, and perhaps one character after it.
fn without_id(piece: &str) -> Cow<'_, str> {
    let word = piece.trim_end_matches(|c: char| !c.is_ascii_alphanumeric());
    let is_of =
        |length: usize, fits: fn(u8) -> bool| word.len() == length && word.bytes().all(fits);
    let after = &piece[word.len()..];
    if is_of(26, |b| b.is_ascii_digit() || b.is_ascii_uppercase()) {
        return format!("RUN{after}").into();
    }
    if is_of(32, |b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
        return format!("KEY{after}").into();
    }
    piece.into()
}

pub(super) fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}

fn head(bytes: &[u8]) -> (String, Vec<(String, String)>) {
    let text = String::from_utf8_lossy(bytes);
    let mut lines = text.trim_end().split("\r\n");
    let first = lines.next().unwrap_or_default().to_owned();
    let headers = lines.filter_map(|line| line.split_once(':'));
    let headers = headers.map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()));
    (first, headers.collect())
}

fn value<'a>(headers: &'a [(String, String)], name: &str) -> Option<&'a str> {
    let mut named = headers.iter().filter(|(header, _)| header == name);
    named.next().map(|(_, value)| value.as_str())
}

fn unchunk(mut bytes: &[u8]) -> Vec<u8> {
    let mut whole = Vec::new();
    while let Some(end) = find(bytes, b"\r\n") {
        let size = String::from_utf8_lossy(&bytes[..end]);
        let size = usize::from_str_radix(size.trim(), 16).unwrap_or(0);
        if size == 0 {
            break;
        }
        whole.extend_from_slice(&bytes[end + 2..end + 2 + size]);
        bytes = &bytes[end + 2 + size + 2..];
    }
    whole
}
