//! What can be seen, and what can be changed.

use std::fs;
use std::os::unix::fs::MetadataExt as _;

use crate::enclosure::Enclosure;

#[test]
fn the_workspace_is_the_working_directory_and_what_is_written_there_stays() {
    let enclosure = Enclosure::new();
    assert_eq!(
        enclosure.printed("pwd; echo hi > out; mkdir deep; echo there > /tmp/x; cat /var/tmp/x"),
        "/workspace\nthere"
    );
    assert_eq!(
        fs::read_to_string(enclosure.path("workspace/out")).unwrap(),
        "hi\n"
    );
    assert_eq!(
        fs::read_to_string(enclosure.path("tmp/x")).unwrap(),
        "there\n"
    );
    let mode = fs::metadata(enclosure.path("workspace/deep")).unwrap();
    assert_eq!(
        (mode.mode() & 0o777, mode.uid()),
        (0o755, nix::unistd::geteuid().as_raw())
    );
}

#[test]
fn the_hosts_files_are_hidden() {
    let enclosure = Enclosure::new();
    let secret = enclosure.path("secret");
    fs::write(&secret, "x").unwrap();
    fs::write(enclosure.path("home/key"), "x").unwrap();
    let script = format!(
        "ls -A / /tmp /home /home/sortie; test ! -e {} && test ! -e {}",
        secret.display(),
        enclosure.path("home/key").display()
    );
    let seen = enclosure.printed(&script);
    let root: Vec<&str> = seen
        .lines()
        .take_while(|line| !line.is_empty())
        .skip(1)
        .collect();
    let expected = [
        ".sortie",
        "dev",
        "etc",
        "home",
        "proc",
        "run",
        "sys",
        "tmp",
        "usr",
        "var",
        "workspace",
    ];
    for name in expected {
        assert!(root.contains(&name), "{name} is not in {root:?}");
    }
    for name in ["root", "mnt", "srv", "old", "new", "boot"] {
        assert!(!root.contains(&name), "{name} is in {root:?}");
    }
    assert!(
        seen.ends_with("/home:\nsortie\n\n/home/sortie:\n\n/tmp:"),
        "{seen}"
    );
}

#[test]
fn the_system_is_read_only_and_stays_so() {
    for enclosure in [Enclosure::new(), Enclosure::new().unprivileged()] {
        let script = "
            for place in /usr /etc /opt /bin / /proc/sys/kernel /.sortie /sys/fs/cgroup; do
                mount -o remount,rw,bind $place 2>/dev/null && echo remounted $place
                touch $place/sortie-was-here 2>/dev/null && echo wrote $place
                unshare -Urm sh -c 'mount -o remount,rw,bind '$place' && touch '$place'/sortie-was-here && echo nested '$place 2>/dev/null
                umount -l $place 2>/dev/null && echo unmounted $place
            done
            for file in /etc/passwd /etc/resolv.conf /.sortie/program /proc/sys/kernel/hostname /proc/sysrq-trigger; do
                test ! -w $file || echo writable $file
            done
            true";
        assert_eq!(enclosure.printed(script), "");
    }
}

#[test]
fn no_capability_is_left_and_none_can_be_had() {
    let status = Enclosure::new().printed("grep -E '^(Cap|NoNewPrivs)' /proc/self/status");
    let none = "0000000000000000";
    for name in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
        assert!(status.contains(&format!("{name}:\t{none}")), "{status}");
    }
    assert!(status.contains("NoNewPrivs:\t1"), "{status}");
}

#[test]
fn the_user_is_number_1000_and_has_a_name() {
    for enclosure in [Enclosure::new(), Enclosure::new().unprivileged()] {
        let enclosure = enclosure.env("HOME", sandbox::HOME);
        assert_eq!(
            enclosure.printed("id -u; id -g; id -un; hostname"),
            "1000\n1000\nsortie\nsortie"
        );
        assert_eq!(
            enclosure.printed("touch ~/x && stat -c %u ~/x /workspace /tmp"),
            "1000\n1000\n1000"
        );
    }
}

#[test]
fn the_environment_is_the_given_one_and_nothing_else() {
    let enclosure = Enclosure::new()
        .env("A", "1")
        .env("B", "two words\nand a line");
    let output = enclosure
        .command(&["/usr/bin/env", "-0"])
        .env("SECRET", "x")
        .output()
        .unwrap();
    let mut variables: Vec<&[u8]> = output
        .stdout
        .split(|byte| *byte == 0)
        .filter(|variable| !variable.is_empty())
        .collect();
    variables.sort_unstable();
    assert_eq!(variables, [&b"A=1"[..], b"B=two words\nand a line"]);
}

#[test]
fn descriptors_of_the_caller_do_not_leak() {
    let enclosure = Enclosure::new();
    let output = enclosure.piped("ls /proc/self/fd | tr '\\n' ' '");
    assert_eq!(String::from_utf8(output.stdout).unwrap(), "0 1 2 3 ");
    let leaky = format!(
        "exec 9</etc/passwd; exec {} /bin/sh -c 'test ! -e /proc/self/fd/9'",
        env!("CARGO_BIN_EXE_enclose")
    );
    let status = enclosure
        .command(&[])
        .get_envs()
        .fold(
            &mut std::process::Command::new("/bin/sh"),
            |shell, (name, value)| shell.env(name, value.unwrap()),
        )
        .args(["-c", &leaky])
        .status()
        .unwrap();
    assert!(status.success());
}

#[test]
fn devices_work() {
    let script = "
        echo gone > /dev/null && head -c 4 /dev/zero | od -An -tx1 && head -c 8 /dev/urandom | wc -c
        echo x > /dev/full 2>/dev/null || echo full
        echo shared > /dev/shm/x && cat /dev/shm/x && echo out > /dev/stdout && echo in | cat /dev/stdin";
    assert_eq!(
        Enclosure::new().printed(script),
        " 00 00 00 00\n8\nfull\nshared\nout\nin"
    );
}

#[test]
fn names_still_resolve_as_on_the_host() {
    let host = fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
    assert_eq!(
        Enclosure::new().printed("cat /etc/resolv.conf 2>/dev/null || true"),
        host.trim_end()
    );
}

#[test]
fn the_program_stands_at_its_place() {
    let enclosure = Enclosure::new();
    let output = enclosure
        .command(&[sandbox::PROGRAM, "x"])
        .output()
        .unwrap();
    // It wants settings that are not there: so it was started, and it is the one.
    assert_eq!(output.status.code(), Some(99));
    let seen = enclosure.printed("stat -c %s /.sortie/program");
    assert_eq!(
        seen,
        fs::metadata(env!("CARGO_BIN_EXE_enclose"))
            .unwrap()
            .len()
            .to_string()
    );
}
