//! The output directory: packed as a stream into one object, or into memory if it is small.

use std::io::{self, Write};

use archive::{PackWriter, PackedOutputs, pack_outputs};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::{Bytes, BytesMut};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use wire::api::{ApiError, ErrorKind};
use wire::bucket::{ObjectMeta, Upload};
use wire::contract::{Archive, ByteString, Outputs, Skipped};

use crate::beneath::Directory;
use crate::storage::{Store, may_exist, new_object};

/// What the packing thread hands over at once.
const BLOCK: usize = 256 << 10;

/// Blocks between the packing thread and the upload.
const BLOCKS: usize = 2;

/// An archive up to this goes in one request.
const ONE_REQUEST: usize = 1 << 20;

/// An upload whose session is lost begins anew, with another packing, so often.
const TRIES: u32 = 3;

/// Outputs that are lost.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OutputsError {
    /// They cannot be read.
    #[error("cannot pack the outputs")]
    Pack(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// They cannot be sent.
    #[error("cannot send the outputs")]
    Send(#[source] ApiError),
    /// There was no time left.
    #[error("the outputs could not be saved in the time between SIGTERM and SIGKILL")]
    Cut,
}

/// Packs a directory and saves it: in the report if the archive has at the most `inline` bytes (which need not be
/// known before it is packed), else in the object `name`.
pub(crate) async fn save(
    store: &Store,
    name: &str,
    directory: &Directory,
    limit: Option<u64>,
    inline: impl Future<Output = usize>,
) -> Result<Outputs, OutputsError> {
    let mut tries = 1;
    loop {
        match pack(store, name, directory.clone(), limit).await {
            Ok((packed, archive)) => {
                return settle(store, name, packed, archive, inline.await).await;
            }
            Err(OutputsError::Send(error)) if tries < TRIES && is_lost(error.kind) => tries += 1,
            Err(error) => return Err(error),
        }
    }
}

/// Whether another session may do better.
fn is_lost(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::SessionLost
            | ErrorKind::NotFound
            | ErrorKind::Unavailable
            | ErrorKind::Corrupt
            | ErrorKind::Protocol
    )
}

/// An archive on its way.
enum Packed {
    Memory(Bytes),
    Object(ObjectMeta),
}

async fn settle(
    store: &Store,
    name: &str,
    packed: PackedOutputs,
    archive: Packed,
    inline: usize,
) -> Result<Outputs, OutputsError> {
    let archive = match archive {
        _ if packed.entries == 0 => Archive::None,
        Packed::Memory(bytes) if bytes.len() <= inline => Archive::Inline(STANDARD.encode(bytes)),
        Packed::Memory(bytes) => {
            let object = new_object("application/gzip");
            let meta = store
                .create(name, &object, bytes)
                .await
                .map_err(OutputsError::Send)?;
            in_object(&meta, &packed)
        }
        Packed::Object(meta) => in_object(&meta, &packed),
    };
    Ok(report(packed, archive))
}

fn in_object(meta: &ObjectMeta, packed: &PackedOutputs) -> Archive {
    Archive::Object {
        size: meta.size,
        generation: meta.generation,
        sha256: packed.digest.sha256.clone(),
    }
}

fn report(packed: PackedOutputs, archive: Archive) -> Outputs {
    let skipped = |left: archive::LeftOut| Skipped {
        path: ByteString(left.path),
        reason: left.reason,
    };
    Outputs {
        entries: packed.entries,
        bytes: packed.bytes,
        archive,
        skipped: packed.left_out.into_iter().map(skipped).collect(),
        skipped_total: packed.left_out_total,
    }
}

