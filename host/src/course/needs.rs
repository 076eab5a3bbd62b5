//! What a run needs of the project: jobs, secrets, money.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::try_join_all;
use wire::contract::{Spec, SpecSource};

use super::plan::{Assigned, Plan, UsedJob};
use super::prepare::{ONE_EXECUTION, settle_timeouts};
use crate::cloud_run::Job;
use crate::cost::Rate;
use crate::error::Error;
use crate::request::{Request, Work};
use crate::session::Session;

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
pub(super) struct Needs<'a> {
    pub(super) works: Vec<&'a Arc<Work>>,
    /// Which work each task does.
    work_of: Vec<u32>,
    /// The jobs, once each.
    pub(super) jobs: Vec<String>,
    /// Which job each work has.
    pub(super) job_of: Vec<u32>,
}

impl<'a> Needs<'a> {
    pub(super) fn of(session: &Session, request: &'a Request) -> Result<Self, Error> {
        let (works, work_of) = request.works();
        let (jobs, job_of) = jobs_of(session, &works)?;
        Ok(Self {
            works,
            work_of,
            jobs,
            job_of,
        })
    }

    pub(super) fn may_refuse(&self, request: &Request) -> bool {
        let secrets = self.works.iter().any(|work| !work.secrets.is_empty());
        secrets || request.manner.max_cost.is_some()
    }

    /// What Cloud Run says of the jobs, and what they cost; refuses what cannot, or must not, run there.
    pub(super) async fn ask(
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

    pub(super) fn plan(&self, jobs: Vec<UsedJob>, sources: Vec<SpecSource>) -> Plan {
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
