//! Bringing the inputs into the bucket, and settling what every task is told.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use wire::contract::{Input, RunRecord, Spec, TaskSpan, VERSION};
use wire::names::RunId;

use super::needs::Needs;
use super::plan::UsedJob;
use super::{Beginning, Course, Resend, Unwritten};
use crate::clock;
use crate::cloud_run::Job;
use crate::error::Error;
use crate::event::Reporter;
use crate::record::LocalRecord;
use crate::request::{Request, TaskRequest, Work};
use crate::results::Phases;
use crate::session::Session;
use crate::stage::{self, InputSource, Staged};
use crate::{submit, timeout};

/// More tasks than one execution takes need a plan, for no single start tells of all.
pub(super) const ONE_EXECUTION: usize = 10_000;

impl<'a> Course<'a> {
    /// Brings the inputs into the bucket, and settles what every task is told.
    pub(crate) async fn prepare(
        session: &'a Session,
        request: &'a Request,
        run: RunId,
        reporter: &mut dyn Reporter,
    ) -> Result<Self, Error> {
        let needs = Needs::of(session, request)?;
        let inputs = request.inputs();
        let staging = stage::stage(session, &inputs, reporter);
        let asking = needs.ask(session, request);
        // What may be refused is refused before anything is sent; where nothing can be, both go on at once.
        let ((jobs, rates), staging) = if needs.may_refuse(request) {
            (asking.await?, staging.await?)
        } else {
            tokio::try_join!(asking, staging)?
        };
        let staged = &staging.inputs;
        let begun = Instant::now();
        let mut specs = specs(request.tasks.len(), &needs.works, &inputs, staged);
        let bytes = staged.iter().map(|staged| staged.bytes).sum();
        let used = settle_timeouts(&needs.jobs, &jobs, &needs.job_of, &mut specs, bytes)?;
        let sources = submit::place_specs(session, run, specs).await?;
        let plan = needs.plan(used, sources);
        let window = request
            .manner
            .parallel
            .filter(|_| !session.keeps_parallelism);
        let window = window.filter(|&most| (most as usize) < request.tasks.len());
        let planned =
            window.is_some() || needs.jobs.len() > 1 || request.tasks.len() > ONE_EXECUTION;
        let unwritten = Unwritten {
            plan: planned.then(|| plan.whole(run)),
        };
        let record = record(session, request, run, window, planned, &needs.jobs);
        LocalRecord::new(run, &session.place, &request.out).write(&session.data_dir)?;
        let beginning = Beginning {
            session,
            record,
            plan,
            rates,
            manner: request.manner.clone(),
            out: request.out.clone(),
        };
        let mut course = beginning.course();
        course.unwritten = Some(unwritten);
        course.resend = Some(Resend {
            request,
            inputs: staged.iter().map(|staged| staged.input.clone()).collect(),
        });
        course.phases = Phases {
            pack: staging.pack_ms,
            upload: staging.upload_ms,
            submit: clock::ms(begun),
            ..Phases::default()
        };
        if !request.manner.detach {
            course.open_tail(request.tail)?;
        }
        Ok(course)
    }

    /// An input that expired beneath the run is sent again: content is truth, so the same specs fit.
    ///
    /// `start`: the one whose task missed it. If that is older than the last look for the inputs, they are there by now.
    pub(super) async fn send_inputs_again(
        &mut self,
        start: u32,
        reporter: &mut dyn Reporter,
    ) -> Result<(), Error> {
        let Some(resend) = &self.resend else {
            return Ok(());
        };
        let was_there = self.inputs_seen.map(|since| start >= since);
        if was_there == Some(false) {
            return Ok(());
        }
        reporter.event(&crate::event::Event::Warning(
            "an input is not to be had in the bucket: it is sent again",
        ));
        let staging = stage::stage(self.session, &resend.request.inputs(), reporter).await?;
        let staged = staging.inputs;
        let same = |(staged, before): (&Staged, &Input)| staged.input == *before;
        if !staged.iter().zip(&resend.inputs).all(same) {
            return Err(Error::usage(
                "an input was lost in the bucket, and has changed here since",
            )
            .with_hint("type the `sortie run` again, for all tasks to have the same inputs"));
        }
        if was_there.is_some() && staged.iter().all(|staged| !staged.sent) {
            return Err(Error::usage("the task may not read its inputs, which are in the bucket")
                .with_hint("give the job's service account `roles/storage.legacyObjectReader` on the bucket, for `inputs/` and `runs/`"));
        }
        self.inputs_seen = Some(self.next_start);
        Ok(())
    }
}

