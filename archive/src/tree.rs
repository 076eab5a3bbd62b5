use std::cmp::Reverse;
use std::path::{Path, PathBuf};

use crate::cut;
use crate::error::Error;
use crate::name::as_path;
use crate::plan::PackPlan;
use crate::record::{Kind, Record};
use crate::scan;
use crate::stamp::Stamp;
use crate::warning::{self, Warning};

/// An input's entries, sorted by the bytes of their paths.
///
/// About a hundred bytes a file: names lie one after another in one buffer.
#[derive(Debug)]
pub struct Tree {
    pub(crate) place: Place,
    pub(crate) nodes: Vec<Node>,
    pub(crate) names: Vec<u8>,
    pub(crate) warnings: Vec<Warning>,
}

/// Where a tree lies on disk.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) root: PathBuf,
    /// Bytes of `<name>/`, which stand before each path below the root.
    pub(crate) top: usize,
}

/// An entry as it is kept; its path, then a link's target, lie in the tree's `names`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Node {
    pub(crate) start: usize,
    pub(crate) path_len: u16,
    pub(crate) link_len: u16,
    pub(crate) mode: u16,
    pub(crate) kind: Kind,
    /// Only a file's counts.
    pub(crate) stamp: Stamp,
}

/// An entry of a tree.
#[derive(Debug, Clone, Copy)]
pub struct Entry<'a> {
    /// `<name>/…`, with no final slash.
    pub path: &'a [u8],
    /// What it is.
    pub kind: Kind,
    /// Permission bits.
    pub mode: u32,
    /// Target of a link, else empty.
    pub link: &'a [u8],
    /// Of a file; all zeros for anything else.
    pub stamp: Stamp,
}

impl Tree {
    /// Walks `root` (a file, a link or a directory), whose entries will be `<name>/…` (or `<name>` alone).
    ///
    /// If `root` itself is a link, it stands for what it points to; a link that leads nowhere is packed as a link.
    /// Below the root links stay links. `.sortieignore` in the root (gitignore's syntax) is the only filter; the
    /// file itself is packed like any other, unless it names itself. Files are not read, but for the beginning of
    /// the few that may be private keys.
    pub fn scan(name: &[u8], root: &Path) -> Result<Self, Error> {
        let mut tree = scan::scan(name, root)?;
        tree.warnings = warning::collect(&tree);
        Ok(tree)
    }

    /// Whether the root is a directory.
    pub fn is_directory(&self) -> bool {
        self.nodes
            .first()
            .is_some_and(|node| node.kind == Kind::Directory)
    }

    /// How many entries.
    pub fn entries(&self) -> usize {
        self.nodes.len()
    }

    /// Bytes of the files.
    pub fn bytes(&self) -> u64 {
        self.nodes.iter().map(|node| node.stamp.size).sum()
    }

    /// In the order of their paths.
    pub fn warnings(&self) -> &[Warning] {
        &self.warnings
    }

    /// The largest files and their sizes, the largest first, for the message of a large upload. Paths are those on disk.
    pub fn largest(&self, count: usize) -> Vec<(PathBuf, u64)> {
        self.largest_of(&self.nodes, count)
    }

    /// Cut by content; a small input is exactly one.
    pub fn packs(&self) -> Vec<PackPlan<'_>> {
        cut::cut(self)
    }

    pub(crate) fn largest_of(&self, nodes: &[Node], count: usize) -> Vec<(PathBuf, u64)> {
        let mut files: Vec<&Node> = nodes
            .iter()
            .filter(|node| node.kind == Kind::File)
            .collect();
        files.sort_by_key(|node| Reverse(node.stamp.size));
        files.truncate(count);
        let shown = |node: &Node| (self.place.on_disk(self.path(node)), node.stamp.size);
        files.into_iter().map(shown).collect()
    }

    pub(crate) fn path(&self, node: &Node) -> &[u8] {
        &self.names[node.start..][..usize::from(node.path_len)]
    }

    pub(crate) fn entry(&self, node: &Node) -> Entry<'_> {
        let link = node.start + usize::from(node.path_len);
        Entry {
            path: self.path(node),
            kind: node.kind,
            mode: u32::from(node.mode),
            link: &self.names[link..][..usize::from(node.link_len)],
            stamp: node.stamp,
        }
    }
}

impl Place {
    /// Below the root; empty for the root itself.
    pub(crate) fn below<'a>(&self, path: &'a [u8]) -> &'a [u8] {
        path.get(self.top..).unwrap_or_default()
    }

    pub(crate) fn on_disk(&self, path: &[u8]) -> PathBuf {
        match self.below(path) {
            b"" => self.root.clone(),
            below => self.root.join(as_path(below)),
        }
    }
}

impl<'a> Entry<'a> {
    pub(crate) fn record(&self) -> Record<'a> {
        Record {
            path: self.path,
            kind: self.kind,
            mode: self.mode,
            size: self.stamp.size,
            mtime: 0,
            link: self.link,
        }
    }
}
