//! The others' ways: what they need, and how they do it.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::site::{BUCKET, OWNER};

/// Programs that this machine has.
pub(crate) struct Peers {
    /// The interpreter itself: what stands in front of it on some machines takes longer than it does.
    pub(crate) python: Option<PathBuf>,
    missing: Vec<&'static str>,
}

impl Peers {
    /// Looks for them, and says what is missing.
    pub(crate) fn find() -> Self {
        let needed = ["tar", "gzip", "curl", "pigz", "gcloud", "python3"];
        let missing: Vec<_> = needed.into_iter().filter(|name| !is_there(name)).collect();
        for name in &missing {
            println!("missing here: {name}; its rows are left out");
        }
        let executable = Command::new("python3")
            .args(["-c", "import sys; print(sys.executable)"])
            .output();
        let python = executable.ok().filter(|output| output.status.success());
        Self {
            python: python.map(|output| String::from_utf8_lossy(&output.stdout).trim().into()),
            missing,
        }
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        !self.missing.contains(&name)
    }

    /// One of the Python scripts that lie here.
    pub(crate) fn python(&self, script: &str) -> Option<Command> {
        let mut command = Command::new(self.python.as_ref()?);
        command.arg(here(script));
        Some(command)
    }
}

fn is_there(name: &str) -> bool {
    let version = Command::new(name)
        .arg("--version")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    version.is_ok_and(|status| status.success())
}

/// One of the shell scripts that lie here.
pub(crate) fn shell(script: &str) -> Command {
    let mut command = Command::new("/bin/sh");
    command.arg(here(script));
    command
}

fn here(script: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../tests/bench/peers")
        .join(script)
}

/// Shell text.
pub(crate) fn text(text: &str, arguments: &[&Path]) -> Command {
    let mut command = Command::new("/bin/sh");
    command.arg("-c").arg(text).arg("sh").args(arguments);
    command
}

/// Points Google's command line at the emulator, with nobody's configuration.
pub(crate) fn point_gcloud(command: &mut Command, storage: &str, home: &Path) {
    command
        .env("CLOUDSDK_CONFIG", home)
        .env(
            "CLOUDSDK_API_ENDPOINT_OVERRIDES_STORAGE",
            format!("http://{storage}/"),
        )
        .env("CLOUDSDK_AUTH_ACCESS_TOKEN", OWNER)
        .env("CLOUDSDK_CORE_PROJECT", "a-project")
        .env("CLOUDSDK_CORE_DISABLE_PROMPTS", "1")
        .env("CLOUDSDK_CORE_DISABLE_USAGE_REPORTING", "1")
        .env("CLOUDSDK_COMPONENT_MANAGER_DISABLE_UPDATE_CHECK", "1");
}

/// Where an object can be read.
pub(crate) fn url(storage: &str, object: &str) -> String {
    let object = object.replace('/', "%2F");
    format!("http://{storage}/storage/v1/b/{BUCKET}/o/{object}?alt=media")
}

/// Where an object can be written.
pub(crate) fn upload_url(storage: &str, object: &str) -> String {
    let object = object.replace('/', "%2F");
    format!("http://{storage}/upload/storage/v1/b/{BUCKET}/o?uploadType=media&name={object}")
}
