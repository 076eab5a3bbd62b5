//! Bringing the inputs into the bucket, and settling what every task is told.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use futures_util::future::try_join_all;
use wire::contract::{Input, RunRecord, Spec, SpecSource, TaskSpan, VERSION};
use wire::names::RunId;

use super::plan::{Assigned, Plan, UsedJob};
use super::{Beginning, Course, Resend, Unwritten};
use crate::clock;
use crate::cloud_run::Job;
use crate::cost::Rate;
use crate::error::Error;
use crate::event::Reporter;
use crate::record::LocalRecord;
use crate::request::{Request, TaskRequest, Work};
use crate::results::Phases;
use crate::session::Session;
use crate::stage::{self, InputSource, Staged};
use crate::{submit, timeout};

/// More tasks than one execution takes need a plan, for no single start tells of all.
const ONE_EXECUTION: usize = 10_000;

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
        let ((jobs, rates), staged) = if needs.may_refuse(request) {
            (asking.await?, staging.await?)
        } else {
            tokio::try_join!(asking, staging)?
        };
        let begun = Instant::now();
        let mut specs = specs(request.tasks.len(), &needs.works, &inputs, &staged);
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
            pack: staged.iter().map(|staged| staged.pack_ms).sum(),
            upload: staged.iter().map(|staged| staged.upload_ms).sum(),
            submit: clock::ms(begun),
            ..Phases::default()
        };
        if !request.manner.detach {
            course.open_tail(request.tail)?;
        }
        Ok(course)
    }

    /// An input that expired beneath the run is sent again: content is truth, so the same specs fit.
    pub(super) async fn send_inputs_again(
        &mut self,
        reporter: &mut dyn Reporter,
    ) -> Result<(), Error> {
        let Some(resend) = &self.resend else {
            return Ok(());
        };
        reporter.event(&crate::event::Event::Warning(
            "an input is not to be had in the bucket: it is sent again",
        ));
        let staged = stage::stage(self.session, &resend.request.inputs(), reporter).await?;
        let same = |(staged, before): (&Staged, &Input)| staged.input == *before;
        if !staged.iter().zip(&resend.inputs).all(same) {
            return Err(Error::usage(
                "an input was lost in the bucket, and has changed here since",
            )
            .with_hint("type the `sortie run` again, for all tasks to have the same inputs"));
        }
        if staged.iter().all(|staged| !staged.sent) {
            return Err(Error::usage("the task may not read its inputs, which are in the bucket")
                .with_hint("give the job's service account `roles/storage.legacyObjectReader` on the bucket, for `inputs/` and `runs/`"));
        }
        Ok(())
    }
}

/// What a run would start and cost.
pub(crate) struct Reckoned {
    pub(crate) jobs: Vec<String>,
    pub(crate) executions: u32,
    pub(crate) least: Option<f64>,
    pub(crate) most: Option<f64>,
}

/// Reckons what a run would start and cost, with so many bytes of inputs.
pub(crate) async fn reckon(
    session: &Session,
    request: &Request,
    bytes: u64,
) -> Result<Reckoned, Error> {
    let Needs {
        works,
        work_of,
        jobs: names,
        job_of,
    } = Needs::of(session, request)?;
    let jobs = ask_about(session, &names, &works, &job_of).await?;
    let rates = rates(session, &jobs);
    let mut specs: Vec<Spec> = works.iter().map(|work| work.spec.clone()).collect();
    settle_timeouts(&names, &jobs, &job_of, &mut specs, bytes)?;
    let mut least = None;
    let mut most = Some(0.0);
    let mut of_job = vec![0_usize; names.len()];
    for &work in &work_of {
        let (work, job) = (work as usize, job_of[work as usize] as usize);
        of_job[job] += 1;
        let Some(rate) = rates[job] else { continue };
        least = Some(least.unwrap_or(0.0) + rate.cost(Duration::ZERO));
        let longest = specs[work].timeout().map(|time| rate.cost(time));
        most = most.zip(longest).map(|(sum, cost)| sum + cost);
    }
    let executions = |tasks: &usize| tasks.div_ceil(ONE_EXECUTION);
    Ok(Reckoned {
        executions: u32::try_from(of_job.iter().map(executions).sum::<usize>()).unwrap_or(u32::MAX),
        jobs: names,
        most: most.filter(|_| least.is_some()),
        least,
    })
}

/// What a run needs of the project.
struct Needs<'a> {
    works: Vec<&'a Arc<Work>>,
    /// Which work each task does.
    work_of: Vec<u32>,
    /// The jobs, once each.
    jobs: Vec<String>,
    /// Which job each work has.
    job_of: Vec<u32>,
}

