//! What was read before: a hint that spares reading again what looks the same.
//!
//! One file for each input, as git has an index. A pack is known by all that a scan can see of its entries (paths, modes,
//! links, sizes, inodes, times of change to the nanosecond), and only if its stamps were settled when it was read. What the
//! index says is believed only where the bucket has that very pack; anything else is read. So a damaged index costs time,
//! and no more.
//!
//! On file systems that other machines may write to there is none: they show old times for a while.
//!
//! What it cannot see: a program that keeps a file mapped and writes to it without a fault (the kernel notes the first
//! write since the page was last written back, not each); a filesystem that keeps neither inodes nor times of change; a
//! clock that is set back to the very second of an earlier change on a filesystem that keeps whole seconds.

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use archive::{Digest, PackPlan};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::InputSource;
use crate::text::hex;

/// Of the file, and of all that decides what bytes a pack has.
const VERSION: u32 = 1;
/// Who keeps more than this has other worries than reading it again.
const LARGEST: u64 = 64 * 1024 * 1024;

/// An index that was not written for so long is most likely of an input that is no more; else it is made again.
const KEPT: Duration = Duration::from_hours(24 * 90);

/// What was read of one input before.
#[derive(Debug, Default)]
pub(super) struct Index {
    /// Where it is kept; nowhere if it is not to be.
    path: Option<PathBuf>,
    known: HashMap<String, Digest>,
}

/// A pack of this scan as the index knows packs.
#[derive(Debug, Clone)]
pub(super) struct Seen {
    fingerprint: String,
    /// Whether its stamps were settled when the scan began.
    settled: bool,
}

#[derive(Serialize, Deserialize)]
struct File {
    version: u32,
    packs: Vec<Line>,
}

#[derive(Serialize, Deserialize)]
struct Line {
    fingerprint: String,
    md5: String,
    sha256: String,
    size: u64,
}

impl Index {
    /// Never fails: what cannot be used is as good as nothing.
    pub(super) fn open(dir: &Path, input: &InputSource) -> Self {
        let root = std::fs::canonicalize(&input.path).unwrap_or_else(|_| input.path.clone());
        if is_remote(&root) {
            return Self::default();
        }
        let mut hash = Sha256::new();
        hash.update(root.as_os_str().as_encoded_bytes());
        hash.update([0]);
        hash.update(&input.name.0);
        let path = dir.join(&hex(&hash.finalize())[..32]);
        let known = match read(&path) {
            Ok(known) => known,
            Err(error) => {
                if error.kind() != io::ErrorKind::NotFound {
                    tracing::debug!(path = %path.display(), %error, "the index is made anew");
                }
                HashMap::new()
            }
        };
        Self {
            path: Some(path),
            known,
        }
    }

    /// What the pack was when it was last read.
    pub(super) fn known(&self, seen: &Seen) -> Option<&Digest> {
        self.known.get(&seen.fingerprint).filter(|_| seen.settled)
    }

    /// The addresses of all packs.
    pub(super) fn addresses(&self) -> impl Iterator<Item = &str> {
        self.known.values().map(|digest| digest.md5.as_str())
    }

    /// Keeps what this run has learnt, unless that is what is kept already.
    pub(super) fn remember<'a>(&self, packs: impl Iterator<Item = (Seen, &'a Digest)>) {
        let Some(path) = &self.path else { return };
        let settled: Vec<_> = packs.filter(|(seen, _)| seen.settled).collect();
        let same = settled.len() == self.known.len()
            && settled
                .iter()
                .all(|(seen, digest)| self.known.get(&seen.fingerprint) == Some(*digest));
        if same {
            return;
        }
        let packs = settled.into_iter().map(|(seen, digest)| Line {
            fingerprint: seen.fingerprint,
            md5: digest.md5.clone(),
            sha256: digest.sha256.clone(),
            size: digest.size,
        });
        let file = File {
            version: VERSION,
            packs: packs.collect(),
        };
        if let Err(error) = write(path, &file) {
            tracing::debug!(path = %path.display(), %error, "the index is not kept");
        }
    }
}

/// A pack, of a scan that began at `began`.
pub(super) fn see(plan: &PackPlan<'_>, began: SystemTime) -> Seen {
    let began = began
        .duration_since(UNIX_EPOCH)
        .ok()
        .and_then(|since| i64::try_from(since.as_nanos()).ok())
        .unwrap_or(i64::MIN);
    Seen {
        fingerprint: plan.fingerprint(),
        settled: plan.settled().is_none_or(|settled| settled < began),
    }
}

/// Whether another machine may write there: then what a scan sees of a file may be older than the file.
#[cfg(target_os = "linux")]
fn is_remote(root: &Path) -> bool {
    /// NFS, SMB in its three ages, FUSE, 9P, AFS twice, Ceph, Coda, GFS2, Lustre, OCFS2.
    const KINDS: &[u32] = &[
        0x6969,
        0x517b,
        0xff53_4d42,
        0xfe53_4d42,
        0x6573_5546,
        0x0102_1997,
        0x5346_414f,
        0x6b41_4653,
        0x00c3_6400,
        0x7375_7245,
        0x0116_1970,
        0x0bd0_0bd0,
        0x7461_636f,
    ];
    // The kinds are 32 bits wide, in whatever type the system has for them.
    rustix::fs::statfs(root).is_ok_and(|stat| {
        let kind = stat.f_type.to_le_bytes();
        KINDS
            .iter()
            .any(|known| kind.starts_with(&known.to_le_bytes()))
    })
}

#[cfg(not(target_os = "linux"))]
fn is_remote(_root: &Path) -> bool {
    false
}

fn read(path: &Path) -> io::Result<HashMap<String, Digest>> {
    let mut options = std::fs::OpenOptions::new();
    options.read(true);
    options.custom_flags(rustix::fs::OFlags::NOFOLLOW.bits().cast_signed());
    let mut file = options.open(path)?;
    let metadata = file.metadata()?;
    let own = metadata.uid() == rustix::process::geteuid().as_raw();
    if !own || metadata.mode() & 0o022 != 0 || !metadata.is_file() {
        return Err(io::Error::other("others may have written it"));
    }
    if metadata.len() > LARGEST {
        return Err(io::Error::other("it is too large"));
    }
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    let file: File = serde_json::from_slice(&bytes)?;
    if file.version != VERSION {
        return Err(io::Error::other("another version made it"));
    }
    let packs = file.packs.into_iter().map(|line| {
        let Line {
            fingerprint,
            md5,
            sha256,
            size,
        } = line;
        (fingerprint, Digest { md5, sha256, size })
    });
    Ok(packs.collect())
}

/// Beside, then renamed: whoever reads it meanwhile reads one or the other. Not synced: what a crash leaves of it is
/// told from a whole one, and read again.
fn write(path: &Path, file: &File) -> io::Result<()> {
    let Some(dir) = path.parent() else {
        return Ok(());
    };
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true).mode(0o700).create(dir)?;
    let mut beside = tempfile::NamedTempFile::new_in(dir)?;
    beside.write_all(&serde_json::to_vec(file)?)?;
    beside.persist(path)?;
    // Another sortie may sweep, or write, at the same time: the next one takes what is left.
    let _ = sweep(dir);
    Ok(())
}

fn sweep(dir: &Path) -> io::Result<()> {
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        let age = entry.metadata()?.modified()?.elapsed();
        if age.is_ok_and(|age| age > KEPT) {
            std::fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
