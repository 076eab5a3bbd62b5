//! What a run would send, start and cost.

use serde::Serialize;

use crate::course;
use crate::error::Error;
use crate::event::Reporter;
use crate::request::Request;
use crate::session::Session;
use crate::stage;

/// What a run would send, start and cost.
#[derive(Debug, Serialize)]
pub struct Forecast {
    /// Its inputs.
    pub inputs: Vec<InputForecast>,
    /// How many tasks it has.
    pub tasks: u32,
    /// In how many executions they would run at first.
    pub executions: u32,
    /// Of these jobs.
    pub jobs: Vec<String>,
    /// What is billed at the least, in US dollars; absent where nothing is billed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub least_cost: Option<f64>,
    /// What is billed if every task meets its timeout.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub most_cost: Option<f64>,
}

/// What of an input would be sent.
#[derive(Debug, Serialize)]
pub struct InputForecast {
    /// Its name.
    pub name: String,
    /// Bytes of its files.
    pub bytes: u64,
    /// Its packs.
    pub packs: u32,
    /// Those that the bucket lacks.
    pub missing: u32,
    /// Bytes of these before compression.
    pub missing_bytes: u64,
}

/// Packs, looks and reckons; sends and starts nothing.
pub async fn forecast(
    session: &Session,
    request: &Request,
    reporter: &mut dyn Reporter,
) -> Result<Forecast, Error> {
    request.check()?;
    let mut inputs = Vec::new();
    for source in request.inputs() {
        inputs.push(stage::survey(session, &source, reporter).await?);
    }
    let bytes = inputs.iter().map(|input| input.bytes).sum();
    let reckoned = course::reckon(session, request, bytes).await?;
    Ok(Forecast {
        inputs,
        tasks: u32::try_from(request.tasks.len()).unwrap_or(u32::MAX),
        executions: reckoned.executions,
        jobs: reckoned.jobs,
        least_cost: reckoned.least,
        most_cost: reckoned.most,
    })
}
