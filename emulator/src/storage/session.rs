//! One upload session: what it takes in, and how it becomes an object.

use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use bytes::BytesMut;
use fs_err as fs;
use http::{HeaderValue, StatusCode, header};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::attributes::{Attributes, Claims};
use super::content::{Content, Data, Digests, INLINE_LIMIT, OBJECT_LIMIT, blocking};
use super::precondition::Conditions;
use super::progress::Progress;
use super::store::Insertion;
use crate::answer::{self, Answer};
use crate::call::Call;
use crate::caller::{Caller, Rights};
use crate::disk::{self, Durability};
use crate::refusal::{Outcome, Refusal};
use crate::server::Site;

/// Chunks are multiples of this, the last one excepted; nothing less is stored.
const QUANTUM: u64 = 256 * 1024;
/// How much is gathered before a thread writes it.
const BATCH: usize = 4 * 256 * 1024;
/// How long a session lives.
const LIFE: SignedDuration = SignedDuration::from_hours(7 * 24);

/// A session as it is kept on disk; its bytes lie beside it.
#[derive(Serialize, Deserialize)]
pub(crate) struct Record {
    pub(crate) id: String,
    pub(crate) bucket: String,
    pub(crate) name: String,
    pub(crate) attributes: Attributes,
    pub(crate) claims: Claims,
    pub(crate) conditions: Conditions,
    /// Who began it: the session's address carries these rights.
    pub(crate) caller: Caller,
    pub(crate) created: Timestamp,
    /// The whole size, once the client has told it.
    pub(crate) total: Option<u64>,
    /// The object, once it is one.
    pub(crate) object: Option<Value>,
    pub(crate) cancelled: bool,
}

/// A session, as it goes on.
pub(crate) struct Session {
    pub(crate) record: Record,
    path: PathBuf,
    /// Of what is stored; `None` when a former life stored it.
    digests: Option<Digests>,
}

impl Session {
    /// New, or of a former life.
    pub(crate) fn found(record: Record, root: &Path) -> Self {
        Self {
            path: root.join(&record.id),
            record,
            digests: None,
        }
    }

    pub(crate) fn expires(&self) -> Timestamp {
        self.record.created + LIFE
    }

    pub(crate) fn remove(&self) -> io::Result<()> {
        disk::remove(&self.path.with_extension("json"))?;
        disk::remove(&self.part())
    }

    fn part(&self) -> PathBuf {
        self.path.with_extension("part")
    }

    pub(crate) fn save(&self) -> io::Result<()> {
        disk::replace_json(
            &self.path.with_extension("json"),
            &self.record,
            Durability::Unsynced,
        )
    }

    pub(crate) fn cancel(&mut self) -> Outcome<Answer> {
        if self.record.object.is_none() {
            self.record.cancelled = true;
            self.save()?;
            disk::remove(&self.part())?;
        }
        Err(Refusal::cancelled())
    }

    pub(crate) async fn receive(&mut self, site: &Site, call: &mut Call) -> Outcome<Answer> {
        if let Some(object) = &self.record.object {
            return Ok(answer::json(object));
        }
        let progress = Progress::of(call.header("content-range"))?;
        let stored = self.stored().await?;
        progress.check(stored, self.record.total)?;
        self.record.total = self.record.total.or(progress.total());
        match progress {
            Progress::Query { total } if total == Some(stored) => {}
            Progress::Query { .. } => return Ok(resume(stored)),
            Progress::Whole => {
                self.append(call, stored, None).await?;
            }
            Progress::Chunk { start, end, total } => {
                let last = total == Some(end);
                if !last && end - start < QUANTUM {
                    return Err(too_small(end - start));
                }
                self.append(call, stored - start, Some((end - start, last)))
                    .await?;
                if !last {
                    return Ok(resume(self.stored().await?));
                }
            }
        }
        self.commit(site, call).await
    }

    /// How many bytes are stored.
    async fn stored(&mut self) -> Outcome<u64> {
        if let Some(digests) = &self.digests {
            return Ok(digests.size());
        }
        let part = self.part();
        let digests = blocking(move || recover(&part)).await?;
        let size = digests.size();
        self.digests = Some(digests);
        Ok(size)
    }

    /// Takes a body in, after its first `skip` bytes, which are stored already. `chunk` is its announced length and whether
    /// it is the last; a body that breaks off leaves whole quanta.
    async fn append(
        &mut self,
        call: &mut Call,
        skip: u64,
        chunk: Option<(u64, bool)>,
    ) -> Outcome<()> {
        let mut skip = skip;
        let mut arrived = 0;
        let mut pending = BytesMut::new();
        let broken = loop {
            let mut bytes = match call.body.next().await {
                Ok(Some(bytes)) => bytes,
                Ok(None) => break None,
                Err(refusal) => break Some(refusal),
            };
            arrived += bytes.len() as u64;
            if chunk.is_some_and(|(length, _)| arrived > length) {
                return Err(Refusal::invalid(
                    "The request body is longer than its Content-Range says.",
                ));
            }
            let known = usize::try_from(skip).unwrap_or(usize::MAX).min(bytes.len());
            skip -= known as u64;
            let _ = bytes.split_to(known);
            pending.extend_from_slice(&bytes);
            if pending.len() >= BATCH {
                self.store(&mut pending, false).await?;
            }
        };
        let whole =
            broken.is_none() && chunk.is_none_or(|(length, last)| last && arrived == length);
        self.store(&mut pending, whole).await?;
        match (broken, chunk) {
            (Some(refusal), _) => Err(refusal),
            (None, Some((length, _))) if arrived != length => Err(Refusal::invalid(
                "The request body is shorter than its Content-Range says.",
            )),
            _ => Ok(()),
        }
    }

