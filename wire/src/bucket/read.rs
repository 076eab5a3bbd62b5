use bytes::Bytes;

use super::checksum::Digest;
use super::media::MediaHead;
use super::{Bucket, ObjectMeta};
use crate::api::{Again, ApiError, ErrorKind, Failure};

impl Bucket {
    /// A whole object of at most `limit` bytes, checked.
    ///
    /// One request, so the metadata is what the answer's headers tell: no custom time, and custom metadata only
    /// where the server sends `x-goog-meta-…`.
    pub async fn read(&self, name: &str, limit: u64) -> Result<(ObjectMeta, Bytes), ApiError> {
        let request = self.media_request(name, None)?;
        let mut retry = self.api.retry();
        let (collected, head, digest) = loop {
            let collected = self.api.collect_with(&request, limit, &mut retry).await?;
            let head = MediaHead::parse(&collected.headers);
            let digest = Digest::of(&collected.body);
            if head.checksums.vouch_for(&digest) {
                break (collected, head, digest);
            }
            let error = request
                .fail(ErrorKind::Corrupt)
                .with_source("its bytes do not match the checksums that the server sent with them");
            let failure = Failure::new(error, Again::Damaged);
            retry.pause(failure, true).await?;
        };
        let Some(generation) = head.generation else {
            return Err(request
                .fail(ErrorKind::Protocol)
                .with_source("the answer names no generation"));
        };
        Ok((
            head.into_meta(name, generation, digest.size),
            collected.body,
        ))
    }
}
