//! The least that unpacking can cost: gunzip, and for each file three system calls in the open directory. Nothing is
//! verified, no permission set, nothing refused: it is only good for archives of our own.

use std::collections::HashMap;
use std::fs;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use flate2::read::MultiGzDecoder;
use rustix::fs::{CWD, Mode, OFlags, mkdir, openat, symlink};
use rustix::io::write;
use tar::{EntryType, Header};

/// Makes the files of archives.
pub(super) fn create(archives: &Path, target: &Path) {
    let mut directories = HashMap::new();
    for path in super::walk::sorted(archives) {
        let mut tar = Vec::new();
        let gzip = fs::File::open(path).unwrap();
        MultiGzDecoder::new(gzip).read_to_end(&mut tar).unwrap();
        make(&tar, target, &mut directories);
    }
}

fn make(tar: &[u8], target: &Path, directories: &mut HashMap<PathBuf, OwnedFd>) {
    let (mut at, mut long) = (0, None);
    while at + 512 <= tar.len() && tar[at] != 0 {
        let header = Header::from_byte_slice(&tar[at..at + 512]);
        let size = usize::try_from(header.entry_size().unwrap()).unwrap();
        let data = &tar[at + 512..at + 512 + size];
        at += 512 + size.next_multiple_of(512);
        if header.entry_type() == EntryType::GNULongName {
            let name = String::from_utf8(data.to_vec()).unwrap();
            long = Some(PathBuf::from(name.trim_end_matches('\0')));
            continue;
        }
        let path = long
            .take()
            .unwrap_or_else(|| header.path().unwrap().into_owned());
        let path = target.join(path);
        match header.entry_type() {
            EntryType::Directory => {
                let _ = mkdir(&path, Mode::from_raw_mode(0o755));
            }
            EntryType::Symlink => {
                symlink(header.link_name().unwrap().unwrap().as_ref(), &path).unwrap()
            }
            _ => file(&path, data, directories),
        }
    }
}

fn file(path: &Path, mut data: &[u8], directories: &mut HashMap<PathBuf, OwnedFd>) {
    let parent = path.parent().unwrap();
    if !directories.contains_key(parent) {
        fs::create_dir_all(parent).unwrap();
        let flags = OFlags::RDONLY | OFlags::DIRECTORY;
        let handle = openat(CWD, parent, flags, Mode::empty()).unwrap();
        directories.insert(parent.to_owned(), handle);
    }
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL;
    let name = path.file_name().unwrap();
    let file = openat(
        &directories[parent],
        name,
        flags,
        Mode::from_raw_mode(0o644),
    )
    .unwrap();
    while !data.is_empty() {
        let count = write(&file, data).unwrap();
        data = &data[count..];
    }
}
