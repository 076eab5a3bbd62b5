//! Which tasks run now, for a terminal.

use wire::contract::RunRecord;

use super::board::{Board, State};
use super::flight::Flight;
use crate::error::Error;
use crate::event::Row;
use crate::session::Session;

/// Of so many tasks nobody wants a line for each.
const MOST: u32 = 100;

/// Which tasks run now, as far as anybody has asked.
#[derive(Debug, Default)]
pub(super) struct Rows {
    running: Vec<(u32, Row)>,
    asked_at: Option<(u32, u32)>,
}

impl Rows {
    /// Asks, if the numbers have changed since; says how many calls it took.
    pub(super) async fn refresh(
        &mut self,
        session: &Session,
        record: &RunRecord,
        flights: &[Flight],
    ) -> Result<u32, Error> {
        if !(2..=MOST).contains(&record.tasks) {
            return Ok(0);
        }
        let running: u32 = flights.iter().map(Flight::running).sum();
        let ended: u32 = flights.iter().map(Flight::ended_tasks).sum();
        if self.asked_at.replace((running, ended)) == Some((running, ended)) {
            return Ok(0);
        }
        self.running.clear();
        let mut calls = 0;
        for flight in flights.iter().filter(|flight| flight.running() > 0) {
            let Some(execution) = &flight.execution else {
                continue;
            };
            let tasks = session.cloud_run.tasks(&execution.name).await;
            let tasks = tasks.map_err(Error::api("cannot tell which tasks run"))?;
            calls += 1;
            let running = tasks.into_iter().filter_map(|task| {
                let since = task.start_time.filter(|_| task.completion_time.is_none())?;
                let number = flight.task(task.index)?;
                let name = record.name(number);
                Some((number, Row { name, since }))
            });
            self.running.extend(running);
        }
        Ok(calls)
    }

    /// Those that are not home yet.
    pub(super) fn of(&self, board: &Board) -> Vec<Row> {
        let away = |task: u32| matches!(board.state(task), Some(State::Started(_)));
        let rows = self.running.iter().filter(|(task, _)| away(*task));
        rows.map(|(_, row)| row.clone()).collect()
    }
}
