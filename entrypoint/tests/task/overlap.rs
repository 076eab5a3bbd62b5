//! What goes on at once, and with how few calls: a relay holds one answer until something else was asked.

use std::path::Path;

use wire::contract::{Command, Input, Step};
use wire::names;

use crate::relay::{Relay, Seen};
use crate::shell;
use crate::site::Site;
use crate::task::Task;

/// As a GET of an object has it.
fn media(name: &str) -> String {
    name.replace('/', "%2F")
}

/// How many of these packs were asked for.
fn asked(seen: &Seen, packs: &[String]) -> usize {
    packs.iter().filter(|pack| seen.count(pack) > 0).count()
}

/// Packs of an input, as they are asked for.
fn packs(input: &Input) -> Vec<String> {
    let names = input.packs.iter().map(|pack| names::pack(&pack.md5));
    names.map(|name| media(&name)).collect()
}

/// An input of several packs: each file is as large as one likes to be.
fn several_packs(site: &Site, name: &str, directory: &Path) -> Input {
    for number in 0..4_u8 {
        let content = format!("{name}{number}").into_bytes().repeat(2_000_000);
        std::fs::write(directory.join(number.to_string()), content).unwrap();
    }
    let input = site.input(name, directory);
    assert!(input.packs.len() > 2, "{input:?}");
    input
}

fn small_input(site: &Site) -> (tempfile::TempDir, Input) {
    let source = tempfile::tempdir().unwrap();
    let data = source.path().join("data");
    std::fs::write(&data, "content").unwrap();
    let input = site.input("data", &data);
    (source, input)
}

fn is_claim(request: &str) -> bool {
    request.starts_with("POST") && request.contains("/claims/")
}

#[test]
fn inputs_are_on_their_way_while_the_claim_is() {
    let site = Site::start();
    let (_source, input) = small_input(&site);
    let pack = packs(&input).remove(0);
    let mut spec = shell("cat input/data");
    spec.inputs.push(input);
    let relay = Relay::before(&site.storage, move |request| {
        let pack = pack.clone();
        is_claim(request).then(|| Box::new(move |seen: &Seen| seen.count(&pack) > 0) as _)
    });
    let ran = Task::new(&site, spec)
        .env("STORAGE_EMULATOR_HOST", &relay.address)
        .finish();
    assert_eq!(ran.code(), 0);
    assert_eq!(ran.stdout(), "content");
    let claims = relay.seen().requests().filter(|one| is_claim(one)).count();
    assert_eq!(claims, 1, "it lost its patience");
}

#[test]
fn packs_are_on_their_way_together_before_the_command_and_after_it() {
    let site = Site::start();
    let (early, late) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut spec = shell("ls input");
    spec.inputs = vec![several_packs(&site, "early", early.path())];
    spec.post_inputs = vec![several_packs(&site, "late", late.path())];
    spec.post = vec![Step::new(Command::Shell("ls input".into()))];
    let inputs = [packs(&spec.inputs[0]), packs(&spec.post_inputs[0])];
    let all = inputs.concat();
    let relay = Relay::before(&site.storage, move |request| {
        let of = |packs: &&Vec<String>| packs.iter().any(|pack| request.contains(pack));
        let packs = inputs.iter().find(of)?.clone();
        Some(Box::new(move |seen: &Seen| asked(seen, &packs) > 1))
    });
    let ran = Task::new(&site, spec)
        .env("STORAGE_EMULATOR_HOST", &relay.address)
        .finish();
    assert_eq!(ran.code(), 0);
    assert_eq!(ran.stdout(), "early\n");
    let seen = relay.seen();
    for pack in all {
        assert_eq!(seen.count(&pack), 1, "it lost its patience");
    }
}

/// Its pack is on its way before it learns that the claim is another's, and arrives, if ever, after it has learned that.
#[test]
fn a_twin_that_has_begun_to_download_leaves() {
    let site = Site::start();
    let (_source, input) = small_input(&site);
    let pack = packs(&input).remove(0);
    let mut spec = shell("cat input/data");
    spec.inputs.push(input);
    let run = site.run(spec);
    let first = Task::of_run(&site, run).finish();
    assert_eq!(first.code(), 0);
    let claims = media(&run.claims());
    let (asked, holder) = (pack.clone(), claims.clone());
    let relay = Relay::before(&site.storage, move |request| {
        let awaited = if is_claim(request) {
            asked.clone()
        } else if request.contains(&asked) {
            holder.clone()
        } else {
            return None;
        };
        Some(Box::new(move |seen: &Seen| seen.count(&awaited) > 0))
    });
    let twin = Task::of_run(&site, run)
        .env("STORAGE_EMULATOR_HOST", &relay.address)
        .finish();
    assert_eq!(twin.code(), i32::from(entrypoint::exit::TWIN));
    assert!(twin.output.stdout.is_empty());
    assert!(!twin.workspace().exists(), "it has unpacked something");
    let seen = relay.seen();
    assert_eq!(seen.count(&pack), 1);
    let writes = seen
        .requests()
        .filter(|request| !request.starts_with("GET"));
    let writes: Vec<String> = writes.collect();
    assert!(writes.len() == 1 && is_claim(&writes[0]), "{writes:?}");
    assert_eq!(site.list(&run.reports()).len(), 1);
    assert_eq!(first.stdout(), "content");
}

#[test]
fn a_small_task_makes_four_calls_on_a_few_connections_and_asks_for_one_token() {
    let site = Site::start();
    let (_source, input) = small_input(&site);
    let pack = packs(&input).remove(0);
    let mut spec = shell("cat input/data; cp input/data output/");
    spec.inputs.push(input);
    let storage = Relay::before(&site.storage, |_| None);
    let metadata = Relay::before(&site.metadata, |_| None);
    let task = Task::new(&site, spec);
    let start = media(&task.run.start(0));
    let ran = task
        .env("STORAGE_EMULATOR_HOST", &storage.address)
        .env("GCE_METADATA_HOST", &metadata.address)
        .finish();
    assert_eq!(ran.code(), 0);
    assert_eq!(ran.stdout(), "content");
    let outputs = ran.outputs();
    let output = std::fs::read_to_string(outputs.path().join("data"));
    assert_eq!(output.unwrap(), "content");
    let seen = storage.seen();
    let calls: Vec<String> = seen.requests().collect();
    assert_eq!(calls.len(), 4, "{calls:#?}");
    assert!(calls[0].contains(&start), "{calls:#?}");
    assert!(calls[1..3].iter().any(|call| is_claim(call)), "{calls:#?}");
    assert!(calls[1..3].iter().any(|call| call.contains(&pack)));
    assert!(calls[3].contains("/reports/"), "{calls:#?}");
    // The claim and the first pack go side by side; one more where the end of an answer was not yet noticed.
    assert!(seen.connections() <= 3, "{}", seen.connections());
    let seen = metadata.seen();
    let calls: Vec<String> = seen.requests().collect();
    assert_eq!((calls.len(), seen.connections()), (1, 1), "{calls:#?}");
    assert!(calls[0].contains("/token"), "{calls:#?}");
}
