//! Buckets and their objects: an index in memory, records and bytes on disk.
//!
//! `buckets/<bucket>/bucket.json` is a bucket; `buckets/<bucket>/objects/<hash>.object` is an object: its record on the first
//! line, and after it the bytes, unless they are many: then they lie in `<hash>.<generation>.blob` beside it. A record is
//! replaced by a rename, which is the moment a write happens.

use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, Cursor, Read};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, RwLock};

use fs_err as fs;
use jiff::Timestamp;
use sha2::{Digest, Sha256};

use super::attributes::Attributes;
use super::bucket::BucketRecord;
use super::content::{Content, Data, blocking};
use super::names;
use super::object::Object;
use super::precondition::Conditions;
use super::resumable::Sessions;
use crate::caller::Rights;
use crate::config::Permission;
use crate::disk::{self, Durability};
use crate::error::Error;
use crate::lock::{lock, read, write};
use crate::refusal::{Outcome, Refusal};

/// Writers to one name wait for each other; to different names, seldom.
const STRIPES: usize = 64;

/// All buckets.
pub(crate) struct Store {
    root: PathBuf,
    /// For bytes that are not an object yet.
    pub(crate) incoming: PathBuf,
    pub(crate) sessions: Sessions,
    buckets: RwLock<BTreeMap<String, Arc<Bucket>>>,
    last_generation: AtomicI64,
}

/// One bucket.
pub(crate) struct Bucket {
    pub(crate) name: String,
    pub(crate) record: Mutex<BucketRecord>,
    objects: RwLock<BTreeMap<String, Arc<Object>>>,
    directory: PathBuf,
    stripes: Vec<tokio::sync::Mutex<()>>,
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

fn check_holds(object: &Object) -> Outcome<()> {
    let attributes = &object.attributes;
    let kind = match (attributes.temporary_hold, attributes.event_based_hold) {
        (true, _) => "Temporary hold",
        (_, true) => "Event-Based hold",
        _ => return Ok(()),
    };
    let name = &object.name;
    let message = format!(
        "Object '{name}' is under active {kind} and cannot be deleted, overwritten or archived until hold is removed."
    );
    Err(Refusal::forbidden(message))
}

impl Bucket {
    fn create(directory: PathBuf, record: BucketRecord) -> io::Result<Self> {
        fs::create_dir_all(directory.join("objects"))?;
        disk::replace_json(&directory.join("bucket.json"), &record, Durability::Synced)?;
        Ok(Self::new(directory, record, BTreeMap::new()))
    }

    fn new(
        directory: PathBuf,
        record: BucketRecord,
        objects: BTreeMap<String, Arc<Object>>,
    ) -> Self {
        let stripes = (0..STRIPES)
            .map(|_| tokio::sync::Mutex::default())
            .collect();
        let name = record.name.clone();
        Self {
            name,
            record: Mutex::new(record),
            objects: RwLock::new(objects),
            directory,
            stripes,
        }
    }

    /// `None` for a bucket whose making or removal was cut short.
    fn open(directory: &Path) -> io::Result<Option<Self>> {
        let text = match fs::read(directory.join("bucket.json")) {
            Err(failure) if failure.kind() == io::ErrorKind::NotFound => return Ok(None),
            text => text?,
        };
        let record: BucketRecord = serde_json::from_slice(&text)?;
        let mut objects = BTreeMap::new();
        let mut blobs = Vec::new();
        for entry in fs::read_dir(directory.join("objects"))? {
            let path = entry?.path();
            match path.extension().and_then(|extension| extension.to_str()) {
                Some("object") => match read_record(&path) {
                    Ok(object) => drop(objects.insert(object.name.clone(), Arc::new(object))),
                    Err(reason) => disk::set_aside(&path, &reason)?,
                },
                Some("blob") => blobs.push(path),
                _ => {}
            }
        }
        let bucket = Self::new(directory.to_owned(), record, objects);
        bucket.sweep(blobs)?;
        Ok(Some(bucket))
    }

    /// Removes blobs that no record speaks of: their write or removal was cut short.
    fn sweep(&self, blobs: Vec<PathBuf>) -> io::Result<()> {
        let objects = read(&self.objects);
        let used: std::collections::HashSet<_> = objects
            .values()
            .filter(|object| !object.inline)
            .map(|object| self.blob(object))
            .collect();
        blobs
            .iter()
            .filter(|blob| !used.contains(*blob))
            .try_for_each(|blob| disk::remove(blob))
    }

    fn newest_generation(&self) -> i64 {
        read(&self.objects)
            .values()
            .map(|object| object.generation)
            .max()
            .unwrap_or(0)
    }

    pub(crate) fn get(&self, name: &str) -> Option<Arc<Object>> {
        read(&self.objects).get(name).cloned()
    }

    /// Calls `visit` with the objects from `start` on, in order, until it says `false`.
    pub(crate) fn scan(&self, start: &str, mut visit: impl FnMut(&Arc<Object>) -> bool) {
        let objects = read(&self.objects);
        let _ = objects
            .range(start.to_owned()..)
            .all(|(_, object)| visit(object));
    }

    fn stripe(&self, name: &str) -> &tokio::sync::Mutex<()> {
        let hash = crc32c::crc32c(name.as_bytes()) as usize;
        &self.stripes[hash % STRIPES]
    }

    fn path(&self, name: &str, suffix: &str) -> PathBuf {
        let hash = Sha256::digest(name.as_bytes());
        let mut file: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
        file.push_str(suffix);
        self.directory.join("objects").join(file)
    }

