//! What the command wrote and the bucket does not have yet.
//!
//! Threads that read the pipes push, the uploader takes. The buffer is bounded: when it is full, a push waits,
//! the pipe fills, and the command waits in turn. Nothing is dropped.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::Notify;
use wire::contract::{Captured, INLINE_LIMIT};
use wire::names::Stream;

/// The bound at first, in bytes of both streams together.
const SMALLEST: usize = 1 << 20;

/// The bound of a run that has written much: fewer and larger chunks. A chunk under way is held twice (as it is,
/// and framed for its request) beside a buffer as large that fills meanwhile.
const LARGEST: usize = 8 << 20;

/// After so many chunks the bound doubles.
const CHUNKS_PER_STEP: u32 = 16;

/// Both streams.
pub(crate) const STREAMS: [Stream; 2] = [Stream::Stdout, Stream::Stderr];

/// The buffer of both streams.
#[derive(Debug, Default)]
pub(crate) struct Capture {
    state: Mutex<State>,
    space: Condvar,
    full: Notify,
}

#[derive(Debug, Default)]
struct State {
    pending: [Vec<u8>; 2],
    /// Bytes that are in the bucket.
    sent: [u64; 2],
    captured: [Captured; 2],
    chunks: u32,
    abandoned: bool,
}

impl State {
    fn bound(&self) -> usize {
        let step = (self.chunks / CHUNKS_PER_STEP).min(LARGEST.ilog2() - SMALLEST.ilog2());
        SMALLEST << step
    }

    fn held(&self) -> usize {
        self.pending.iter().map(Vec::len).sum()
    }
}

/// A piece of one stream with its place among all.
#[derive(Debug)]
pub(crate) struct Chunk {
    /// Numbers both streams' chunks together.
    pub(crate) sequence: u32,
    /// Whose.
    pub(crate) stream: Stream,
    /// The bytes.
    pub(crate) bytes: Bytes,
}

impl Capture {
    /// Takes in what the command wrote, as soon as there is space.
    pub(crate) fn push(&self, stream: Stream, mut bytes: &[u8]) {
        let mut state = self.lock();
        state.captured[stream as usize].bytes += bytes.len() as u64;
        while !bytes.is_empty() {
            if state.abandoned {
                return;
            }
            let space = state.bound().saturating_sub(state.held());
            let (now, later) = bytes.split_at(space.min(bytes.len()));
            state.pending[stream as usize].extend_from_slice(now);
            bytes = later;
            if state.held() >= state.bound() {
                self.full.notify_one();
            }
            if !bytes.is_empty() {
                state = self
                    .space
                    .wait(state)
                    .unwrap_or_else(PoisonError::into_inner);
            }
        }
    }

    /// Waits until a push fills the buffer.
    pub(crate) async fn full(&self) {
        self.full.notified().await;
    }

    /// Takes what is pending of a stream, and makes space.
    pub(crate) fn take(&self, stream: Stream) -> Option<Chunk> {
        let mut state = self.lock();
        let bytes = std::mem::take(&mut state.pending[stream as usize]);
        if bytes.is_empty() {
            return None;
        }
        let sequence = state.chunks;
        state.chunks += 1;
        state.captured[stream as usize].chunks += 1;
        self.space.notify_all();
        Some(Chunk {
            sequence,
            stream,
            bytes: bytes.into(),
        })
    }

    /// A chunk is in the bucket. One that never comes here is lost.
    pub(crate) fn settle(&self, chunk: &Chunk) {
        self.lock().sent[chunk.stream as usize] += chunk.bytes.len() as u64;
    }

    /// Nobody takes or sends any more: nobody waits for space either, and what comes is lost.
    pub(crate) fn abandon(&self) {
        self.lock().abandoned = true;
        self.space.notify_all();
    }

    /// Bytes of both streams, if not one chunk was taken and they may ride in the report.
    pub(crate) fn inline_size(&self, limit: usize) -> Option<usize> {
        let state = self.lock();
        (state.chunks == 0 && state.held() <= limit).then(|| state.held())
    }

