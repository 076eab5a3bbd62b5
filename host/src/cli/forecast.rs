//! What a dry run prints.

use serde_json::json;

use super::coming_back::print_json;
use super::human::print;
use crate::forecast::Forecast;
use crate::text::{count, size};

/// Prints it for people, or for a program.
pub(super) fn print_forecast(forecast: &Forecast, json: bool) {
    if json {
        print_json("forecast", json!(forecast));
        return;
    }
    for input in &forecast.inputs {
        let packs = count(u64::from(input.packs), "pack", "packs");
        let fate = match input.missing {
            0 => "all in the bucket".to_owned(),
            _ => format!(
                "{} to be sent, {} before compression",
                input.missing,
                size(input.missing_bytes)
            ),
        };
        let bytes = size(input.bytes);
        print(&format!(
            "input `{}`: {bytes} in {packs}: {fate}",
            input.name
        ));
    }
    let tasks = count(u64::from(forecast.tasks), "task", "tasks");
    let executions = count(u64::from(forecast.executions), "execution", "executions");
    let jobs = forecast.jobs.join("`, `");
    print(&format!("{tasks} in {executions} of `{jobs}`"));
    match (forecast.least_cost, forecast.most_cost) {
        (Some(least), Some(most)) => print(&format!(
            "cost: ${least:.4} at the least, ${most:.2} if every task meets its timeout (list prices of {})",
            crate::cost::Prices::DATE
        )),
        (Some(least), None) => print(&format!("cost: ${least:.4} at the least")),
        _ => print("cost: nothing is billed here"),
    }
}
