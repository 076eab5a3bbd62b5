//! `sortie doctor`.

use clap::Args;
use serde_json::json;

use super::arguments::PlaceArguments;
use super::coming_back::{interruptible, print_json};
use super::human;
use super::run_command::here;
use crate::core_files;
use crate::doctor::{Finding, Status, examine};
use crate::error::Error;
use crate::exit_code;
use crate::settings::Environment;
use crate::text::count;

const EXIT_CODES: &str = "Exit code: 0 if nothing has failed, warnings or not; 1 if something has; 125 sortie's own failure.";

#[derive(Debug, Args)]
#[command(after_help = EXIT_CODES)]
pub(super) struct DoctorArguments {
    /// One JSON object on standard output.
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    place: PlaceArguments,
}

/// Says how everything stands; fails where a run would.
pub(super) fn doctor(arguments: DoctorArguments, env: &Environment) -> Result<i32, Error> {
    let wishes = arguments.place.into_wishes()?;
    let from = here()?;
    interruptible(async move {
        let findings = Box::pin(examine(&wishes, env, &from, core_files::forbid)).await;
        let with = |status| findings.iter().filter(|f| f.status == status).count();
        let (failures, warnings) = (with(Status::Failure), with(Status::Warning));
        let code = if failures > 0 {
            exit_code::UNHEALTHY
        } else {
            exit_code::SUCCESS
        };
        if arguments.json {
            let found = json!({
                "sortie": env!("CARGO_PKG_VERSION"), "findings": findings,
                "failures": failures, "warnings": warnings, "exit_code": code,
            });
            print_json("doctor", found);
        } else {
            lines(&findings);
            human::print(&summary(failures, warnings));
        }
        Ok(code)
    })
}

fn lines(findings: &[Finding]) {
    let longest = findings.iter().map(|finding| finding.check.len()).max();
    let width = longest.unwrap_or(0);
    for finding in findings {
        let Finding {
            check, says, hint, ..
        } = finding;
        let status = word(finding.status);
        human::print(&format!("{status:7}  {check:width$}  {says}"));
        if let Some(hint) = hint {
            human::print(&format!("{:7}  {:width$}  hint: {hint}", "", ""));
        }
    }
}

fn word(status: Status) -> &'static str {
    match status {
        Status::Ok => "ok",
        Status::Unknown => "-",
        Status::Warning => "warning",
        Status::Failure => "FAILURE",
    }
}

fn summary(failures: usize, warnings: usize) -> String {
    let number = |n: usize| u64::try_from(n).unwrap_or(u64::MAX);
    let failures_told = count(number(failures), "failure", "failures");
    let warnings_told = count(number(warnings), "warning", "warnings");
    match (failures, warnings) {
        (0, 0) => "all is well".to_owned(),
        (0, _) => format!("{warnings_told}, and nothing that stops a run"),
        _ => format!("{failures_told}, {warnings_told}"),
    }
}
