//! Directories that come home beside the outputs, of a container that means harm.

use wire::contract::{Archive, Collected, Outputs};

use crate::harness::Machine;
use crate::platform::{Platform, begin, write_report_with};

/// A tar of one file `a` that holds `x`.
const ONE_FILE: &str = "H4sIAAAAAAAAA+3PSwqAQAgA0DlKR2hgqPN0gqAPdPykVbQoCCqC9zaKCmqXnleHppQthmMMeZdHPedc2lTVL9yW5nHqhlg/9P10NnfVPz73E8vXBwAAAAAAAAAAAHDLCiTHXoQAKAAA";

fn collected(name: &str, bytes: u64, archive: Archive) -> Collected {
    Collected {
        name: name.into(),
        outputs: Outputs {
            entries: 1,
            bytes,
            archive,
            ..Outputs::default()
        },
        problem: None,
    }
}

#[test]
fn what_was_collected_lands_under_its_name_and_nowhere_else() {
    let machine = Machine::new();
    let state = tempfile::tempdir().unwrap();
    let platform = Platform::start(state.path(), |container| async move {
        let (objects, bucket) = begin(&container).await;
        let whole = || Archive::Inline(ONE_FILE.to_owned());
        let gone = Archive::Object {
            size: 9,
            generation: 1,
            sha256: String::new(),
        };
        let all = vec![
            collected("good", 1, whole()),
            collected("../evil", 1, whole()),
            collected("stdout", 1, whole()),
            collected("claude.json", 1, whole()),
            collected("good", 1, whole()),
            collected("bomb", 0, whole()),
            collected("gone", 1, gone),
            collected("no-base64", 1, Archive::Inline("!".to_owned())),
        ];
        write_report_with(&objects, &bucket, 0, all).await
    });
    let words = ["run", "--out", "deep/o", "--", "true"];
    let done = platform.sortie(&machine, words).enter().code(0);
    assert_eq!(machine.text("deep/o/good/a"), "x");
    assert_eq!(machine.text("deep/o/stdout"), "x\n");
    for name in ["evil", "o/evil", "o/claude.json", "o/bomb/a", "o/gone/a"] {
        assert!(!machine.path("deep").join(name).exists(), "{name}");
    }
    for words in [
        "`../evil`",
        "`stdout`",
        "`claude.json`",
        "`good`",
        "`bomb`",
        "`gone`",
        "`no-base64`",
    ] {
        assert!(
            done.stderr.contains(words),
            "nothing of {words}: {}",
            done.stderr
        );
    }
}
