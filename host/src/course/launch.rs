//! Starting what may be started.

use std::time::Instant;

use wire::api::{ApiError, ErrorKind};

use super::Course;
use super::board::State;
use super::flight::Flight;
use crate::clock;
use crate::error::Error;
use crate::event::{Event, Reporter};
use crate::exit_code;
use crate::interrupts::Interrupts;
use crate::results::{Ending, Phases, TaskResult};
use crate::submit;

/// Cloud Run's limit for the tasks of one execution.
const EXECUTION_LIMIT: u32 = 10_000;

/// That nobody answers, if that is what went wrong.
fn silence(error: Error) -> Result<ApiError, Error> {
    match error {
        Error::Api { source, .. } if source.kind == ErrorKind::Unavailable => Ok(*source),
        // What was perhaps started is looked for next time, before it is asked for again.
        Error::Unclear { source } => silence(*source).map_err(|source| Error::Unclear {
            source: Box::new(source),
        }),
        error => Err(error),
    }
}

impl Course<'_> {
    /// Starts what may be started. An interrupt meanwhile counts once it is known what was started; a second one
    /// leaves at once.
    pub(super) async fn launch_patiently(
        &mut self,
        reporter: &mut dyn Reporter,
        interrupts: &mut Interrupts,
    ) -> Result<Option<ApiError>, Error> {
        let run = self.run();
        let mut interrupted = false;
        let launched = {
            let mut launching = std::pin::pin!(self.launch(reporter));
            loop {
                tokio::select! {
                    launched = &mut launching => break launched,
                    () = interrupts.next() => {
                        if interrupted {
                            return Err(Error::Left { run });
                        }
                        interrupted = true;
                    }
                }
            }
        };
        let silence = match launched {
            Ok(()) => None,
            // What runs is not left alone because nothing more can be started for now.
            Err(error) if self.is_anything_known() => Some(silence(error)?),
            Err(error) => return Err(error),
        };
        if interrupted {
            self.interrupted(reporter, interrupts).await?;
        }
        Ok(silence)
    }

    fn is_anything_known(&self) -> bool {
        self.flights.iter().any(|flight| flight.execution.is_some())
    }

    async fn launch(&mut self, reporter: &mut dyn Reporter) -> Result<(), Error> {
        if let Some(start) = self.inputs_missed {
            self.send_inputs_again(start, reporter).await?;
            self.inputs_missed = None;
        }
        if self.stop.is_some() {
            self.look_for_the_unasked().await?;
            self.give_up_waiting(reporter);
            return Ok(());
        }
        self.ask_for_the_unasked(reporter).await?;
        while self.board.waiting() > 0 {
            let running = self.board.started();
            let free = self
                .window
                .map_or(u32::MAX, |most| most.saturating_sub(running));
            let Some(&first) = self.board.next_waiting(1.min(free), |_| true).first() else {
                break;
            };
            self.may_start()?;
            let job = self.plan.job(first);
            let plan = &self.plan;
            let limit = free.min(EXECUTION_LIMIT);
            let tasks = self.board.next_waiting(limit, |task| plan.job(task) == job);
            self.start(&tasks).await?;
            self.ask_for_the_unasked(reporter).await?;
        }
        Ok(())
    }

    /// Writes the start of tasks of one job. From then on it may run, whatever becomes of the question.
    async fn start(&mut self, tasks: &[u32]) -> Result<(), Error> {
        let begun = Instant::now();
        let mut start = self.plan.start(self.run(), self.next_start, tasks);
        start.by.clone_from(&self.me);
        self.calls += 1;
        if !self.write_documents(&start).await? {
            // Another sortie drives this run too: what it has started is not started again.
            let taken = self.next_start;
            self.learn_starts().await?;
            // Or somebody has put there what is no start: then nothing but the number is taken.
            self.next_start = self.next_start.max(taken + 1);
            return Ok(());
        }
        for &task in tasks {
            self.board.set(task, State::Started(start.start));
        }
        self.next_start += 1;
        self.flights.push(Flight::unasked(start));
        self.phases.submit += clock::ms(begun);
        Ok(())
    }

    /// Asks for the executions of starts that are written.
    async fn ask_for_the_unasked(&mut self, reporter: &mut dyn Reporter) -> Result<(), Error> {
        for i in 0..self.flights.len() {
            let Some(flight) = self.flights.get(i).filter(|flight| flight.unasked) else {
                continue;
            };
            let begun = Instant::now();
            self.calls += 1;
            let asked = if flight.anothers_until.is_some() {
                let known = submit::look(self.session, &flight.start, &[]).await?;
                match known {
                    Some(execution) => Ok(execution),
                    None if flight.is_anothers() => continue,
                    None => submit::ask_once(self.session, &flight.start).await,
                }
            } else {
                submit::ask_once(self.session, &flight.start).await
            };
            let execution = match asked {
                Ok(execution) => execution,
                Err(error) => {
                    if !error.leaves_it_open() {
                        self.take_back(i);
                    } else if let Some(flight) = self.flights.get_mut(i) {
                        // It may have been heard: next time it is looked for first.
                        flight.anothers_until = Some(begun);
                    }
                    return Err(error);
                }
            };
            reporter.event(&Event::Started {
                run: self.run(),
                execution: execution.short(),
                tasks: execution.task_count,
            });
            if let Some(flight) = self.flights.get_mut(i) {
                flight.unasked = false;
                flight.execution = Some(execution);
            }
            self.phases.submit += clock::ms(begun);
        }
        Ok(())
    }

    /// The run is being ended: what was heard of is to be cancelled, what was not is not asked for again.
    async fn look_for_the_unasked(&mut self) -> Result<(), Error> {
        let unasked = |flight: &Flight| flight.unasked;
        while let Some(i) = self.flights.iter().position(unasked) {
            let Some(flight) = self.flights.get_mut(i) else {
                break;
            };
            match submit::look(self.session, &flight.start, &[]).await? {
                Some(execution) => {
                    flight.execution = Some(execution);
                    flight.unasked = false;
                }
                None => self.take_back(i),
            }
        }
        Ok(())
    }

    /// What Cloud Run has refused is not started.
    fn take_back(&mut self, i: usize) {
        let flight = self.flights.remove(i);
        let tasks: Vec<u32> = self.board.in_start(flight.start.start).collect();
        for task in tasks {
            self.board.set(task, State::Waiting);
        }
    }

    /// The run's documents, and its first start, at once: none of them needs another. False: there is another
    /// start of this number.
    async fn write_documents(&mut self, start: &wire::contract::Start) -> Result<bool, Error> {
        let session = self.session;
        let Some(unwritten) = &self.unwritten else {
            return submit::write_start(session, start).await;
        };
        let plan = async {
            match &unwritten.plan {
                Some(plan) => submit::plan(session, plan).await,
                None => Ok(()),
            }
        };
        let ((), (), written) = tokio::try_join!(
            submit::record(session, &self.record),
            plan,
            submit::write_start(session, start),
        )?;
        self.unwritten = None;
        Ok(written)
    }

    /// What waits will not be started any more.
    fn give_up_waiting(&mut self, reporter: &mut dyn Reporter) {
        for task in self.board.next_waiting(u32::MAX, |_| true) {
            let result = TaskResult {
                index: task,
                name: self.record.name(task),
                outcome: Ending::Cancelled,
                exit_code: exit_code::INTERRUPTED,
                directory: self.target(task),
                bytes: 0,
                phases: Phases::default(),
                lived_ms: None,
                cost: None,
                retries: self.board.tried_again(task),
                problem: Some("it was never started".to_owned()),
                left_out: Vec::new(),
                claude: None,
            };
            self.take_home(result, reporter);
        }
    }

    /// A result is here.
    pub(super) fn take_home(&mut self, mut result: TaskResult, reporter: &mut dyn Reporter) {
        result.phases.pack = self.phases.pack;
        result.phases.upload = self.phases.upload;
        result.phases.submit = self.phases.submit;
        result.retries = self.board.tried_again(result.index);
        let lived = result.lived_ms.map(std::time::Duration::from_millis);
        result.cost = match (self.rate(result.index), lived) {
            (Some(rate), Some(lived)) => Some(rate.cost(lived)),
            _ => None,
        };
        self.spent += result.cost.unwrap_or(0.0);
        self.board.set(result.index, State::Home);
        reporter.event(&Event::Landed {
            run: self.run(),
            result: &result,
        });
        if self.manner.fail_fast && result.exit_code != 0 && self.stop.is_none() {
            self.fail_fast(reporter);
        }
        self.results.push(result);
    }
}
