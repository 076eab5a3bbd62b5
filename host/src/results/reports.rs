//! Which reports a run has, forgeries left aside.

use std::collections::{BTreeMap, HashSet};

use wire::api::{ApiError, ErrorKind};
use wire::bucket::{Bucket, List, ObjectMeta};
use wire::contract::{Document, Report};
use wire::names::{Attempt, AttemptObjects, RunId};

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

/// A report that lies in the bucket, by what its listing says.
#[derive(Debug, Clone)]
pub struct Written {
    /// The attempt's objects.
    pub objects: AttemptObjects,
    /// As [`wire::contract::Outcome::as_str`] has it.
    pub outcome: String,
    /// The command's exit code.
    pub code: Option<i32>,
}

/// The reports of a run as they come.
#[derive(Debug)]
pub struct Reports {
    run: RunId,
    claims: Claims,
    refused: HashSet<String>,
}

impl Reports {
    /// Of a run.
    pub fn of(run: RunId) -> Self {
        Self {
            run,
            claims: Claims::default(),
            refused: HashSet::new(),
        }
    }

    /// Leaves a report aside from now on.
    pub fn refuse(&mut self, objects: &AttemptObjects) {
        self.refused.insert(objects.key.clone());
    }

    /// The attempts of the run that were claimed, by a listing; and how many calls it took.
    pub async fn claimed(&mut self, bucket: &Bucket) -> Result<(HashSet<Attempt>, u32), Error> {
        let listed = self.claims.list(bucket, self.run).await;
        let calls = listed.map_err(Error::api("cannot list the run's claims"))?;
        Ok((self.claims.attempts().collect(), calls))
    }

    /// The newest report of every task, among attempts that are wanted, whose claim holds; and how many calls it took.
    pub async fn newest(
        &mut self,
        bucket: &Bucket,
        wanted: impl Fn(Attempt) -> bool,
        reporter: &mut dyn Reporter,
    ) -> Result<(BTreeMap<u32, Written>, u32), Error> {
        let list = written(bucket, self.run, &self.run.reports()).await;
        let (all, mut calls) = list.map_err(Error::api("cannot list the run's reports"))?;
        let (newest, asked) = self.choose(bucket, all, wanted, reporter).await?;
        calls += asked;
        Ok((newest, calls))
    }

    /// Likewise, of one task.
    pub async fn newest_of(
        &mut self,
        bucket: &Bucket,
        task: u32,
        wanted: impl Fn(Attempt) -> bool,
        reporter: &mut dyn Reporter,
    ) -> Result<Option<Written>, Error> {
        let prefix = format!("{}{task}.", self.run.reports());
        let list = written(bucket, self.run, &prefix).await;
        let (all, _) = list.map_err(Error::api("cannot list the task's reports"))?;
        let (mut newest, _) = self.choose(bucket, all, wanted, reporter).await?;
        Ok(newest.remove(&task))
    }

    async fn choose(
        &mut self,
        bucket: &Bucket,
        all: Vec<Written>,
        wanted: impl Fn(Attempt) -> bool,
        reporter: &mut dyn Reporter,
    ) -> Result<(BTreeMap<u32, Written>, u32), Error> {
        let candidates: Vec<Written> = all
            .into_iter()
            .filter(|written| wanted(written.objects.attempt))
            .filter(|written| !self.refused.contains(&written.objects.key))
            .collect();
        let unknown = candidates
            .iter()
            .filter(|w| !self.claims.knows(&w.objects))
            .count();
        let asked = self.claims.prepare(bucket, self.run, unknown).await;
        let calls = asked.map_err(Error::api("cannot list the run's claims"))?;
        let mut newest: BTreeMap<u32, Written> = BTreeMap::new();
        for written in candidates {
            let objects = &written.objects;
            let task = objects.attempt.task;
            let newer = newest
                .get(&task)
                .is_none_or(|other| other.objects.attempt < objects.attempt);
            if !newer {
                continue;
            }
            let holds = self.claims.hold(bucket, objects).await;
            if holds.map_err(Error::api("cannot read a claim"))? {
                newest.insert(task, written);
            } else {
                let text = format!(
                    "a report of task {task} was not written by its entrypoint, and is ignored"
                );
                reporter.event(&Event::Warning(&text));
                self.refuse(&written.objects);
            }
        }
        Ok((newest, calls))
    }
}

/// Every report there is, by name and metadata, forgeries included; and how many calls it took.
async fn written(
    bucket: &Bucket,
    run: RunId,
    prefix: &str,
) -> Result<(Vec<Written>, u32), ApiError> {
    let mut all = Vec::new();
    let mut calls = 0;
    let mut next: Option<String> = None;
    loop {
        let query = List {
            prefix,
            page: next.as_deref(),
            ..List::default()
        };
        let page = bucket.list(&query).await?;
        calls += 1;
        // A name that is none of ours is nobody's report.
        all.extend(page.objects.iter().filter_map(|o| read_listing(run, o)));
        match page.next {
            Some(token) => next = Some(token),
            None => return Ok((all, calls)),
        }
    }
}

fn read_listing(run: RunId, object: &ObjectMeta) -> Option<Written> {
    let says = |name: &str| object.metadata.get(name);
    Some(Written {
        objects: AttemptObjects::from_report(run, &object.name).ok()?,
        outcome: says("outcome").cloned().unwrap_or_default(),
        code: says("code").and_then(|code| code.parse().ok()),
    })
}

/// Reads a report; or says why it is none that can be used.
pub async fn read(
    bucket: &Bucket,
    objects: AttemptObjects,
) -> Result<Result<Found, String>, Error> {
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
