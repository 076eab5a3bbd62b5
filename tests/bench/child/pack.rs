//! Our own code, with no network.

use std::fs;
use std::io;
use std::path::Path;

use archive::{PackWriter, Policy, Tree, Unpacker};

/// As `sortie run` packs what it has never seen.
pub(super) fn cold(tree: &Path) {
    block_on(sortie::measure::pack_cold(tree)).unwrap();
}

/// Likewise; how many bytes came of it.
pub(super) fn bytes(tree: &Path) -> u64 {
    block_on(sortie::measure::pack_cold(tree))
        .unwrap()
        .sent_bytes
}

/// As `sortie run` packs what it has in its index.
pub(super) fn again(tree: &Path, index: &Path) {
    block_on(sortie::measure::pack_again(tree, index)).unwrap();
}

fn block_on<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap()
        .block_on(work)
}

/// Packs as files.
pub(super) fn archive(tree: &Path, out: &Path) {
    let tree = Tree::scan(b"input", tree).unwrap();
    for (index, plan) in tree.packs().iter().enumerate() {
        let file = fs::File::create(out.join(format!("{index:04}.tar.gz"))).unwrap();
        let mut writer = PackWriter::new(io::BufWriter::with_capacity(1 << 18, file));
        plan.write_tar(&mut writer).unwrap();
        io::Write::flush(&mut writer.finish().unwrap()).unwrap();
    }
}

/// Makes the files of packs, as a task's entrypoint does.
pub(super) fn unpack(archives: &Path, target: &Path) {
    let unpacker = Unpacker::new(target, Policy::input(None)).unwrap();
    for path in super::walk::sorted(archives) {
        unpacker.unpack(fs::File::open(path).unwrap()).unwrap();
    }
    unpacker.finish().unwrap();
}
