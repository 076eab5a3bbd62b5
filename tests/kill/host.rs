//! `sortie` is killed.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Instant;

use rustix::process::Signal;

use crate::audit;
use crate::harness::{Done, wait_until};
use crate::points::{Point, Round, play, rounds};
use crate::scenario::{CODE, Scenario};
use crate::site::{JOB, Site, kill};

#[test]
#[ignore = "slow: `make test-kill`"]
fn a_sortie_that_is_killed_anywhere_leaves_nothing_half_and_is_come_back_to() {
    let (site, scenario) = (Site::start(), Scenario::new(0));
    let begun = Instant::now();
    let words = Scenario::words("o", &[], "");
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    site.sortie(&scenario.machine, JOB, &words)
        .enter()
        .code(CODE);
    let time = begun.elapsed();
    scenario.check("o");
    audit::bucket(&site);
    for line in site.host.seen() {
        println!("{line}");
    }
    play(&rounds(site.host.count(), time), round);
}

fn round(round: Round) -> String {
    let (site, scenario) = (Site::start(), Scenario::new(round.dice));
    let machine = &scenario.machine;
    let is_there = round.dice.is_multiple_of(2);
    if is_there {
        fs::create_dir(machine.path("o")).unwrap();
    }
    let words = Scenario::words("o", &[], "");
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let done = killed(&site, &scenario, &words, round.point);
    if done.code.is_some() {
        done.code(CODE);
        scenario.check("o");
        return "it was over before".to_owned();
    }
    let landed = scenario.is_landed("o");
    assert!(
        landed || is_there || !machine.path("o").exists(),
        "half a result"
    );
    let came_of_it = come_back(&site, &scenario);
    // Who types it again names the same directory where nothing has come of the first.
    let out = if came_of_it.is_some() { "p" } else { "o" };
    let words = Scenario::words(out, &[], "");
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    site.straight(machine, &words).enter().code(CODE);
    scenario.check(out);
    assert_eq!(audit::partial(machine), [""; 0]);
    audit::bucket(&site);
    audit::machine(machine);
    audit::nobody(site.path());
    came_of_it.unwrap_or_else(|| "it was typed again".to_owned())
}

/// Types it, and kills it at a point.
fn killed(site: &Site, scenario: &Scenario, words: &[&str], point: Point) -> Done {
    let pid = Arc::new(AtomicU32::new(0));
    let victim = pid.clone();
    if let Point::At(request, side) = point {
        site.host.strike(request, side, move || {
            wait_until("it has a number", || victim.load(Ordering::SeqCst) != 0);
            kill(victim.load(Ordering::SeqCst));
        });
    }
    let running = site.sortie(&scenario.machine, JOB, words).start();
    pid.store(running.pid(), Ordering::SeqCst);
    if let Point::After(time) = point {
        std::thread::sleep(time);
        running.signal(Signal::KILL);
    }
    running.end()
}

/// `sortie wait`, if anything is remembered: what came of it, if anything did.
fn come_back(site: &Site, scenario: &Scenario) -> Option<String> {
    let runs = audit::machine(&scenario.machine);
    let [run] = runs[..] else {
        assert!(runs.is_empty());
        return None;
    };
    let words = ["wait", &run.to_string()];
    let done = site.straight(&scenario.machine, &words).enter();
    if done.code == Some(125) {
        done.says("was never started")
            .says("type its `sortie run` again");
        let claims = run.claims();
        let objects = audit::objects(site);
        assert!(
            !objects
                .iter()
                .any(|object| object.name.starts_with(&claims))
        );
        return None;
    }
    done.code(CODE);
    scenario.check("o");
    Some("it was waited for".to_owned())
}
