//! What was made is run.

use std::path::Path;
use std::process::{Command, Output};

use registry::ENTRYPOINT;

use crate::image::{Base, DOCKER, OCI, Types, layer};
use crate::server::Server;

/// Podman with storage of its own, and with what it needs where no limits may be raised.
fn podman(root: &Path, arguments: &[&str]) -> Output {
    let directory = |name: &str| root.join(name).display().to_string();
    let globals = [
        "--storage-driver",
        "vfs",
        "--runtime",
        "runc",
        "--cgroup-manager",
        "cgroupfs",
    ];
    Command::new("podman")
        .args(["--root", &directory("root"), "--runroot", &directory("run")])
        .args(globals)
        .args(arguments)
        .output()
        .expect("`podman` is Debian's package of that name")
}

fn succeeded(output: &Output) -> String {
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stderr}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Removes what Podman has made, which only Podman can.
struct Storage(tempfile::TempDir);

impl Storage {
    /// Runs a command in the image.
    fn run(&self, image: &str, options: &[&str], command: &[&str]) -> String {
        let common = ["run", "--rm", "--network", "host", "--tls-verify=false"];
        let limits = [
            "--ulimit",
            "nofile=20000:20000",
            "--ulimit",
            "nproc=4096:4096",
        ];
        let all = [&common, &limits[..], options, &[image], command].concat();
        succeeded(&podman(self.0.path(), &all))
    }
}

impl Drop for Storage {
    fn drop(&mut self) {
        let _ = podman(self.0.path(), &["rmi", "--all", "--force"]);
    }
}

/// What the entrypoint says, and what a shell in the image sees.
async fn check_run(types: Types, user: &str, sees: &str) {
    let server = Server::open();
    let busybox =
        std::fs::read("/bin/busybox").expect("Debian's `busybox-static` has `/bin/busybox`");
    let mut base = Base::new(&server.host, "base");
    base.user = user.to_owned();
    let layers = [(types.0[2], layer("bin/sh", &busybox))];
    base.image(types, "1", "amd64", &layers).await;
    let (from, to) = (
        format!("{}/base:1", server.host),
        format!("{}/team/app:1", server.host),
    );
    let added = crate::added(&from, &to).await.0.unwrap();
    let image = added.reference.to_string();
    let storage = Storage(tempfile::tempdir().unwrap());
    let version = storage.run(&image, &[], &["--version"]);
    assert!(version.starts_with("sortie-entrypoint "), "{version}");
    let script = "stat -c %a:%u:%n /usr /usr/local/bin /usr/local/bin/*; pwd; echo $KEPT; id -u; touch x && echo may write";
    let said = storage.run(&image, &["--entrypoint", "/bin/sh"], &["-c", script]);
    let installed = format!("755:0:/usr\n755:0:/usr/local/bin\n755:0:{ENTRYPOINT}\n");
    assert_eq!(
        said,
        format!("{installed}/workspace\nyes\n{sees}\nmay write\n")
    );
}

#[tokio::test]
async fn an_oci_image_runs() {
    check_run(OCI, "", "0").await;
}

#[tokio::test]
async fn a_docker_image_with_a_user_runs() {
    check_run(DOCKER, "1234:1234", "1234").await;
}
