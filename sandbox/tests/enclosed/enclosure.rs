//! A sandbox with directories of its own, for shell commands.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// Some user who is not root and owns nothing.
const STRANGER: u32 = 54321;

pub(crate) struct Enclosure {
    pub(crate) root: tempfile::TempDir,
    settings: Vec<(String, String)>,
}

impl Enclosure {
    pub(crate) fn new() -> Self {
        if let Err(refused) = sandbox::check() {
            panic!(
                "this machine cannot run these tests: {refused}; {}",
                refused.hint()
            );
        }
        let root = tempfile::tempdir().unwrap();
        for name in ["workspace", "tmp", "home"] {
            fs::create_dir(root.path().join(name)).unwrap();
        }
        let mut enclosure = Self {
            root,
            settings: Vec::new(),
        };
        for name in ["workspace", "tmp", "home"] {
            let path = enclosure.path(name);
            enclosure = enclosure.set(&name.to_uppercase(), &path);
        }
        enclosure
    }

    /// A path beneath this enclosure's directory on the host, as it really is.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.root.path().canonicalize().unwrap().join(name)
    }

    pub(crate) fn set(mut self, name: &str, value: &Path) -> Self {
        self.settings.push((
            format!("ENCLOSE_{name}"),
            value.to_str().unwrap().to_owned(),
        ));
        self
    }

    pub(crate) fn env(mut self, name: &str, value: &str) -> Self {
        self.settings.push((format!("IN_{name}"), value.to_owned()));
        self
    }

    /// Everything from here on is done by a user without rights, if these tests have any.
    pub(crate) fn unprivileged(self) -> Self {
        if !nix::unistd::geteuid().is_root() {
            return self;
        }
        for path in ["", "workspace", "tmp", "home"] {
            chown(self.path(path), Some(STRANGER), Some(STRANGER)).unwrap();
        }
        // The program lies where root built it, which is no place that a stranger can walk to.
        let program = self.path("enclose");
        fs::copy(env!("CARGO_BIN_EXE_enclose"), &program).unwrap();
        self.set("UID", Path::new(&STRANGER.to_string()))
    }

    pub(crate) fn command(&self, argv: &[&str]) -> Command {
        let copy = self.path("enclose");
        let program = if copy.exists() {
            copy
        } else {
            PathBuf::from(env!("CARGO_BIN_EXE_enclose"))
        };
        let mut command = Command::new(program);
        command
            .args(argv)
            .env_clear()
            .envs(self.settings.iter().cloned());
        command
    }

    /// Runs `/bin/sh -c script` to its end.
    pub(crate) fn shell(&self, script: &str) -> Output {
        self.command(&["/bin/sh", "-c", script]).output().unwrap()
    }

    /// What a script that must succeed prints, without the newline at its end.
    pub(crate) fn printed(&self, script: &str) -> String {
        let output = self.shell(script);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(
            output.status.success(),
            "{script}: {:?}: {errors}",
            output.status
        );
        String::from_utf8(output.stdout)
            .unwrap()
            .trim_end()
            .to_owned()
    }

    /// Runs a script that comes through stdin, for what must not stand in an argument.
    pub(crate) fn piped(&self, script: &str) -> Output {
        let mut child = self
            .command(&["/bin/sh"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        child
            .stdin
            .take()
            .unwrap()
            .write_all(script.as_bytes())
            .unwrap();
        child.wait_with_output().unwrap()
    }

    /// An executable script on the host.
    pub(crate) fn program(&self, name: &str, script: &str) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        path
    }
}
