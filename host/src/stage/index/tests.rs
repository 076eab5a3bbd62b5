//! What may be believed, and what may not.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::time::Duration;

use archive::Tree;
use wire::contract::ByteString;

use super::*;

/// An input of one file, and a directory for its index.
struct Site {
    dir: tempfile::TempDir,
}

impl Site {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("in")).unwrap();
        let site = Self { dir };
        fs::write(site.file(), "content").unwrap();
        site
    }

    fn file(&self) -> PathBuf {
        self.dir.path().join("in/file")
    }

    fn indices(&self) -> PathBuf {
        self.dir.path().join("index")
    }

    fn open(&self) -> Index {
        let input = InputSource {
            name: ByteString(b"in".to_vec()),
            path: self.dir.path().join("in"),
        };
        Index::open(&self.indices(), &input)
    }

    /// The only pack, as a scan sees it that begins so long from now.
    fn see(&self, later: Duration) -> Seen {
        let tree = Tree::scan(b"in", &self.dir.path().join("in")).unwrap();
        see(&tree.packs()[0], SystemTime::now() + later)
    }

    /// Where its index is.
    fn kept(&self) -> PathBuf {
        let mut entries = fs::read_dir(self.indices()).unwrap();
        entries.next().unwrap().unwrap().path()
    }

    fn remember(&self, seen: Seen) {
        self.open().remember([(seen, &digest(1))].into_iter());
    }
}

const LONG: Duration = Duration::from_mins(1);

fn digest(number: u64) -> Digest {
    Digest {
        md5: format!("{number:032x}"),
        sha256: format!("{number:064x}"),
        size: number,
    }
}

