//! What the entries of `PATH` need besides themselves.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use crate::view::{View, Walk};

/// Entries that hold the system's own programs: thousands of links, none of which leads out of what is shown anyway.
const SYSTEM: [&str; 4] = ["/usr/bin", "/usr/sbin", "/bin", "/sbin"];
/// Where the parts of an installation lie beside its `bin`.
const BESIDE_BIN: [&str; 4] = ["bin", "lib", "lib64", "libexec"];
/// Nothing in these is a tool: they are private inside.
const PRIVATE: [&str; 5] = ["/proc", "/sys", "/dev", "/run", "/.sortie"];

/// Adds to `view` the directories of `path` that it lacks, the installations around them, and what their links lead to.
pub(crate) fn show(view: &mut View, path: &[PathBuf], home: &Path) {
    let mut tools = Tools {
        view,
        home,
        seen: BTreeSet::new(),
    };
    for entry in path.iter().filter(|entry| entry.is_absolute()) {
        tools.directory(entry);
    }
}

struct Tools<'a> {
    view: &'a mut View,
    home: &'a Path,
    seen: BTreeSet<PathBuf>,
}

impl Tools<'_> {
    /// One directory with programs in it. What cannot be read is of no use to the program either, and passed over.
    fn directory(&mut self, path: &Path) {
        let Ok(walk) = Walk::along(path) else { return };
        if SYSTEM.iter().any(|system| walk.real == Path::new(system))
            || !self.seen.insert(walk.real.clone())
        {
            return;
        }
        self.show(path);
        for part in self.installation(&walk.real) {
            self.show(&part);
        }
        for target in links_in(&walk.real) {
            self.program(&target);
        }
    }

    /// The file that a link leads to, link by link.
    fn program(&mut self, path: &Path) {
        let Ok(walk) = Walk::along(path) else { return };
        let Some(directory) = walk.real.parent() else {
            return;
        };
        let covered = self.view.covers(&walk.real);
        self.show(path);
        if !covered && !self.is_private(directory) {
            self.directory(directory);
        }
    }

    /// What has to be shown beside a directory of programs.
    fn installation(&self, directory: &Path) -> Vec<PathBuf> {
        let Some(prefix) = directory.parent() else {
            return Vec::new();
        };
        if self.is_private(prefix) || self.view.covers(prefix) {
            return Vec::new();
        }
        match directory.file_name().and_then(|name| name.to_str()) {
            Some("bin" | "sbin") if prefix.join(".git").exists() => Vec::new(),
            Some("bin" | "sbin") if self.is_dot_directory_of_home(prefix) => {
                BESIDE_BIN.map(|part| prefix.join(part)).into()
            }
            // The shims of pyenv, rbenv and asdf choose among versions that lie beside them.
            Some("bin" | "sbin" | "shims") => vec![prefix.to_owned()],
            _ => Vec::new(),
        }
    }

    fn is_dot_directory_of_home(&self, path: &Path) -> bool {
        let name = path.file_name().map(OsStr::as_encoded_bytes);
        path.parent() == Some(self.home) && name.is_some_and(|name| name.starts_with(b"."))
    }

    /// Directories that must not come along because a tool lies in them.
    fn is_private(&self, directory: &Path) -> bool {
        self.home.starts_with(directory)
            || directory == Path::new("/tmp")
            || PRIVATE.iter().any(|private| directory.starts_with(private))
    }

    fn show(&mut self, path: &Path) {
        let real = Walk::along(path).map(|walk| walk.real);
        if real.is_ok_and(|real| real.is_file() || !self.is_private(&real)) {
            // It was there a moment ago; if it is no longer, there is nothing to show.
            let _ = self.view.show(path);
        }
    }
}

fn links_in(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory)
        .into_iter()
        .flatten()
        .filter_map(Result::ok);
    let links = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_symlink()));
    links
        .map(|entry| entry.path())
        .filter(|path| path.is_file())
        .collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    struct Home {
        _root: tempfile::TempDir,
        path: PathBuf,
    }

    impl Home {
        fn new(files: &[&str], links: &[(&str, &str)]) -> Self {
            let root = tempfile::tempdir().unwrap();
            let path = root.path().canonicalize().unwrap().join("me");
            for file in files {
                let file = path.join(file);
                fs::create_dir_all(file.parent().unwrap()).unwrap();
                fs::write(file, "").unwrap();
            }
            for (at, target) in links {
                fs::create_dir_all(path.join(at).parent().unwrap()).unwrap();
                symlink(path.join(target), path.join(at)).unwrap();
            }
            Self { _root: root, path }
        }

        /// What is shown of the home, for a `PATH` of these directories.
        fn shown(&self, entries: &[&str]) -> Vec<String> {
            let mut view = View::default();
            let path: Vec<_> = entries.iter().map(|entry| self.path.join(entry)).collect();
            show(&mut view, &path, &self.path);
            view.real()
                .map(|real| {
                    real.strip_prefix(&self.path)
                        .unwrap()
                        .to_str()
                        .unwrap()
                        .to_owned()
                })
                .collect()
        }
    }

    #[test]
    fn a_venv_comes_with_its_interpreter() {
        let files = [
            "project/venv/pyvenv.cfg",
            "project/secret",
            ".pyenv/versions/3.11/bin/python3",
            ".pyenv/versions/3.11/lib/os.py",
        ];
        let home = Home::new(
            &files,
            &[(
                "project/venv/bin/python",
                ".pyenv/versions/3.11/bin/python3",
            )],
        );
        assert_eq!(
            home.shown(&["project/venv/bin"]),
            [".pyenv/versions/3.11", "project/venv"]
        );
    }

    #[test]
    fn credentials_beside_a_bin_stay_hidden() {
        let home = Home::new(
            &[
                ".cargo/bin/rg",
                ".cargo/credentials.toml",
                ".local/bin/x",
                ".local/share/keyrings/k",
                ".local/lib/y",
            ],
            &[],
        );
        assert_eq!(
            home.shown(&[".cargo/bin", ".local/bin"]),
            [".cargo/bin", ".local/bin", ".local/lib"]
        );
    }

    #[test]
    fn a_link_leads_to_its_program_and_no_further() {
        let home = Home::new(
            &[
                ".local/share/claude/versions/2.1",
                ".local/share/keyrings/k",
            ],
            &[(".local/bin/claude", ".local/share/claude/versions/2.1")],
        );
        assert_eq!(
            home.shown(&[".local/bin"]),
            [".local/bin", ".local/share/claude/versions"]
        );
    }

    #[test]
    fn the_home_itself_never_comes_along() {
        let home = Home::new(&["bin/x", "secret", "script.sh"], &[("bin/s", "script.sh")]);
        assert_eq!(home.shown(&["bin", "", "missing"]), ["bin", "script.sh"]);
    }

    #[test]
    fn a_working_tree_is_no_installation_and_shims_bring_their_versions() {
        let home = Home::new(
            &[
                "repo/bin/x",
                "repo/.git/HEAD",
                ".rbenv/shims/ruby",
                ".rbenv/versions/3/bin/ruby",
            ],
            &[],
        );
        assert_eq!(
            home.shown(&["repo/bin", ".rbenv/shims"]),
            [".rbenv", "repo/bin"]
        );
    }
}
