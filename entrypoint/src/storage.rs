//! The way to the bucket, and what an attempt writes there.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use url::{Host, Url};
use wire::api::{Api, ApiError, ErrorKind, RetryConfig, http_client};
use wire::bucket::{Bucket, NewObject, ObjectMeta, Precondition, Upload};
use wire::names::AttemptObjects;
use wire::token::{MetadataTokens, Tokens};

use crate::environment::Environment;
use crate::interrupt::Interrupt;

const GOOGLE: &str = "https://storage.googleapis.com";

/// A fresh container's first connections may fail for a minute or two, until its NAT knows it.
const COLD: RetryConfig = RetryConfig {
    retries: 40,
    budget: Duration::from_mins(2),
    first_pause: Duration::from_millis(100),
    longest_pause: Duration::from_secs(10),
};

/// A fresh container's first connections may lead nowhere: one is given up in time for several others.
const COLD_IDLE: Duration = Duration::from_secs(20);

/// What a command has worked for is worth waiting.
const PATIENT: RetryConfig = RetryConfig {
    retries: 400,
    budget: Duration::from_hours(1),
    first_pause: Duration::from_millis(100),
    longest_pause: Duration::from_secs(30),
};

/// Between SIGTERM and SIGKILL.
const HURRIED: RetryConfig = RetryConfig {
    retries: 100,
    budget: Duration::from_secs(10),
    first_pause: Duration::from_millis(50),
    longest_pause: Duration::from_millis(250),
};

/// Between SIGTERM and SIGKILL a connection on which nothing moves is given up so soon.
const HURRIED_IDLE: Duration = Duration::from_secs(2);

/// What an upload holds until the server has it, in bytes: the container's memory is the user's.
const CHUNK: usize = 4 << 20;

/// The bucket of this start, for what there is time for.
#[derive(Debug, Clone)]
pub(crate) struct Buckets {
    /// For the first reads: a job that is not set up should say so soon.
    pub(crate) cold: Bucket,
    pub(crate) patient: Bucket,
    hurried: Bucket,
}

/// The way to the bucket of this start.
pub(crate) fn connect(environment: &Environment) -> Result<Buckets, Box<dyn std::error::Error>> {
    let http = http_client()?;
    let host = environment.metadata_host.as_deref();
    let haste = environment.haste;
    let metadata = || Arc::new(MetadataTokens::new(http.clone(), host).with_haste(haste));
    let (endpoint, tokens) = match &environment.storage {
        None => (Url::parse(GOOGLE)?, Tokens::google(metadata())),
        Some(emulator) if host.is_some() && is_loopback(emulator) => {
            (emulator.clone(), Tokens::origin(emulator, metadata()))
        }
        Some(emulator) => (emulator.clone(), Tokens::anonymous()),
    };
    let api = Api::new(http, tokens, None, COLD).with_haste(haste);
    let bucket =
        |api| Bucket::new(api, &endpoint, &environment.start.bucket).with_chunk_size(CHUNK);
    let hurried = api.clone().with_retry(HURRIED);
    Ok(Buckets {
        patient: bucket(api.clone().with_retry(PATIENT)),
        hurried: bucket(hurried.with_idle_timeout(HURRIED_IDLE)),
        cold: bucket(api.with_idle_timeout(COLD_IDLE)),
    })
}

/// A token goes to no other machine than Google's.
fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => IpAddr::V4(address).is_loopback(),
        Some(Host::Ipv6(address)) => IpAddr::V6(address).is_loopback(),
        None => false,
    }
}

/// Where one attempt writes.
#[derive(Debug, Clone)]
pub(crate) struct Store {
    buckets: Buckets,
    interrupt: Interrupt,
    /// The names it may use.
    pub(crate) objects: AttemptObjects,
}

impl Store {
    /// From now on with patience, until the interrupt comes.
    pub(crate) fn new(buckets: Buckets, interrupt: Interrupt, objects: AttemptObjects) -> Self {
        Self {
            buckets,
            interrupt,
            objects,
        }
    }

    /// The run's bucket, with as much patience as there is time.
    pub(crate) fn bucket(&self) -> &Bucket {
        if self.interrupt.came() {
            &self.buckets.hurried
        } else {
            &self.buckets.patient
        }
    }

    /// A message without the attempt's key: while the command runs, whoever knows it could take the names of what
    /// is still to be written.
    pub(crate) fn redact(&self, message: &str) -> String {
        message.replace(&self.objects.key, "…")
    }

    /// Creates a small object, in haste as soon as the interrupt comes.
    ///
    /// The names are secret until they are written, so what stands there already is our own earlier try whose
    /// answer was lost. The container's account may not replace objects, and may be told 403 instead of 412.
    pub(crate) async fn create(
        &self,
        name: &str,
        object: &NewObject,
        body: Bytes,
    ) -> Result<ObjectMeta, ApiError> {
        let Buckets {
            patient, hurried, ..
        } = &self.buckets;
        tokio::select! {
            biased;
            () = self.interrupt.after(Duration::ZERO) => {}
            created = create(patient, name, object, body.clone()) => return created,
        }
        create(hurried, name, object, body).await
    }

    /// Begins an object of unknown size.
    pub(crate) async fn upload(&self, name: &str, object: &NewObject) -> Result<Upload, ApiError> {
        self.bucket().upload(name, object).await
    }
}

async fn create(
    bucket: &Bucket,
    name: &str,
    object: &NewObject,
    body: Bytes,
) -> Result<ObjectMeta, ApiError> {
    let size = body.len() as u64;
    match bucket.insert(name, object, body).await {
        Err(error) if may_exist(error.kind) => match bucket.stat(name).await {
            Ok(meta) if meta.size == size => Ok(meta),
            _ => Err(error),
        },
        result => result,
    }
}

/// Whether a create that failed so may have met an object.
pub(crate) fn may_exist(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::Exists | ErrorKind::Precondition | ErrorKind::Forbidden
    )
}

/// An object that is written once.
pub(crate) fn new_object(content_type: &'static str) -> NewObject {
    NewObject {
        content_type,
        metadata: BTreeMap::new(),
        custom_time: None,
        precondition: Precondition::Absent,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_machine_is_loopback() {
        for near in ["http://127.0.0.1:1", "http://localhost:1", "http://[::1]:1"] {
            assert!(is_loopback(&near.parse().unwrap()), "{near}");
        }
        for far in [
            "http://10.0.0.1:1",
            "http://localhost.evil.example",
            "http://storage",
        ] {
            assert!(!is_loopback(&far.parse().unwrap()), "{far}");
        }
    }
}
