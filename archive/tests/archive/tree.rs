//! Small trees on disk, and what is in them.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, Permissions};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use archive::{Digest, PackPlan, PackWriter, Tree};
use tempfile::TempDir;

/// What a path is, as far as the format promises to keep it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Node {
    File { mode: u32, data: Vec<u8> },
    Directory { mode: u32 },
    Link { target: Vec<u8> },
    Other,
}

pub(crate) struct TestTree {
    directory: TempDir,
}

impl TestTree {
    pub(crate) fn new() -> Self {
        Self {
            directory: tempfile::tempdir().unwrap(),
        }
    }

    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }

    pub(crate) fn join(&self, path: impl AsRef<[u8]>) -> PathBuf {
        self.path().join(OsStr::from_bytes(path.as_ref()))
    }

    pub(crate) fn file(self, path: impl AsRef<[u8]>, mode: u32, data: impl AsRef<[u8]>) -> Self {
        let path = self.above(path.as_ref());
        fs::write(&path, data).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        self
    }

    pub(crate) fn dir(self, path: impl AsRef<[u8]>, mode: u32) -> Self {
        let path = self.join(path);
        fs::create_dir_all(&path).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        self
    }

    pub(crate) fn link(self, path: impl AsRef<[u8]>, target: impl AsRef<[u8]>) -> Self {
        let path = self.above(path.as_ref());
        symlink(OsStr::from_bytes(target.as_ref()), path).unwrap();
        self
    }

    fn above(&self, path: &[u8]) -> PathBuf {
        let path = self.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        path
    }
}

/// All below `root`, by relative path.
pub(crate) fn look(root: &Path) -> BTreeMap<Vec<u8>, Node> {
    let mut found = BTreeMap::new();
    for entry in walkdir::WalkDir::new(root).min_depth(1) {
        let entry = entry.unwrap();
        let path = entry.path().strip_prefix(root).unwrap();
        found.insert(path.as_os_str().as_bytes().to_vec(), node(entry.path()));
    }
    found
}

pub(crate) fn node(path: &Path) -> Node {
    let metadata = fs::symlink_metadata(path).unwrap();
    let mode = metadata.mode() & 0o7777;
    if metadata.is_file() {
        Node::File {
            mode,
            data: fs::read(path).unwrap(),
        }
    } else if metadata.is_dir() {
        Node::Directory { mode }
    } else if metadata.is_symlink() {
        let target = fs::read_link(path).unwrap();
        Node::Link {
            target: target.as_os_str().as_bytes().to_vec(),
        }
    } else {
        Node::Other
    }
}

/// The one pack of a small tree.
pub(crate) fn tar_of(tree: &Tree) -> (Vec<u8>, Digest) {
    let packs = tree.packs();
    assert_eq!(packs.len(), 1);
    tar_of_pack(&packs[0])
}

pub(crate) fn tar_of_pack(pack: &PackPlan<'_>) -> (Vec<u8>, Digest) {
    let mut tar = Vec::new();
    let digest = pack.write_tar(&mut tar).unwrap();
    assert_eq!(pack.tar_size(), tar.len() as u64);
    assert_eq!(digest.size, tar.len() as u64);
    (tar, digest)
}

pub(crate) fn gzip(tar: &[u8]) -> Vec<u8> {
    let mut writer = PackWriter::new(Vec::new());
    std::io::Write::write_all(&mut writer, tar).unwrap();
    writer.finish().unwrap()
}

pub(crate) fn fifo(path: &Path) {
    rustix::fs::mknodat(
        rustix::fs::CWD,
        path,
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR,
        0,
    )
    .unwrap();
}
