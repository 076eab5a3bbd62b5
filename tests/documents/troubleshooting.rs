//! Every message of something wrong that a user can meet has its entry in TROUBLESHOOTING.md, and every entry its text.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use crate::{collector, exceptions};

/// The crates whose words reach a user. The emulator's are Google's, not ours.
const CRATES: &[&str] = &[
    "archive",
    "claude",
    "entrypoint",
    "host",
    "registry",
    "sandbox",
    "wire",
];

#[test]
fn every_text_has_its_entry_and_every_entry_its_text() {
    let mut texts = said();
    assert!(texts.len() > 600, "only {} texts were found", texts.len());
    let idle: Vec<&str> = exceptions::all()
        .filter(|text| texts.remove(*text).is_none())
        .collect();
    assert!(idle.is_empty(), "exceptions that nobody says: {idle:#?}");
    let document = document();
    let entries: BTreeSet<&str> = document.lines().filter_map(entry).collect();
    let missing: Vec<String> = texts
        .iter()
        .filter(|(text, _)| !entries.contains(&text[..]))
        .map(|(text, place)| format!("> {text}    ({place})"))
        .collect();
    let stale: Vec<&&str> = entries
        .iter()
        .filter(|entry| !texts.contains_key(**entry))
        .collect();
    assert!(
        missing.is_empty() && stale.is_empty(),
        "TROUBLESHOOTING.md lacks:\n{}\nand explains what nobody says:\n{stale:#?}",
        missing.join("\n")
    );
}

#[test]
fn every_group_of_entries_is_followed_by_what_it_means() {
    assert_eq!(unexplained(&document()), Vec::<String>::new());
}

#[test]
fn a_group_without_an_explanation_is_found() {
    let document = "> a\n> b\n\nMeaning.\n\n> c\n\n> d\n\nMore.\n\n> e\n\n## Next\n\n> f\n";
    assert_eq!(unexplained(document), ["c", "e", "f"]);
}

fn entry(line: &str) -> Option<&str> {
    line.strip_prefix("> ")
}

/// The last entry of each group after which comes another group, a heading or nothing.
fn unexplained(document: &str) -> Vec<String> {
    let blocks = document.split("\n\n").map(str::trim);
    let blocks: Vec<&str> = blocks.filter(|block| !block.is_empty()).collect();
    let is_prose = |block: &&str| !block.starts_with('>') && !block.starts_with('#');
    let groups = blocks
        .iter()
        .enumerate()
        .filter(|(_, block)| block.starts_with('>'));
    groups
        .filter(|(at, _)| !blocks.get(at + 1).is_some_and(is_prose))
        .filter_map(|(_, block)| block.lines().last().and_then(entry).map(str::to_owned))
        .collect()
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn document() -> String {
    fs_err::read_to_string(root().join("TROUBLESHOOTING.md")).unwrap()
}

/// What sortie and its entrypoint say, each with a file that says it.
fn said() -> BTreeMap<String, String> {
    let root = root();
    let mut texts = BTreeMap::new();
    for name in CRATES {
        for file in sources(&root.join(name).join("src")) {
            let place = file.strip_prefix(&root).unwrap().display().to_string();
            if exceptions::PAGES.iter().any(|page| place.starts_with(page)) {
                continue;
            }
            let code = fs_err::read_to_string(&file).unwrap();
            for text in collector::texts_of(code.parse().unwrap()) {
                texts.entry(text).or_insert_with(|| place.clone());
            }
        }
    }
    texts
}

/// The files of source below a directory, but for unit tests.
fn sources(directory: &Path) -> Vec<PathBuf> {
    let walk = walkdir::WalkDir::new(directory).sort_by_file_name();
    let files = walk.into_iter().map(|entry| entry.unwrap().into_path());
    let is_source = |path: &PathBuf| {
        path.extension().is_some_and(|extension| extension == "rs") && !path.ends_with("tests.rs")
    };
    files.filter(is_source).collect()
}
