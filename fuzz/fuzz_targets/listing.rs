//! Any bytes as a page of `objects.list`, and any names in it.

#![no_main]

use libfuzzer_sys::fuzz_target;
use wire::bucket::Page;
use wire::names::{AttemptObjects, RunId, StartUri};

fuzz_target!(|json: &[u8]| {
    if let Ok(page) = serde_json::from_slice::<Page>(json) {
        assert!(page.next.as_deref() != Some(""));
        let objects = page.objects.iter().map(|object| &object.name);
        objects.chain(&page.prefixes).for_each(|name| names(name));
    }
    if let Ok(text) = std::str::from_utf8(json) {
        names(text);
    }
});

/// A name that is understood names the same once more.
fn names(name: &str) {
    let run = name
        .split('/')
        .nth(1)
        .and_then(|run| run.parse::<RunId>().ok());
    if let Some(run) = run {
        if let Ok(objects) = AttemptObjects::from_report(run, name) {
            assert_eq!(objects.report(), name);
        }
        if let Ok((objects, sequence, stream)) = AttemptObjects::from_log(run, name) {
            assert_eq!(objects.log(sequence, stream), name);
        }
        if let Ok(objects) = AttemptObjects::from_logs(run, name) {
            assert_eq!(objects.logs(), name);
        }
        if let Ok((objects, sequence)) = AttemptObjects::from_checkpoint(run, name) {
            assert_eq!(objects.checkpoint(sequence), name);
        }
    }
    if let Ok(uri) = name.parse::<StartUri>() {
        assert_eq!(uri.to_string(), name);
    }
}
