//! The Cloud Run Admin API, as far as it is about jobs: version 2 here, version 1 in a folder of its own.

mod attempt;
mod execution;
mod inside;
mod job;
mod launch;
mod operation;
mod overrides;
mod page;
mod process;
mod record;
mod show;
mod spec;
mod state;
mod supervise;
mod task;
pub(crate) mod v1;
mod validate;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use http::Method;

use self::state::{State, Stop};
use crate::answer::Answer;
use crate::call::Call;
use crate::config::Config;
use crate::metadata::PROJECT_NUMBER;
use crate::options::Options;
use crate::refusal::{Outcome, Refusal};
use crate::router;
use crate::secret::Secrets;
use crate::server::Site;

/// The project and region of a path.
pub(crate) struct Place<'a> {
    pub(crate) project: &'a str,
    pub(crate) region: &'a str,
}

/// Cloud Run.
pub(crate) struct Run {
    state: Arc<State>,
}

impl Run {
    pub(crate) fn open(
        config: &Config,
        options: &Options,
        base: &str,
        metadata: SocketAddr,
        secrets: Arc<Secrets>,
    ) -> io::Result<Self> {
        Ok(Self {
            state: Arc::new(State::open(config, options, base, metadata, secrets)?),
        })
    }

    pub(crate) fn is_busy(&self) -> bool {
        !self.state.records().running.is_empty()
    }

    /// Ends everything that runs, and returns when it is recorded.
    pub(crate) async fn stop(&self) {
        let mut ended = self.state.ended();
        {
            let mut records = self.state.records();
            records.stopping = true;
            for switch in records.running.values() {
                switch.send_replace(Stop::Shutdown);
            }
        }
        while self.is_busy() && ended.changed().await.is_ok() {}
    }
}

pub(crate) async fn route(
    site: &Site,
    call: &mut Call,
    place: Place<'_>,
    path: &[&str],
) -> Outcome<Answer> {
    let state = &site.run.state;
    if place.project != state.project && place.project != PROJECT_NUMBER {
        let project = place.project;
        return Err(Refusal::forbidden(format!(
            "Permission denied on resource project {project} (or it may not exist)."
        )));
    }
    if place.region != state.region {
        let region = place.region;
        return Err(Refusal::not_found(format!(
            "Location '{region}' was not found: this emulator has one region."
        )));
    }
    match path {
        ["jobs"] => match call.method {
            Method::GET => job::list(state, call),
            Method::POST => job::create(state, call).await,
            _ => Err(Refusal::method_not_allowed()),
        },
        ["jobs", id] => one_job(state, call, id).await,
        ["jobs", job, "executions", rest @ ..] => executions(state, call, job, rest).await,
        ["operations"] if call.method == Method::GET => operation::list(state, call),
        ["operations", id] => match (&call.method, split(id)) {
            (&Method::GET, (id, None)) => operation::get(state, id),
            (&Method::DELETE, (id, None)) => operation::delete(state, id),
            (&Method::POST, (id, Some("wait"))) => operation::wait(state, call, id).await,
            _ => Err(router::nowhere()),
        },
        _ => Err(router::nowhere()),
    }
}

async fn one_job(state: &Arc<State>, call: &mut Call, segment: &str) -> Outcome<Answer> {
    match (&call.method, split(segment)) {
        (&Method::GET, (id, None)) => job::get(state, call, id),
        (&Method::PATCH, (id, None)) => job::patch(state, call, id).await,
        (&Method::DELETE, (id, None)) => job::delete(state, call, id),
        (&Method::POST, (id, Some("run"))) => execution::run(state, call, id).await,
        (&Method::GET, (id, Some("getIamPolicy"))) => job::get_policy(state, call, id).await,
        (&Method::POST, (id, Some("setIamPolicy"))) => job::set_policy(state, call, id).await,
        (&Method::POST, (id, Some("testIamPermissions"))) => {
            job::test_permissions(state, call, id).await
        }
        _ => Err(router::nowhere()),
    }
}

async fn executions(
    state: &Arc<State>,
    call: &mut Call,
    job: &str,
    path: &[&str],
) -> Outcome<Answer> {
    match path {
        [] if call.method == Method::GET => execution::list(state, call, job),
        [segment] => match (&call.method, split(segment)) {
            (&Method::GET, (id, None)) => execution::get(state, call, job, id),
            (&Method::DELETE, (id, None)) => execution::delete(state, call, job, id),
            (&Method::POST, (id, Some("cancel"))) => execution::cancel(state, call, job, id).await,
            _ => Err(router::nowhere()),
        },
        [id, "tasks"] if call.method == Method::GET => task::list(state, call, job, id),
        [id, "tasks", task] if call.method == Method::GET => task::get(state, call, job, id, task),
        _ => Err(router::nowhere()),
    }
}

/// A segment's resource and its custom verb.
fn split(segment: &str) -> (&str, Option<&str>) {
    segment
        .rsplit_once(':')
        .map_or((segment, None), |(id, verb)| (id, Some(verb)))
}
