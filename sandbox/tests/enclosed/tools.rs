//! Tools and mounts of the caller's that lie elsewhere.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use crate::enclosure::Enclosure;

#[test]
fn a_tool_from_the_home_runs_and_its_neighbours_are_hidden() {
    let enclosure = Enclosure::new();
    let real = enclosure.program(
        "home/.versions/3/bin/interpreter",
        "cat \"$(dirname \"$0\")/../lib/text\"",
    );
    fs::create_dir_all(enclosure.path("home/.versions/3/lib")).unwrap();
    fs::write(
        enclosure.path("home/.versions/3/lib/text"),
        "from the library",
    )
    .unwrap();
    let venv = enclosure.path("home/project/venv/bin");
    fs::create_dir_all(&venv).unwrap();
    fs::write(enclosure.path("home/project/secret"), "x").unwrap();
    symlink("3", enclosure.path("home/.versions/current")).unwrap();
    symlink(
        enclosure.path("home/.versions/current/bin/interpreter"),
        venv.join("tool"),
    )
    .unwrap();

    let enclosure = enclosure.set("PATH", &venv);
    assert_eq!(
        enclosure.printed(&format!("sh -c {}", real.display())),
        "from the library"
    );
    assert_eq!(
        enclosure.printed(&format!(
            "PATH={}:/bin:/usr/bin; tool >/dev/null; ls {}",
            venv.display(),
            venv.join("../..").display()
        )),
        "venv"
    );
    let touched = enclosure.shell(&format!("touch {}/x", venv.display()));
    assert!(!touched.status.success() && !venv.join("x").exists());
}

#[test]
fn a_mount_is_seen_read_only_at_its_place() {
    for enclosure in [Enclosure::new(), Enclosure::new().unprivileged()] {
        let data = enclosure.path("data");
        fs::create_dir(&data).unwrap();
        fs::write(data.join("file"), "content").unwrap();
        let enclosure = enclosure.set("MOUNTS", &data);
        assert_eq!(
            enclosure.printed(&format!("cat {}/file", data.display())),
            "content"
        );
        assert!(
            !enclosure
                .shell(&format!("echo x > {}/file", data.display()))
                .status
                .success()
        );
        assert_eq!(fs::read_to_string(data.join("file")).unwrap(), "content");
    }
}

#[test]
fn a_single_file_can_be_mounted() {
    let enclosure = Enclosure::new();
    let file = enclosure.path("one file");
    fs::write(&file, "content").unwrap();
    let enclosure = enclosure.set("MOUNTS", &file);
    assert_eq!(
        enclosure.printed(&format!("cat '{}'", file.display())),
        "content"
    );
}

#[test]
fn a_missing_mount_is_named() {
    let output = Enclosure::new()
        .set("MOUNTS", Path::new("/no/such/place"))
        .shell("true");
    let errors = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(99));
    assert!(errors.contains("`/no/such/place`"), "{errors}");
}
