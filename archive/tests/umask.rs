//! Alone in its process, because the umask is the whole process's.

use std::os::unix::fs::PermissionsExt;

use archive::{PackWriter, Policy, Tree, Unpacker};
use rustix::fs::Mode;

#[test]
fn permissions_do_not_depend_on_the_umask() {
    let source = tempfile::tempdir().unwrap();
    let (root, modes) = (source.path().join("in"), [0o755, 0o775, 0o777, 0o700]);
    std::fs::create_dir(&root).unwrap();
    for mode in modes {
        let directory = root.join(format!("d{mode:o}"));
        std::fs::create_dir(&directory).unwrap();
        for path in [directory.join("f"), directory] {
            if !path.is_dir() {
                std::fs::write(&path, "x").unwrap();
            }
            std::fs::set_permissions(&path, PermissionsExt::from_mode(mode)).unwrap();
        }
    }
    for umask in [0o077, 0o022, 0o000] {
        rustix::process::umask(Mode::from_bits_truncate(umask));
        let scanned = Tree::scan(b"in", &root).unwrap();
        let mut gzip = PackWriter::new(Vec::new());
        scanned.packs()[0].write_tar(&mut gzip).unwrap();
        let target = tempfile::tempdir().unwrap();
        let unpacker = Unpacker::new(target.path(), Policy::input(None)).unwrap();
        unpacker.unpack(&gzip.finish().unwrap()[..]).unwrap();
        unpacker.finish().unwrap();
        for mode in modes {
            let directory = target.path().join(format!("in/d{mode:o}"));
            for path in [directory.join("f"), directory] {
                let found = std::fs::metadata(&path).unwrap().permissions().mode() & 0o7777;
                assert_eq!(found, mode, "{} under umask {umask:o}", path.display());
            }
        }
    }
}
