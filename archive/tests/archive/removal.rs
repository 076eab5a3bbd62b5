//! What strangers made goes away again.

use std::os::unix::fs::symlink;

use archive::remove_tree;

use crate::tree::{Node, TestTree, fifo, look};

#[test]
fn links_are_removed_and_not_what_they_lead_to() {
    let tree = TestTree::new()
        .file("outside/f", 0o644, "kept")
        .file("gone/a/b/f", 0o444, "x")
        .link("gone/l", "../outside")
        .link("gone/a/f", "../../outside/f");
    symlink(tree.join("outside"), tree.join("gone/a/absolute")).unwrap();
    fifo(&tree.join("gone/fifo"));
    let outside = look(&tree.join("outside"));
    remove_tree(&tree.join("gone")).unwrap();
    assert_eq!(look(tree.path()).len(), 2);
    assert_eq!(look(&tree.join("outside")), outside);
}

#[test]
fn a_link_to_a_directory_is_a_link_even_with_a_slash_behind_it() {
    let tree = TestTree::new()
        .file("outside/f", 0o644, "kept")
        .link("l", "outside");
    remove_tree(&tree.join("l/")).unwrap();
    let left = look(tree.path());
    assert_eq!(left.len(), 2);
    assert!(matches!(left[&b"outside/f"[..]], Node::File { .. }));
}

/// Ordinary users cannot remove from these, nor look into them; root could anyway.
#[test]
fn permissions_do_not_hold_it_up() {
    let tree = TestTree::new()
        .file("gone/closed/f", 0o000, "x")
        .file("gone/read-only/below/f", 0o444, "x")
        .dir("gone/read-only/below", 0o555)
        .dir("gone/read-only", 0o555)
        .dir("gone/closed", 0o000)
        .dir("gone", 0o100);
    remove_tree(&tree.join("gone")).unwrap();
    assert!(look(tree.path()).is_empty());
}

#[test]
fn what_is_not_there_is_gone_and_a_file_is_a_tree() {
    let tree = TestTree::new().file("f", 0o644, "x");
    remove_tree(&tree.join("f")).unwrap();
    remove_tree(&tree.join("f")).unwrap();
    assert!(look(tree.path()).is_empty());
}
