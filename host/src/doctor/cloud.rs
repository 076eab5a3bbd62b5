//! The cloud: whoever cannot get there, or has no credentials, hears of that once, and what it stands in the way of.

use std::path::Path;
use std::time::Duration;

use tokio::join;
use wire::api::RetryConfig;

use super::finding::{FOR_CREDENTIALS, PATIENCE, in_time, look_in_time, within};
use super::{
    Finding, Status, bucket, credentials, entrypoint, images, jobs, network, secrets, services,
};
use crate::session::Connection;
use crate::settings::Cloud;

/// Someone waits for an answer, even if it is bad.
const RETRY: RetryConfig = RetryConfig {
    retries: 1,
    budget: Duration::from_secs(5),
    first_pause: Duration::from_millis(100),
    longest_pause: Duration::from_millis(500),
};

pub(super) async fn examine(cloud: &Cloud, data_dir: &Path) -> Vec<Finding> {
    let connection = match Connection::new(cloud, RETRY) {
        Ok(connection) => connection,
        Err(error) => return vec![Finding::of_error("network", &error)],
    };
    let mut findings = access(cloud, &connection).await;
    let barrier = findings.iter().find(|f| f.status == Status::Failure);
    if let Some(barrier) = barrier.map(|finding| finding.check.clone()) {
        let unseen = ["apis", "bucket", "jobs"].map(|check| {
            Finding::failure(check, format!("not asked: see `{barrier}`"))
                .with_hint("mend that first, and `sortie doctor` again")
        });
        findings.extend(unseen);
        return findings;
    }
    let (services, settings, rights, jobs, entrypoint) = join!(
        look_in_time("apis", services::examine(cloud, &connection)),
        in_time("bucket", bucket::settings(cloud, &connection)),
        in_time("bucket.rights", bucket::rights(&connection)),
        jobs_and_secrets(cloud, &connection),
        look_in_time(
            "entrypoint",
            entrypoint::examine(cloud, &connection, data_dir)
        ),
    );
    findings.extend([services, settings, rights, jobs, entrypoint].concat());
    findings
}

async fn access(cloud: &Cloud, connection: &Connection) -> Vec<Finding> {
    let credentials = credentials::examine(cloud, connection);
    let (credentials, network) = join!(
        within(FOR_CREDENTIALS, "credentials", credentials),
        in_time("network", network::examine(connection)),
    );
    let credentials = credentials.unwrap_or_else(|late| vec![late]);
    // No network, no token: then that is not the credentials' fault.
    let unreachable = network.iter().any(|f| f.status == Status::Failure);
    if unreachable {
        return [network, credentials].concat();
    }
    [credentials, network].concat()
}

/// What jobs refer to is known once they are read.
async fn jobs_and_secrets(cloud: &Cloud, connection: &Connection) -> Vec<Finding> {
    let reading = within(PATIENCE, "jobs", jobs::read(cloud, connection)).await;
    let read = match reading {
        Ok(read) => read,
        Err(late) => return vec![late],
    };
    let (jobs, images, secrets) = join!(
        in_time("jobs", jobs::examine(connection, &read)),
        images::examine(connection, RETRY, &read),
        look_in_time("secrets", secrets::examine(cloud, connection, &read)),
    );
    [jobs, images, secrets].concat()
}
