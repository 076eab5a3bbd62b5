//! The engine, with destinations that keep, fail or meddle.

mod at_once;

use std::collections::HashMap;
use std::fs;
use std::io::Read;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use archive::{BLOCK, Digest, Tree};
use wire::contract::ByteString;

use super::body::{Again, Body};
use super::destination::{Destination, Placed, Standing};
use super::line::{Line, Scan, Sent};
use super::machine::Machine;
use super::packs::Planned;
use super::press::Press;
use super::{InputSource, packs::Packs};
use crate::error::Error;

/// What is done before a pack is kept.
type Meddle = Arc<dyn Fn(u32) -> Result<(), Error> + Send + Sync>;

/// Keeps packs in memory.
#[derive(Clone)]
struct Shelf {
    kept: Arc<Mutex<HashMap<String, Vec<u8>>>>,
    placed: Arc<AtomicU32>,
    meddle: Meddle,
}

impl Shelf {
    fn new() -> Self {
        Self::with(|_| Ok(()))
    }

    fn with(meddle: impl Fn(u32) -> Result<(), Error> + Send + Sync + 'static) -> Self {
        Self {
            kept: Arc::default(),
            placed: Arc::default(),
            meddle: Arc::new(meddle),
        }
    }

    fn get(&self, md5: &str) -> Vec<u8> {
        self.kept.lock().unwrap()[md5].clone()
    }
}

impl Destination for Shelf {
    async fn look(&self, digest: &Digest) -> Result<Standing, Error> {
        Ok(if self.kept.lock().unwrap().contains_key(&digest.md5) {
            Standing::Hit
        } else {
            Standing::Absent
        })
    }

    async fn look_and_keep(&self, digest: &Digest) -> Result<Standing, Error> {
        self.look(digest).await
    }

    async fn place(
        &self,
        digest: &Digest,
        _: Standing,
        body: Body,
        _: &str,
    ) -> Result<Placed, Error> {
        let number = self.placed.fetch_add(1, Ordering::SeqCst);
        // The later ones are the quicker ones.
        tokio::time::sleep(Duration::from_millis(u64::from(40 - number.min(40)))).await;
        (self.meddle)(number)?;
        let mut bytes = Vec::new();
        match body {
            Body::Held(blocks) => blocks
                .iter()
                .for_each(|block| bytes.extend_from_slice(block)),
            Body::Again(again) => {
                let mut pieces = again.pieces().await?;
                while let Some(piece) = pieces.next().await? {
                    bytes.extend_from_slice(&piece);
                }
            }
        }
        let sent = Some(bytes.len() as u64);
        self.kept.lock().unwrap().insert(digest.md5.clone(), bytes);
        Ok(Placed {
            sent,
            warning: None,
        })
    }
}

/// Bytes that compress, or do not.
fn bytes(seed: usize, length: usize, compresses: bool) -> Vec<u8> {
    let mut state = seed as u64 + 1;
    let mut next = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (state >> 56) as u8
    };
    (0..length)
        .map(|at| {
            if compresses && at % 64 > 15 {
                b'x'
            } else {
                next()
            }
        })
        .collect()
}

fn input(path: &Path) -> InputSource {
    InputSource {
        name: ByteString(b"in".to_vec()),
        path: path.to_path_buf(),
    }
}

async fn send(shelf: &Shelf, path: &Path, index: Option<&Path>) -> Result<Sent, Error> {
    let scan = Scan::of(&input(path)).await?;
    let line = Line::new(shelf.clone(), index.map(Path::to_path_buf));
    line.send(scan).await
}

fn gunzip(bytes: &[u8]) -> Vec<u8> {
    let mut tar = Vec::new();
    let mut reader = flate2::read::MultiGzDecoder::new(bytes);
    reader.read_to_end(&mut tar).unwrap();
    tar
}

