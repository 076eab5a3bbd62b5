//! What a task left beside its outputs: directories that its spec named, each in an archive of its own.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use wire::bucket::Bucket;
use wire::contract::{Archive, Report, check_collect_name};
use wire::names::AttemptObjects;

use super::outputs;
use crate::error::Error;

/// Collected directories that are home.
#[derive(Debug, Default)]
pub(super) struct Brought {
    /// What is not, and why.
    pub(super) lost: Vec<String>,
    /// Objects that are not needed any more, with their generations.
    pub(super) done: Vec<(String, u64)>,
}

/// Brings every collected directory into `<dir>/<its name>`, as safely as the outputs.
pub(super) async fn fetch(
    bucket: &Bucket,
    objects: &AttemptObjects,
    report: &Report,
    dir: &Path,
) -> Result<Brought, Error> {
    let mut brought = Brought::default();
    let mut names = BTreeSet::new();
    for (index, collected) in report.collected.iter().enumerate() {
        let shown = collected.name.lossy();
        if let Some(problem) = &collected.problem {
            brought.lost.push(format!("`{shown}`: {problem}"));
        }
        // The report is the container's, and its names are a stranger's.
        if check_collect_name(&collected.name).is_err() || !names.insert(&collected.name) {
            brought
                .lost
                .push(format!("`{shown}` has a name that cannot be"));
            continue;
        }
        let object = objects.collected(index);
        let into = dir.join(OsStr::from_bytes(&collected.name.0));
        let fetched = outputs::fetch_into(bucket, &object, &collected.outputs, &into).await?;
        match (fetched.problem, &collected.outputs.archive) {
            (Some(problem), _) => brought.lost.push(format!("`{shown}`: {problem}")),
            (None, Archive::Object { generation, .. }) => brought.done.push((object, *generation)),
            (None, _) => {}
        }
    }
    Ok(brought)
}
