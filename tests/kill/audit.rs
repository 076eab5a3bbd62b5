//! What must hold after anything: of the bucket, of the directories here, of the processes.

use std::collections::BTreeSet;
use std::fs;
use std::io::Read;
use std::path::Path;

use flate2::read::MultiGzDecoder;
use md5::Md5;
use sha2::{Digest, Sha256};
use wire::bucket::{List, ObjectMeta};
use wire::contract::{Claim, Document};
use wire::names::{AttemptObjects, RunId};

use crate::harness::{Machine, wait_until};
use crate::site::Site;

/// Everything the bucket holds.
pub(crate) fn objects(site: &Site) -> Vec<ObjectMeta> {
    site.with_bucket(async |bucket| {
        let page = bucket.list(&List::default()).await.unwrap();
        assert!(page.next.is_none());
        page.objects
    })
}

/// Everything the bucket holds is what its name says.
pub(crate) fn bucket(site: &Site) {
    let mut reported = BTreeSet::new();
    for object in objects(site) {
        let name = &object.name;
        let read = |name: &str| {
            site.with_bucket(async |bucket| bucket.read(name, u64::MAX).await.unwrap().1)
        };
        let bytes = read(name);
        if name.starts_with("inputs/") {
            let tar = unzipped(&bytes, name);
            assert_eq!(*name, format!("inputs/{}.tar.gz", hex(&Md5::digest(&tar))));
            assert_eq!(object.metadata["sha256"], hex(&Sha256::digest(&tar)));
            assert_eq!(object.metadata["size"], tar.len().to_string());
        } else if name.contains("/outputs/") || name.contains("/checkpoints/") {
            let tar = unzipped(&bytes, name);
            assert!(
                tar.len().is_multiple_of(512) && tar.ends_with(&[0; 1024]),
                "{name}"
            );
        } else if name.contains("/reports/") {
            let run: RunId = name.split('/').nth(1).unwrap().parse().unwrap();
            let objects = AttemptObjects::from_report(run, name).unwrap();
            let claim = Claim::from_json(&read(&objects.claim())).unwrap();
            assert_eq!(
                claim.key_sha256,
                hex(&Sha256::digest(objects.key.as_bytes()))
            );
            assert!(
                reported.insert((run, objects.attempt)),
                "two reports of {name}"
            );
        }
    }
}

fn unzipped(bytes: &[u8], name: &str) -> Vec<u8> {
    let mut tar = Vec::new();
    let whole = MultiGzDecoder::new(bytes).read_to_end(&mut tar);
    whole.unwrap_or_else(|error| panic!("{name}: {error}"));
    tar
}

fn hex(bytes: &[u8]) -> String {
    let digits: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    digits.concat()
}

/// What this machine remembers can be read, and nobody works for it any more.
pub(crate) fn machine(machine: &Machine) -> Vec<RunId> {
    nobody(&machine.home());
    runs(machine)
}

/// The runs that this machine remembers.
pub(crate) fn runs(machine: &Machine) -> Vec<RunId> {
    let mut runs = Vec::new();
    for entry in fs::read_dir(machine.data().join("runs"))
        .into_iter()
        .flatten()
    {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|ending| ending == "json") {
            let record: serde_json::Value =
                serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
            runs.push(record["run"].as_str().unwrap().parse().unwrap());
        }
    }
    runs
}

/// Directories of results that are not in place.
pub(crate) fn partial(machine: &Machine) -> Vec<String> {
    let places = [machine.work(), machine.path("o")];
    let entries = places.iter().flat_map(fs::read_dir).flatten().flatten();
    entries
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .filter(|name| name.ends_with(".partial"))
        .collect()
}

/// No process has this path in its environment, or soon none will: a report is a little older than its container's end.
pub(crate) fn nobody(path: &Path) {
    wait_until("nobody works there", || workers(path).is_empty());
}

fn workers(path: &Path) -> Vec<String> {
    let path = path.to_str().unwrap().as_bytes();
    let processes = fs::read_dir("/proc").unwrap().flatten();
    let at_work = processes.filter(|entry| {
        let environment = fs::read(entry.path().join("environ")).unwrap_or_default();
        environment.windows(path.len()).any(|window| window == path)
    });
    at_work
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect()
}
