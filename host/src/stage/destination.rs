//! Where packs go.

use std::collections::HashSet;
use std::future::Future;
use std::sync::Arc;

use archive::Digest;

use super::body::Body;
use crate::error::Error;

/// What stands under a pack's address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// The pack.
    Hit,
    /// Nothing.
    Absent,
    /// Something else, of this generation.
    Other(u64),
}

/// What became of a pack that was to be placed.
#[derive(Debug, Default)]
pub(super) struct Placed {
    /// Compressed bytes, unless somebody else was faster.
    pub(super) sent: Option<u64>,
    pub(super) warning: Option<String>,
}

/// Where packs go: a bucket, or nowhere when packing is measured.
pub(super) trait Destination: Clone + Send + Sync + 'static {
    /// Looks what is there; changes nothing.
    fn look(&self, digest: &Digest) -> impl Future<Output = Result<Standing, Error>> + Send;

    /// Keeps a pack that is there from expiring while it is in use.
    fn look_and_keep(
        &self,
        digest: &Digest,
    ) -> impl Future<Output = Result<Standing, Error>> + Send;

    /// Makes sure that the pack is there, where something else stood when it was last looked at.
    fn place(
        &self,
        digest: &Digest,
        standing: Standing,
        body: Body,
        name: &str,
    ) -> impl Future<Output = Result<Placed, Error>> + Send;
}

/// Counts and forgets; `known` is what it makes believe to hold.
#[derive(Debug, Clone, Default)]
pub(super) struct Nowhere {
    pub(super) known: Arc<HashSet<String>>,
}

impl Destination for Nowhere {
    async fn look(&self, digest: &Digest) -> Result<Standing, Error> {
        Ok(if self.known.contains(&digest.md5) {
            Standing::Hit
        } else {
            Standing::Absent
        })
    }

    async fn look_and_keep(&self, digest: &Digest) -> Result<Standing, Error> {
        self.look(digest).await
    }

    async fn place(&self, _: &Digest, _: Standing, body: Body, _: &str) -> Result<Placed, Error> {
        let mut sent = 0;
        match body {
            Body::Held(blocks) => {
                sent = blocks.iter().map(|block| block.len() as u64).sum();
            }
            Body::Again(again) => {
                let mut pieces = again.pieces().await?;
                while let Some(piece) = pieces.next().await? {
                    sent += piece.len() as u64;
                }
            }
        }
        Ok(Placed {
            sent: Some(sent),
            warning: None,
        })
    }
}
