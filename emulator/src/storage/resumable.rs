//! Uploads in many requests: sessions that outlive a broken connection, and this process.

use std::collections::HashMap;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use bytes::BytesMut;
use fs_err as fs;
use http::{HeaderValue, Method, StatusCode, header};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::attributes::{Attributes, Claims, Draft};
use super::content::{Content, Data, Digests, INLINE_LIMIT, OBJECT_LIMIT, blocking};
use super::insert::{DRAFT_LIMIT, admit};
use super::object::escape;
use super::precondition::Conditions;
use super::store::Insertion;
use super::{Scope, progress::Progress};
use crate::answer::{self, Answer};
use crate::call::Call;
use crate::caller::{Caller, Rights};
use crate::clock;
use crate::disk::{self, Durability};
use crate::lock::lock;
use crate::refusal::{Outcome, Refusal};
use crate::server::Site;

/// Chunks are multiples of this, the last one excepted; nothing less is stored.
const QUANTUM: u64 = 256 * 1024;
/// How much is gathered before a thread writes it.
const BATCH: usize = 4 * 256 * 1024;
/// How long a session lives.
const LIFE: SignedDuration = SignedDuration::from_hours(7 * 24);

/// All sessions.
pub(crate) struct Sessions {
    root: PathBuf,
    live: Mutex<HashMap<String, Arc<tokio::sync::Mutex<Session>>>>,
}

/// A session as it is kept on disk; its bytes lie beside it.
#[derive(Serialize, Deserialize)]
struct Record {
    id: String,
    bucket: String,
    name: String,
    attributes: Attributes,
    claims: Claims,
    conditions: Conditions,
    /// Who began it: the session's address carries these rights.
    caller: Caller,
    created: Timestamp,
    /// The whole size, once the client has told it.
    total: Option<u64>,
    /// The object, once it is one.
    object: Option<Value>,
    cancelled: bool,
}

struct Session {
    record: Record,
    path: PathBuf,
    /// Of what is stored; `None` when a former life stored it.
    digests: Option<Digests>,
}

impl Sessions {
    pub(crate) fn open(root: &Path) -> io::Result<Self> {
        fs::create_dir_all(root)?;
        let mut live = HashMap::new();
        for record in disk::read_all::<Record>(root)? {
            let id = record.id.clone();
            let session = Session {
                record,
                path: root.join(&id),
                digests: None,
            };
            live.insert(id, Arc::new(tokio::sync::Mutex::new(session)));
        }
        Ok(Self {
            root: root.to_owned(),
            live: Mutex::new(live),
        })
    }

    fn begin(&self, record: Record) -> io::Result<()> {
        let id = record.id.clone();
        let session = Session {
            record,
            path: self.root.join(&id),
            digests: Some(Digests::default()),
        };
        session.save()?;
        lock(&self.live).insert(id, Arc::new(tokio::sync::Mutex::new(session)));
        Ok(())
    }

    fn find(&self, id: &str) -> Outcome<Arc<tokio::sync::Mutex<Session>>> {
        let found = lock(&self.live).get(id).cloned();
        found.ok_or_else(|| Refusal::not_found("No such upload session."))
    }

    fn forget(&self, id: &str) -> io::Result<()> {
        lock(&self.live).remove(id);
        disk::remove(&self.root.join(id).with_extension("json"))?;
        disk::remove(&self.root.join(id).with_extension("part"))
    }
}

pub(crate) async fn start(site: &Site, call: &mut Call, scope: &Scope<'_>) -> Outcome<Answer> {
    let body = call.body.collect(DRAFT_LIMIT).await?;
    let mut draft = Draft::parse(&body, scope.bucket)?;
    let name = draft
        .name
        .take()
        .or_else(|| call.query.get("name").map(str::to_owned))
        .unwrap_or_default();
    let conditions = admit(site, call, scope, &name)?;
    draft.claims.add_headers(&call.headers);
    if draft.attributes.content_type.is_none() {
        draft.attributes.content_type = call.header("x-upload-content-type").map(str::to_owned);
    }
    let total = call
        .header("x-upload-content-length")
        .map(number)
        .transpose()?;
    let record = Record {
        id: clock::secret(),
        bucket: scope.bucket.to_owned(),
        name,
        attributes: draft.attributes,
        claims: draft.claims,
        conditions,
        caller: scope.rights.caller,
        created: Timestamp::now(),
        total,
        object: None,
        cancelled: false,
    };
    let (base, bucket, name, id) = (
        &site.base,
        scope.bucket,
        escape(&record.name),
        record.id.clone(),
    );
    let location = format!(
        "{base}/upload/storage/v1/b/{bucket}/o?uploadType=resumable&name={name}&upload_id={id}"
    );
    let store = Arc::clone(&site.store);
    blocking(move || store.sessions.begin(record)).await?;
    let mut answer = answer::status_only(StatusCode::OK);
    let headers = answer.headers_mut();
    insert(headers, header::LOCATION, &location);
    insert(
        headers,
        header::HeaderName::from_static("x-guploader-uploadid"),
        &id,
    );
    Ok(answer)
}

fn insert(headers: &mut http::HeaderMap, name: header::HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}

fn number(text: &str) -> Outcome<u64> {
    text.trim()
        .parse()
        .map_err(|_| Refusal::invalid(format!("Invalid number `{text}` in a header.")))
}

/// Requests to a session's address.
pub(crate) async fn route(site: &Site, call: &mut Call) -> Outcome<Answer> {
    let id = call.query.get("upload_id").unwrap_or_default().to_owned();
    let session = site.store.sessions.find(&id)?;
    let mut session = session.lock().await;
    if session.record.created + LIFE < Timestamp::now() {
        site.store.sessions.forget(&id)?;
        return Err(Refusal::gone("The upload session has expired."));
    }
    if session.record.cancelled {
        return Err(Refusal::cancelled());
    }
    match call.method {
        Method::PUT | Method::POST => session.receive(site, call).await,
        Method::DELETE => session.cancel(),
        _ => Err(Refusal::method_not_allowed()),
    }
}

impl Session {
    fn part(&self) -> PathBuf {
        self.path.with_extension("part")
    }

    fn save(&self) -> io::Result<()> {
        disk::replace_json(
            &self.path.with_extension("json"),
            &self.record,
            Durability::Unsynced,
        )
    }

    fn cancel(&mut self) -> Outcome<Answer> {
        if self.record.object.is_none() {
            self.record.cancelled = true;
            self.save()?;
            disk::remove(&self.part())?;
        }
        Err(Refusal::cancelled())
    }

    async fn receive(&mut self, site: &Site, call: &mut Call) -> Outcome<Answer> {
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
            site.store.sessions.forget(&self.record.id)?;
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