impl<'a> Needs<'a> {
    fn of(session: &Session, request: &'a Request) -> Result<Self, Error> {
        let (works, work_of) = request.works();
        let (jobs, job_of) = jobs_of(session, &works)?;
        Ok(Self {
            works,
            work_of,
            jobs,
            job_of,
        })
    }

    fn may_refuse(&self, request: &Request) -> bool {
        let secrets = self.works.iter().any(|work| !work.secrets.is_empty());
        secrets || request.manner.max_cost.is_some()
    }

    /// What Cloud Run says of the jobs, and what they cost; refuses what cannot, or must not, run there.
    async fn ask(
        &self,
        session: &Session,
        request: &Request,
    ) -> Result<(Vec<Job>, Vec<Option<Rate>>), Error> {
        let jobs = ask_about(session, &self.jobs, &self.works, &self.job_of).await?;
        let rates = rates(session, &jobs);
        let job_of = |&work: &u32| self.job_of.get(work as usize).copied().unwrap_or(0);
        check_cost(request, &rates, self.work_of.iter().map(job_of))?;
        Ok((jobs, rates))
    }

    fn plan(&self, jobs: Vec<UsedJob>, sources: Vec<SpecSource>) -> Plan {
        let assign = |&work: &u32| {
            Some(Assigned {
                source: work,
                job: *self.job_of.get(work as usize)?,
            })
        };
        Plan {
            jobs,
            sources,
            tasks: self.work_of.iter().map(assign).collect(),
        }
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

/// The jobs that are needed, once each, and which of them each work has.
fn jobs_of(session: &Session, works: &[&Arc<Work>]) -> Result<(Vec<String>, Vec<u32>), Error> {
    let mut names: Vec<String> = Vec::new();
    let mut job_of = Vec::with_capacity(works.len());
    let mut known: HashMap<Option<&str>, u32> = HashMap::new();
    for work in works {
        let environment = work.environment.as_deref();
        if let Some(&number) = known.get(&environment) {
            job_of.push(number);
            continue;
        }
        let name = session.job_for(environment)?;
        let at = names.iter().position(|other| *other == name);
        let at = at.unwrap_or_else(|| {
            names.push(name);
            names.len() - 1
        });
        let number = u32::try_from(at).unwrap_or(u32::MAX);
        known.insert(environment, number);
        job_of.push(number);
    }
    Ok((names, job_of))
}

/// What Cloud Run says of the jobs, which must have the secrets that are asked of them.
async fn ask_about(
    session: &Session,
    names: &[String],
    works: &[&Arc<Work>],
    job_of: &[u32],
) -> Result<Vec<Job>, Error> {
    let asking: Vec<_> = names
        .iter()
        .map(|name| session.look_at(name).boxed())
        .collect();
    let jobs = try_join_all(asking).await;
    let jobs = jobs.map_err(Error::api("cannot find the environment's job"))?;
    for (work, &job) in works.iter().zip(job_of) {
        let Some(job) = jobs.get(job as usize) else {
            continue;
        };
        for secret in &work.secrets {
            if !job.template.template.has_secret(secret) {
                let job = job.name.rsplit('/').next().unwrap_or_default();
                return Err(
                    Error::usage(format!("the job `{job}` has no secret `{secret}`")).with_hint(
                        "list it under the environment's `secrets` in Terraform, and apply",
                    ),
                );
            }
        }
    }
    Ok(jobs)
}

fn rates(session: &Session, jobs: &[Job]) -> Vec<Option<Rate>> {
    let rate = |job: &Job| {
        let limits = job.template.template.limits();
        Some(Rate::of(&limits, session.prices?))
    };
    jobs.iter().map(rate).collect()
}

/// Every started container is billed for a minute: a run that costs too much even so is not begun.
fn check_cost(
    request: &Request,
    rates: &[Option<Rate>],
    job_of_task: impl Iterator<Item = u32>,
) -> Result<(), Error> {
    let Some(most) = request.manner.max_cost else {
        return Ok(());
    };
    let least: f64 = job_of_task
        .filter_map(|job| rates.get(job as usize).copied().flatten())
        .map(|rate| rate.cost(Duration::ZERO))
        .sum();
    if least > most {
        return Err(Error::usage(format!(
            "the run costs ${least:.4} at the least, and may cost ${most:.4}"
        ))
        .with_hint("every task is billed for a minute: raise `--max-cost`, or run fewer"));
    }
    Ok(())
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
fn settle_timeouts(
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
