//! One run under way: its starts, and what each brings home.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Instant;

use wire::contract::{Problem, Reason, Spec};
use wire::names::RunId;

use crate::clock;
use crate::cloud_run::{Execution, Task};
use crate::error::Error;
use crate::event::{Event, Reporter};
use crate::exit_code;
use crate::follow::{Interrupts, follow};
use crate::record::LocalRecord;
use crate::request::{Out, RESULTS, Request};
use crate::results::{self, Landing, Phases, Place, Tail, TaskResult};
use crate::run::RunResult;
use crate::session::Session;
use crate::specs::{distinct, specs};
use crate::stage;
use crate::submit::{self, Assigned};
use crate::timeout;

/// An input that vanished beneath a run is sent again so many times.
const RESTARTS: u32 = 2;

/// What the entrypoint exits with when another has claimed its attempt.
const TWIN: i32 = entrypoint::exit::TWIN as i32;

/// A run under way.
pub(crate) struct Course<'a> {
    session: &'a Session,
    request: Option<&'a Request>,
    run: RunId,
    names: Vec<String>,
    specs: Vec<Spec>,
    out: Out,
    show: bool,
    override_s: Option<u64>,
    phases: Phases,
    record: LocalRecord,
    started: bool,
}

/// What one start brought home.
#[derive(Default)]
struct Landed {
    results: BTreeMap<u32, TaskResult>,
    /// Tasks that found an input gone, and are worth another start.
    without_inputs: Vec<u32>,
}

impl<'a> Course<'a> {
    /// Brings the inputs into the bucket, and settles what every task is told.
    pub(crate) async fn prepare(
        session: &'a Session,
        request: &'a Request,
        run: RunId,
        reporter: &mut dyn Reporter,
    ) -> Result<Self, Error> {
        let staging = async { stage::stage(session, &request.inputs(), reporter).await };
        let asking = async {
            let job = session.cloud_run.job(&session.job).await;
            job.map_err(Error::api("cannot find the environment's job"))
        };
        let (staged, job) = tokio::try_join!(staging, asking)?;
        let begun = Instant::now();
        let count = u32::try_from(request.tasks.len()).unwrap_or(u32::MAX);
        let mut specs = specs(request, &staged);
        let bytes = staged.iter().map(|staged| staged.bytes).sum();
        let override_s = timeout::settle(&mut specs, job.template.template.timeout_ms(), bytes)?;
        submit::record(session, run, count).await?;
        let names: Vec<String> = request.tasks.iter().map(|task| task.name.clone()).collect();
        Ok(Self {
            session,
            request: Some(request),
            run,
            started: false,
            record: LocalRecord::new(run, &session.place, &session.job, &names, &request.out),
            names,
            specs,
            out: request.out.clone(),
            show: request.tail,
            override_s,
            phases: Phases {
                pack: staged.iter().map(|staged| staged.pack_ms).sum(),
                upload: staged.iter().map(|staged| staged.upload_ms).sum(),
                submit: clock::ms(begun),
                ..Phases::default()
            },
        })
    }

    /// What this machine remembers of a run is enough to go on with it.
    pub(crate) fn resume(session: &'a Session, record: &LocalRecord) -> Self {
        Self {
            session,
            request: None,
            run: record.run,
            names: record.names.clone(),
            specs: Vec::new(),
            out: record.out(),
            show: record.names.len() == 1,
            override_s: None,
            phases: Phases::default(),
            record: record.clone(),
            started: true,
        }
    }

    /// Whether something of it may run, or have run.
    pub(crate) fn is_started(&self) -> bool {
        self.started
    }

    fn count(&self) -> u32 {
        u32::try_from(self.names.len()).unwrap_or(u32::MAX)
    }

    /// Every task's number.
    pub(crate) fn all(&self) -> Vec<u32> {
        (0..self.count()).collect()
    }

    /// Starts every task and brings their results home; starts again what found an input gone.
    pub(crate) async fn run(
        &mut self,
        reporter: &mut dyn Reporter,
        interrupts: &mut Interrupts,
    ) -> Result<Vec<TaskResult>, Error> {
        let mut waiting = self.all();
        let mut results = BTreeMap::new();
        for start in 0.. {
            // Where the results go must be writable before anything runs for them.
            let tail = self.tail()?;
            let execution = self.start(start, &waiting, reporter).await?;
            let may_restart = start < RESTARTS;
            let landed = self
                .bring_home(&waiting, execution, tail, may_restart, reporter, interrupts)
                .await?;
            waiting = landed.without_inputs;
            results.extend(landed.results);
            if waiting.is_empty() {
                break;
            }
            self.send_inputs_again(&waiting, reporter).await?;
        }
        Ok(results.into_values().collect())
    }

