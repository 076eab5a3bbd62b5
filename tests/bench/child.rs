//! What is measured in a process of its own: this very program, with a word that says what to do.

mod create;
mod pack;
mod walk;

use std::path::{Path, PathBuf};
use std::process::Command;

/// Begins the words of such a process.
const CHILD: &str = "--child";

/// This program, to do one thing.
pub(crate) fn command(what: &str, arguments: &[&Path]) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.arg(CHILD).arg(what).args(arguments);
    command
}

/// What a tree is packed to, in this process.
pub(crate) fn packed_bytes(tree: &Path) -> u64 {
    pack::bytes(tree)
}

/// Does it, if that is what this process is for.
pub(crate) fn is_one(words: &[String]) -> bool {
    let Some([what, paths @ ..]) = words.strip_prefix(&[CHILD.to_owned()]) else {
        return false;
    };
    let paths: Vec<PathBuf> = paths.iter().map(PathBuf::from).collect();
    match (what.as_str(), paths.as_slice()) {
        ("pack", [tree]) => pack::cold(tree),
        ("again", [tree, index]) => pack::again(tree, index),
        ("archive", [tree, out]) => pack::archive(tree, out),
        ("unpack", [archives, target]) => pack::unpack(archives, target),
        ("read", [tree]) => walk::read(tree),
        ("stat", [tree]) => drop(walk::stat(tree)),
        ("create", [archives, target]) => create::create(archives, target),
        _ => panic!("no such child: {words:?}"),
    }
    true
}
