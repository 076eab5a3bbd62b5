//! An input's entries, as they are found: one stat an entry, no reads.

use std::os::fd::AsFd;
use std::path::Path;

use ignore::gitignore::{Gitignore, GitignoreBuilder};
use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, Stat, openat, readlinkat, statat};
use rustix::io::Errno;

use crate::error::Error;
use crate::name::MAX_PATH;
use crate::record::Kind;
use crate::stamp::{Stamp, permissions_of, special_name, type_of};
use crate::tree::{Node, Place, Tree};
use crate::walk;

/// The only filter, at an input's root.
const IGNORE_FILE: &str = ".sortieignore";

pub(crate) fn scan(name: &[u8], root: &Path) -> Result<Tree, Error> {
    let stat = match statat(CWD, root, AtFlags::empty()) {
        // A link to nothing, or to itself.
        Err(Errno::NOENT | Errno::LOOP) => statat(CWD, root, AtFlags::SYMLINK_NOFOLLOW),
        other => other,
    }
    .map_err(|error| Error::read(root, error))?;
    let place = Place {
        root: root.to_path_buf(),
        top: name.len() + 1,
    };
    let mut found = Found::default();
    if found.add(&place, CWD, root, name, &stat)? == Kind::Directory {
        let ignore = ignore_file(root)?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let handle =
            openat(CWD, root, flags, Mode::empty()).map_err(|error| Error::read(root, error))?;
        for more in walk::walk(&place, &ignore, handle.as_fd(), name)? {
            found.append(&more);
        }
    }
    Ok(found.into_tree(place))
}

/// Entries in no order.
#[derive(Default)]
pub(crate) struct Found {
    nodes: Vec<Node>,
    names: Vec<u8>,
}

impl Found {
    /// The entry called `name` in `parent`, of which `stat` was read.
    pub(crate) fn add(
        &mut self,
        place: &Place,
        parent: impl AsFd,
        name: impl rustix::path::Arg,
        path: &[u8],
        stat: &Stat,
    ) -> Result<Kind, Error> {
        let too_long = || Error::LongPath {
            path: place.on_disk(path),
            max: MAX_PATH,
        };
        if path.len() > MAX_PATH {
            return Err(too_long());
        }
        let (kind, stamp, link) = match type_of(stat) {
            FileType::RegularFile => (Kind::File, Stamp::of(stat), Vec::new()),
            FileType::Directory => (Kind::Directory, Stamp::default(), Vec::new()),
            FileType::Symlink => {
                let target = readlinkat(parent, name, Vec::new());
                let target = target.map_err(|errno| match errno {
                    // It is no link any more.
                    Errno::INVAL => Error::gone_or(place.on_disk(path), Errno::NOENT),
                    errno => Error::gone_or(place.on_disk(path), errno),
                })?;
                (Kind::Link, Stamp::default(), target.into_bytes())
            }
            special => {
                return Err(Error::Special {
                    path: place.on_disk(path),
                    kind: special_name(special),
                });
            }
        };
        let short = |len: usize| u16::try_from(len).map_err(|_| too_long());
        self.nodes.push(Node {
            start: self.names.len(),
            path_len: short(path.len())?,
            link_len: short(link.len())?,
            mode: u16::try_from(permissions_of(stat)).unwrap_or(0),
            kind,
            stamp,
        });
        self.names.extend_from_slice(path);
        self.names.extend_from_slice(&link);
        Ok(kind)
    }

    fn append(&mut self, more: &Self) {
        let shift = self.names.len();
        self.names.extend_from_slice(&more.names);
        let shifted = |node: &Node| Node {
            start: node.start + shift,
            ..*node
        };
        self.nodes.extend(more.nodes.iter().map(shifted));
    }

    fn into_tree(mut self, place: Place) -> Tree {
        let names = self.names;
        let path = |node: &Node| &names[node.start..][..usize::from(node.path_len)];
        self.nodes
            .sort_unstable_by(|one, other| path(one).cmp(path(other)));
        Tree {
            place,
            nodes: self.nodes,
            names,
            warnings: Vec::new(),
        }
    }
}

fn ignore_file(root: &Path) -> Result<Gitignore, Error> {
    let path = root.join(IGNORE_FILE);
    match statat(CWD, &path, AtFlags::empty()) {
        Err(Errno::NOENT) => return Ok(Gitignore::empty()),
        other => other.map_err(|error| Error::read(&path, error))?,
    };
    let mut builder = GitignoreBuilder::new("");
    let built = match builder.add(&path) {
        None => builder.build(),
        Some(error) => Err(error),
    };
    built.map_err(|source| Error::IgnoreFile { path, source })
}
