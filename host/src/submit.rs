//! One `:run` call, made once however unclear its answer.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use serde::Serialize;
use wire::api::{ApiError, ErrorKind};
use wire::bucket::{NewObject, Precondition};
use wire::contract::{
    INLINE_SPEC_LIMIT, RunRecord, SORTIE_RUN, Spec, SpecSource, Start, TaskRange, VERSION,
};
use wire::names::{RunId, StartUri};

use crate::cloud_run::{Execution, Overrides};
use crate::error::Error;
use crate::session::Session;

/// How often `:run` is asked, where each unclear answer was followed by a look that found nothing.
const ASKS: u32 = 4;

/// A task of the run and the number of its spec.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Assigned {
    /// The task's number within the run.
    pub task: u32,
    /// Index into the specs.
    pub spec: u32,
}

/// Says what the run is, before anything of it is started.
pub(crate) async fn record(session: &Session, run: RunId, tasks: u32) -> Result<(), Error> {
    let record = RunRecord {
        version: VERSION,
        run,
        sortie: env!("CARGO_PKG_VERSION").to_owned(),
        owner: session.owner.clone(),
        created_at: jiff::Timestamp::now(),
        tasks,
        job: session.job.clone(),
    };
    write(session, &run.record(), &record).await
}

/// Writes a start and starts its execution.
pub(crate) async fn start(
    session: &Session,
    run: RunId,
    start: u32,
    tasks: &[Assigned],
    specs: &[Spec],
    timeout_s: Option<u64>,
) -> Result<Execution, Error> {
    let sources = place_specs(session, run, start, specs).await?;
    let document = Start {
        version: VERSION,
        run,
        start,
        tasks: ranges(tasks),
        specs: sources,
    };
    write(session, &run.start(start), &document).await?;
    let uri = start_uri(session, run, start);
    let overrides = Overrides {
        env: vec![(SORTIE_RUN.to_owned(), uri.clone())],
        task_count: u32::try_from(tasks.len()).unwrap_or(u32::MAX),
        timeout_s,
    };
    ask_once(session, &uri, &overrides).await
}

/// Asks for the execution; after an answer that leaves it open, looks for it before asking again.
async fn ask_once(session: &Session, uri: &str, overrides: &Overrides) -> Result<Execution, Error> {
    let mut asks = 0;
    loop {
        asks += 1;
        let error = match session.cloud_run.run(&session.job, overrides).await {
            Ok(execution) => return Ok(execution),
            Err(error) => error,
        };
        if !is_unclear(&error) {
            return Err(Error::api("cannot start the run")(error));
        }
        if let Some(execution) = look(session, uri, None).await? {
            return Ok(execution);
        }
        if asks == ASKS {
            return Err(Error::api("cannot start the run")(error));
        }
        // A twin that shows up late finds the first one's claim, and leaves.
        tokio::time::sleep(Duration::from_secs(u64::from(asks))).await;
    }
}

fn is_unclear(error: &ApiError) -> bool {
    matches!(error.kind, ErrorKind::Unavailable | ErrorKind::Protocol)
}

/// The name of a start, as its execution's environment has it.
pub(crate) fn start_uri(session: &Session, run: RunId, start: u32) -> String {
    StartUri {
        bucket: session.bucket.name().to_owned(),
        run,
        start,
    }
    .to_string()
}

/// The newest execution that was started with this start, other than one that is known.
pub(crate) async fn look(
    session: &Session,
    uri: &str,
    known: Option<&str>,
) -> Result<Option<Execution>, Error> {
    let newest = session
        .cloud_run
        .newest_executions(&session.job)
        .await
        .map_err(Error::api("cannot tell whether the run was started"))?;
    Ok(newest.into_iter().find(|execution| {
        Some(execution.name.as_str()) != known && execution.template.env(SORTIE_RUN) == Some(uri)
    }))
}

/// Small specs ride in the start; a large one gets an object, named so that no other start has used it.
async fn place_specs(
    session: &Session,
    run: RunId,
    start: u32,
    specs: &[Spec],
) -> Result<Vec<SpecSource>, Error> {
    let mut sources = Vec::with_capacity(specs.len());
    for (k, spec) in (0_u32..).zip(specs) {
        let json = serde_json::to_vec(spec)
            .map_err(|error| Error::local("cannot write the spec", error))?;
        if json.len() <= INLINE_SPEC_LIMIT {
            sources.push(SpecSource::Inline(Box::new(spec.clone())));
            continue;
        }
        let number = start * 10_000 + k;
        create(session, &run.spec(number), json).await?;
        sources.push(SpecSource::Object(number));
    }
    Ok(sources)
}

/// Neighbours with one spec become one range.
fn ranges(tasks: &[Assigned]) -> Vec<TaskRange> {
    let mut ranges: Vec<TaskRange> = Vec::new();
    for (index, assigned) in (0_u32..).zip(tasks) {
        match ranges.last_mut() {
            Some(last) if last.spec == assigned.spec && last.task + last.count == assigned.task => {
                last.count += 1;
            }
            _ => ranges.push(TaskRange {
                index,
                task: assigned.task,
                count: 1,
                spec: assigned.spec,
            }),
        }
    }
    ranges
}

async fn write<T: Serialize>(session: &Session, name: &str, document: &T) -> Result<(), Error> {
    let json = serde_json::to_vec(document)
        .map_err(|error| Error::local("cannot write the run's documents", error))?;
    create(session, name, json).await
}

async fn create(session: &Session, name: &str, json: Vec<u8>) -> Result<(), Error> {
    let object = NewObject {
        content_type: "application/json",
        metadata: BTreeMap::new(),
        custom_time: None,
        precondition: Precondition::Absent,
    };
    let sent = session
        .bucket
        .insert(name, &object, Bytes::from(json))
        .await;
    sent.map(drop)
        .map_err(Error::api("cannot write the run into the bucket"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_with_one_spec_become_one_range() {
        let all = [(0, 0), (1, 0), (2, 1), (5, 1), (6, 1)];
        let tasks: Vec<Assigned> = all
            .iter()
            .map(|&(task, spec)| Assigned { task, spec })
            .collect();
        let got: Vec<_> = ranges(&tasks)
            .iter()
            .map(|r| (r.index, r.task, r.count, r.spec))
            .collect();
        assert_eq!(got, [(0, 0, 2, 0), (2, 2, 1, 1), (3, 5, 2, 1)]);
    }
}
