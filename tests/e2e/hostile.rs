//! Outputs made to do harm, of one task among honest ones: nothing leaves the results' directory, what is refused is
//! named and counted, and the rest comes home.

use std::fs;
use std::io::Write;

use archive::PackWriter;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use tar::{EntryType, Header};
use wire::contract::{Archive, Outputs};

use crate::harness::{Machine, SORTIE};
use crate::platform::{Platform, begin, write_report_of};

/// A tar that no honest writer makes.
#[derive(Default)]
struct Tar(Vec<u8>);

impl Tar {
    fn entry(mut self, name: &str, kind: EntryType, link: &str, data: &[u8]) -> Self {
        let mut header = Header::new_gnu();
        header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
        header.as_old_mut().linkname[..link.len()].copy_from_slice(link.as_bytes());
        header.set_entry_type(kind);
        header.set_mode(0o6755);
        header.set_mtime(0);
        header.set_size(data.len() as u64);
        header.set_cksum();
        self.0.extend_from_slice(header.as_bytes());
        self.0.extend_from_slice(data);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
        self
    }

    fn file(self, name: &str, data: &str) -> Self {
        self.entry(name, EntryType::Regular, "", data.as_bytes())
    }

    fn long(self, name: &str) -> Self {
        self.entry("././@LongLink", EntryType::GNULongName, "", name.as_bytes())
            .file("short", "")
    }

    /// In a report that says so many bytes of files.
    fn in_report(mut self, bytes: u64) -> Outputs {
        self.0.resize(self.0.len() + 1024, 0);
        packed(&self.0, bytes, usize::MAX)
    }
}

/// The beginning of what it packs to.
fn packed(tar: &[u8], bytes: u64, length: usize) -> Outputs {
    let mut writer = PackWriter::new(Vec::new());
    writer.write_all(tar).unwrap();
    let mut gzip = writer.finish().unwrap();
    gzip.truncate(length);
    Outputs {
        entries: 1,
        bytes,
        archive: Archive::Inline(STANDARD.encode(gzip)),
        ..Outputs::default()
    }
}

fn outputs_of(task: u32) -> Outputs {
    match task {
        1 => Tar::default()
            .file("../evil", "evil")
            .file("/evil", "evil")
            .file("a/../../evil", "evil")
            .entry("out", EntryType::Symlink, "../..", b"")
            .file("out/evil", "kept below a directory of this name")
            .entry("here", EntryType::Symlink, ".", b"")
            .file("here/evil", "evil")
            .entry("hard", EntryType::Link, "/etc/passwd", b"")
            .entry("device", EntryType::Char, "", b"")
            .entry("fifo", EntryType::Fifo, "", b"")
            .file("twice", "first")
            .file("twice", "second")
            .entry("\u{1b}]0;evil\u{7}\n\u{202e}", EntryType::Fifo, "", b"")
            .file("good", "good")
            .in_report(1000),
        2 => Tar::default()
            .file("bomb", &"0".repeat(100_000))
            .in_report(10),
        // More levels than a process may have files open, and then an end that is none.
        3 => packed(&Tar::default().long(&"d/".repeat(2000)).0, 1000, usize::MAX),
        4 => {
            let tar = Tar::default().file("half", "half a file");
            packed(&tar.0, 1000, 60)
        }
        5 => (0..300)
            .fold(Tar::default(), |tar, number| {
                tar.file(&format!("../{number}"), "")
            })
            .in_report(1000),
        _ => Tar::default().file("honest", "honest").in_report(6),
    }
}

#[test]
fn what_one_task_sends_harms_neither_this_machine_nor_the_others() {
    let machine = Machine::new();
    machine.write("deep/canary", "canary");
    let state = tempfile::tempdir().unwrap();
    let platform = Platform::start(state.path(), |container| async move {
        let (objects, bucket) = begin(&container).await;
        let outputs = outputs_of(objects.attempt.task);
        write_report_of(&objects, &bucket, 0, outputs, Vec::new()).await
    });
    // As many open files as some machines allow.
    let limited = r#"ulimit -n 256; exec "$0" "$@""#;
    let words = [
        "-c", limited, SORTIE, "run", "-n", "7", "--out", "deep/o", "--", "true",
    ];
    let typed = platform.told(machine.program("sh", words), &platform.address);
    let done = typed.enter();
    assert!(matches!(done.code, Some(1..)), "{done:?}");
    for task in [0, 6] {
        let honest = format!("deep/o/{task}/output/honest");
        assert_eq!(machine.text(&honest), "honest", "{}", done.stderr);
    }
    assert_eq!(machine.text("deep/o/1/output/good"), "good");
    assert_eq!(machine.text("deep/o/1/output/twice"), "first");
    for refused in [
        "`../evil` has `..` in its name",
        "`/evil` has an absolute name",
        "`a/../../evil` has `..` in its name",
        "`out` is a link that leads out of the directory",
        "`here/evil` lies below what is no directory",
        "`hard` is a hard link",
        "`device` is a device",
        "`fifo` is a fifo",
        "`twice` is there already",
        "task `2`: the outputs cannot be used: the archive holds more than 10 bytes",
        "task `3`: the outputs cannot be used: the archive is damaged: it ends too early",
        "task `4`: the outputs cannot be used",
        "task `5`: and 200 more",
    ] {
        assert!(
            done.stderr.contains(refused),
            "nothing of {refused}: {}",
            done.stderr
        );
    }
    let steers = |c: char| c != '\n' && (c.is_control() || c == '\u{202e}');
    assert!(!done.stderr.contains(steers), "{:?}", done.stderr);
    for task in [2, 3, 4, 5] {
        let output = machine.path(&format!("deep/o/{task}/output"));
        assert_eq!(fs::read_dir(output).unwrap().count(), 0, "task {task}");
    }
    let beside = |path: &str| {
        let entries = fs::read_dir(machine.path(path)).unwrap();
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        names
    };
    assert_eq!(beside("."), ["deep"]);
    assert_eq!(beside("deep"), ["canary", "o"]);
    assert_eq!(beside("deep/o"), ["0", "1", "2", "3", "4", "5", "6"]);
    let unpacked = ["good", "here", "out", "twice"];
    assert_eq!(beside("deep/o/1/output"), unpacked);
}