/// By a program that knows nothing of us.
fn through(program: &[&str], input: &[u8]) -> Vec<u8> {
    let mut child = Command::new(program[0])
        .args(&program[1..])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    std::thread::scope(|scope| {
        scope.spawn(move || std::io::Write::write_all(&mut stdin, input).unwrap());
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success());
        output.stdout
    })
}

/// Small and large files, some of which do not compress: a dozen packs, one of them too large to be held.
fn some_packs(dir: &Path) {
    for number in 0..60 {
        let length = 1_000_000 + number * 7919;
        fs::write(
            dir.join(format!("f{number:03}")),
            bytes(number, length, number % 3 > 0),
        )
        .unwrap();
    }
    let mut large = bytes(1, 19 * BLOCK, true);
    large.extend(bytes(2, BLOCK + 17, false));
    fs::write(dir.join("f030-large"), large).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn packs_keep_their_order_and_every_reader_reads_them() {
    let dir = tempfile::tempdir().unwrap();
    some_packs(dir.path());
    let shelf = Shelf::new();
    let sent = send(&shelf, dir.path(), None).await.unwrap();
    let tree = Tree::scan(b"in", dir.path()).unwrap();
    let plans = tree.packs();
    let packs = &sent.staged.input.packs;
    assert_eq!(packs.len(), plans.len());
    assert!(packs.len() > 8, "{}", packs.len());
    for (pack, plan) in packs.iter().zip(&plans) {
        let mut tar = Vec::new();
        let digest = plan.write_tar(&mut tar).unwrap();
        assert_eq!(
            (&pack.md5, &pack.sha256, pack.size),
            (&digest.md5, &digest.sha256, digest.size)
        );
        let kept = shelf.get(&pack.md5);
        assert!(gunzip(&kept) == tar);
        assert!(through(&["gzip", "-dc"], &kept) == tar);
        assert!(!through(&["tar", "tzf", "-"], &kept).is_empty());
    }
    assert_eq!(sent.misses as usize, packs.len());
    let kept: usize = shelf.kept.lock().unwrap().values().map(Vec::len).sum();
    assert_eq!(sent.bytes, kept as u64);
    // Two thirds compress to a third, the rest is stored.
    assert!(kept as u64 * 10 < tree.bytes() * 7, "{kept}");
    let again = send(&shelf, dir.path(), None).await.unwrap();
    assert_eq!((again.misses, again.bytes), (0, 0));
    assert_eq!(again.staged.input, sent.staged.input);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_failure_ends_the_rest() {
    let dir = tempfile::tempdir().unwrap();
    for number in 0..100 {
        let path = dir.path().join(format!("f{number:03}"));
        fs::write(path, bytes(number, 3_000_000, false)).unwrap();
    }
    let shelf = Shelf::with(|number| match number {
        3 => Err(Error::local("a worker thread broke down", "a failure")),
        _ => Ok(()),
    });
    let error = send(&shelf, dir.path(), None).await.unwrap_err();
    assert_eq!(error.to_string(), "a worker thread broke down");
    let packs = Tree::scan(b"in", dir.path()).unwrap().packs().len();
    let (kept, placed) = (shelf.kept.lock().unwrap().len(), shelf.placed.clone());
    assert!(kept < packs, "{kept} of {packs}");
    let placed_then = placed.load(Ordering::SeqCst);
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(placed.load(Ordering::SeqCst), placed_then);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_file_that_changes_before_it_is_read_again_is_scanned_again() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("large");
    fs::write(&path, bytes(1, 18 * BLOCK, true)).unwrap();
    let meddled = path.clone();
    let shelf = Shelf::with(move |number| {
        if number == 0 {
            fs::write(&meddled, bytes(9, 18 * BLOCK, true)).unwrap();
        }
        Ok(())
    });
    let sent = send(&shelf, &path, None).await.unwrap();
    let pack = &sent.staged.input.packs[0];
    let tree = Tree::scan(b"in", &path).unwrap();
    let digest = tree.packs()[0].write_tar(std::io::sink()).unwrap();
    assert_eq!(pack.sha256, digest.sha256);
    assert_eq!(shelf.kept.lock().unwrap().len(), 1);
    let meddled = path.clone();
    let restless = Shelf::with(move |number| {
        fs::write(&meddled, bytes(number as usize, 18 * BLOCK, true)).unwrap();
        Ok(())
    });
    let error = send(&restless, &path, None).await.unwrap_err();
    assert!(matches!(
        error,
        Error::Pack {
            source: archive::Error::Changed { .. },
            ..
        }
    ));
    assert!(restless.kept.lock().unwrap().is_empty());
}

/// An index that says another digest than the files have is only a reason to look once more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_hint_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("f"), "content").unwrap();
    let tree = Arc::new(Tree::scan(b"in", dir.path()).unwrap());
    let plan = &tree.packs()[0];
    for eager in [false, true] {
        let planned = Planned {
            range: plan.range(),
            tar_size: plan.tar_size(),
            known: Some(Digest {
                md5: "0".repeat(32),
                sha256: "0".repeat(64),
                size: 1,
            }),
        };
        let shelf = Shelf::new();
        let packs = Packs {
            machine: Machine::new(),
            destination: shelf.clone(),
            tree: tree.clone(),
            name: "in".into(),
            eager,
        };
        let dealt = packs.send(vec![planned]).await.unwrap();
        let digest = plan.write_tar(std::io::sink()).unwrap();
        assert_eq!(dealt[0].digest, digest);
        assert!(!shelf.get(&digest.md5).is_empty());
    }
}

/// What the index knows is not read: this shelf would give it away by holding a pack that nobody could read again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_looks_the_same_is_not_read_and_what_does_not_is() {
    let (dir, index) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    some_packs(dir.path());
    settle(dir.path());
    let shelf = Shelf::new();
    let sent = send(&shelf, dir.path(), Some(index.path())).await.unwrap();
    // A destination that forgets what was placed would have every pack read, and sent, again.
    let again = send(&shelf, dir.path(), Some(index.path())).await.unwrap();
    assert_eq!((again.misses, &again.staged.input), (0, &sent.staged.input));
    fs::write(dir.path().join("f007"), bytes(999, 1_000_000, true)).unwrap();
    let changed = send(&shelf, dir.path(), Some(index.path())).await.unwrap();
    assert_eq!(changed.misses, 1);
    shelf.kept.lock().unwrap().clear();
    let lost = send(&shelf, dir.path(), Some(index.path())).await.unwrap();
    assert_eq!(lost.staged.input, changed.staged.input);
    assert_eq!(lost.misses as usize, lost.staged.input.packs.len());
}

/// Waits until the stamps below can be trusted.
fn settle(dir: &Path) {
    let tree = Tree::scan(b"in", dir).unwrap();
    let settled = tree
        .packs()
        .iter()
        .filter_map(archive::PackPlan::settled)
        .max();
    let settled =
        SystemTime::UNIX_EPOCH + Duration::from_nanos(u64::try_from(settled.unwrap_or(0)).unwrap());
    while SystemTime::now() <= settled {
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn a_block_of_any_kind_fits_its_frame() {
    let machine = Machine::new();
    let mut press = Press::default();
    for (length, compresses) in [
        (0, true),
        (1, true),
        (BLOCK, true),
        (BLOCK, false),
        (BLOCK - 1, false),
        (511, false),
    ] {
        let content = bytes(length, length, compresses);
        let mut block = machine.block();
        let filled = block.fill(|buffer| {
            buffer[..length].copy_from_slice(&content);
            Ok::<_, Error>(length)
        });
        assert_eq!(filled.unwrap(), length);
        press.press(&mut block).unwrap();
        assert!(gunzip(block.bytes()) == content);
        if compresses && length > 1 {
            assert!(block.bytes().len() * 2 < length);
        }
    }
}