    /// How both streams stand in the report. A stream without chunks rides in it if it is short enough; of any
    /// other, what is not in the bucket by now is lost.
    pub(crate) fn report(&self) -> [Captured; 2] {
        let mut state = self.lock();
        let mut room = INLINE_LIMIT;
        STREAMS.map(|stream| {
            let pending = std::mem::take(&mut state.pending[stream as usize]);
            let size = pending.len();
            let mut captured = state.captured[stream as usize].clone();
            let whole = captured.chunks == 0 && size as u64 == captured.bytes && size <= room;
            let saved = if whole {
                room -= size;
                captured.inline = Some(pending.into());
                captured.bytes
            } else {
                state.sent[stream as usize]
            };
            captured.lost = captured.bytes - saved;
            captured
        })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn a_full_buffer_makes_the_writer_wait_and_loses_nothing() {
        let capture = Arc::new(Capture::default());
        let text: Vec<u8> = (0..3 * SMALLEST).map(|i| i.to_le_bytes()[0]).collect();
        let writer = {
            let (capture, text) = (capture.clone(), text.clone());
            std::thread::spawn(move || capture.push(Stream::Stderr, &text))
        };
        let mut got = Vec::new();
        while got.len() < text.len() {
            if let Some(chunk) = capture.take(Stream::Stderr) {
                assert!(chunk.bytes.len() <= SMALLEST);
                got.extend_from_slice(&chunk.bytes);
                capture.settle(&chunk);
            }
        }
        writer.join().unwrap();
        assert_eq!(got, text);
        let [out, err] = capture.report();
        assert_eq!((out.bytes, out.chunks), (0, 0));
        assert_eq!(
            (err.bytes, err.inline, err.lost),
            (text.len() as u64, None, 0)
        );
    }

    #[test]
    fn chunks_of_both_streams_are_numbered_together_and_grow() {
        let capture = Capture::default();
        for sequence in 0..CHUNKS_PER_STEP {
            let stream = STREAMS[sequence as usize % 2];
            capture.push(stream, b"x");
            assert_eq!(capture.take(stream).unwrap().sequence, sequence);
        }
        capture.push(Stream::Stdout, &vec![0; 2 * SMALLEST]);
        assert_eq!(
            capture.take(Stream::Stdout).unwrap().bytes.len(),
            2 * SMALLEST
        );
    }

    #[test]
    fn an_abandoned_buffer_lets_its_writers_go_and_counts() {
        let capture = Capture::default();
        capture.push(Stream::Stdout, b"sent");
        capture.settle(&capture.take(Stream::Stdout).unwrap());
        capture.push(Stream::Stdout, b"under way");
        capture.take(Stream::Stdout).unwrap();
        capture.push(Stream::Stdout, b"pending");
        capture.abandon();
        capture.push(Stream::Stdout, &vec![0; 2 * SMALLEST]);
        let [out, _] = capture.report();
        assert_eq!(out.bytes - out.lost, 4);
        assert_eq!(out.inline, None);
    }

    #[test]
    fn what_no_chunk_has_rides_in_the_report_of_an_abandoned_buffer() {
        let capture = Capture::default();
        capture.push(Stream::Stdout, b"under way");
        capture.take(Stream::Stdout).unwrap();
        capture.push(Stream::Stderr, b"pending");
        capture.abandon();
        let [out, err] = capture.report();
        assert_eq!((out.lost, out.inline), (9, None));
        assert_eq!(
            (err.lost, err.inline),
            (0, Some(b"pending".to_vec().into()))
        );
    }

    #[test]
    fn a_short_stream_rides_in_the_report() {
        let capture = Capture::default();
        capture.push(Stream::Stdout, b"\xff\0");
        assert_eq!(capture.inline_size(2), Some(2));
        assert_eq!(capture.inline_size(1), None);
        let [out, err] = capture.report();
        assert_eq!(out.inline, Some(vec![0xff, 0].into()));
        assert_eq!(err.inline, Some(Vec::new().into()));
    }
}