    /// Brings home the results of a run that was started before.
    pub(crate) async fn come_back(
        &mut self,
        reporter: &mut dyn Reporter,
        interrupts: &mut Interrupts,
    ) -> Result<Vec<TaskResult>, Error> {
        let execution = self.find_execution().await?;
        let tail = self.tail()?;
        let landed = self
            .bring_home(&self.all(), execution, tail, false, reporter, interrupts)
            .await?;
        Ok(landed.results.into_values().collect())
    }

    /// The execution that the record names; or, where Cloud Run's answer never came, the one that has our start.
    async fn find_execution(&self) -> Result<Execution, Error> {
        if let Some(name) = &self.record.execution {
            let execution = self.session.cloud_run.execution(name).await;
            return execution.map_err(Error::api("cannot find the run's execution"));
        }
        let uri = submit::start_uri(self.session, self.run, self.record.start);
        submit::look(self.session, &uri, None)
            .await?
            .ok_or_else(|| {
                Error::usage(format!("run `{}` was never started", self.run))
                    .with_hint("type its `sortie run` again")
            })
    }

    /// Follows an execution to its end and lands what it left.
    async fn bring_home(
        &mut self,
        tasks: &[u32],
        execution: Execution,
        mut tail: Tail,
        may_restart: bool,
        reporter: &mut dyn Reporter,
        interrupts: &mut Interrupts,
    ) -> Result<Landed, Error> {
        let (session, run) = (self.session, self.run);
        let mut followed = follow(session, run, execution, &mut tail, reporter, interrupts).await?;
        if let Some(twin) = self.working_twin(&followed.execution).await? {
            followed = follow(session, run, twin, &mut tail, reporter, interrupts).await?;
        }
        let may_restart = may_restart && !followed.interrupted;
        let landing = self.collect(tasks, &followed.execution, &mut tail, may_restart, reporter);
        tokio::select! {
            landed = landing => landed,
            // What has landed has landed; the rest stays in the bucket.
            () = interrupts.next() => Err(Error::Left { run }),
        }
    }

    /// Where an execution's tasks left because a twin had claimed them first: the twin.
    ///
    /// An answer to `:run` may be lost, its execution not yet be listed, and the question be asked again.
    async fn working_twin(&self, execution: &Execution) -> Result<Option<Execution>, Error> {
        if execution.failed_count == 0 {
            return Ok(None);
        }
        let code = |task: &Task| task.last_attempt_result.as_ref().and_then(|r| r.exit_code);
        let tasks = self.platform(execution).await?;
        if !tasks.iter().any(|task| code(task) == Some(TWIN)) {
            return Ok(None);
        }
        let uri = submit::start_uri(self.session, self.run, self.record.start);
        submit::look(self.session, &uri, Some(&execution.name)).await
    }

    /// Starts tasks; one execution, however many.
    async fn start(
        &mut self,
        start: u32,
        tasks: &[u32],
        reporter: &mut dyn Reporter,
    ) -> Result<Execution, Error> {
        let begun = Instant::now();
        let assigned: Vec<Assigned> = tasks
            .iter()
            .map(|&task| Assigned { task, spec: task })
            .collect();
        let (assigned, specs) = distinct(&assigned, &self.specs);
        let data_dir = &self.session.data_dir;
        self.record.start = start;
        self.record.execution = None;
        self.record.write(data_dir)?;
        let timeout_s = self.override_s;
        let execution =
            submit::start(self.session, self.run, start, &assigned, &specs, timeout_s).await;
        // Refused is not started; anything else may be.
        self.started |= execution.as_ref().err().is_none_or(Error::leaves_it_open);
        let execution = execution?;
        self.record.execution = Some(execution.name.clone());
        self.record.write(data_dir)?;
        self.phases.submit += clock::ms(begun);
        reporter.event(&Event::Started {
            run: self.run,
            execution: execution.name.rsplit('/').next().unwrap_or_default(),
            tasks: self.count(),
        });
        Ok(execution)
    }

    /// Where a task lands.
    fn target(&self, task: u32) -> PathBuf {
        let name = self.names.get(task as usize).map_or("", String::as_str);
        match &self.out {
            Out::Default(base) => base.join(RESULTS).join(self.run.to_string()).join(name),
            Out::Dir(dir) if self.names.len() == 1 => dir.clone(),
            Out::Dir(dir) => dir.join(name),
        }
    }

    /// Where all land.
    fn directory(&self) -> PathBuf {
        match &self.out {
            Out::Default(base) => base.join(RESULTS).join(self.run.to_string()),
            Out::Dir(dir) => dir.clone(),
        }
    }

    fn tail(&self) -> Result<Tail, Error> {
        let landing = Landing::begin(&self.target(0), self.run, 0)?;
        Ok(if self.show && self.names.len() == 1 {
            Tail::into(landing)
        } else {
            Tail::none()
        })
    }

