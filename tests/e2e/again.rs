//! Running again costs looking, not reading; and is never stale.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::fs::inotify;
use serde_json::Value;
use wire::bucket::Bucket;
use wire::contract::{Document, SpecSource, Start};
use wire::names::{self, AttemptObjects};

use crate::harness::{Done, Machine};
use crate::platform::{Platform, begin, write_report};
use crate::relay::{Relay, Seen};

/// Runs a shell text over the input `repo`.
fn run(machine: &Machine, script: &str) -> Done {
    let words = ["run", "--json", "-i", "repo", "--", "sh", "-c", script];
    machine.sortie(words).enter().code(0)
}

/// What staging the input came to.
fn staged(done: &Done) -> Value {
    let mut lines = done.lines().into_iter();
    lines.find(|line| line["event"] == "staged").unwrap()
}

/// Files enough for several packs.
fn several_packs(machine: &Machine) -> Vec<PathBuf> {
    let mut state = 7_u64;
    let mut noise = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        state.to_le_bytes()[6]
    };
    (0..40)
        .map(|number| {
            let content: Vec<u8> = (0..1_000_000).map(|_| noise()).collect();
            machine.write(&format!("repo/f{number:02}"), content)
        })
        .collect()
}

/// Until stamps of now can be told from later ones.
fn settle(path: &Path) {
    use std::os::unix::fs::MetadataExt;
    let whole = fs::metadata(path).unwrap().ctime_nsec() == 0;
    std::thread::sleep(Duration::from_millis(if whole { 10_100 } else { 1100 }));
}

/// Which of the files are opened or read while something goes on.
fn read_meanwhile(files: &[PathBuf], what: impl FnOnce()) -> Vec<usize> {
    let watch = inotify::init(inotify::CreateFlags::NONBLOCK).unwrap();
    let flags = inotify::WatchFlags::OPEN | inotify::WatchFlags::ACCESS;
    let watched: Vec<i32> = files
        .iter()
        .map(|file| inotify::add_watch(&watch, file, flags).unwrap())
        .collect();
    what();
    let mut buffer = vec![std::mem::MaybeUninit::uninit(); 4096];
    let mut events = inotify::Reader::new(&watch, &mut buffer);
    let mut seen = Vec::new();
    while let Ok(event) = events.next() {
        seen.push(event.wd());
    }
    let was_seen = |number: &usize| seen.contains(&watched[*number]);
    (0..files.len()).filter(was_seen).collect()
}

#[test]
fn what_has_not_changed_is_not_read_again() {
    let machine = Machine::new();
    let files = several_packs(&machine);
    settle(&files[0]);
    let read = read_meanwhile(&files, || {
        let first = staged(&run(&machine, "true"));
        assert_eq!(first["sent"], first["packs"]);
    });
    assert_eq!(read.len(), files.len());
    let read = read_meanwhile(&files, || {
        assert_eq!(staged(&run(&machine, "true"))["sent"], 0);
    });
    assert!(read.is_empty(), "{read:?}");
    // Looking before a run reads no more, and tells the same.
    let read = read_meanwhile(&files, || {
        let words = ["run", "--dry-run", "-i", "repo", "--", "true"];
        machine.sortie(words).enter().code(0);
    });
    assert!(read.is_empty(), "{read:?}");
}

#[test]
fn who_does_not_trust_the_index_has_everything_read() {
    let machine = Machine::new();
    let files = [machine.write("repo/f", "content")];
    settle(&files[0]);
    run(&machine, "true");
    let words = ["run", "-q", "-i", "repo", "--", "true"];
    let read = read_meanwhile(&files, || {
        let typed = machine.sortie(words).env("SORTIE_INDEX", "off");
        typed.enter().code(0);
    });
    assert_eq!(read, [0_usize]);
    let read = read_meanwhile(&files, || drop(run(&machine, "true")));
    assert!(read.is_empty(), "{read:?}");
    let typed = machine.sortie(words).env("SORTIE_INDEX", "no");
    typed.enter().code(125).says("hint: say `on` or `off`");
}