    /// Writes what is pending: all of it, or as many whole quanta as there are.
    async fn store(&mut self, pending: &mut BytesMut, all: bool) -> Outcome<()> {
        let digests = self.digests.take().unwrap_or_default();
        let ready = if all {
            pending.len()
        } else {
            pending.len() - pending.len() % 262_144
        };
        let bytes = pending.split_to(ready).freeze();
        if digests.size() + bytes.len() as u64 > OBJECT_LIMIT {
            return Err(Refusal::too_large(
                "Payload is larger than the maximum object size.",
            ));
        }
        let part = self.part();
        let stored = blocking(move || write(&part, digests, &bytes)).await?;
        self.digests = Some(stored);
        Ok(())
    }

    /// Makes what is stored an object.
    async fn commit(&mut self, site: &Site, call: &Call) -> Outcome<Answer> {
        let digests = self.digests.clone().unwrap_or_default();
        if self
            .record
            .total
            .is_some_and(|total| total != digests.size())
        {
            return Err(Refusal::invalid(
                "The upload is not as long as it was said to be.",
            ));
        }
        let mut claims = self.record.claims.clone();
        claims.add_headers(&call.headers);
        let part = self.part();
        let content = blocking(move || take(part, &digests)).await?;
        let made = self.make(site, content, &claims).await;
        if made.is_err() {
            // What was sent cannot become an object, however often it is tried.
            site.store.sessions.forget(self)?;
        }
        let object = made?;
        self.record.object = Some(object.clone());
        self.save()?;
        Ok(answer::json(&object))
    }

    async fn make(&self, site: &Site, content: Content, claims: &Claims) -> Outcome<Value> {
        let record = &self.record;
        content.verify(claims)?;
        let insertion = Insertion {
            name: &record.name,
            attributes: record.attributes.clone(),
            content,
            conditions: record.conditions,
            rights: Rights {
                caller: record.caller,
                account: &site.account,
            },
        };
        let bucket = site.store.bucket(&record.bucket)?;
        let object = site.store.insert(&bucket, insertion).await?;
        Ok(object.to_json(&record.bucket, &site.base))
    }
}

pub(crate) fn insert(headers: &mut http::HeaderMap, name: header::HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}

fn resume(stored: u64) -> Answer {
    let mut answer = answer::status_only(StatusCode::PERMANENT_REDIRECT);
    if stored > 0 {
        insert(
            answer.headers_mut(),
            header::RANGE,
            &format!("bytes=0-{}", stored - 1),
        );
    }
    answer
}

fn too_small(length: u64) -> Refusal {
    Refusal::invalid(format!(
        "Invalid request. The number of bytes uploaded is required to be equal or greater than {QUANTUM}, except for \
         the final request (it's recommended to be the exact multiple of {QUANTUM}). The received request contained \
         {length} bytes, which does not meet this requirement."
    ))
}

/// Hashes what a former life stored, up to the last whole quantum.
fn recover(part: &Path) -> io::Result<Digests> {
    let mut digests = Digests::default();
    let file = match fs::File::open(part) {
        Err(failure) if failure.kind() == io::ErrorKind::NotFound => return Ok(digests),
        file => file?,
    };
    let length = file.metadata()?.len();
    let mut whole = file.take(length - length % QUANTUM);
    let mut buffer = vec![0; 256 * 1024];
    loop {
        let count = whole.read(&mut buffer)?;
        if count == 0 {
            return Ok(digests);
        }
        digests.update(&buffer[..count]);
    }
}

fn write(part: &Path, mut digests: Digests, bytes: &[u8]) -> io::Result<Digests> {
    let mut file = fs::OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(part)?;
    file.seek(SeekFrom::Start(digests.size()))?;
    file.write_all(bytes)?;
    digests.update(bytes);
    Ok(digests)
}

/// The stored bytes as content: few are read into memory, many are synced where they lie.
fn take(part: PathBuf, digests: &Digests) -> io::Result<Content> {
    let file = fs::OpenOptions::new()
        .create(true)
        .truncate(false)
        .read(true)
        .write(true)
        .open(&part)?;
    file.set_len(digests.size())?;
    let part = tempfile::TempPath::try_from_path(part)?;
    if digests.size() <= INLINE_LIMIT as u64 {
        let mut bytes = Vec::new();
        (&file).read_to_end(&mut bytes)?;
        return Ok(Content::new(digests, Data::Memory(bytes)));
    }
    file.sync_data()?;
    Ok(Content::new(digests, Data::File(part)))
}
