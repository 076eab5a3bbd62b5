//! Which reports a run has, forgeries left aside.

use std::collections::BTreeMap;

use wire::api::{ApiError, ErrorKind};
use wire::bucket::{Bucket, List};
use wire::contract::{Document, Report};
use wire::names::{AttemptObjects, RunId};

use super::claims::Claims;
use crate::error::{Error, chain};
use crate::event::{Event, Reporter};

/// A report holds at the most 256 KiB of results in base64, and a hundred names.
const REPORT_LIMIT: u64 = 4 * 1024 * 1024;

/// A report and the names it was written under.
#[derive(Debug, Clone)]
pub struct Found {
    /// The attempt's objects.
    pub objects: AttemptObjects,
    /// What it says.
    pub report: Report,
    /// How long it took to read, in milliseconds.
    pub read_ms: u64,
}

/// The last report of every task that has one.
pub async fn find(
    bucket: &Bucket,
    run: RunId,
    reporter: &mut dyn Reporter,
) -> Result<BTreeMap<u32, Found>, Error> {
    let mut claims = Claims::default();
    let mut last: BTreeMap<u32, AttemptObjects> = BTreeMap::new();
    for objects in written(bucket, run)
        .await
        .map_err(Error::api("cannot list the run's reports"))?
    {
        let newer = last
            .get(&objects.attempt.task)
            .is_none_or(|other| other.attempt < objects.attempt);
        if !newer {
            continue;
        }
        let holds = claims.hold(bucket, &objects).await;
        if holds.map_err(Error::api("cannot read a claim"))? {
            last.insert(objects.attempt.task, objects);
        } else {
            let text = format!(
                "a report of task {} was not written by its entrypoint, and is ignored",
                objects.attempt.task
            );
            reporter.event(&Event::Warning(&text));
        }
    }
    let mut found = BTreeMap::new();
    for (task, objects) in last {
        match read(bucket, objects).await? {
            Ok(report) => {
                found.insert(task, report);
            }
            // Its claim holds, so nobody forged it: another version's, or a task that ruins its own run.
            Err(why) => {
                let text = format!("the report of task {task} cannot be used: {why}");
                reporter.event(&Event::Warning(&text));
            }
        }
    }
    Ok(found)
}

async fn written(bucket: &Bucket, run: RunId) -> Result<Vec<AttemptObjects>, ApiError> {
    let prefix = run.reports();
    let mut all = Vec::new();
    let mut next: Option<String> = None;
    loop {
        let query = List {
            prefix: &prefix,
            page: next.as_deref(),
            ..List::default()
        };
        let page = bucket.list(&query).await?;
        // A name that is none of ours is nobody's report.
        all.extend(
            page.objects
                .iter()
                .filter_map(|o| AttemptObjects::from_report(run, &o.name).ok()),
        );
        match page.next {
            Some(token) => next = Some(token),
            None => return Ok(all),
        }
    }
}

/// A report, or why it is none.
async fn read(bucket: &Bucket, objects: AttemptObjects) -> Result<Result<Found, String>, Error> {
    let begun = std::time::Instant::now();
    let json = match bucket.read(&objects.report(), REPORT_LIMIT).await {
        Ok((_, json)) => json,
        Err(error) if error.kind == ErrorKind::TooLarge => return Ok(Err(chain(&error))),
        Err(error) => return Err(Error::api("cannot read a report")(error)),
    };
    let report = match Report::from_json(&json) {
        Ok(report) => report,
        Err(error) => return Ok(Err(chain(&error))),
    };
    if report.run != objects.run || report.attempt != objects.attempt {
        return Ok(Err("it is about another attempt".to_owned()));
    }
    Ok(Ok(Found {
        objects,
        report,
        read_ms: crate::clock::ms(begun),
    }))
}

/// The last whole checkpoint of a task's last attempt that wrote one, with its generation.
pub(super) async fn last_checkpoint(
    bucket: &Bucket,
    run: RunId,
    task: u32,
) -> Result<Option<(String, u64)>, Error> {
    let mut claims = Claims::default();
    let prefix = format!("{}{task}.", run.checkpoints());
    let mut last = None;
    let mut next: Option<String> = None;
    loop {
        let query = List {
            prefix: &prefix,
            page: next.as_deref(),
            ..List::default()
        };
        let page = bucket
            .list(&query)
            .await
            .map_err(Error::api("cannot list the checkpoints"))?;
        for object in page.objects {
            let Ok((objects, sequence)) = AttemptObjects::from_checkpoint(run, &object.name) else {
                continue;
            };
            let rank = (objects.attempt, sequence);
            let newer = last.as_ref().is_none_or(|(other, _)| *other < rank);
            let held = claims.hold(bucket, &objects).await;
            if newer && held.map_err(Error::api("cannot read a claim"))? {
                last = Some((rank, (object.name, object.generation)));
            }
        }
        match page.next {
            Some(token) => next = Some(token),
            None => return Ok(last.map(|(_, object)| object)),
        }
    }
}