    /// Lands what every task left. A task that found an input gone is not landed if it may be started again.
    async fn collect(
        &mut self,
        tasks: &[u32],
        execution: &Execution,
        tail: &mut Tail,
        may_restart: bool,
        reporter: &mut dyn Reporter,
    ) -> Result<Landed, Error> {
        let mut found = results::find(&self.session.bucket, self.run, reporter).await?;
        let mut platform = None;
        let mut landed = Landed::default();
        for &task in tasks {
            let report = found.remove(&task);
            let problem = report
                .as_ref()
                .and_then(|found| found.report.problem.as_ref());
            if may_restart && input_is_gone(problem) {
                landed.without_inputs.push(task);
                continue;
            }
            if report.is_none() && platform.is_none() {
                platform = Some(self.platform(execution).await?);
            }
            let of = platform.iter().flatten().find(|about| about.index == task);
            let mut result = self
                .land(task, report, execution, of, tail, reporter)
                .await?;
            result.phases.pack = self.phases.pack;
            result.phases.upload = self.phases.upload;
            result.phases.submit = self.phases.submit;
            reporter.event(&Event::Landed(&result));
            landed.results.insert(task, result);
        }
        Ok(landed)
    }

    /// Lands one task: by its report, or by what else it left.
    async fn land(
        &self,
        task: u32,
        found: Option<results::Found>,
        execution: &Execution,
        platform: Option<&Task>,
        tail: &mut Tail,
        reporter: &mut dyn Reporter,
    ) -> Result<TaskResult, Error> {
        let name = self.names.get(task as usize).map_or("", String::as_str);
        let target = self.target(task);
        let session = self.session;
        let place = Place {
            run: self.run,
            task,
            name,
            target: &target,
        };
        let Some(found) = found else {
            return results::land_lost(session, place, execution, platform, tail, reporter).await;
        };
        let start = start_ms(execution, &found.report);
        let mut result = results::land(session, place, found, tail, reporter).await?;
        result.phases.start = start;
        Ok(result)
    }

    async fn platform(&self, execution: &Execution) -> Result<Vec<Task>, Error> {
        let tasks = self.session.cloud_run.tasks(&execution.name).await;
        tasks.map_err(Error::api("cannot learn why a task left no report"))
    }

    /// An input that expired beneath the run: content is truth, so the same specs fit.
    async fn send_inputs_again(
        &mut self,
        tasks: &[u32],
        reporter: &mut dyn Reporter,
    ) -> Result<(), Error> {
        let Some(request) = self.request else {
            return Ok(());
        };
        reporter.event(&Event::Warning(
            "an input is not to be had in the bucket: it is sent again",
        ));
        let staged = stage::stage(self.session, &request.inputs(), reporter).await?;
        if staged.iter().all(|staged| !staged.sent) {
            return Err(Error::usage("the task may not read its inputs, which are in the bucket")
                .with_hint("give the job's service account `roles/storage.legacyObjectReader` on the bucket, for `inputs/` and `runs/`"));
        }
        let fresh = specs(request, &staged);
        for &task in tasks {
            let at = task as usize;
            if let (Some(spec), Some(fresh)) = (self.specs.get_mut(at), fresh.get(at)) {
                spec.inputs.clone_from(&fresh.inputs);
            }
        }
        Ok(())
    }

    /// Tells that all is home.
    pub(crate) fn finish(self, tasks: Vec<TaskResult>, reporter: &mut dyn Reporter) -> RunResult {
        let exit_code = overall(&tasks);
        let directory = self.directory();
        reporter.event(&Event::Finished {
            run: self.run,
            dir: &directory,
            tasks: &tasks,
            code: exit_code,
        });
        RunResult {
            run: self.run,
            tasks,
            directory,
            exit_code,
        }
    }
}

fn input_is_gone(problem: Option<&Problem>) -> bool {
    problem.is_some_and(|problem| problem.reason == Reason::InputMissing)
}

/// From Cloud Run's answer to the claim; both times are the platform's.
fn start_ms(execution: &Execution, report: &wire::contract::Report) -> u64 {
    let created = execution.create_time.unwrap_or(report.started_at);
    let waited = report.started_at.duration_since(created).as_millis();
    u64::try_from(waited).unwrap_or(0) + report.phases.claim_ms
}

fn overall(tasks: &[TaskResult]) -> i32 {
    match tasks {
        [only] => only.exit_code,
        all if all.iter().all(|task| task.exit_code == 0) => exit_code::SUCCESS,
        all if all
            .iter()
            .any(|task| task.exit_code == exit_code::INTERRUPTED) =>
        {
            exit_code::INTERRUPTED
        }
        _ => exit_code::BATCH_FAILED,
    }
}