#[test]
fn one_changed_file_is_one_pack_read_and_sent() {
    let machine = Machine::new();
    let files = several_packs(&machine);
    settle(&files[0]);
    let packs = staged(&run(&machine, "true"))["packs"].as_u64().unwrap();
    assert!(packs > 3, "{packs}");
    fs::write(&files[9], vec![b'y'; 1_000_000]).unwrap();
    let read = read_meanwhile(&files, || {
        let done = run(&machine, "head -c 3 input/repo/f09");
        assert_eq!(staged(&done)["sent"], 1);
        assert_eq!(done.result()["exit_code"], 0);
    });
    assert!(
        read.contains(&9) && read.len() < files.len() / 2,
        "{read:?}"
    );
    // It was too young to be remembered.
    settle(&files[9]);
    let read = read_meanwhile(&files, || {
        assert_eq!(staged(&run(&machine, "true"))["sent"], 0);
    });
    assert!(
        read.contains(&9) && read.len() < files.len() / 2,
        "{read:?}"
    );
    let read = read_meanwhile(&files, || {
        assert_eq!(staged(&run(&machine, "true"))["sent"], 0);
    });
    assert!(read.is_empty(), "{read:?}");
}

#[test]
fn a_file_that_only_seems_the_same_is_not_stale() {
    let machine = Machine::new();
    let file = machine.write("repo/f", "first");
    let modified = fs::metadata(&file).unwrap().modified().unwrap();
    settle(&file);
    let out = |content: &str| {
        let words = ["run", "-q", "-i", "repo", "--", "cat", "input/repo/f"];
        machine.sortie(words).enter().code(0).prints(content);
    };
    let back = |path: &Path| {
        let file = fs::File::options().write(true).open(path).unwrap();
        file.set_modified(modified).unwrap();
    };
    out("first");
    // Written in place, of the same size, and its time set back.
    fs::write(&file, "again").unwrap();
    back(&file);
    out("again");
    // Replaced by another, likewise.
    settle(&file);
    out("again");
    let other = machine.write("other", "third");
    back(&other);
    fs::rename(other, &file).unwrap();
    out("third");
    // And replaced by an older one.
    let older = machine.write("older", "older");
    let then = UNIX_EPOCH + Duration::from_secs(1);
    let handle = fs::File::options().write(true).open(&older).unwrap();
    handle.set_modified(then).unwrap();
    assert!(then < SystemTime::now());
    fs::rename(older, &file).unwrap();
    out("older");
}

/// What a task finds in its one file.
async fn content(objects: &AttemptObjects, bucket: &Bucket) -> String {
    let name = objects.run.start(objects.attempt.start);
    let (_, json) = bucket.read(&name, u64::MAX).await.unwrap();
    let start = Start::from_json(&json).unwrap();
    let (_, SpecSource::Inline(spec)) = start.find(0).unwrap() else {
        panic!("a small spec");
    };
    let pack = names::pack(&spec.inputs[0].packs[0].md5);
    let (_, gzip) = bucket.read(&pack, u64::MAX).await.unwrap();
    let mut archive = tar::Archive::new(flate2::read::MultiGzDecoder::new(&gzip[..]));
    let mut entries = archive.entries().unwrap().map(Result::unwrap);
    let mut file = entries.find(|entry| entry.size() > 0).unwrap();
    std::io::read_to_string(&mut file).unwrap()
}