/// Saves a checkpoint of a directory that somebody writes in, and returns the digest of its tar; `None` if that is
/// still `last` and the archive small enough to know so before sending it.
pub(crate) async fn checkpoint(
    store: &Store,
    directory: Directory,
    limit: Option<u64>,
    sequence: u32,
    last: Option<&str>,
) -> Result<Option<String>, OutputsError> {
    let name = store.objects.checkpoint(sequence);
    let (packed, archive) = pack(store, &name, directory, limit).await?;
    if let Packed::Memory(bytes) = archive {
        if last == Some(&packed.digest.sha256) {
            return Ok(None);
        }
        let object = new_object("application/gzip");
        store
            .create(&name, &object, bytes)
            .await
            .map_err(OutputsError::Send)?;
    }
    Ok(Some(packed.digest.sha256))
}

/// Packs on a thread of its own. What fits one request comes back, more is in the object `name`.
async fn pack(
    store: &Store,
    name: &str,
    directory: Directory,
    limit: Option<u64>,
) -> Result<(PackedOutputs, Packed), OutputsError> {
    let (sender, mut blocks) = mpsc::channel(BLOCKS);
    let packing = tokio::task::spawn_blocking(move || pack_into(&directory.path(), sender, limit));
    let mut held = BytesMut::new();
    while held.len() <= ONE_REQUEST {
        match blocks.recv().await {
            Some(block) => held.extend_from_slice(&block),
            None => return Ok((packed(packing).await?, Packed::Memory(held.freeze()))),
        }
    }
    let object = new_object("application/gzip");
    let mut upload = store
        .upload(name, &object)
        .await
        .map_err(OutputsError::Send)?;
    send(&mut upload, held.freeze(), &mut blocks)
        .await
        .map_err(OutputsError::Send)?;
    // The object must not appear before the packing is known to be whole.
    match packed(packing).await {
        Ok(packed) => Ok((packed, Packed::Object(finish(store, name, upload).await?))),
        Err(error) => {
            upload.abandon().await;
            Err(error)
        }
    }
}

async fn send(
    upload: &mut Upload,
    held: Bytes,
    blocks: &mut mpsc::Receiver<Bytes>,
) -> Result<(), ApiError> {
    upload.write(held).await?;
    while let Some(block) = blocks.recv().await {
        upload.write(block).await?;
    }
    Ok(())
}

/// The answer to the last chunk may be lost, and the next try meets our own object.
async fn finish(store: &Store, name: &str, upload: Upload) -> Result<ObjectMeta, OutputsError> {
    match upload.finish().await {
        Err(error) if may_exist(error.kind) => store
            .bucket()
            .stat(name)
            .await
            .map_err(|_| OutputsError::Send(error)),
        result => result.map_err(OutputsError::Send),
    }
}

type Packing = JoinHandle<io::Result<Result<PackedOutputs, archive::Error>>>;

async fn packed(packing: Packing) -> Result<PackedOutputs, OutputsError> {
    match packing.await {
        Ok(Ok(Ok(packed))) => Ok(packed),
        Ok(Ok(Err(error))) => Err(OutputsError::Pack(Box::new(error))),
        Ok(Err(error)) => Err(OutputsError::Pack(Box::new(error))),
        Err(error) => Err(OutputsError::Pack(Box::new(error))),
    }
}

fn pack_into(
    directory: &std::path::Path,
    sender: mpsc::Sender<Bytes>,
    limit: Option<u64>,
) -> io::Result<Result<PackedOutputs, archive::Error>> {
    let mut writer = PackWriter::new(Blocks {
        sender,
        block: BytesMut::new(),
    });
    let packed = match pack_outputs(directory, &mut writer, limit) {
        Ok(packed) => packed,
        Err(error) => return Ok(Err(error)),
    };
    writer.finish()?.end()?;
    Ok(Ok(packed))
}

/// The thread's end of the channel.
struct Blocks {
    sender: mpsc::Sender<Bytes>,
    block: BytesMut,
}

impl Blocks {
    fn end(mut self) -> io::Result<()> {
        self.hand_over()
    }

    fn hand_over(&mut self) -> io::Result<()> {
        let block = self.block.split().freeze();
        self.sender
            .blocking_send(block)
            .map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}

impl Write for Blocks {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.block.extend_from_slice(bytes);
        if self.block.len() >= BLOCK {
            self.hand_over()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
