//! An attempt's streams: log chunks into two files.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::Path;

use wire::bucket::{Bucket, List};
use wire::contract::{Captured, Report};
use wire::names::{AttemptObjects, RunId, Stream};

use super::claims::Claims;
use crate::error::Error;

/// The entrypoint's chunks have 16 MiB at the most; a larger one is none of its.
const CHUNK_LIMIT: u64 = 64 * 1024 * 1024;

/// An attempt's streams, as far as they have been read.
#[derive(Debug)]
pub(super) struct Logs {
    objects: AttemptObjects,
    next: u32,
    stdout: Sink,
    stderr: Sink,
}

#[derive(Debug, Default)]
struct Sink {
    /// Absent where the bytes are only shown.
    file: Option<File>,
    bytes: u64,
    /// Bytes from the beginning that the user has seen.
    seen: u64,
}

/// What to do where a chunk is missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Gaps {
    /// It may come.
    Wait,
    /// It will not.
    Skip,
}

/// Shows bytes as they come.
pub(super) type Show<'a> = dyn FnMut(Stream, &[u8]) + Send + 'a;

impl Logs {
    /// Begins the two files in a directory of results that are not in place yet; what another attempt left there
    /// goes.
    pub(super) fn begin(dir: &Path, objects: AttemptObjects) -> Result<Self, Error> {
        let create = |name: &str| {
            let path = dir.join(name);
            // Written at its end, wherever that is after a write that broke off.
            let created = File::create(&path)
                .and_then(|_| OpenOptions::new().append(true).open(&path))
                .map_err(|error| {
                    Error::local(format!("cannot write `{}`", path.display()), error)
                })?;
            Ok(Sink {
                file: Some(created),
                ..Sink::default()
            })
        };
        Ok(Self {
            objects,
            next: 0,
            stdout: create("stdout")?,
            stderr: create("stderr")?,
        })
    }

    /// Shows the streams, and writes no files.
    pub(super) fn shown(objects: AttemptObjects) -> Self {
        Self {
            objects,
            next: 0,
            stdout: Sink::default(),
            stderr: Sink::default(),
        }
    }

    /// This attempt's, begun if it is not them that were read.
    pub(super) fn of<'a>(
        slot: &'a mut Option<Self>,
        dir: &Path,
        objects: &AttemptObjects,
    ) -> Result<&'a mut Self, Error> {
        let logs = match slot.take().filter(|logs| logs.reads(objects)) {
            Some(logs) => logs,
            None => Self::begin(dir, objects.clone())?,
        };
        Ok(slot.insert(logs))
    }

    /// Begins the same attempt's files anew, in another directory; what the user has seen is not shown again.
    pub(super) fn again(&self, dir: &Path) -> Result<Self, Error> {
        let mut logs = Self::begin(dir, self.objects.clone())?;
        logs.stdout.seen = self.stdout.seen;
        logs.stderr.seen = self.stderr.seen;
        Ok(logs)
    }

    /// Whether it reads this attempt.
    pub(super) fn reads(&self, objects: &AttemptObjects) -> bool {
        self.objects == *objects
    }

    /// Chunks read.
    pub(super) fn chunks(&self) -> u32 {
        self.next
    }

    /// Reads the chunks that are there and were not read yet, in their order. At a gap it stops, for the chunk may
    /// come; or goes on, if the task is over.
    pub(super) async fn catch_up(
        &mut self,
        bucket: &Bucket,
        gaps: Gaps,
        show: &mut Show<'_>,
    ) -> Result<(), Error> {
        let prefix = self.objects.logs();
        let from = format!("{prefix}{:08}", self.next);
        let mut page_token: Option<String> = None;
        loop {
            let list = List {
                prefix: &prefix,
                start_offset: Some(&from),
                page: page_token.as_deref(),
                ..List::default()
            };
            let page = bucket
                .list(&list)
                .await
                .map_err(Error::api("cannot list the logs"))?;
            for object in &page.objects {
                let Ok((_, sequence, stream)) =
                    AttemptObjects::from_log(self.objects.run, &object.name)
                else {
                    continue;
                };
                // A second name for a number that was read, or a number that has no next, is no chunk of ours.
                let Some(next) = sequence.checked_add(1).filter(|_| sequence >= self.next) else {
                    continue;
                };
                if sequence > self.next && gaps == Gaps::Wait {
                    return Ok(());
                }
                // A whole chunk or nothing: one that breaks off is read again, and must not be there twice.
                let chunk = bucket.read(&object.name, CHUNK_LIMIT).await;
                let (_, bytes) = chunk.map_err(Error::api("cannot read the logs"))?;
                self.append(stream, &bytes, show)?;
                self.next = next;
            }
            match page.next {
                Some(token) => page_token = Some(token),
                None => return Ok(()),
            }
        }
    }

    /// Reads what a report says there is, inline or in chunks; returns what is missing, in words.
    pub(super) async fn complete(
        &mut self,
        bucket: &Bucket,
        report: &Report,
        show: &mut Show<'_>,
    ) -> Result<Vec<String>, Error> {
        let chunks = report.stdout.chunks.saturating_add(report.stderr.chunks);
        if chunks > self.next {
            self.catch_up(bucket, Gaps::Skip, show).await?;
        }
        let streams = [
            (Stream::Stdout, &report.stdout),
            (Stream::Stderr, &report.stderr),
        ];
        for (stream, captured) in streams {
            if let Captured {
                inline: Some(bytes),
                ..
            } = captured
                && !bytes.0.is_empty()
            {
                self.append(stream, &bytes.0, show)?;
            }
        }
        let lacking = |(stream, captured): (Stream, &Captured)| {
            let (name, sink) = match stream {
                Stream::Stdout => ("stdout", &self.stdout),
                Stream::Stderr => ("stderr", &self.stderr),
            };
            let missing = captured.bytes.saturating_sub(sink.bytes);
            (missing > 0).then(|| format!("{missing} bytes of `{name}` were lost"))
        };
        Ok(streams.into_iter().filter_map(lacking).collect())
    }

    fn append(&mut self, stream: Stream, bytes: &[u8], show: &mut Show<'_>) -> Result<(), Error> {
        let sink = match stream {
            Stream::Stdout => &mut self.stdout,
            Stream::Stderr => &mut self.stderr,
        };
        if let Some(file) = &mut sink.file {
            let write = file.write_all(bytes).inspect_err(|_| {
                // Half a write must not be followed by the whole of it.
                let _ = file.set_len(sink.bytes);
            });
            write.map_err(|error| Error::local("cannot write the logs", error))?;
        }
        let seen = usize::try_from(sink.seen.saturating_sub(sink.bytes)).unwrap_or(usize::MAX);
        sink.bytes += bytes.len() as u64;
        if let Some(new) = bytes.get(seen..).filter(|new| !new.is_empty()) {
            sink.seen = sink.bytes;
            show(stream, new);
        }
        Ok(())
    }
}