/// Who began before a file changed writes the index after who began then: it says no less than the truth.
#[test]
fn two_at_once_leave_an_index_that_is_not_stale() {
    let (machine, state) = (Machine::new(), tempfile::tempdir().unwrap());
    let (tell, found) = std::sync::mpsc::channel();
    let platform = Platform::start(state.path(), move |container| {
        let tell = tell.clone();
        async move {
            let (objects, bucket) = begin(&container).await;
            tell.send(content(&objects, &bucket).await).unwrap();
            write_report(&objects, &bucket, 0).await
        }
    });
    let is_first = AtomicBool::new(true);
    let server = platform.address.trim_start_matches("http://");
    let relay = Relay::before(server, move |request| {
        let looks = request.starts_with("GET") && request.contains("inputs%2F");
        let held = looks && is_first.swap(false, Ordering::SeqCst);
        held.then(|| Box::new(|seen: &Seen| seen.count("/jobs/a-job:run") > 0) as _)
    });
    let address = format!("http://{}", relay.address);
    let words = ["run", "--json", "-i", "repo", "--", "true"];
    let typed = || {
        let typed = platform.typed_at(&machine, words, &address);
        typed.env("STORAGE_EMULATOR_HOST", &address)
    };
    let file = machine.write("repo/f", "first");
    let modified = fs::metadata(&file).unwrap().modified().unwrap();
    settle(&file);
    let early = typed().start();
    relay.wait(|seen| seen.count("inputs%2F") > 0);
    fs::write(&file, "again").unwrap();
    let handle = fs::File::options().write(true).open(&file).unwrap();
    handle.set_modified(modified).unwrap();
    settle(&file);
    typed().enter().code(0);
    assert_eq!(found.recv().unwrap(), "again");
    early.end().code(0);
    assert_eq!(found.recv().unwrap(), "first");
    let last = typed().enter().code(0);
    assert_eq!(found.recv().unwrap(), "again");
    assert_eq!(staged(&last)["sent"], 0);
    drop(relay.seen());
}

#[test]
fn what_the_bucket_has_lost_is_sent_again() {
    let machine = Machine::new();
    let file = machine.write("repo/f", "content");
    settle(&file);
    assert_eq!(staged(&run(&machine, "true"))["sent"], 1);
    assert_eq!(staged(&run(&machine, "true"))["sent"], 0);
    machine.kill_emulator();
    let store = machine.data().join("emulator");
    assert!(
        fs::read_dir(&store).unwrap().next().is_some(),
        "nothing was kept"
    );
    fs::remove_dir_all(store).unwrap();
    let done = run(&machine, "test $(cat input/repo/f) = content");
    assert_eq!(staged(&done)["sent"], 1);
}

#[test]
fn a_damaged_index_does_no_harm() {
    let machine = Machine::new();
    let file = machine.write("repo/f", "content");
    settle(&file);
    let files = [file];
    run(&machine, "true");
    let indices: Vec<PathBuf> = fs::read_dir(machine.data().join("index"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    assert_eq!(indices.len(), 1);
    let whole = fs::read_to_string(&indices[0]).unwrap();
    let digits = |text: &str| {
        text.replace("\"md5\":\"", "\"md5\":\"0000")
            .replace("\"sha256\":\"", "\"sha256\":\"ffff")
    };
    for damaged in [
        &whole[..whole.len() / 2],
        "",
        "{}",
        "\0\0\0",
        &digits(&whole),
    ] {
        fs::write(&indices[0], damaged).unwrap();
        let read = read_meanwhile(&files, || {
            let done = run(&machine, "test $(cat input/repo/f) = content");
            assert_eq!(staged(&done)["sent"], 0);
        });
        assert_eq!(read, [0_usize]);
        assert_eq!(fs::read_to_string(&indices[0]).unwrap(), whole);
    }
}

/// Whatever an input is, what sortie holds of it is bounded: here more than twice the bound.
#[test]
fn memory_does_not_grow_with_the_input() {
    let machine = Machine::new();
    several_packs(&machine);
    let block: Vec<u8> = fs::read(machine.path("repo/f07")).unwrap();
    let mut large = fs::File::create(machine.path("repo/large")).unwrap();
    for _ in 0..64 {
        std::io::Write::write_all(&mut large, &block).unwrap();
    }
    for number in 0..56 {
        machine.write(&format!("repo/many{number}"), &block);
    }
    let words = ["run", "-q", "-i", "repo", "--", "true"];
    let running = machine.sortie(words).start();
    let status = format!("/proc/{}/status", running.pid());
    let mut peak = 0;
    while let Some(kilobytes) = memory_of(&status) {
        peak = peak.max(kilobytes);
        std::thread::sleep(Duration::from_millis(5));
    }
    running.end().code(0);
    assert!((1000..60 * 1024).contains(&peak), "{peak} KiB");
}

/// Without the program itself, which is large where it is built for tests; nothing of a process that has ended.
fn memory_of(status: &str) -> Option<u64> {
    let text = fs::read_to_string(status).ok()?;
    let line = text.lines().find(|line| line.starts_with("RssAnon:"))?;
    line.split_whitespace().nth(1)?.parse().ok()
}
