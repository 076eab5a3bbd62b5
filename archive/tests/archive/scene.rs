//! A target between things that are none of an archive's business.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use archive::{Error, Links, Policy, Unpacked, Unpacker};

use crate::raw::RawTar;
use crate::tree::{Node, TestTree, gzip, look, node};

/// What must stay as it is, to the stat.
type Canary = BTreeMap<PathBuf, (Node, [i64; 6])>;

pub(crate) struct Scene {
    pub(crate) tree: TestTree,
    before: Canary,
}

impl Scene {
    pub(crate) fn new() -> Self {
        let tree = TestTree::new()
            .file("outside/file", 0o644, "untouched")
            .file("outside/below/secret", 0o600, "untouched")
            .link("outside/link", "file")
            .dir("target", 0o755);
        let before = canary(&tree.join("outside"));
        Self { tree, before }
    }

    pub(crate) fn target(&self) -> PathBuf {
        self.tree.join("target")
    }

    pub(crate) fn assert_untouched(&self) {
        assert_eq!(canary(&self.tree.join("outside")), self.before);
    }

    pub(crate) fn unpack(&self, policy: Policy, tar: &[u8]) -> Result<Unpacked, Error> {
        self.unpack_gzip(policy, &gzip(tar))
    }

    pub(crate) fn unpack_gzip(&self, policy: Policy, gzip: &[u8]) -> Result<Unpacked, Error> {
        let unpacker = Unpacker::new(&self.target(), policy)?;
        let result = unpacker.unpack(gzip);
        let done = unpacker.finish();
        self.assert_untouched();
        let beside = fs::read_dir(self.tree.path()).unwrap().count();
        assert_eq!(beside, 2, "something new lies beside the target");
        result?;
        done
    }

    /// Unpacks in both modes, in a fresh target each; returns what was left out, with reasons.
    pub(crate) fn left_out(tar: &[u8]) -> Vec<(String, String)> {
        let strict = Policy {
            links: Links::InsideOnly,
            ..Policy::input(None)
        };
        let error = Self::new().unpack(strict, tar).unwrap_err();
        assert!(matches!(error, Error::Refused { .. }), "{error:?}");
        let scene = Self::new();
        let done = scene.unpack(Policy::output(u64::MAX), tar).unwrap();
        assert_eq!(done.left_out_total, done.left_out.len() as u64);
        assert!(fs::read(scene.target().join("last")).is_ok_and(|data| data == b"lands"));
        let named = |entry: archive::LeftOut| (archive::printable(&entry.path), entry.reason);
        done.left_out.into_iter().map(named).collect()
    }

    /// What lies in a fresh target afterwards, and what was left out of it.
    pub(crate) fn landed(tar: RawTar) -> (BTreeMap<Vec<u8>, Node>, Vec<String>) {
        let scene = Self::new();
        let done = scene
            .unpack(Policy::output(u64::MAX), &tar.finish())
            .unwrap();
        let reasons = done.left_out.into_iter().map(|entry| entry.reason);
        (look(&scene.target()), reasons.collect())
    }
}

pub(crate) fn assert_left_out(tar: RawTar, expected: &[(&str, &str)]) {
    let left_out = Scene::left_out(&tar.file("last", "lands").finish());
    let left_out: Vec<(&str, &str)> = left_out
        .iter()
        .map(|(path, reason)| (&path[..], &reason[..]))
        .collect();
    assert_eq!(left_out, expected);
}

fn canary(root: &Path) -> Canary {
    let below = look(root).into_keys();
    let paths = below.map(|path| root.join(as_path(&path)));
    paths
        .chain([root.to_path_buf()])
        .map(|path| {
            let stat = fs::symlink_metadata(&path).unwrap();
            let owner = i64::from(stat.uid()) << 32 | i64::from(stat.gid());
            let links = i64::try_from(stat.nlink()).unwrap();
            let times = [
                stat.mtime(),
                stat.mtime_nsec(),
                stat.ctime(),
                stat.ctime_nsec(),
            ];
            let seen = [times[0], times[1], times[2], times[3], owner, links];
            (path.clone(), (node(&path), seen))
        })
        .collect()
}

fn as_path(bytes: &[u8]) -> &Path {
    use std::os::unix::ffi::OsStrExt;
    Path::new(std::ffi::OsStr::from_bytes(bytes))
}
