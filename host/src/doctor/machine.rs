//! What this machine has: room, namespaces, containers, an emulator.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;

use super::Finding;
use crate::local::{self, Standing};
use crate::settings::{Environment, tool_path};
use crate::text::size;

/// Less room than this is too little for most inputs.
const LITTLE: u64 = 1_000_000_000;

/// Less room than this is none.
const NONE: u64 = 50_000_000;

/// A server of this machine's answers at once, or is stuck.
const PATIENCE: Duration = Duration::from_secs(5);

pub(super) async fn examine(data_dir: &Path, env: &Environment) -> Vec<Finding> {
    // Before anything else: it forks.
    let sandbox = sandbox();
    vec![
        writable(data_dir),
        room(data_dir),
        sandbox,
        containers(env).await,
        emulator(data_dir),
    ]
}

/// Where there is nothing yet, what will hold it decides.
fn nearest(data_dir: &Path) -> &Path {
    let mut above = data_dir.ancestors();
    above
        .find(|path| path.is_dir())
        .unwrap_or_else(|| Path::new("/"))
}

fn writable(data_dir: &Path) -> Finding {
    const CHECK: &str = "data directory";
    let place = nearest(data_dir);
    let tried = tempfile::Builder::new()
        .prefix(".sortie-doctor-")
        .tempfile_in(place);
    match tried {
        Ok(_) if place == data_dir => Finding::ok(CHECK, format!("`{}`", data_dir.display())),
        Ok(_) => Finding::ok(CHECK, format!("`{}`, made when needed", data_dir.display())),
        Err(error) => Finding::failure(
            CHECK,
            format!("`{}` cannot be written: {error}", place.display()),
        )
        .with_hint("name another: `export SORTIE_DATA_DIR=…`"),
    }
}

fn room(data_dir: &Path) -> Finding {
    const CHECK: &str = "disk";
    let place = nearest(data_dir);
    let free = match rustix::fs::statvfs(place) {
        Ok(disk) => disk.f_bavail.saturating_mul(disk.f_frsize),
        Err(error) => {
            return Finding::unknown(CHECK, format!("cannot ask for the room: {error}"));
        }
    };
    roomy(free, place)
}

fn roomy(free: u64, place: &Path) -> Finding {
    const CHECK: &str = "disk";
    let says = format!("{} free at `{}`", size(free), place.display());
    let hint =
        "make room: `sortie gc` removes old runs; or name another disk: `export SORTIE_DATA_DIR=…`";
    match free {
        0..NONE => Finding::failure(CHECK, says).with_hint(hint),
        NONE..LITTLE => Finding::warning(CHECK, says).with_hint(hint),
        _ => Finding::ok(CHECK, says),
    }
}

fn sandbox() -> Finding {
    isolation(sandbox::check())
}

fn isolation(tried: Result<(), sandbox::Refused>) -> Finding {
    match tried {
        Ok(()) => Finding::ok(
            "sandbox",
            "tasks on this machine are isolated by namespaces",
        ),
        Err(refused) => {
            let says = format!(
                "tasks on this machine are not isolated: {}",
                crate::error::chain(&refused)
            );
            Finding::warning("sandbox", says).with_hint(refused.hint())
        }
    }
}

async fn containers(env: &Environment) -> Finding {
    const CHECK: &str = "containers";
    let path = tool_path(env);
    let find = |name: &str| {
        std::env::split_paths(&path)
            .map(|dir| dir.join(name))
            .find(|file| file.is_file())
    };
    let found = find("docker").or_else(|| find("podman"));
    let Some(tool) = found else {
        let says = "neither docker nor podman is here; only `--image` on this machine takes one";
        return Finding::unknown(CHECK, says);
    };
    let asked = Command::new(&tool)
        .arg("version")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .status();
    let asked = tokio::time::timeout(PATIENCE, asked).await;
    let tool = tool.display();
    match asked {
        Ok(Ok(status)) if status.success() => Finding::ok(CHECK, format!("`{tool}`")),
        _ => Finding::warning(
            CHECK,
            format!("`{tool}` does not answer; only `--image` on this machine takes it"),
        )
        .with_hint(format!("`{tool} version` says why")),
    }
}

fn emulator(data_dir: &Path) -> Finding {
    const CHECK: &str = "emulator";
    match local::standing(data_dir) {
        Ok(Standing::Serves { endpoint, pid }) => {
            Finding::ok(CHECK, format!("serves at `{endpoint}`, process {pid}"))
        }
        Ok(Standing::Absent) => Finding::ok(CHECK, "none serves; local mode starts it"),
        Ok(Standing::Silent) => {
            Finding::warning(CHECK, "one holds the data directory and does not answer").with_hint(
                format!("`{}` may say why", data_dir.join("emulator.log").display()),
            )
        }
        Err(error) => Finding::of_error(CHECK, &error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Status;

    #[test]
    fn little_room_is_told_and_none_is_a_failure() {
        let found = |free| roomy(free, Path::new("/data"));
        for (free, status) in [
            (LITTLE, Status::Ok),
            (LITTLE - 1, Status::Warning),
            (NONE, Status::Warning),
            (NONE - 1, Status::Failure),
            (0, Status::Failure),
        ] {
            assert_eq!(found(free).status, status, "{free}");
        }
        let little = found(600_000_000);
        assert!(little.says.ends_with("free at `/data`"), "{}", little.says);
        assert!(little.hint.unwrap().contains("`sortie gc`"));
    }

    #[test]
    fn a_kernel_that_refuses_namespaces_is_told_with_its_reason() {
        assert_eq!(isolation(Ok(())).status, Status::Ok);
        let refused = sandbox::Refused::Missing(std::io::Error::from_raw_os_error(38));
        let hint = refused.hint();
        let finding = isolation(Err(refused));
        assert_eq!(finding.status, Status::Warning);
        assert!(
            finding
                .says
                .starts_with("tasks on this machine are not isolated: ")
                && finding.says.contains("not implemented"),
            "{}",
            finding.says
        );
        assert_eq!(finding.hint, Some(hint));
    }
}
