//! The emulator of local mode is killed, under a run.

use std::time::{Duration, Instant};

use crate::audit;
use crate::harness::is_alive;
use crate::points::{Point, Round, play, rounds};
use crate::scenario::{CODE, Scenario};
use crate::site::kill;

#[test]
#[ignore = "slow: `make test-kill`"]
fn a_local_emulator_that_is_killed_at_any_time_is_brought_back_and_what_it_ran_is_told_of() {
    let scenario = Scenario::new(0);
    scenario
        .machine
        .sortie(["run", "-q", "--", "true"])
        .enter()
        .code(0);
    let begun = Instant::now();
    scenario
        .machine
        .sortie(Scenario::words("o", &[], ""))
        .enter()
        .code(CODE);
    // Nobody counts its requests.
    let all = rounds(1, begun.elapsed());
    let by_time: Vec<Round> = all
        .iter()
        .zip(0_u32..)
        .map(|(round, number)| {
            let part = begun.elapsed() * number / u32::try_from(all.len()).unwrap();
            let point = Point::After(part);
            Round { point, ..*round }
        })
        .collect();
    play(&by_time, round);
}

fn round(round: Round) -> String {
    let scenario = Scenario::new(round.dice);
    let machine = &scenario.machine;
    machine.sortie(["run", "-q", "--", "true"]).enter().code(0);
    let emulator = machine.emulator_pid().unwrap();
    let Point::After(time) = round.point else {
        unreachable!("by time")
    };
    let running = machine.sortie(Scenario::words("o", &[], "")).start();
    std::thread::sleep(time.min(Duration::from_secs(20)));
    kill(emulator);
    let done = running.end();
    let came_of_it = if done.code == Some(CODE) {
        scenario.check("o");
        "it had what it needed, or was brought back in time"
    } else {
        // What is said is what was found, by this one or by who comes back.
        let done = done.code(125);
        assert!(done.stderr.contains("error: ") || done.result()["tasks"][0]["outcome"] == "lost");
        "its task was lost"
    };
    for run in audit::runs(machine) {
        let words = ["wait", &run.to_string()];
        let again = machine.sortie(words).enter();
        assert!(matches!(again.code, Some(0 | CODE | 125)), "{again:?}");
    }
    machine
        .sortie(Scenario::words("p", &[], ""))
        .enter()
        .code(CODE);
    scenario.check("p");
    assert_eq!(audit::partial(machine), [""; 0]);
    assert!(!is_alive(emulator));
    let left = std::fs::read_dir(machine.data().join("scratch"))
        .into_iter()
        .flatten();
    assert_eq!(left.count(), 0);
    came_of_it.to_owned()
}
