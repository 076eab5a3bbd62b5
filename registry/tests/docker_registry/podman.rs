//! What was made is run.

use std::path::Path;
use std::process::{Command, Output};

use registry::ENTRYPOINT;

use crate::image::{Base, DOCKER, OCI, layer};
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

#[tokio::test]
async fn the_result_runs() {
    let server = Server::open();
    let busybox =
        std::fs::read("/bin/busybox").expect("Debian's `busybox-static` has `/bin/busybox`");
    for (name, types) in [("oci", OCI), ("docker", DOCKER)] {
        let base = Base::new(&server.host, "base");
        let layers = [(types.0[2], layer("bin/sh", &busybox))];
        base.image(types, name, "amd64", &layers).await;
        let from = format!("{}/base:{name}", server.host);
        let to = format!("{}/team/{name}:1", server.host);
        let added = crate::added(&from, &to).await.0.unwrap();
        let image = added.reference.to_string();
        let root = tempfile::tempdir().unwrap();
        let run = |options: &[&str], command: &[&str]| {
            let common = ["run", "--rm", "--network", "host", "--tls-verify=false"];
            let limits = [
                "--ulimit",
                "nofile=20000:20000",
                "--ulimit",
                "nproc=4096:4096",
            ];
            let all = [&common, &limits[..], options, &[image.as_str()], command].concat();
            succeeded(&podman(root.path(), &all))
        };
        let version = run(&[], &["--version"]);
        assert!(version.starts_with("sortie-entrypoint "), "{version}");
        let shell = ["--entrypoint", "/bin/sh"];
        let said = run(
            &shell,
            &[
                "-c",
                "stat -c %a:%u:%n /usr/local/bin /usr/local/bin/*; pwd; echo $KEPT",
            ],
        );
        assert_eq!(
            said,
            format!("755:0:/usr/local/bin\n755:0:{ENTRYPOINT}\n/workspace\nyes\n")
        );
        succeeded(&podman(root.path(), &["rmi", "--all"]));
    }
}
