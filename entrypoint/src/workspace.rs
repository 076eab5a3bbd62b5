//! The directory the command works in: `input/` to read, `output/` to fill.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::io;
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};

use wire::contract::{Input, InputKind, PreparedFile};

use crate::beneath;
use crate::user::User;

/// The workspace, with what the image had in `input/` before us.
#[derive(Debug)]
pub(crate) struct Workspace {
    root: PathBuf,
    before: BTreeSet<OsString>,
}

/// Inputs that did not become what the spec says.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LayoutError {
    /// A pack made an entry beside its input.
    #[error("the packs hold `{0}`, which is no input of this task")]
    Stray(String),
    /// The packs did not make it, or made something else.
    #[error("the packs of input `{name}` do not make a {kind}")]
    Kind {
        /// Which input.
        name: String,
        /// What it should be.
        kind: &'static str,
    },
    /// The directory cannot be looked at.
    #[error("cannot look at the inputs")]
    Read(#[source] io::Error),
}

impl Workspace {
    /// Makes what is missing, for the command's user to write in.
    pub(crate) fn create(root: &Path, user: Option<&User>) -> io::Result<Self> {
        let workspace = Self {
            root: root.to_owned(),
            before: BTreeSet::new(),
        };
        for directory in [root.to_owned(), workspace.input(), workspace.output()] {
            fs_err::create_dir_all(&directory)?;
            give(&directory, user)?;
        }
        let before = names(&workspace.input())?;
        Ok(Self {
            before,
            ..workspace
        })
    }

    /// Writes what the command is to find, beside its inputs.
    pub(crate) fn prepare(&self, files: &[PreparedFile], user: Option<&User>) -> io::Result<()> {
        files.iter().try_for_each(|file| {
            beneath::create(&self.root, file.path.as_os_str(), &file.content.0, user)
                .map_err(|error| failing("write", Path::new(file.path.as_os_str()), &error))
        })
    }

    /// Takes away whatever the command left where further inputs are to appear.
    pub(crate) fn make_room(&mut self, inputs: &[Input], user: Option<&User>) -> io::Result<()> {
        let directory = self.input();
        if !fs_err::symlink_metadata(&directory).is_ok_and(|found| found.is_dir()) {
            remove(&directory)?;
            fs_err::create_dir(&directory)?;
            give(&directory, user)?;
        }
        for input in inputs {
            remove(&directory.join(input.name.as_os_str()))?;
        }
        self.before = names(&directory)?;
        Ok(())
    }

    /// The command's working directory.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// Where inputs appear.
    pub(crate) fn input(&self) -> PathBuf {
        self.root.join("input")
    }

    /// What comes back.
    pub(crate) fn output(&self) -> PathBuf {
        self.root.join("output")
    }

    /// Whether `input/` holds what the spec says, and nothing else that was not there before.
    pub(crate) fn check(&self, inputs: &[Input]) -> Result<(), LayoutError> {
        let wanted: BTreeSet<_> = inputs
            .iter()
            .map(|input| input.name.as_os_str().to_owned())
            .collect();
        let found = names(&self.input()).map_err(LayoutError::Read)?;
        if let Some(stray) = found
            .iter()
            .find(|n| !wanted.contains(*n) && !self.before.contains(*n))
        {
            return Err(LayoutError::Stray(stray.to_string_lossy().into_owned()));
        }
        inputs.iter().try_for_each(|input| self.check_kind(input))
    }

    fn check_kind(&self, input: &Input) -> Result<(), LayoutError> {
        let found = fs_err::symlink_metadata(self.input().join(input.name.as_os_str()));
        let is_directory = found.as_ref().is_ok_and(std::fs::Metadata::is_dir);
        let kind = match input.kind {
            InputKind::Directory if is_directory => return Ok(()),
            InputKind::File if found.is_ok() && !is_directory => return Ok(()),
            InputKind::Directory => "directory",
            InputKind::File => "file",
        };
        Err(LayoutError::Kind {
            name: input.name.lossy(),
            kind,
        })
    }
}

fn names(directory: &Path) -> io::Result<BTreeSet<OsString>> {
    fs_err::read_dir(directory)?
        .map(|entry| Ok(entry?.file_name()))
        .collect()
}

fn give(directory: &Path, user: Option<&User>) -> io::Result<()> {
    match user {
        Some(user) => chown(directory, Some(user.uid), Some(user.gid))
            .map_err(|error| failing("give to the user", directory, &error)),
        None => Ok(()),
    }
}

/// Whatever it is; a link goes, and not what it leads to.
fn remove(path: &Path) -> io::Result<()> {
    match fs_err::symlink_metadata(path) {
        Ok(found) if found.is_dir() => fs_err::remove_dir_all(path),
        Ok(_) => fs_err::remove_file(path),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

fn failing(verb: &str, path: &Path, error: &io::Error) -> io::Error {
    let path = path.display();
    io::Error::new(error.kind(), format!("cannot {verb} `{path}`: {error}"))
}
