//! One bucket's objects: an index in memory, records and bytes on disk.

use std::collections::{BTreeMap, HashSet};
use std::io::{self, BufRead, BufReader, Cursor, Read};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, RwLock};

use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine as _};
use fs_err as fs;
use jiff::Timestamp;
use sha2::{Digest, Sha256};

use super::attributes::Attributes;
use super::bucket::BucketRecord;
use super::content::{Data, blocking};
use super::object::Object;
use crate::disk::{self, Durability};
use crate::lock::{lock, read, write};
use crate::refusal::{Outcome, Refusal};

/// Writers to one name wait for each other; to different names, seldom.
const STRIPES: usize = 64;

/// One bucket.
pub(crate) struct Bucket {
    pub(crate) name: String,
    pub(crate) record: Mutex<BucketRecord>,
    pub(crate) objects: RwLock<BTreeMap<String, Arc<Object>>>,
    pub(crate) directory: PathBuf,
    stripes: Vec<tokio::sync::Mutex<()>>,
}

impl Bucket {
    pub(crate) fn create(directory: PathBuf, record: BucketRecord) -> io::Result<Self> {
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
    pub(crate) fn open(directory: &Path) -> io::Result<Option<Self>> {
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
        bucket.sweep(&blobs)?;
        Ok(Some(bucket))
    }

    /// Removes blobs that no record speaks of: their write or removal was cut short.
    fn sweep(&self, blobs: &[PathBuf]) -> io::Result<()> {
        let objects = read(&self.objects);
        let used: HashSet<_> = objects
            .values()
            .filter(|object| !object.inline)
            .map(|object| self.blob(object))
            .collect();
        blobs
            .iter()
            .filter(|blob| !used.contains(*blob))
            .try_for_each(|blob| disk::remove(blob))
    }

    pub(crate) fn newest_generation(&self) -> i64 {
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

    pub(crate) fn stripe(&self, name: &str) -> &tokio::sync::Mutex<()> {
        let hash = crc32c::crc32c(name.as_bytes()) as usize;
        &self.stripes[hash % STRIPES]
    }

    fn path(&self, name: &str, suffix: &str) -> PathBuf {
        let hash = BASE64_URL_SAFE_NO_PAD.encode(Sha256::digest(name.as_bytes()));
        self.directory.join("objects").join(hash + suffix)
    }

    fn blob(&self, object: &Object) -> PathBuf {
        self.path(&object.name, &format!(".{}.blob", object.generation))
    }

    /// Writes an object and makes it the live one. The caller holds the name's stripe.
    pub(crate) async fn put(self: &Arc<Self>, object: Object, data: Data) -> Outcome<Arc<Object>> {
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

/// Refuses to remove what is held.
pub(crate) fn check_holds(object: &Object) -> Outcome<()> {
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
