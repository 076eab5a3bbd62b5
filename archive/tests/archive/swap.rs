//! Another process has its hands in the target while it is filled.

use std::sync::atomic::{AtomicBool, Ordering};

use archive::{Policy, Unpacker};
use rustix::fs::{CWD, RenameFlags, renameat_with};

use crate::raw::RawTar;
use crate::scene::Scene;
use crate::tree::gzip;

/// Directories become links that lead out, and directories again, as fast as can be.
#[test]
fn a_directory_swapped_for_a_link_leads_nowhere() {
    let mut tar = RawTar::new();
    for file in 0..200 {
        for top in ["a", "b/c"] {
            tar = tar.file(format!("{top}/d{}/f{file}", file % 7), "evil");
        }
        tar = tar
            .dir(format!("a/e{file}/"), 0o777)
            .link(format!("a/l{file}"), "x");
    }
    let gzip = gzip(&tar.finish());
    for _ in 0..10 {
        let scene = Scene::new();
        let target = scene.target();
        for (place, lead) in [("a", "../outside"), ("b", "../../outside")] {
            std::fs::create_dir(target.join(place)).unwrap();
            std::os::unix::fs::symlink(lead, target.join(format!("{place}.link"))).unwrap();
        }
        let (done, swapped) = (AtomicBool::new(false), AtomicBool::new(false));
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    for place in ["a", "b"] {
                        let (one, other) =
                            (target.join(place), target.join(format!("{place}.link")));
                        renameat_with(CWD, &one, CWD, &other, RenameFlags::EXCHANGE).unwrap();
                    }
                    swapped.store(true, Ordering::Relaxed);
                }
            });
            while !swapped.load(Ordering::Relaxed) {
                std::thread::yield_now();
            }
            let unpacker = Unpacker::new(&target, Policy::output(u64::MAX)).unwrap();
            // What becomes of it is chance's to say.
            let _ = unpacker.unpack(&gzip[..]);
            let _ = unpacker.finish();
            done.store(true, Ordering::Relaxed);
        });
        scene.assert_untouched();
        assert_eq!(std::fs::read_dir(scene.tree.path()).unwrap().count(), 2);
    }
}