fn record(
    session: &Session,
    request: &Request,
    run: RunId,
    window: Option<u32>,
    planned: bool,
    jobs: &[String],
) -> RunRecord {
    let numbered = (0..)
        .zip(&request.tasks)
        .all(|(i, task): (usize, _)| task.name == i.to_string());
    let names = request.tasks.iter().map(|task| task.name.clone());
    RunRecord {
        version: VERSION,
        run,
        sortie: env!("CARGO_PKG_VERSION").to_owned(),
        owner: session.owner.clone(),
        created_at: jiff::Timestamp::now(),
        tasks: u32::try_from(request.tasks.len()).unwrap_or(u32::MAX),
        names: if numbered {
            Vec::new()
        } else {
            names.collect()
        },
        project: session.project.clone(),
        region: session.region.clone(),
        planned,
        parallel: window,
        driving: request.manner.driving(),
        job: jobs.first().cloned().unwrap_or_default(),
        jobs: jobs.get(1..).unwrap_or_default().to_vec(),
        claude: claude_spans(&request.tasks),
    }
}

fn claude_spans(tasks: &[TaskRequest]) -> Vec<TaskSpan> {
    let mut spans: Vec<TaskSpan> = Vec::new();
    for (task, _) in (0_u32..).zip(tasks).filter(|(_, task)| task.work.claude) {
        match spans.last_mut() {
            Some(last) if last.first + last.count == task => last.count += 1,
            _ => spans.push(TaskSpan {
                first: task,
                count: 1,
            }),
        }
    }
    spans
}

/// Every work's spec, its inputs filled in.
fn specs(tasks: usize, works: &[&Arc<Work>], all: &[InputSource], staged: &[Staged]) -> Vec<Spec> {
    let by_source: HashMap<&InputSource, &Input> = all
        .iter()
        .zip(staged.iter().map(|staged| &staged.input))
        .collect();
    let spec = |work: &&Arc<Work>| {
        let mut spec = work.spec.clone();
        let staged = |sources: &[InputSource]| {
            let known = sources.iter().filter_map(|source| by_source.get(source));
            known.map(|input| (*input).clone()).collect()
        };
        spec.inputs = staged(&work.inputs);
        spec.post_inputs = staged(&work.post_inputs);
        // Many tasks share the bucket: each sends its logs less often.
        let crowd = u64::try_from(tasks / 100).unwrap_or(0);
        spec.log_interval_ms = spec.log_interval_ms.max((crowd * 1000).min(30_000));
        spec
    };
    works.iter().map(spec).collect()
}

/// Gives every spec its timeout, and every job the override that leaves time for it.
pub(super) fn settle_timeouts(
    names: &[String],
    jobs: &[Job],
    job_of: &[u32],
    specs: &mut [Spec],
    bytes: u64,
) -> Result<Vec<UsedJob>, Error> {
    let mut used = Vec::with_capacity(jobs.len());
    for (number, (name, job)) in (0_u32..).zip(names.iter().zip(jobs)) {
        let of_job = specs.iter_mut().zip(job_of);
        let mut specs: Vec<&mut Spec> = of_job
            .filter(|(_, job)| **job == number)
            .map(|(spec, _)| spec)
            .collect();
        let timeout_ms = job.template.template.timeout_ms();
        used.push(UsedJob {
            name: name.clone(),
            timeout_s: timeout::settle(&mut specs, timeout_ms, bytes)?,
        });
    }
    Ok(used)
}
