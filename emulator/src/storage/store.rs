//! Buckets and their objects: an index in memory, records and bytes on disk.
//!
//! `buckets/<bucket>/bucket.json` is a bucket; `buckets/<bucket>/objects/<hash>.object` is an object: its record on the first
//! line, and after it the bytes, unless they are many: then they lie in `<hash>.<generation>.blob` beside it. A record is
//! replaced by a rename, which is the moment a write happens.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, RwLock};

use fs_err as fs;
use jiff::Timestamp;

use super::attributes::Attributes;
use super::bucket::BucketRecord;
use super::content::{Content, Data, blocking};
use super::holdings::{Bucket, check_holds};
use super::names;
use super::object::Object;
use super::precondition::Conditions;
use super::resumable::Sessions;
use super::xml::Uploads;
use crate::caller::Rights;
use crate::config::Permission;
use crate::error::Error;
use crate::lock::{read, write};
use crate::refusal::{Outcome, Refusal};

/// All buckets.
pub(crate) struct Store {
    root: PathBuf,
    /// For bytes that are not an object yet.
    pub(crate) incoming: PathBuf,
    pub(crate) sessions: Sessions,
    pub(crate) uploads: Uploads,
    buckets: RwLock<BTreeMap<String, Arc<Bucket>>>,
    last_generation: AtomicI64,
}

/// What becomes an object.
pub(crate) struct Insertion<'a> {
    pub(crate) name: &'a str,
    pub(crate) attributes: Attributes,
    pub(crate) content: Content,
    pub(crate) conditions: Conditions,
    pub(crate) rights: Rights<'a>,
}

impl Store {
    pub(crate) fn open(state: &Path) -> io::Result<Self> {
        let root = state.join("buckets");
        let incoming = state.join("incoming");
        fs::create_dir_all(&root)?;
        // What a former life was receiving; sessions that can be resumed lie elsewhere.
        if incoming.exists() {
            fs::remove_dir_all(&incoming)?;
        }
        fs::create_dir_all(&incoming)?;
        let mut buckets = BTreeMap::new();
        for entry in fs::read_dir(&root)? {
            if let Some(bucket) = Bucket::open(&entry?.path())? {
                buckets.insert(bucket.name.clone(), Arc::new(bucket));
            }
        }
        let newest = buckets
            .values()
            .map(|bucket| bucket.newest_generation())
            .max();
        Ok(Self {
            root,
            incoming,
            uploads: Uploads::default(),
            sessions: Sessions::open(&state.join("uploads"))?,
            buckets: RwLock::new(buckets),
            last_generation: AtomicI64::new(newest.unwrap_or(0)),
        })
    }

    pub(crate) async fn ensure_bucket(&self, name: &str) -> Result<(), Error> {
        if !names::is_bucket(name) {
            return Err(Error::BucketName(name.to_owned()));
        }
        if read(&self.buckets).contains_key(name) {
            return Ok(());
        }
        let failed = |source| Error::State {
            path: self.root.clone(),
            source,
        };
        let made = self.create_bucket(BucketRecord::new(name)).await;
        made.map(drop)
            .map_err(|refusal| failed(io::Error::other(refusal.message)))
    }

    pub(crate) async fn create_bucket(&self, record: BucketRecord) -> Outcome<Arc<Bucket>> {
        let name = record.name.clone();
        let taken = || {
            Refusal::conflict(
                "Your previous request to create the named bucket succeeded and you already own it.",
            )
        };
        if read(&self.buckets).contains_key(&name) {
            return Err(taken());
        }
        let directory = self.root.join(&name);
        let bucket = blocking(move || Bucket::create(directory, record)).await?;
        let bucket = Arc::new(bucket);
        let mut buckets = write(&self.buckets);
        if buckets.contains_key(&name) {
            return Err(taken());
        }
        buckets.insert(name, Arc::clone(&bucket));
        Ok(bucket)
    }

    pub(crate) fn bucket(&self, name: &str) -> Outcome<Arc<Bucket>> {
        let found = read(&self.buckets).get(name).cloned();
        found.ok_or_else(|| Refusal::not_found("The specified bucket does not exist."))
    }

    pub(crate) fn buckets(&self) -> Vec<Arc<Bucket>> {
        read(&self.buckets).values().cloned().collect()
    }

    pub(crate) async fn delete_bucket(&self, bucket: &Arc<Bucket>) -> Outcome<()> {
        if !read(&bucket.objects).is_empty() {
            return Err(Refusal::conflict(
                "The bucket you tried to delete is not empty.",
            ));
        }
        write(&self.buckets).remove(&bucket.name);
        let directory = bucket.directory.clone();
        blocking(move || fs::remove_dir_all(directory)).await
    }

    /// Microseconds, as Google's look, and never the same twice.
    fn next_generation(&self) -> i64 {
        let now = Timestamp::now().as_microsecond();
        let advance = |last: i64| Some(now.max(last + 1));
        match self
            .last_generation
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, advance)
        {
            Ok(last) | Err(last) => now.max(last + 1),
        }
    }

    /// Makes content an object, if the conditions hold and the caller may replace what is there.
    pub(crate) async fn insert(
        &self,
        bucket: &Arc<Bucket>,
        insertion: Insertion<'_>,
    ) -> Outcome<Arc<Object>> {
        let Insertion {
            name,
            attributes,
            content,
            conditions,
            rights,
        } = insertion;
        let _alone = bucket.stripe(name).lock().await;
        let current = bucket.get(name);
        may_replace(current.as_deref(), &conditions, rights)?;
        let now = Timestamp::now();
        let object = Object {
            name: name.to_owned(),
            generation: self.next_generation(),
            metageneration: 1,
            size: content.size,
            md5: content.md5,
            crc32c: content.crc32c,
            components: content.components,
            created: now,
            updated: now,
            inline: matches!(content.data, Data::Memory(_)),
            attributes,
        };
        bucket.put(object, content.data).await
    }
}

/// Whether an insert may go on, as far as that can be told before its bytes are here.
pub(crate) fn may_replace(
    current: Option<&Object>,
    conditions: &Conditions,
    rights: Rights<'_>,
) -> Outcome<()> {
    conditions.check(current.map(Object::version))?;
    if let Some(current) = current {
        rights.require(Permission::Delete, Some(&current.name))?;
        check_holds(current)?;
    }
    Ok(())
}
