//! What the command finds in `input/`.

use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use wire::contract::{InputKind, Outcome, Reason};
use wire::names;

use crate::shell;
use crate::site::{Site, gzip};
use crate::task::{Task, tree};

fn write(path: &Path, content: &[u8], mode: u32) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, content).unwrap();
    std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
}

#[test]
fn files_directories_links_and_permissions_arrive() {
    let site = Site::start();
    let source = tempfile::tempdir().unwrap();
    let repo = source.path().join("repo");
    for mode in [0o755, 0o700, 0o750, 0o644, 0o444, 0o600] {
        write(
            &repo.join(format!("dir/file{mode:o}")),
            format!("{mode}").as_bytes(),
            mode,
        );
    }
    std::fs::create_dir(repo.join("empty")).unwrap();
    std::fs::set_permissions(repo.join("empty"), PermissionsExt::from_mode(0o500)).unwrap();
    symlink("dir/file644", repo.join("link")).unwrap();
    let single = source.path().join("data.json");
    write(&single, b"{}", 0o640);
    let mut spec = shell("cat input/repo/link input/data.json");
    spec.inputs = vec![site.input("repo", &repo), site.input("data.json", &single)];
    let ran = Task::new(&site, spec).finish();
    assert_eq!(ran.stdout(), format!("{}{{}}", 0o644));
    assert_eq!(tree(&ran.workspace().join("input/repo")), tree(&repo));
    let mode = std::fs::metadata(ran.workspace().join("input/data.json"))
        .unwrap()
        .permissions();
    assert_eq!(mode.mode() & 0o777, 0o640);
}

#[test]
fn an_input_of_many_packs_arrives_whole() {
    let site = Site::start();
    let source = tempfile::tempdir().unwrap();
    for number in 0..7_u8 {
        let content: Vec<u8> = (0..5_000_000_u32)
            .map(|i| i.to_le_bytes()[0] ^ number)
            .collect();
        write(&source.path().join(format!("{number}")), &content, 0o644);
    }
    let input = site.input("big", source.path());
    assert!(input.packs.len() > 1, "{input:?}");
    let mut spec = shell("cat input/big/* | wc -c");
    spec.inputs.push(input);
    let ran = Task::new(&site, spec).finish();
    assert_eq!(ran.stdout().trim(), "35000000");
    assert_eq!(
        tree(&ran.workspace().join("input/big")),
        tree(source.path())
    );
}

#[test]
fn a_poisoned_pack_is_found_before_the_command_starts() {
    let site = Site::start();
    let source = tempfile::tempdir().unwrap();
    write(&source.path().join("script"), b"echo good", 0o755);
    let good = site.input("code", &source.path().join("script"));
    write(&source.path().join("script"), b"echo evil", 0o755);
    let evil = site.input("code", &source.path().join("script"));
    let mut mixed = good.clone();
    // The bytes under the evil address, the digest of the good ones.
    mixed.packs[0].md5.clone_from(&evil.packs[0].md5);
    let mut spec = shell("touch output/ran");
    spec.inputs.push(mixed.clone());
    let ran = Task::new(&site, spec).finish();
    assert_eq!(ran.code(), 125);
    let report = ran.report();
    assert_eq!((report.outcome, report.code), (Outcome::Setup, None));
    let problem = report.problem.unwrap();
    assert_eq!(problem.reason, Reason::InputMismatch);
    assert!(
        problem.message.contains(&names::pack(&mixed.packs[0].md5)),
        "{problem:?}"
    );
    assert!(!ran.workspace().join("output/ran").exists());
    assert_eq!(ran.metadata()["outcome"], "setup");
    assert!(!ran.metadata().contains_key("code"));
}

#[test]
fn a_pack_that_unpacks_to_more_than_was_sent_is_stopped_early() {
    let site = Site::start();
    let source = tempfile::tempdir().unwrap();
    let data = source.path().join("data");
    write(&data, b"data", 0o644);
    let mut mixed = site.input("data", &data);
    write(&data, &vec![0; 50 << 20], 0o644);
    let bomb = site.input("data", &data);
    mixed.packs[0].md5.clone_from(&bomb.packs[0].md5);
    let mut spec = shell("touch output/ran");
    spec.inputs.push(mixed);
    let ran = Task::new(&site, spec).finish();
    assert_eq!(ran.report().problem.unwrap().reason, Reason::InputMismatch);
    let written = tree(&ran.workspace().join("input"));
    let held: usize = written.iter().map(|(.., content)| content.len()).sum();
    assert!(held < 1 << 20, "{held} bytes were written");
    assert!(!ran.workspace().join("output/ran").exists());
}

#[test]
fn a_pack_that_is_no_archive_is_named() {
    let site = Site::start();
    let source = tempfile::tempdir().unwrap();
    write(&source.path().join("data"), b"data", 0o644);
    let whole = site.input("data", &source.path().join("data"));
    for (index, body) in [&b"not gzip"[..], &gzip(b"not a tar")]
        .into_iter()
        .enumerate()
    {
        let mut input = whole.clone();
        input.packs[0].md5 = format!("{index:032}");
        site.put(&names::pack(&input.packs[0].md5), body.to_vec());
        let mut spec = shell("touch output/ran");
        spec.inputs.push(input);
        let ran = Task::new(&site, spec).finish();
        let problem = ran.report().problem.unwrap();
        assert_eq!(problem.reason, Reason::InputMismatch, "{problem:?}");
        assert!(!ran.workspace().join("output/ran").exists());
    }
}

#[test]
fn a_missing_pack_is_named() {
    let site = Site::start();
    let source = tempfile::tempdir().unwrap();
    write(&source.path().join("data"), b"data", 0o644);
    let mut input = site.input("data", &source.path().join("data"));
    input.packs[0].md5 = "0123456789abcdef0123456789abcdef".to_owned();
    let mut spec = shell("touch output/ran");
    spec.inputs.push(input);
    let ran = Task::new(&site, spec).finish();
    assert_eq!(ran.code(), 125);
    let problem = ran.report().problem.unwrap();
    assert_eq!(problem.reason, Reason::InputMissing);
    assert!(
        problem
            .message
            .contains("inputs/0123456789abcdef0123456789abcdef.tar.gz")
    );
    assert!(!ran.workspace().join("output/ran").exists());
}

#[test]
fn a_pack_makes_its_input_and_nothing_else() {
    let site = Site::start();
    let source = tempfile::tempdir().unwrap();
    write(&source.path().join("data"), b"data", 0o644);
    let mut other = site.input("data", &source.path().join("data"));
    other.name = "renamed".into();
    let mut kind = site.input("kind", &source.path().join("data"));
    kind.kind = InputKind::Directory;
    for input in [other, kind] {
        let mut spec = shell("touch output/ran");
        spec.inputs.push(input);
        let ran = Task::new(&site, spec).finish();
        let report = ran.report();
        assert_eq!(report.outcome, Outcome::Setup);
        assert_eq!(report.problem.unwrap().reason, Reason::InputMismatch);
        assert!(!ran.workspace().join("output/ran").exists());
    }
}
