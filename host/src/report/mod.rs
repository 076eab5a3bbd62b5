//! One HTML page about a run.

mod gather;
mod task;

use std::fmt::Display;
use std::io::{self, Write};

use claude::page::{Fact, Overview, Page, Row};

pub(crate) use gather::{Gathered, gather};

use crate::results::TaskResult;
use crate::text::count;

/// Writes the page: the run as a whole, then each task as its files tell it.
pub(crate) fn write(out: impl Write, gathered: &Gathered) -> io::Result<()> {
    let mut page = Page::begin(out, &overview(gathered))?;
    for task in 0..gathered.record.tasks {
        page.task(&match gathered.result(task) {
            Some(result) => task::details(result),
            None => task::not_ended(&gathered.record.name(task)),
        })?;
    }
    page.end()
}

fn overview(gathered: &Gathered) -> Overview {
    let row = |task| match gathered.result(task) {
        Some(result) => task::row(result, gathered.record.created_at),
        None => Row {
            name: gathered.record.name(task),
            ending: task::NOT_ENDED.to_owned(),
            ..Row::default()
        },
    };
    Overview {
        title: format!("run {}", gathered.record.run),
        facts: facts(gathered),
        rows: (0..gathered.record.tasks).map(row).collect(),
    }
}

fn facts(gathered: &Gathered) -> Vec<Fact> {
    let record = &gathered.record;
    let results = || gathered.results.iter();
    let started = record.created_at.strftime("%Y-%m-%d %H:%M:%S UTC");
    let place = format!("{}, {}", record.project, record.region);
    let mut facts = vec![
        fact("started", &started),
        fact("by", &record.owner),
        fact("project", &place),
        fact("job", &record.job),
        fact("sortie", &record.sortie),
    ];
    let sum = |cost: fn(&TaskResult) -> Option<f64>| {
        results().filter_map(cost).reduce(|sum, cost| sum + cost)
    };
    if let Some(cost) = sum(|result| result.cost) {
        facts.push(fact("cost of Cloud Run", &task::money(cost)));
    }
    if let Some(cost) = sum(task::api_cost) {
        facts.push(fact("cost of the API", &task::money(cost)));
    }
    let missing = record.tasks as usize - gathered.results.len();
    if missing > 0 {
        let tasks = count(missing as u64, "task has", "tasks have");
        facts.push(fact("so far", &format!("{tasks} not ended")));
    }
    facts
}

fn fact(name: &str, value: &dyn Display) -> Fact {
    Fact {
        name: name.to_owned(),
        value: value.to_string(),
    }
}
