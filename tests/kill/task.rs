//! A task's entrypoint is killed, as the kernel does when memory is short.

use std::sync::{Arc, Mutex};
use std::time::Instant;

use crate::audit;
use crate::harness::Done;
use crate::points::{Point, Round, play, rounds};
use crate::scenario::{CODE, Scenario};
use crate::site::{JOB, RETRYING, Site};

/// Long enough for a checkpoint.
const PAUSE: &str = "sleep 1.3;";

const FLAGS: [&str; 2] = ["--checkpoint", "1s"];

#[test]
#[ignore = "slow: `make test-kill`"]
fn a_task_that_is_killed_anywhere_is_explained_salvaged_and_tried_again() {
    let (site, scenario) = (Site::start(), Scenario::new(0));
    let begun = Instant::now();
    run(&site, &scenario, JOB, "o").code(CODE);
    let time = begun.elapsed();
    scenario.check("o");
    audit::bucket(&site);
    for line in site.task.seen() {
        println!("{line}");
    }
    play(&rounds(site.task.count(), time), round);
}

fn run(site: &Site, scenario: &Scenario, job: &str, out: &str) -> Done {
    let words = Scenario::words(out, &FLAGS, PAUSE);
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    site.sortie(&scenario.machine, job, &words).enter()
}

fn round(round: Round) -> String {
    let (site, scenario) = (Site::start(), Scenario::new(round.dice));
    let kill = site.killer_of_task();
    let over = Arc::new(Mutex::new(false));
    match round.point {
        Point::At(request, when) => site.task.strike(request, when, kill),
        Point::After(time) => {
            let over = over.clone();
            std::thread::spawn(move || {
                std::thread::sleep(time);
                let over = over.lock().unwrap();
                if !*over {
                    kill();
                }
            });
        }
    }
    let job = [JOB, RETRYING][usize::from(round.dice.is_multiple_of(2))];
    let done = run(&site, &scenario, job, "o");
    // What comes too late must not strike the next one.
    *over.lock().unwrap() = true;
    site.task.call_off();
    let came_of_it = if done.code == Some(125) && job == JOB {
        explained(&site, &scenario, &done)
    } else {
        done.code(CODE);
        scenario.check("o");
        if job == JOB {
            "it had reported"
        } else {
            "the platform tried again"
        }
    };
    run(&site, &scenario, JOB, "p").code(CODE);
    scenario.check("p");
    assert_eq!(audit::partial(&scenario.machine), [""; 0]);
    audit::bucket(&site);
    audit::machine(&scenario.machine);
    audit::nobody(site.path());
    came_of_it.to_owned()
}

/// What cannot be had of it is said, and the rest is here.
fn explained(site: &Site, scenario: &Scenario, done: &Done) -> &'static str {
    let task = done.result()["tasks"][0].clone();
    assert_eq!(task["outcome"], "lost", "{task}");
    let problem = task["problem"].as_str().unwrap();
    assert!(
        problem.contains("killed from outside") && problem.contains("memory"),
        "{problem}"
    );
    let read = |name: &str| scenario.machine.text(&format!("o/{name}"));
    assert!(read("report.json").contains("\"lost\""));
    let stdout = scenario.machine.path("o/stdout");
    let printed = std::fs::read_to_string(stdout).unwrap_or_default();
    assert!(Scenario::stdout().starts_with(&printed), "another log");
    let objects = audit::objects(site);
    let has = |what: &str| objects.iter().any(|object| object.name.contains(what));
    assert_eq!(
        has("/logs/"),
        !printed.is_empty() || (has("-err") && !has("-out"))
    );
    if has("/checkpoints/") {
        scenario.check_checkpoint("o");
        return "its checkpoint was taken";
    }
    assert!(!scenario.machine.path("o/output/copy").exists());
    "it had nothing yet"
}
