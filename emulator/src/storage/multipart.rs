//! `multipart/related` and `multipart/mixed` bodies, as they stream in.
//!
//! Clients differ: boundaries are bare, in double quotes or in single ones, and lines end in CRLF or in LF alone.

use bytes::{Buf, Bytes, BytesMut};
use memchr::memmem;

use crate::body::Source;
use crate::refusal::{Outcome, Refusal};

/// Most bytes of a part's headers.
const HEAD_LIMIT: usize = 64 * 1024;

/// The boundary in a `Content-Type`.
pub(crate) fn boundary(content_type: &str) -> Outcome<String> {
    let parameters = content_type
        .split(';')
        .skip(1)
        .filter_map(|parameter| parameter.trim().split_once('='));
    let found = parameters
        .into_iter()
        .find(|(name, _)| name.trim().eq_ignore_ascii_case("boundary"));
    let value = found.map(|(_, value)| value.trim()).unwrap_or_default();
    let bare = ['"', '\'']
        .iter()
        .find_map(|quote| value.strip_prefix(*quote)?.strip_suffix(*quote))
        .unwrap_or(value);
    if bare.is_empty() || bare.len() > 200 {
        return Err(Refusal::invalid(
            "Missing or invalid boundary in the multipart Content-Type.",
        ));
    }
    Ok(bare.to_owned())
}

/// Reads a multipart body part by part.
pub(crate) struct Parts<'a> {
    body: &'a mut Source,
    buffer: BytesMut,
    ended: bool,
    opening: Vec<u8>,
    /// What ends a part: the line end, two dashes and the boundary.
    delimiter: Vec<u8>,
}

impl<'a> Parts<'a> {
    pub(crate) fn new(body: &'a mut Source, boundary: &str) -> Self {
        let opening = format!("--{boundary}").into_bytes();
        Self {
            body,
            buffer: BytesMut::new(),
            ended: false,
            opening,
            delimiter: Vec::new(),
        }
    }

    /// The headers of the next part, in lower case; `None` after the last. The part before must have been read.
    pub(crate) async fn next(&mut self) -> Outcome<Option<Vec<(String, String)>>> {
        if self.delimiter.is_empty() {
            self.open().await?;
        }
        if self.starts_with(b"--").await? {
            return Ok(None);
        }
        self.line().await?;
        let mut headers = Vec::new();
        loop {
            let line = self.line().await?;
            if line.is_empty() {
                return Ok(Some(headers));
            }
            let Some((name, value)) = line.split_once(':') else {
                return Err(malformed());
            };
            headers.push((name.trim().to_ascii_lowercase(), value.trim().to_owned()));
        }
    }

    /// Finds the first boundary, and learns from its line how lines end.
    async fn open(&mut self) -> Outcome<()> {
        loop {
            let start = memmem::find(&self.buffer, &self.opening);
            let after = start.map(|start| start + self.opening.len());
            let end = after.and_then(|after| {
                memchr::memchr(b'\n', &self.buffer[after..]).map(|end| after + end)
            });
            if let (Some(after), Some(end)) = (after, end) {
                let ending: &[u8] = if self.buffer[..end].ends_with(b"\r") {
                    b"\r\n"
                } else {
                    b"\n"
                };
                self.delimiter = [ending, &self.opening].concat();
                self.buffer.advance(after);
                return Ok(());
            }
            if self.buffer.len() > HEAD_LIMIT || !self.fill().await? {
                return Err(malformed());
            }
        }
    }

    /// The next bytes of the part; `None` at its end.
    pub(crate) async fn data(&mut self) -> Outcome<Option<Bytes>> {
        loop {
            if let Some(end) = memmem::find(&self.buffer, &self.delimiter) {
                if end > 0 {
                    return Ok(Some(self.buffer.split_to(end).freeze()));
                }
                self.buffer.advance(self.delimiter.len());
                return Ok(None);
            }
            // The tail may be the beginning of the delimiter.
            let sure = self.buffer.len().saturating_sub(self.delimiter.len() - 1);
            if sure > 0 {
                return Ok(Some(self.buffer.split_to(sure).freeze()));
            }
            if !self.fill().await? {
                return Err(Refusal::invalid("Missing end boundary in multipart body."));
            }
        }
    }

    /// The rest of the part at once.
    pub(crate) async fn collect(&mut self, limit: usize) -> Outcome<Bytes> {
        let mut whole = BytesMut::new();
        while let Some(bytes) = self.data().await? {
            if whole.len() + bytes.len() > limit {
                return Err(Refusal::too_large(
                    "Part of the multipart body is too large.",
                ));
            }
            whole.extend_from_slice(&bytes);
        }
        Ok(whole.freeze())
    }

    async fn starts_with(&mut self, prefix: &[u8]) -> Outcome<bool> {
        while self.buffer.len() < prefix.len() {
            if !self.fill().await? {
                return Ok(false);
            }
        }
        Ok(self.buffer.starts_with(prefix))
    }

    async fn line(&mut self) -> Outcome<String> {
        loop {
            if let Some(end) = memchr::memchr(b'\n', &self.buffer) {
                let line = self.buffer.split_to(end + 1);
                return Ok(String::from_utf8_lossy(line.trim_ascii_end()).into_owned());
            }
            if self.buffer.len() > HEAD_LIMIT || !self.fill().await? {
                return Err(malformed());
            }
        }
    }

    async fn fill(&mut self) -> Outcome<bool> {
        if self.ended {
            return Ok(false);
        }
        match self.body.next().await? {
            Some(bytes) => self.buffer.extend_from_slice(&bytes),
            None => self.ended = true,
        }
        Ok(!self.ended)
    }
}

fn malformed() -> Refusal {
    Refusal::invalid("Malformed multipart body.")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn boundaries_come_in_quotes_or_bare() {
        assert_eq!(boundary("multipart/related; boundary=ab").unwrap(), "ab");
        assert_eq!(
            boundary("multipart/related; boundary=\"a b\"; type=x").unwrap(),
            "a b"
        );
        assert_eq!(
            boundary("multipart/related; charset=x; Boundary='===='").unwrap(),
            "===="
        );
        assert!(boundary("multipart/related").is_err());
        assert!(boundary("multipart/related; boundary=").is_err());
    }
}
