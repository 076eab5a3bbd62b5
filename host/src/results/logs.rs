//! An attempt's streams: log chunks into two files.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use wire::bucket::{Bucket, List};
use wire::names::{AttemptObjects, Stream};

use crate::error::Error;

/// An attempt's streams, as far as they have been read.
#[derive(Debug)]
pub(super) struct Logs {
    objects: AttemptObjects,
    next: u32,
    stdout: File,
    stderr: File,
    dir: PathBuf,
}

impl Logs {
    /// Begins two files in a directory of results that are not in place yet.
    pub(super) fn begin(dir: &Path, objects: AttemptObjects) -> Result<Self, Error> {
        let create = |stream| {
            let path = dir.join(file_name(&objects, stream));
            File::create(&path)
                .map_err(|error| Error::local(format!("cannot write `{}`", path.display()), error))
        };
        Ok(Self {
            next: 0,
            stdout: create(Stream::Stdout)?,
            stderr: create(Stream::Stderr)?,
            dir: dir.to_owned(),
            objects,
        })
    }

    /// Whether this attempt has no chunk that was read.
    pub(super) fn is_empty(&self) -> bool {
        self.next == 0
    }

    /// Whether it reads this attempt.
    pub(super) fn reads(&self, objects: &AttemptObjects) -> bool {
        self.objects == *objects
    }

    /// Reads the chunks that are there and were not read yet, in their order; stops at a gap.
    pub(super) async fn catch_up(
        &mut self,
        bucket: &Bucket,
        show: &mut (dyn FnMut(Stream, &[u8]) + Send),
    ) -> Result<(), Error> {
        loop {
            let prefix = self.objects.logs();
            let from = format!("{prefix}{:08}", self.next);
            let list = List {
                prefix: &prefix,
                start_offset: Some(&from),
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
                if sequence != self.next {
                    return Ok(());
                }
                self.read(bucket, &object.name, stream, show).await?;
                self.next += 1;
            }
            if page.next.is_none() {
                return Ok(());
            }
        }
    }

    async fn read(
        &mut self,
        bucket: &Bucket,
        name: &str,
        stream: Stream,
        show: &mut (dyn FnMut(Stream, &[u8]) + Send),
    ) -> Result<(), Error> {
        let failed = || Error::api("cannot read the logs");
        let mut download = bucket.download(name, None).await.map_err(failed())?;
        while let Some(bytes) = download.next().await.map_err(failed())? {
            self.append(stream, &bytes)?;
            show(stream, &bytes);
        }
        Ok(())
    }

    /// Adds bytes that came another way.
    pub(super) fn append(&mut self, stream: Stream, bytes: &[u8]) -> Result<(), Error> {
        let file = match stream {
            Stream::Stdout => &mut self.stdout,
            Stream::Stderr => &mut self.stderr,
        };
        file.write_all(bytes)
            .map_err(|error| Error::local("cannot write the logs", error))
    }

    /// Chunks read.
    pub(super) fn chunks(&self) -> u32 {
        self.next
    }

    /// Gives the files their names.
    pub(super) fn settle(self) -> Result<(), Error> {
        for (stream, name) in [(Stream::Stdout, "stdout"), (Stream::Stderr, "stderr")] {
            let from = self.dir.join(file_name(&self.objects, stream));
            fs_err::rename(from, self.dir.join(name))
                .map_err(|error| Error::local("cannot write the logs", error))?;
        }
        Ok(())
    }
}

fn file_name(objects: &AttemptObjects, stream: Stream) -> String {
    let suffix = match stream {
        Stream::Stdout => "stdout",
        Stream::Stderr => "stderr",
    };
    format!(".{}.{suffix}", objects.attempt)
}
