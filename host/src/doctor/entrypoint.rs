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
    let here = env!("CARGO_PKG_VERSION");
    let finding = match newest(cloud, data_dir) {
        None => Finding::unknown(CHECK, "no run of this machine's tells which the image has"),
        Some(run) => match version(connection, run).await {
            Some(version) if version == here => {
                Finding::ok(CHECK, format!("{version}, as sortie, in run `{run}`"))
            }
            Some(version) => Finding::warning(
                CHECK,
                format!("run `{run}` had {version}, and this sortie is {here}"),
            )
            .with_hint("`terraform -chdir=terraform apply` builds the images anew; or install the sortie that your team has"),
            None => Finding::unknown(CHECK, format!("run `{run}` has left no report")),
        },
    };
    vec![finding]
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
    #[derive(Deserialize)]
    struct Told {
        entrypoint: String,
    }
    let prefix = format!("{}reports/", run.prefix());
    let list = List {
        prefix: &prefix,
        max_results: Some(1),
        ..List::default()
    };
    let page = connection.bucket.list(&list).await.ok()?;
    let name = &page.objects.first()?.name;
    let (_, report) = connection.bucket.read(name, LIMIT).await.ok()?;
    let told: Told = serde_json::from_slice(&report).ok()?;
    // A task may write what it likes there.
    let is_version = told.entrypoint.len() < 40 && told.entrypoint.is_ascii();
    is_version.then_some(told.entrypoint)
}