#[test]
fn what_was_settled_is_known_again() {
    let site = Site::new();
    site.remember(site.see(LONG));
    assert_eq!(site.open().known(&site.see(LONG)), Some(&digest(1)));
    let mode = fs::metadata(site.kept()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn what_is_as_young_as_the_scan_is_not() {
    let site = Site::new();
    site.remember(site.see(Duration::ZERO));
    assert!(!site.indices().exists());
    site.remember(site.see(LONG));
    // The clock was set back: the file seems to come from the future.
    let input = Tree::scan(b"in", &site.dir.path().join("in")).unwrap();
    let before = see(&input.packs()[0], SystemTime::now() - LONG);
    assert_eq!(site.open().known(&before), None);
}

#[test]
fn a_time_in_the_future_is_never_trusted() {
    let site = Site::new();
    let file = fs::File::options().write(true).open(site.file()).unwrap();
    file.set_modified(SystemTime::now() + 10 * LONG).unwrap();
    site.remember(site.see(LONG));
    assert!(!site.indices().exists());
}

#[test]
fn a_filesystem_of_whole_seconds_takes_longer_to_settle() {
    let site = Site::new();
    let tree = Tree::scan(b"in", &site.dir.path().join("in")).unwrap();
    let plan = &tree.packs()[0];
    let ctime = plan.entries().nth(1).unwrap().stamp.ctime;
    let wait = plan.settled().unwrap() - ctime;
    let expected = if ctime % 1_000_000_000 == 0 { 10 } else { 1 };
    assert_eq!(wait, expected * 1_000_000_000);
}

#[test]
fn whatever_a_stat_can_tell_is_told() {
    let site = Site::new();
    site.remember(site.see(LONG));
    let modified = fs::metadata(site.file()).unwrap().modified().unwrap();
    let again = |change: &dyn Fn()| {
        site.remember(site.see(LONG));
        assert!(site.open().known(&site.see(LONG)).is_some());
        change();
        assert!(site.open().known(&site.see(LONG)).is_none());
    };
    let back = || {
        let file = fs::File::options().write(true).open(site.file()).unwrap();
        file.set_modified(modified).unwrap();
    };
    again(&|| fs::set_permissions(site.file(), Permissions::from_mode(0o600)).unwrap());
    // The same size and the same time of change: another inode, or another time of the inode's change.
    again(&|| {
        let other = site.dir.path().join("other");
        fs::write(&other, "CONTENT").unwrap();
        fs::rename(&other, site.file()).unwrap();
        back();
    });
    again(&|| {
        fs::write(site.file(), "content").unwrap();
        back();
    });
    again(&|| symlink("file", site.dir.path().join("in/link")).unwrap());
    again(&|| {
        fs::remove_file(site.dir.path().join("in/link")).unwrap();
        symlink("elif", site.dir.path().join("in/link")).unwrap();
    });
    again(&|| fs::create_dir(site.dir.path().join("in/empty")).unwrap());
}

#[test]
fn a_damaged_index_is_none_and_is_made_anew() {
    let site = Site::new();
    site.remember(site.see(LONG));
    let whole = fs::read(site.kept()).unwrap();
    let damages: [&dyn Fn(); 8] = [
        &|| fs::write(site.kept(), &whole[..whole.len() - 1]).unwrap(),
        &|| fs::write(site.kept(), &whole[..whole.len() / 2]).unwrap(),
        &|| fs::write(site.kept(), b"").unwrap(),
        &|| fs::write(site.kept(), vec![0; whole.len()]).unwrap(),
        &|| {
            fs::write(
                site.kept(),
                String::from_utf8_lossy(&whole).replace("\"version\":1", "\"version\":2"),
            )
            .unwrap();
        },
        &|| fs::set_permissions(site.kept(), Permissions::from_mode(0o622)).unwrap(),
        &|| {
            let (kept, moved) = (site.kept(), site.dir.path().join("moved"));
            fs::rename(&kept, &moved).unwrap();
            symlink(moved, kept).unwrap();
        },
        &|| {
            fs::File::options()
                .write(true)
                .open(site.kept())
                .unwrap()
                .set_len(LARGEST + 1)
                .unwrap();
        },
    ];
    for damage in damages {
        damage();
        assert!(site.open().known.is_empty());
        site.remember(site.see(LONG));
        assert!(site.open().known(&site.see(LONG)).is_some());
        assert_eq!(fs::read(site.kept()).unwrap(), whole);
    }
}

#[test]
fn one_of_another_user_is_not_believed() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let site = Site::new();
    site.remember(site.see(LONG));
    std::os::unix::fs::chown(site.kept(), Some(65534), None).unwrap();
    assert!(site.open().known.is_empty());
}

#[test]
fn what_nobody_has_used_for_long_goes() {
    let site = Site::new();
    site.remember(site.see(LONG));
    let old = |name: &str, days: u32| {
        let path = site.indices().join(name);
        let file = fs::File::create(&path).unwrap();
        let then = SystemTime::now() - days * Duration::from_hours(24);
        file.set_modified(then).unwrap();
        path
    };
    let (gone, stays) = (old("gone", 91), old("stays", 89));
    fs::write(site.file(), "other content").unwrap();
    site.remember(site.see(LONG));
    assert!(!gone.exists() && stays.exists());
    assert!(site.open().known(&site.see(LONG)).is_some());
}

#[test]
fn two_at_once_never_mix() {
    let site = Site::new();
    let seen = |number: u64| Seen {
        fingerprint: format!("{number}"),
        settled: true,
    };
    let write = |of: u64| {
        for _ in 0..200 {
            let digests: Vec<Digest> = (0..of * 50).map(|_| digest(of)).collect();
            let packs = (0..)
                .zip(&digests)
                .map(|(number, digest)| (seen(number), digest));
            site.open().remember(packs);
        }
    };
    write(1);
    std::thread::scope(|scope| {
        scope.spawn(|| write(1));
        scope.spawn(|| write(2));
        for _ in 0..400 {
            let known = site.open().known;
            let of = known.values().next().map(|digest| digest.size).unwrap();
            assert_eq!(known.len() as u64, of * 50);
            assert!(known.values().all(|digest| digest.size == of));
        }
    });
    assert_eq!(fs::read_dir(site.indices()).unwrap().count(), 1);
}
