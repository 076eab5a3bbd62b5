//! Starting what may be started.

use std::time::Instant;

use super::board::State;
use super::flight::Flight;
use super::{Course, Stop};
use crate::clock;
use crate::error::Error;
use crate::event::{Event, Reporter};
use crate::exit_code;
use crate::interrupts::Interrupts;
use crate::results::{Ending, Phases, TaskResult};
use crate::submit;

/// Cloud Run's limit for the tasks of one execution.
const EXECUTION_LIMIT: u32 = 10_000;

impl Course<'_> {
    /// Starts what may be started. An interrupt meanwhile counts once it is known what was started; a second one
    /// leaves at once.
    pub(super) async fn launch_patiently(
        &mut self,
        reporter: &mut dyn Reporter,
        interrupts: &mut Interrupts,
    ) -> Result<(), Error> {
        let run = self.run();
        let mut interrupted = false;
        {
            let mut launching = std::pin::pin!(self.launch(reporter));
            loop {
                tokio::select! {
                    launched = &mut launching => {
                        launched?;
                        break;
                    }
                    () = interrupts.next() => {
                        if interrupted {
                            return Err(Error::Left { run });
                        }
                        interrupted = true;
                    }
                }
            }
        }
        if interrupted {
            self.interrupted(reporter, interrupts).await?;
        }
        Ok(())
    }

    async fn launch(&mut self, reporter: &mut dyn Reporter) -> Result<(), Error> {
        if self.stop.is_some() {
            self.give_up_waiting(reporter);
            return Ok(());
        }
        while self.board.waiting() > 0 {
            let running = self.board.started();
            let free = self
                .window
                .map_or(u32::MAX, |most| most.saturating_sub(running));
            let Some(&first) = self.board.next_waiting(1.min(free), |_| true).first() else {
                break;
            };
            let job = self.plan.job(first);
            let plan = &self.plan;
            let limit = free.min(EXECUTION_LIMIT);
            let tasks = self.board.next_waiting(limit, |task| plan.job(task) == job);
            self.start(&tasks, reporter).await?;
        }
        Ok(())
    }

    /// Starts tasks of one job as one execution.
    async fn start(&mut self, tasks: &[u32], reporter: &mut dyn Reporter) -> Result<(), Error> {
        let begun = Instant::now();
        let session = self.session;
        let start = self.plan.start(self.run(), self.next_start, tasks);
        self.write_documents(&start).await?;
        // From here on it may run, whatever becomes of the answer.
        let number = self.next_start;
        self.next_start += 1;
        let asked = submit::ask_once(session, &start).await;
        let execution = match asked {
            Ok(execution) => execution,
            Err(error) => {
                if error.leaves_it_open() {
                    self.flights.push(Flight::new(start, None));
                }
                return Err(error);
            }
        };
        for &task in tasks {
            self.board.set(task, State::Started(number));
        }
        self.phases.submit += clock::ms(begun);
        reporter.event(&Event::Started {
            run: self.run(),
            execution: execution.short(),
            tasks: u32::try_from(tasks.len()).unwrap_or(u32::MAX),
        });
        self.flights.push(Flight::new(start, Some(execution)));
        Ok(())
    }

    /// The run's documents, and its first start, at once: none of them needs another.
    async fn write_documents(&mut self, start: &wire::contract::Start) -> Result<(), Error> {
        let session = self.session;
        let Some(unwritten) = self.unwritten.take() else {
            return submit::write_start(session, start).await;
        };
        let plan = async {
            match &unwritten.plan {
                Some(plan) => submit::plan(session, plan).await,
                None => Ok(()),
            }
        };
        tokio::try_join!(
            submit::record(session, &self.record),
            plan,
            submit::write_start(session, start),
        )
        .map(drop)
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
            self.stop = Some(Stop::FailFast);
        }
        self.results.push(result);
    }
}
