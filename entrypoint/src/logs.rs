//! Log chunks: the command's streams as numbered objects, while it runs.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::{Instant, sleep_until};
use wire::contract::INLINE_LIMIT;

use crate::capture::{Capture, STREAMS};
use crate::console::say;
use crate::stop::chain;
use crate::storage::{Store, new_object};

/// A run that goes on for long is looked at less often, down to this.
const SLOWEST: Duration = Duration::from_secs(30);

/// The pause between two chunks is a hundredth of the age: 460 chunks in the first hour, 120 an hour later on.
const AGE_PER_PAUSE: u32 = 100;

/// Uploads what is captured: at intervals, at once when the buffer is full, and what is left when `finish` comes.
///
/// A command that ends before the first interval uploads nothing: its streams ride in the report.
pub(crate) async fn upload(
    store: Store,
    capture: Arc<Capture>,
    interval: Duration,
    mut finish: oneshot::Receiver<()>,
) {
    let begun = Instant::now();
    loop {
        tokio::select! {
            biased;
            _ = &mut finish => break,
            () = capture.full() => {}
            () = sleep_until(Instant::now() + pause(interval, begun.elapsed())) => {}
        }
        flush(&store, &capture).await;
    }
    if capture.inline_size(INLINE_LIMIT).is_none() {
        flush(&store, &capture).await;
    }
}

fn pause(interval: Duration, age: Duration) -> Duration {
    interval.max((age / AGE_PER_PAUSE).min(SLOWEST))
}

async fn flush(store: &Store, capture: &Capture) {
    for stream in STREAMS {
        let Some(chunk) = capture.take(stream) else {
            continue;
        };
        let name = store.objects.log(chunk.sequence, chunk.stream);
        let size = chunk.bytes.len();
        let object = new_object("application/octet-stream");
        let sent = store.create(&name, &object, chunk.bytes).await;
        capture.settle(stream, sent.is_ok());
        if let Err(error) = sent {
            say(&format!(
                "{size} bytes of the log are lost: {}",
                chain(&error)
            ));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_with_age_but_never_shrink_the_specs() {
        let second = Duration::from_secs;
        assert_eq!(pause(second(1), second(5)), second(1));
        assert_eq!(pause(second(1), second(1000)), second(10));
        assert_eq!(pause(second(1), second(1_000_000)), SLOWEST);
        assert_eq!(pause(second(60), second(1_000_000)), second(60));
    }
}
