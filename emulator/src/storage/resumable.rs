//! Uploads in many requests: sessions that outlive a broken connection, and this process.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use fs_err as fs;
use http::{Method, StatusCode, header};
use jiff::Timestamp;

use super::Scope;
use super::attributes::Draft;
use super::content::blocking;
use super::insert::{DRAFT_LIMIT, admit};
use super::object::escape;
use super::session::{Record, Session, insert};
use crate::answer::{self, Answer};
use crate::call::Call;
use crate::clock;
use crate::disk;
use crate::lock::lock;
use crate::refusal::{Outcome, Refusal};
use crate::server::Site;

/// All sessions.
pub(crate) struct Sessions {
    root: PathBuf,
    live: Mutex<HashMap<String, Arc<tokio::sync::Mutex<Session>>>>,
}

impl Sessions {
    pub(crate) fn open(root: &Path) -> io::Result<Self> {
        fs::create_dir_all(root)?;
        let mut live = HashMap::new();
        for record in disk::read_all::<Record>(root)? {
            let id = record.id.clone();
            let session = Session::found(record, root);
            if session.expires() < Timestamp::now() {
                session.remove()?;
                continue;
            }
            live.insert(id, Arc::new(tokio::sync::Mutex::new(session)));
        }
        Ok(Self {
            root: root.to_owned(),
            live: Mutex::new(live),
        })
    }

    fn begin(&self, record: Record) -> io::Result<()> {
        let id = record.id.clone();
        let session = Session::found(record, &self.root);
        session.save()?;
        lock(&self.live).insert(id, Arc::new(tokio::sync::Mutex::new(session)));
        Ok(())
    }

    fn find(&self, id: &str) -> Outcome<Arc<tokio::sync::Mutex<Session>>> {
        let found = lock(&self.live).get(id).cloned();
        found.ok_or_else(|| Refusal::not_found("No such upload session."))
    }

    pub(crate) fn forget(&self, session: &Session) -> io::Result<()> {
        lock(&self.live).remove(&session.record.id);
        session.remove()
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
    if session.expires() < Timestamp::now() {
        site.store.sessions.forget(&session)?;
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