    fn blob(&self, object: &Object) -> PathBuf {
        self.path(&object.name, &format!(".{}.blob", object.generation))
    }

    /// Writes an object and makes it the live one. The caller holds the name's stripe.
    async fn put(self: &Arc<Self>, object: Object, data: Data) -> Outcome<Arc<Object>> {
        let bucket = Arc::clone(self);
        blocking(move || {
            let former = bucket.get(&object.name);
            let inline = match data {
                Data::Memory(bytes) => bytes,
                Data::File(file) => {
                    file.persist(bucket.blob(&object))
                        .map_err(|failure| failure.error)?;
                    Vec::new()
                }
            };
            let object = bucket.write_record(object, &inline)?;
            if let Some(former) = former.filter(|former| !former.inline) {
                disk::remove(&bucket.blob(&former))?;
            }
            Ok(object)
        })
        .await
    }

    fn write_record(&self, object: Object, inline: &[u8]) -> io::Result<Arc<Object>> {
        let mut record = serde_json::to_vec(&object)?;
        record.push(b'\n');
        disk::replace(
            &self.path(&object.name, ".object"),
            &[&record, inline],
            Durability::Synced,
        )?;
        let object = Arc::new(object);
        write(&self.objects).insert(object.name.clone(), Arc::clone(&object));
        Ok(object)
    }

    /// Changes an object's attributes, if the conditions hold.
    pub(crate) async fn edit(
        self: &Arc<Self>,
        name: &str,
        check: impl Fn(Option<&Object>) -> Outcome<()>,
        change: impl FnOnce(&mut Attributes) -> Outcome<()>,
    ) -> Outcome<Arc<Object>> {
        let _alone = self.stripe(name).lock().await;
        let current = self.get(name);
        check(current.as_deref())?;
        let mut object = current
            .ok_or_else(|| missing(&self.name, name))?
            .as_ref()
            .clone();
        change(&mut object.attributes)?;
        object.metageneration += 1;
        object.updated = Timestamp::now();
        let bucket = Arc::clone(self);
        blocking(move || {
            let inline = if object.inline {
                bucket.read_inline(&object)?
            } else {
                Vec::new()
            };
            bucket.write_record(object, &inline)
        })
        .await
    }

    pub(crate) async fn delete(
        self: &Arc<Self>,
        name: &str,
        check: impl Fn(Option<&Object>) -> Outcome<()>,
    ) -> Outcome<()> {
        let _alone = self.stripe(name).lock().await;
        let current = self.get(name);
        check(current.as_deref())?;
        let object = current.ok_or_else(|| missing(&self.name, name))?;
        check_holds(&object)?;
        let bucket = Arc::clone(self);
        blocking(move || {
            disk::remove(&bucket.path(&object.name, ".object"))?;
            write(&bucket.objects).remove(&object.name);
            if object.inline {
                Ok(())
            } else {
                disk::remove(&bucket.blob(&object))
            }
        })
        .await
    }

    /// The object's bytes. Not found when it has been replaced or deleted since it was looked up.
    pub(crate) fn read(&self, object: &Object) -> io::Result<Bytes> {
        if object.inline {
            return self
                .read_inline(object)
                .map(|bytes| Bytes::Memory(Cursor::new(bytes)));
        }
        Ok(Bytes::File(fs::File::open(self.blob(object))?))
    }

    fn read_inline(&self, object: &Object) -> io::Result<Vec<u8>> {
        let mut file = BufReader::new(fs::File::open(self.path(&object.name, ".object"))?);
        let stored = first_line(&mut file)?;
        if stored.generation != object.generation {
            return Err(io::ErrorKind::NotFound.into());
        }
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    pub(crate) fn save(&self, record: &BucketRecord) -> io::Result<()> {
        disk::replace_json(
            &self.directory.join("bucket.json"),
            record,
            Durability::Synced,
        )
    }

    /// Changes the bucket's own record.
    pub(crate) async fn update<T: Send + 'static>(
        self: &Arc<Self>,
        change: impl FnOnce(&mut BucketRecord) -> Outcome<T> + Send + 'static,
    ) -> Outcome<T> {
        let bucket = Arc::clone(self);
        let changing = move || {
            let mut record = lock(&bucket.record);
            let mut changed = record.clone();
            let value = change(&mut changed);
            if value.is_ok() {
                bucket.save(&changed)?;
                *record = changed;
            }
            Ok(value)
        };
        blocking(changing).await?
    }
}

pub(crate) fn missing(bucket: &str, name: &str) -> Refusal {
    Refusal::not_found(format!("No such object: {bucket}/{name}"))
}

fn read_record(path: &Path) -> io::Result<Object> {
    first_line(&mut BufReader::new(fs::File::open(path)?))
}

fn first_line(file: &mut impl BufRead) -> io::Result<Object> {
    let mut line = Vec::new();
    file.read_until(b'\n', &mut line)?;
    Ok(serde_json::from_slice(&line)?)
}

/// An object's bytes, ready to be read from any place.
pub(crate) enum Bytes {
    Memory(Cursor<Vec<u8>>),
    File(fs::File),
}

impl Read for Bytes {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Memory(memory) => memory.read(buffer),
            Self::File(file) => file.read(buffer),
        }
    }
}

impl io::Seek for Bytes {
    fn seek(&mut self, position: io::SeekFrom) -> io::Result<u64> {
        match self {
            Self::Memory(memory) => memory.seek(position),
            Self::File(file) => file.seek(position),
        }
    }
}
