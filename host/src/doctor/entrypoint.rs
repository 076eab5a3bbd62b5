//! Which entrypoint the image has: what the newest run that this machine remembers was told by it.

use std::path::Path;

use serde::Deserialize;
use wire::bucket::List;
use wire::names::RunId;

use super::Finding;
use crate::record::{LocalRecord, Recorded};
use crate::session::Connection;
use crate::settings::Cloud;

const CHECK: &str = "entrypoint";

/// A report holds small outputs, too.
const LIMIT: u64 = 4 << 20;

pub(super) async fn examine(
    cloud: &Cloud,
    connection: &Connection,
    data_dir: &Path,
) -> Vec<Finding> {
    let finding = match newest(cloud, data_dir) {
        None => Finding::unknown(CHECK, "no run of this machine's tells which the image has"),
        Some(run) => judge(run, version(connection, run).await),
    };
    vec![finding]
}

fn judge(run: RunId, version: Option<String>) -> Finding {
    let here = env!("CARGO_PKG_VERSION");
    match version {
        Some(version) if version == here => {
            Finding::ok(CHECK, format!("{version}, as sortie, in run `{run}`"))
        }
        Some(version) => Finding::warning(
            CHECK,
            format!("run `{run}` had {version}, and this sortie is {here}"),
        )
        .with_hint("`terraform -chdir=terraform apply` builds the images anew; or install the sortie that your team has"),
        None => Finding::unknown(CHECK, format!("run `{run}` has left no report")),
    }
}

fn newest(cloud: &Cloud, data_dir: &Path) -> Option<RunId> {
    let mut runs = LocalRecord::all(data_dir);
    runs.sort_unstable();
    let is_there = |run: &&RunId| {
        let record = LocalRecord::read(data_dir, **run).ok().flatten();
        let place = record.map(|record| record.place);
        matches!(place, Some(Recorded::Cloud { bucket, .. }) if bucket == cloud.bucket)
    };
    runs.iter().rev().find(is_there).copied()
}

async fn version(connection: &Connection, run: RunId) -> Option<String> {
    let prefix = format!("{}reports/", run.prefix());
    let list = List {
        prefix: &prefix,
        max_results: Some(1),
        ..List::default()
    };
    let page = connection.bucket.list(&list).await.ok()?;
    let name = &page.objects.first()?.name;
    let (_, report) = connection.bucket.read(name, LIMIT).await.ok()?;
    told(&report)
}

/// A task may write what it likes there.
fn told(report: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct Told {
        entrypoint: String,
    }
    let told: Told = serde_json::from_slice(report).ok()?;
    let version = told.entrypoint;
    let is_version = version.len() < 40 && version.bytes().all(|byte| byte.is_ascii_graphic());
    is_version.then_some(version)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Status;

    #[test]
    fn another_version_than_this_is_told() {
        let run = RunId::new();
        let here = env!("CARGO_PKG_VERSION");
        assert_eq!(judge(run, Some(here.to_owned())).status, Status::Ok);
        assert_eq!(judge(run, None).status, Status::Unknown);
        let other = judge(run, Some("9.8.7".to_owned()));
        assert_eq!(other.status, Status::Warning);
        let says = format!("run `{run}` had 9.8.7, and this sortie is {here}");
        assert_eq!(other.says, says);
        assert!(
            other
                .hint
                .unwrap()
                .contains("apply` builds the images anew")
        );
    }

    #[test]
    fn what_a_task_wrote_instead_of_a_report_is_not_repeated() {
        assert_eq!(
            told(br#"{"entrypoint": "0.1.0"}"#),
            Some("0.1.0".to_owned())
        );
        let long = format!(r#"{{"entrypoint": "{}"}}"#, "x".repeat(40));
        for odd in [
            long.as_str(),
            "",
            "{}",
            r#"{"entrypoint": 1}"#,
            r#"{"entrypoint": "\u001b[31mred"}"#,
            r#"{"entrypoint": "two\nlines"}"#,
        ] {
            assert_eq!(told(odd.as_bytes()), None, "{odd}");
        }
    }
}
