//! Checkpoints: the output directory as it is while the command runs, for an end that nobody can trap.

use std::time::Duration;

use tokio::time::sleep;

use crate::beneath::Directory;
use crate::console::say;
use crate::outputs::checkpoint;
use crate::stop::chain;
use crate::storage::Store;

/// Packing over and over would take the command's time; and zero would never let it have any.
const SHORTEST: Duration = Duration::from_secs(1);

/// Saves a checkpoint after each interval, one at a time, until it is dropped. What has not changed is not saved
/// again; what fails is said, and tried again an interval later.
pub(crate) async fn keep(
    store: Store,
    directory: Directory,
    limit: Option<u64>,
    interval: Duration,
) {
    let mut last = None;
    for sequence in 0.. {
        loop {
            sleep(interval.max(SHORTEST)).await;
            match checkpoint(&store, directory.clone(), limit, sequence, last.as_deref()).await {
                Ok(Some(digest)) => {
                    last = Some(digest);
                    break;
                }
                Ok(None) => {}
                Err(error) => {
                    say(&format!(
                        "checkpoint {sequence}: {}",
                        store.redact(&chain(&error))
                    ));
                    // The name may be taken by an upload whose answer was lost.
                    break;
                }
            }
        }
    }
}
