//! The command's output while it runs.

use std::path::Path;
use std::time::{Duration, Instant};

use wire::bucket::Bucket;
use wire::names::RunId;

use super::claims::Claims;
use super::land::Place;
use super::landing::Landing;
use super::logs::{self, Gaps, Logs};
use super::reports::Found;
use crate::error::{Error, chain};
use crate::event::{Event, Reporter};
use crate::session::Session;

/// With the looks at the execution, about 60 calls a minute.
const SOON: Duration = Duration::from_secs(2);

/// While nothing is printed, looks grow this rare.
const RARE: Duration = Duration::from_secs(5);

/// Follows the logs of a run's only task, into its results' directory and to the user.
#[derive(Debug, Default)]
pub struct Tail {
    live: Option<Live>,
}

/// A task's directory that is not in place yet, and its logs as far as they are there.
#[derive(Debug)]
pub(super) struct Live {
    claude: bool,
    pub(super) landing: Landing,
    pub(super) logs: Option<Logs>,
    /// Whether the user sees the logs.
    pub(super) shown: bool,
    /// Whether more than logs may have been written there already.
    used: bool,
    claims: Claims,
    pause: Duration,
    last_look: Option<Instant>,
}

impl Tail {
    /// Follows the task that lands here; `claude`: it is a run of Claude Code.
    pub fn into(landing: Landing, claude: bool) -> Self {
        let live = Live {
            claude,
            shown: true,
            ..Live::begin(landing)
        };
        Self { live: Some(live) }
    }

    /// Follows nothing: several tasks would talk at once.
    pub fn none() -> Self {
        Self::default()
    }

    /// Shows what is new, if it is time to look. What fails here is read again at the end.
    pub async fn look(&mut self, session: &Session, run: RunId, reporter: &mut dyn Reporter) {
        let Some(live) = self.live.as_mut().filter(|live| live.shown) else {
            return;
        };
        // The entrypoint sends nothing in its first second: the first look starts the clock.
        let last_look = *live.last_look.get_or_insert_with(Instant::now);
        if last_look.elapsed() < live.pause {
            return;
        }
        let before = live.logs.as_ref().map_or(0, Logs::chunks);
        if let Err(error) = live.look(session, run, reporter).await {
            tracing::debug!(error = %chain(&error), "cannot follow the logs");
        }
        live.last_look = Some(Instant::now());
        let after = live.logs.as_ref().map_or(0, Logs::chunks);
        live.pause = if after > before {
            SOON
        } else {
            (live.pause * 2).min(RARE)
        };
    }

    /// Where a task's results are to be written, the logs going on from what was followed. After a landing that broke
    /// off it is another directory; what the user has seen is not shown again.
    pub(super) fn live(&mut self, place: Place<'_>) -> Result<&mut Live, Error> {
        let mut live = if let Some(live) = self.live.take_if(|live| !live.used) {
            live
        } else {
            let landing = Landing::begin(place.target, place.run, place.task)?;
            let (logs, shown) = match &self.live {
                Some(Live { logs, shown, .. }) => (logs.as_ref(), *shown),
                None => (None, false),
            };
            Live {
                logs: logs.map(|logs| logs.again(landing.path())).transpose()?,
                claude: place.claude,
                shown,
                ..Live::begin(landing)
            }
        };
        live.used = true;
        Ok(self.live.insert(live))
    }

    /// Moves them into place, as [`Landing::settle`] does.
    pub(super) fn settle(
        &mut self,
        sync: bool,
        knows_more: impl FnOnce(&Path) -> bool,
    ) -> Result<bool, Error> {
        match self.live.take() {
            Some(live) => live.landing.settle(sync, knows_more),
            None => Ok(false),
        }
    }
}

impl Live {
    fn begin(landing: Landing) -> Self {
        Self {
            claude: false,
            landing,
            logs: None,
            shown: false,
            used: false,
            claims: Claims::default(),
            pause: SOON,
            last_look: None,
        }
    }

    async fn look(
        &mut self,
        session: &Session,
        run: RunId,
        reporter: &mut dyn Reporter,
    ) -> Result<(), Error> {
        if self.logs.is_none() {
            let newest = logs::newest(&session.bucket, &mut self.claims, run, 0).await?;
            let Some(objects) = newest else {
                return Ok(());
            };
            self.logs = Some(Logs::begin(self.landing.path(), objects)?);
        }
        let Some(logs) = &mut self.logs else {
            return Ok(());
        };
        let claude = self.claude;
        let mut show = |stream, bytes: &[u8]| {
            reporter.event(&Event::printed(claude, 0, stream, bytes));
        };
        logs.catch_up(&session.bucket, Gaps::Wait, &mut show).await
    }
}

/// Follows the output of one task of a run, to the user alone.
#[derive(Debug)]
pub struct Following {
    run: RunId,
    task: u32,
    claims: Claims,
    logs: Option<Logs>,
}

impl Following {
    /// Of a task.
    pub fn of(run: RunId, task: u32) -> Self {
        Self {
            run,
            task,
            claims: Claims::default(),
            logs: None,
        }
    }

    /// Shows what is new, up to the end of what a report tells; says whether there was anything.
    ///
    /// `over`: nothing more will come, so that gaps are not waited for.
    pub async fn look(
        &mut self,
        bucket: &Bucket,
        report: Option<Found>,
        over: bool,
        reporter: &mut dyn Reporter,
    ) -> Result<bool, Error> {
        let named = report.as_ref().map(|found| &found.objects);
        let objects = match (named, &self.logs) {
            (Some(objects), _) => Some(objects.clone()),
            (None, Some(_)) => None,
            (None, None) => logs::newest(bucket, &mut self.claims, self.run, self.task).await?,
        };
        // Another attempt than the one that was followed: from its beginning.
        if let Some(objects) = objects
            && self.logs.as_ref().is_none_or(|logs| !logs.reads(&objects))
        {
            self.logs = Some(Logs::shown(objects));
        }
        let Some(logs) = &mut self.logs else {
            return Ok(false);
        };
        let before = logs.chunks();
        let task = self.task;
        let mut show = |stream, bytes: &[u8]| {
            reporter.event(&Event::Output {
                task,
                stream,
                bytes,
            });
        };
        if let Some(found) = report {
            let lost = logs.complete(bucket, &found.report, &mut show).await?;
            for what in lost {
                reporter.event(&Event::Warning(&what));
            }
            return Ok(true);
        }
        let gaps = if over { Gaps::Skip } else { Gaps::Wait };
        logs.catch_up(bucket, gaps, &mut show).await?;
        Ok(logs.chunks() > before)
    }
}
