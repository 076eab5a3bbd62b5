//! What is measured with: trees of files, the same bytes on every machine and in every run.

mod random;
mod text;

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use random::Random;
use text::Text;

/// The trees, each below a directory of its own in memory where there is such a place, gone with this value.
pub(crate) struct Corpora {
    dir: tempfile::TempDir,
}

/// A tree of files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Corpus {
    /// Three files.
    Tiny,
    /// A repository: 3,950 source-like files of 62 MB, links, modes, an empty directory.
    Repo,
    /// 50,000 files of 1 to 4 KB.
    Wide,
    /// Eight files of 128 MiB, half of them text, half random.
    Big,
    /// So many files of 1 KiB.
    Files(usize),
    /// One file of so many MiB, half text, half random.
    Sized(usize),
}

impl Corpus {
    pub(crate) fn name(self) -> String {
        match self {
            Self::Tiny => "tiny".to_owned(),
            Self::Repo => "repo".to_owned(),
            Self::Wide => "wide".to_owned(),
            Self::Big => "big".to_owned(),
            Self::Files(count) => format!("{count} files"),
            Self::Sized(mib) => format!("{mib} MiB"),
        }
    }

    /// How often each way is measured.
    pub(crate) fn rounds(self) -> usize {
        match self {
            Self::Tiny | Self::Repo | Self::Files(0..=1000) | Self::Sized(0..=32) => 5,
            Self::Wide | Self::Big | Self::Files(0..=50_000) | Self::Sized(0..=1024) => 3,
            Self::Files(_) | Self::Sized(_) => 1,
        }
    }
}

impl Corpora {
    /// In this directory, or where files are made at the speed of memory.
    pub(crate) fn new(place: Option<PathBuf>) -> Self {
        let memory = Some(PathBuf::from("/dev/shm")).filter(|dir| dir.is_dir());
        let place = place.or(memory).unwrap_or_else(std::env::temp_dir);
        let dir = tempfile::Builder::new().prefix("bench-").tempdir_in(place);
        Self { dir: dir.unwrap() }
    }

    /// A directory for whatever else.
    pub(crate) fn scratch(&self, name: &str) -> PathBuf {
        let path = self.dir.path().join(name);
        fs::create_dir_all(&path).unwrap();
        path
    }

    /// The tree, made if nobody has asked for it yet.
    pub(crate) fn tree(&self, corpus: Corpus) -> PathBuf {
        let root = self.dir.path().join(corpus.name().replace(' ', "-"));
        if root.exists() {
            return root;
        }
        fs::create_dir(&root).unwrap();
        match corpus {
            Corpus::Tiny => tiny(&root),
            Corpus::Repo => repo(&root),
            Corpus::Wide => wide(&root, 50_000, 1024..4097),
            Corpus::Big => (0..8).for_each(|i| large(&root.join(format!("part{i}")), i, 128)),
            Corpus::Files(count) => wide(&root, count, 1024..1025),
            Corpus::Sized(mib) => mixed(&root.join("file"), mib),
        }
        root
    }

    pub(crate) fn forget(&self, corpus: Corpus) {
        let root = self.dir.path().join(corpus.name().replace(' ', "-"));
        let _ = fs::remove_dir_all(root);
    }
}

fn tiny(root: &Path) {
    put(&root.join("main.py"), "print('hello')\n".repeat(8), 0o644);
    put(
        &root.join("run.sh"),
        "#!/bin/sh\nexec python3 main.py\n",
        0o755,
    );
    put(
        &root.join("cfg/config.json"),
        r#"{"n": 3, "name": "tiny"}"#,
        0o644,
    );
}

fn repo(root: &Path) {
    let words = Text::new();
    let mut random = Random::new("repo");
    let mut dirs = vec![PathBuf::new()];
    while dirs.len() < 420 {
        let above = random.pick(&dirs).clone();
        if above.components().count() < 8 {
            dirs.push(above.join(format!("{}{}", words.word(&mut random), dirs.len() % 7)));
        }
    }
    let mut files = Vec::new();
    for i in 0..3950 {
        let size = match i % 400 {
            7 => random.below(500_000) + 400_000,
            _ => random.log_normal(8.85, 1.15).clamp(40, 200_000),
        };
        let kind = random.pick(&[
            "py", "rs", "ts", "md", "json", "toml", "c", "h", "go", "txt",
        ]);
        let name = format!("{}_{i}.{kind}", words.word(&mut random));
        let path = root.join(random.pick(&dirs)).join(name);
        let mode = if i % 33 == 5 { 0o755 } else { 0o644 };
        put(
            &path,
            words.text(&mut Random::new(&format!("repo{i}")), size),
            mode,
        );
        files.push(path);
    }
    for i in 0..50 {
        let dir = root.join(random.pick(&dirs));
        fs::create_dir_all(&dir).unwrap();
        let up = "../".repeat(dir.strip_prefix(root).unwrap().components().count());
        let to = random.pick(&files).strip_prefix(root).unwrap().to_owned();
        symlink(Path::new(&up).join(to), dir.join(format!("link_{i}"))).unwrap();
    }
    fs::create_dir(root.join("empty_dir")).unwrap();
}

fn wide(root: &Path, count: usize, sizes: std::ops::Range<usize>) {
    let pool = Text::new().text(&mut Random::new("pool"), 8 << 20);
    let mut random = Random::new("wide");
    for i in 0..200.min(count) {
        fs::create_dir(root.join(format!("d{i:03}"))).unwrap();
    }
    for i in 0..count {
        let size = sizes.start + random.below(sizes.len());
        let path = root.join(format!("d{:03}/f{i:06}.dat", i % 200));
        let bytes = if i % 2 == 0 {
            random.hex(size)
        } else {
            let from = random.below(pool.len() - size);
            [format!("# {i:6}").as_bytes(), &pool[from..from + size - 8]].concat()
        };
        fs::write(path, bytes).unwrap();
    }
}

/// One of the large files: text where `i` is even.
fn large(path: &Path, i: usize, mib: usize) {
    let mut random = Random::new(&format!("big{i}"));
    let mut file = fs::File::create(path).unwrap();
    blocks(&mut file, &mut random, mib, |_| i.is_multiple_of(2));
}

fn mixed(path: &Path, mib: usize) {
    let mut file = fs::File::create(path).unwrap();
    blocks(&mut file, &mut Random::new("sized"), mib, |at| at % 2 == 0);
}

/// Blocks of a MiB each. A gzip sees no further back than 32 KiB, so a few blocks of text serve for all.
fn blocks(file: &mut fs::File, random: &mut Random, mib: usize, is_text: impl Fn(usize) -> bool) {
    use std::io::Write;
    let words = Text::new();
    let few = (mib / 2).clamp(1, 16);
    let texts: Vec<_> = (0..few).map(|_| words.text(random, 1 << 20)).collect();
    for at in 0..mib {
        if is_text(at) {
            file.write_all(&texts[at / 2 % few]).unwrap();
        } else {
            file.write_all(&random.bytes(1 << 20)).unwrap();
        }
    }
}

fn put(path: &Path, bytes: impl AsRef<[u8]>, mode: u32) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, bytes).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}
