//! The command's output while it runs.

use std::time::{Duration, Instant};

use wire::bucket::List;
use wire::names::{AttemptObjects, RunId};

use super::claims::Claims;
use super::landing::Landing;
use super::logs::Logs;
use crate::error::{Error, chain};
use crate::event::{Event, Reporter};
use crate::session::Session;

/// The entrypoint sends nothing sooner.
const SOON: Duration = Duration::from_secs(1);

/// While nothing is printed, looks grow this rare.
const RARE: Duration = Duration::from_secs(5);

/// Follows the logs of a run's only task, into its results' directory and to the user.
#[derive(Debug, Default)]
pub struct Tail {
    live: Option<Live>,
}

#[derive(Debug)]
struct Live {
    landing: Landing,
    logs: Option<Logs>,
    claims: Claims,
    pause: Duration,
    last_look: Instant,
}

impl Tail {
    /// Follows the task that lands here.
    pub fn into(landing: Landing) -> Self {
        let live = Live {
            landing,
            logs: None,
            claims: Claims::default(),
            pause: SOON,
            last_look: Instant::now(),
        };
        Self { live: Some(live) }
    }

    /// Follows nothing: several tasks would talk at once.
    pub fn none() -> Self {
        Self::default()
    }

    /// Shows what is new, if it is time to look. What fails here is read again at the end.
    pub async fn look(&mut self, session: &Session, run: RunId, reporter: &mut dyn Reporter) {
        let Some(live) = &mut self.live else {
            return;
        };
        if live.last_look.elapsed() < live.pause {
            return;
        }
        let before = live.logs.as_ref().map_or(0, Logs::chunks);
        if let Err(error) = live.look(session, run, reporter).await {
            tracing::debug!(error = %chain(&error), "cannot follow the logs");
        }
        live.last_look = Instant::now();
        let after = live.logs.as_ref().map_or(0, Logs::chunks);
        live.pause = if after > before {
            SOON
        } else {
            (live.pause * 2).min(RARE)
        };
    }

    /// What was read so far, for the landing of the results.
    pub(super) fn take(&mut self) -> Option<(Landing, Option<Logs>)> {
        self.live.take().map(|live| (live.landing, live.logs))
    }
}

impl Live {
    async fn look(
        &mut self,
        session: &Session,
        run: RunId,
        reporter: &mut dyn Reporter,
    ) -> Result<(), Error> {
        let newest = match &self.logs {
            Some(_) => None,
            None => self.newest(session, run).await?,
        };
        if let Some(objects) = newest {
            self.logs = Some(Logs::begin(self.landing.path(), objects)?);
        }
        let Some(logs) = &mut self.logs else {
            return Ok(());
        };
        let mut show = |stream, bytes: &[u8]| {
            reporter.event(&Event::Output {
                task: 0,
                stream,
                bytes,
            });
        };
        logs.catch_up(&session.bucket, &mut show).await
    }

    /// The attempt that writes logs under a key its claim vouches for.
    async fn newest(
        &mut self,
        session: &Session,
        run: RunId,
    ) -> Result<Option<AttemptObjects>, Error> {
        let prefix = run.logs();
        let list = List {
            prefix: &prefix,
            max_results: Some(100),
            ..List::default()
        };
        let page = session
            .bucket
            .list(&list)
            .await
            .map_err(Error::api("cannot list the logs"))?;
        let mut newest: Option<AttemptObjects> = None;
        for object in &page.objects {
            let Ok((objects, _, _)) = AttemptObjects::from_log(run, &object.name) else {
                continue;
            };
            let newer = newest.as_ref().is_none_or(|n| n.attempt < objects.attempt);
            let held = self.claims.hold(&session.bucket, &objects).await;
            if newer && held.map_err(Error::api("cannot read a claim"))? {
                newest = Some(objects);
            }
        }
        Ok(newest)
    }
}