/// A task's newest attempt that writes logs under a key its claim vouches for.
pub(super) async fn newest(
    bucket: &Bucket,
    claims: &mut Claims,
    run: RunId,
    task: u32,
) -> Result<Option<AttemptObjects>, Error> {
    let prefix = format!("{}{task}.", run.logs());
    let list = List {
        prefix: &prefix,
        delimiter: Some("/"),
        ..List::default()
    };
    let page = bucket
        .list(&list)
        .await
        .map_err(Error::api("cannot list the logs"))?;
    let mut newest: Option<AttemptObjects> = None;
    for directory in &page.prefixes {
        let Ok(objects) = AttemptObjects::from_logs(run, directory) else {
            continue;
        };
        let newer = newest
            .as_ref()
            .is_none_or(|other| other.attempt < objects.attempt);
        let held = claims.hold(bucket, &objects).await;
        if newer && held.map_err(Error::api("cannot read a claim"))? {
            newest = Some(objects);
        }
    }
    Ok(newest)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use wire::names::Attempt;

    use super::*;

    fn logs(dir: &Path) -> Logs {
        let attempt = Attempt {
            task: 0,
            start: 0,
            retry: 0,
        };
        let key = "0".repeat(32);
        let run = RunId::new();
        Logs::begin(dir, AttemptObjects { run, attempt, key }).unwrap()
    }

    #[test]
    fn half_a_write_leaves_no_hole() {
        let dir = tempfile::tempdir().unwrap();
        let mut logs = logs(dir.path());
        logs.append(Stream::Stdout, b"one ", &mut |_, _| {})
            .unwrap();
        // A disk that is full for a moment: half of it is written, and cut off again.
        let file = logs.stdout.file.as_mut().unwrap();
        file.write_all(b"tw").unwrap();
        file.set_len(4).unwrap();
        logs.append(Stream::Stdout, b"two", &mut |_, _| {}).unwrap();
        let written = std::fs::read(dir.path().join("stdout")).unwrap();
        assert_eq!(String::from_utf8(written).unwrap(), "one two");
    }

    #[test]
    fn what_was_seen_is_written_again_and_not_shown() {
        let (dir, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let shown = Arc::new(std::sync::Mutex::new(Vec::new()));
        let mut show = |_, bytes: &[u8]| shown.lock().unwrap().extend_from_slice(bytes);
        let mut logs = logs(dir.path());
        logs.append(Stream::Stdout, b"one two", &mut show).unwrap();
        let mut logs = logs.again(other.path()).unwrap();
        for piece in ["one", " two three", " four"] {
            logs.append(Stream::Stdout, piece.as_bytes(), &mut show)
                .unwrap();
        }
        assert_eq!(*shown.lock().unwrap(), b"one two three four");
        let written = std::fs::read(other.path().join("stdout")).unwrap();
        assert_eq!(written, b"one two three four");
    }
}
