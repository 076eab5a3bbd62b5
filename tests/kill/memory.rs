//! No memory.

use crate::audit;
use crate::harness::SORTIE;
use crate::scenario::{CODE, Scenario};
use crate::site::Site;

/// Address space, in MiB: too little to begin, some for a part of the work, enough.
const LIMITS: [u32; 7] = [24, 40, 56, 64, 80, 120, 400];

fn words() -> Vec<String> {
    Scenario::words("o", &[], "")
}

#[test]
#[ignore = "slow: `make test-kill`"]
fn a_sortie_without_memory_ends_and_is_come_back_to() {
    let mut ended = [0, 0];
    for limit in LIMITS {
        let (site, scenario) = (Site::start(), Scenario::new(limit.into()));
        let machine = &scenario.machine;
        let (bytes, words) = (format!("--as={}", u64::from(limit) << 20), words());
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let first = ["prlimit", &bytes, SORTIE];
        let done = site
            .program(machine, &[&first[..], &words].concat())
            .enter();
        println!(
            "{limit} MiB: {:?} {}",
            done.code,
            done.stderr.lines().next().unwrap_or("")
        );
        let whole = done.code == Some(CODE);
        ended[usize::from(whole)] += 1;
        if whole {
            scenario.check("o");
            continue;
        }
        // The allocator aborts; all else is sortie's own failure.
        assert!(matches!(done.code, None | Some(125)), "{:?}", done.code);
        assert!(!scenario.is_landed("o"));
        for run in audit::machine(machine) {
            let done = site.straight(machine, &["wait", &run.to_string()]).enter();
            match done.code {
                Some(125) => drop(done.says("was never started")),
                _ => drop(done.code(CODE)),
            }
        }
        audit::bucket(&site);
        audit::nobody(site.path());
    }
    assert!(ended[0] > 0 && ended[1] > 0, "{ended:?}");
}

#[test]
#[ignore = "slow: `make test-kill`"]
fn a_task_without_memory_is_told_of() {
    let mut ended = [0, 0];
    for limit in LIMITS {
        let site = Site::with(&format!("ulimit -v {}; exec", limit << 10));
        let scenario = Scenario::new(limit.into());
        let words = words();
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let done = site.straight(&scenario.machine, &words).enter();
        let task = done.result()["tasks"][0].clone();
        println!("{limit} MiB: {:?} {}", done.code, task["problem"]);
        let whole = done.code == Some(CODE);
        ended[usize::from(whole)] += 1;
        if whole {
            scenario.check("o");
        } else {
            assert!(
                task["problem"].as_str().is_some_and(|why| !why.is_empty()),
                "{task}"
            );
        }
        audit::bucket(&site);
        audit::nobody(site.path());
    }
    assert!(ended[0] > 0 && ended[1] > 0, "{ended:?}");
}
