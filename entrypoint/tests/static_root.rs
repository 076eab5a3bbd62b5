//! The static binary where there is nothing else: no shell, no C library, no certificates, no `/proc`.
//!
//! `make` builds the binary and names it in `SORTIE_STATIC_ENTRYPOINT`. It has to be built with
//! `--cfg getrandom_backend="linux_getrandom"`: a static binary cannot look the system call's wrapper up, and would
//! fall back on a `/dev/urandom` that is not there.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "task/site.rs"]
mod site;

use std::path::PathBuf;
use std::process::Command;

use wire::contract::{Document, Outcome, Report, Spec};

use crate::site::{BUCKET, Site};

#[expect(clippy::disallowed_methods, reason = "the settings of this test")]
fn binary() -> PathBuf {
    let name = "SORTIE_STATIC_ENTRYPOINT";
    let path =
        std::env::var_os(name).unwrap_or_else(|| panic!("`{name}` does not name the binary"));
    let path = PathBuf::from(path);
    assert!(
        path.is_file(),
        "`{name}` is `{}`, which is no file",
        path.display()
    );
    path
}

#[test]
fn a_task_runs_in_an_empty_root() {
    let binary = binary();
    let site = Site::start();
    let root = tempfile::tempdir().unwrap();
    let inside = |path: &str| root.path().join(path);
    std::fs::copy(binary, inside("sortie-entrypoint")).unwrap();
    for directory in ["etc", "workspace"] {
        std::fs::create_dir(inside(directory)).unwrap();
    }
    std::fs::write(inside("etc/resolv.conf"), "nameserver 127.0.0.1\n").unwrap();
    std::fs::write(inside("etc/hosts"), "127.0.0.1 localhost\n").unwrap();
    // The trap of static glibc: a module that is no part of it.
    std::fs::write(inside("etc/nsswitch.conf"), "hosts: files myhostname dns\n").unwrap();
    let data = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(data.path(), "data").unwrap();
    let argv = ["/sortie-entrypoint", "--version"].map(Into::into).to_vec();
    let mut spec = Spec::new(wire::contract::Command::Argv(argv));
    spec.inputs.push(site.input("data", data.path()));
    let run = site.run(spec);
    // By name, so that the resolver is asked.
    let port = site.storage.rsplit(':').next().unwrap();
    let output = Command::new("unshare")
        .args(["--user", "--map-root-user", "--mount", "--root"])
        .arg(root.path())
        .arg("/sortie-entrypoint")
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .env("SORTIE_RUN", format!("gs://{BUCKET}/{}", run.start(0)))
        .env("STORAGE_EMULATOR_HOST", format!("localhost:{port}"))
        .env("GCE_METADATA_HOST", &site.metadata)
        .output()
        .unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{stderr}");
    let reports = site.list(&run.reports());
    let report = Report::from_json(&site.get(&reports[0])).unwrap();
    assert_eq!((report.outcome, report.code), (Outcome::Exited, Some(0)));
    let said = format!("sortie-entrypoint {}\n", env!("CARGO_PKG_VERSION"));
    assert_eq!(report.stdout.inline, Some(said.as_str().into()));
    assert_eq!(
        std::fs::read(inside("workspace/input/data")).unwrap(),
        b"data"
    );
}
