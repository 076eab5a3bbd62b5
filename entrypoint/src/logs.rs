//! Log chunks: the command's streams as numbered objects, while it runs.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::{Instant, sleep_until};
use wire::contract::INLINE_LIMIT;

use crate::capture::{Capture, Chunk, STREAMS};
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
    let guard = Guard(&capture);
    let begun = Instant::now();
    let mut kept = None;
    loop {
        tokio::select! {
            biased;
            _ = &mut finish => break,
            () = capture.full() => {}
            () = sleep_until(Instant::now() + pause(interval, begun.elapsed())) => {}
        }
        flush(&store, &capture, &mut kept).await;
    }
    if capture.inline_size(INLINE_LIMIT).is_none() {
        flush(&store, &capture, &mut kept).await;
    }
    if let Some(chunk) = kept {
        say(&format!("{} bytes of the log are lost", chunk.bytes.len()));
    }
    std::mem::forget(guard);
}

/// Whoever waits for space must not wait for an uploader that has ended before its time.
struct Guard<'a>(&'a Capture);

impl Drop for Guard<'_> {
    fn drop(&mut self) {
        self.0.abandon();
    }
}

fn pause(interval: Duration, age: Duration) -> Duration {
    interval.max((age / AGE_PER_PAUSE).min(SLOWEST))
}

/// Sends what is pending. A chunk that cannot be sent is kept for the next time, and nothing goes before it: who
/// follows the log waits at a gap. Meanwhile the buffer fills, and the command waits.
async fn flush(store: &Store, capture: &Capture, kept: &mut Option<Chunk>) {
    let object = new_object("application/octet-stream");
    for next in [None, Some(STREAMS[0]), Some(STREAMS[1])] {
        if let Some(stream) = next {
            *kept = capture.take(stream);
        }
        let Some(chunk) = kept else {
            continue;
        };
        let name = store.objects.log(chunk.sequence, chunk.stream);
        if let Err(error) = store.create(&name, &object, chunk.bytes.clone()).await {
            let cause = store.redact(&chain(&error));
            say(&format!("log chunk {} waits: {cause}", chunk.sequence));
            return;
        }
        capture.settle(chunk);
        *kept = None;
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
