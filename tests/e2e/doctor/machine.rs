//! What is looked at without any cloud.

use super::findings;
use crate::harness::Machine;

#[test]
fn on_this_machine_there_is_no_cloud_to_look_at() {
    let machine = Machine::new();
    let done = machine.sortie(["doctor"]).enter().code(0);
    let text = String::from_utf8(done.stdout).unwrap();
    assert!(
        text.contains("local mode (no `sortie.toml` here or above)"),
        "{text}"
    );
    assert!(text.contains("none serves; local mode starts it"), "{text}");
    assert!(!text.contains("bucket"), "{text}");
    assert_eq!(
        std::fs::read_dir(machine.data()).unwrap().count(),
        0,
        "nothing is left"
    );
    machine.sortie(["run", "--", "true"]).enter().code(0);
    let all = findings(
        &machine
            .sortie(["doctor", "--json", "--local"])
            .enter()
            .code(0),
    );
    assert!(
        all["emulator"]
            .1
            .starts_with("serves at `http://127.0.0.1:")
    );
}

#[test]
fn what_is_wrong_with_this_machine_is_told() {
    let machine = Machine::of_nobody();
    machine.write("sortie.toml", "bucket = 'b'\nbukket = 'b'\n");
    let typed = machine.sortie(["doctor", "--json"]);
    let all = findings(&typed.env("SORTIE_DATA_DIR", "/proc/sortie").enter().code(1));
    assert_eq!(all["settings"].0, "failure");
    assert!(all["settings"].1.contains("bukket"), "{all:?}");
    assert_eq!(all["data directory"].0, "failure");
    assert!(all["data directory"].2.contains("export SORTIE_DATA_DIR"));
    machine.sortie(["doctor", "--nonsense"]).enter().code(125);
}

#[test]
fn a_container_tool_that_does_not_answer_is_told() {
    use std::os::unix::fs::PermissionsExt;
    let machine = Machine::new();
    let found = |script: &str| {
        let tool = machine.write("bin/docker", format!("#!/bin/sh\n{script}\n"));
        std::fs::set_permissions(&tool, std::fs::Permissions::from_mode(0o755)).unwrap();
        let typed = machine.sortie(["doctor", "--json", "--local"]);
        let done = typed.env("PATH", tool.parent().unwrap()).enter().code(0);
        findings(&done)["containers"].clone()
    };
    assert_eq!(found("exit 0").0, "ok");
    // A daemon that is away, and one that hangs.
    for script in ["exit 1", "exec /bin/sleep 60"] {
        let (status, says, hint) = found(script);
        assert_eq!(status, "warning", "{says}");
        assert!(says.contains("docker` does not answer"), "{says}");
        assert!(hint.ends_with("docker version` says why"), "{hint}");
    }
}
