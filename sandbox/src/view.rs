//! Which of the host's paths are to be seen inside: real ones, and the links that lead to them.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ffi::OsString;
use std::io;
use std::path::{Component, Path, PathBuf};

use nix::libc;

/// As the kernel's own limit on links in one path.
const LINKS_AT_MOST: u32 = 40;

/// What of the host is shown. A path is shown at its own place, reached as on the host: a link on the way is a link
/// inside, too.
#[derive(Debug, Default)]
pub(crate) struct View {
    real: BTreeSet<PathBuf>,
    links: BTreeMap<PathBuf, PathBuf>,
}

/// A path followed to its end.
pub(crate) struct Walk {
    /// Where it ends: no component of this is a link.
    pub(crate) real: PathBuf,
    links: Vec<(PathBuf, PathBuf)>,
}

impl Walk {
    /// Follows an absolute path.
    pub(crate) fn along(path: &Path) -> io::Result<Self> {
        let mut walk = Self {
            real: PathBuf::from("/"),
            links: Vec::new(),
        };
        let mut ahead: VecDeque<OsString> = names(path).collect();
        let mut links = 0;
        while let Some(name) = ahead.pop_front() {
            if name == ".." {
                walk.real.pop();
                continue;
            }
            let next = walk.real.join(name);
            if !next.symlink_metadata()?.is_symlink() {
                walk.real = next;
                continue;
            }
            links += 1;
            if links > LINKS_AT_MOST {
                return Err(io::Error::from_raw_os_error(libc::ELOOP));
            }
            let target = next.read_link()?;
            if target.is_absolute() {
                walk.real = PathBuf::from("/");
            }
            for name in names(&target).rev() {
                ahead.push_front(name);
            }
            walk.links.push((next, target));
        }
        Ok(walk)
    }
}

fn names(path: &Path) -> impl DoubleEndedIterator<Item = OsString> + '_ {
    path.components().filter_map(|component| match component {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some("..".into()),
        Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
    })
}

impl View {
    /// Shows a path that exists, with all beneath it.
    pub(crate) fn show(&mut self, path: &Path) -> io::Result<()> {
        let walk = Walk::along(path)?;
        self.links.extend(walk.links);
        self.real.insert(walk.real);
        Ok(())
    }

    /// Whether a real path is to be seen already.
    pub(crate) fn covers(&self, real: &Path) -> bool {
        real.ancestors()
            .any(|ancestor| self.real.contains(ancestor))
    }

    /// The real paths, none of them beneath another, parents' neighbours in order.
    pub(crate) fn real(&self) -> impl Iterator<Item = &Path> {
        self.real
            .iter()
            .map(PathBuf::as_path)
            .filter(|path| !self.covered_by_parent(path))
    }

    /// The links, place and target, that no shown directory holds by itself.
    pub(crate) fn links(&self) -> impl Iterator<Item = (&Path, &Path)> {
        self.links
            .iter()
            .map(|(at, target)| (at.as_path(), target.as_path()))
            .filter(|(at, _)| !self.covers(at))
    }

    fn covered_by_parent(&self, path: &Path) -> bool {
        path.parent().is_some_and(|parent| self.covers(parent))
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn links_on_the_way_are_kept_and_the_real_end_is_shown() {
        let root = tempfile::tempdir().unwrap();
        let base = root.path().canonicalize().unwrap();
        fs::create_dir_all(base.join("store/v2/bin")).unwrap();
        symlink("v2", base.join("store/current")).unwrap();
        symlink(base.join("store/current/bin"), base.join("tools")).unwrap();

        let mut view = View::default();
        view.show(&base.join("tools")).unwrap();

        assert_eq!(view.real().collect::<Vec<_>>(), [base.join("store/v2/bin")]);
        let links: Vec<_> = view.links().collect();
        assert_eq!(
            links,
            [
                (base.join("store/current").as_path(), Path::new("v2")),
                (
                    base.join("tools").as_path(),
                    &base.join("store/current/bin")
                )
            ]
        );
    }

    #[test]
    fn what_a_shown_directory_holds_is_not_shown_again() {
        let root = tempfile::tempdir().unwrap();
        let base = root.path().canonicalize().unwrap();
        fs::create_dir_all(base.join("a/b")).unwrap();
        symlink("b", base.join("a/c")).unwrap();

        let mut view = View::default();
        for path in ["a/c", "a", "a/b"] {
            view.show(&base.join(path)).unwrap();
        }

        assert_eq!(view.real().collect::<Vec<_>>(), [base.join("a")]);
        assert_eq!(view.links().count(), 0);
    }

    #[test]
    fn a_circle_of_links_is_an_error() {
        let root = tempfile::tempdir().unwrap();
        symlink("y", root.path().join("x")).unwrap();
        symlink("x", root.path().join("y")).unwrap();
        let error = View::default().show(&root.path().join("x")).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::ELOOP));
    }
}
