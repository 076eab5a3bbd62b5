//! A run's documents, and its `:run` calls, each made once however unclear its answer.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{FutureExt, StreamExt, TryStreamExt, stream};
use serde::Serialize;
use wire::api::{ApiError, ErrorKind};
use wire::bucket::{NewObject, Precondition};
use wire::contract::{INLINE_SPEC_LIMIT, RunPlan, RunRecord, SORTIE_RUN, Spec, SpecSource, Start};
use wire::names::{RunId, StartUri};

use crate::cloud_run::{Execution, Overrides};
use crate::error::Error;
use crate::session::Session;

/// How often `:run` is asked, where each unclear answer was followed by a look that found nothing.
const ASKS: u32 = 4;

/// Specs that are sent at once.
const AT_ONCE: usize = 16;

/// Executions are looked for so far before the run's own beginning: clocks differ.
const CLOCKS_DIFFER: Duration = Duration::from_mins(10);

/// Says what the run is, before anything of it is started.
pub(crate) async fn record(session: &Session, record: &RunRecord) -> Result<(), Error> {
    write(session, &record.run.record(), record).await
}

/// Says what every task does, where no single start will.
pub(crate) async fn plan(session: &Session, plan: &RunPlan) -> Result<(), Error> {
    write(session, &plan.run.plan(), plan).await
}

/// Brings specs to where tasks find them: while they are small together, into the start itself; else each into an
/// object, for every task reads the whole start.
pub(crate) async fn place_specs(
    session: &Session,
    run: RunId,
    specs: Vec<Spec>,
) -> Result<Vec<SpecSource>, Error> {
    let mut inline = 0;
    let mut sources = Vec::with_capacity(specs.len());
    let mut sending = Vec::new();
    for (k, spec) in (0_u32..).zip(specs) {
        let json = serde_json::to_vec(&spec)
            .map_err(|error| Error::local("cannot write the spec", error))?;
        inline += json.len();
        if inline <= INLINE_SPEC_LIMIT {
            sources.push(SpecSource::Inline(Box::new(spec)));
        } else {
            sources.push(SpecSource::Object(k));
            sending.push((k, json));
        }
    }
    let creation = |(k, json)| create_spec(session, run, k, json).boxed();
    let creations: Vec<_> = sending.into_iter().map(creation).collect();
    let creations = stream::iter(creations).buffer_unordered(AT_ONCE);
    creations.try_collect::<()>().await?;
    Ok(sources)
}

async fn create_spec(session: &Session, run: RunId, k: u32, json: Vec<u8>) -> Result<(), Error> {
    create(session, &run.spec(k), json).await
}

/// Writes a start; false: somebody else has written another one of this number.
pub(crate) async fn write_start(session: &Session, start: &Start) -> Result<bool, Error> {
    match write(session, &start.run.start(start.start), start).await {
        Ok(()) => Ok(true),
        Err(Error::Api { source, .. }) if source.kind == ErrorKind::Exists => Ok(false),
        Err(error) => Err(error),
    }
}

/// Asks for a start's execution; after an answer that leaves it open, looks for it before asking again.
pub(crate) async fn ask_once(session: &Session, start: &Start) -> Result<Execution, Error> {
    let uri = start_uri(session, start.run, start.start);
    let count = start.tasks.iter().map(|range| range.count).sum();
    let overrides = Overrides {
        env: vec![(SORTIE_RUN.to_owned(), uri.clone())],
        task_count: count,
        timeout_s: start.timeout_s,
    };
    let mut asks = 0;
    loop {
        asks += 1;
        let error = match session.cloud_run.run(&start.job, &overrides).await {
            Ok(execution) => return Ok(execution),
            Err(error) => error,
        };
        if !is_unclear(&error) {
            return Err(Error::api("cannot start the run")(error));
        }
        // Whoever may not look now must not be told that nothing runs.
        let seen = look(session, start, &[]).await;
        let seen = seen.map_err(|source| Error::Unclear {
            source: Box::new(source),
        })?;
        if let Some(execution) = seen {
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

/// The newest execution that was started with this start, other than those that are known.
pub(crate) async fn look(
    session: &Session,
    start: &Start,
    known: &[&str],
) -> Result<Option<Execution>, Error> {
    let uri = start_uri(session, start.run, start.start);
    let all = executions(session, &start.job, start.run).await?;
    Ok(all.into_iter().find(|execution| {
        !known.contains(&execution.name.as_str())
            && execution.template.env(SORTIE_RUN) == Some(uri.as_str())
    }))
}

/// A job's executions that may be of this run, newest first.
pub(crate) async fn executions(
    session: &Session,
    job: &str,
    run: RunId,
) -> Result<Vec<Execution>, Error> {
    let since = run.created_at().checked_sub(CLOCKS_DIFFER);
    let since = since.unwrap_or(jiff::Timestamp::MIN);
    let all = session.cloud_run.executions_since(job, since).await;
    all.map_err(Error::api("cannot tell whether the run was started"))
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
    let body = Bytes::from(json);
    let failed = Error::api("cannot write the run into the bucket");
    match session.bucket.insert(name, &object, body.clone()).await {
        Ok(_) => Ok(()),
        // Written before, by a try whose answer was lost.
        Err(error) if error.kind == ErrorKind::Exists => {
            let held = session.bucket.read(name, body.len() as u64).await;
            match held {
                Ok((_, held)) if held == body => Ok(()),
                _ => Err(failed(error)),
            }
        }
        Err(error) => Err(failed(error)),
    }
}
