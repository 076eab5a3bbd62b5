//! No room, and nowhere to write.

use crate::audit;
use crate::harness::{Done, Machine, SORTIE};
use crate::scenario::{CODE, Scenario};
use crate::site::Site;

/// `sortie` with a small file system mounted at `small`, in the working directory.
fn with_little_room(site: &Site, machine: &Machine, room: &str, words: &[&str]) -> Done {
    std::fs::create_dir_all(machine.path("small")).unwrap();
    let script = format!("mount -t tmpfs -o size={room} none small && exec \"$0\" \"$@\"");
    let first = ["unshare", "-Urm", "sh", "-c", &script, SORTIE];
    site.program(machine, &[&first[..], words].concat()).enter()
}

fn run_of(machine: &Machine) -> String {
    let runs = audit::machine(machine);
    runs.last().unwrap().to_string()
}

#[test]
#[ignore = "slow: `make test-kill`"]
fn results_that_do_not_fit_here_stay_in_the_bucket_until_there_is_room() {
    // The log alone is too large; the outputs are; both fit, and nothing else.
    for size in ["400k", "2m"] {
        let (site, scenario) = (Site::start(), Scenario::new(1));
        let machine = &scenario.machine;
        let words = Scenario::words("small/o", &[], "");
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let done = with_little_room(&site, machine, size, &words).code(125);
        let run = run_of(machine);
        done.says("No space left on device")
            .says(&format!("sortie wait {run}"));
        assert_eq!(std::fs::read_dir(machine.path("small")).unwrap().count(), 0);
        let words = ["wait", "--out", "o", &run];
        site.straight(machine, &words).enter().code(CODE);
        scenario.check("o");
        audit::bucket(&site);
    }
}

#[test]
#[ignore = "slow: `make test-kill`"]
fn a_task_without_room_for_its_inputs_or_outputs_says_so() {
    let mount = "mount -t tmpfs -o size=1m none \"$HOME\"";
    let site = Site::with(&format!(
        "exec unshare -Urm sh -c '{mount} && exec \"$0\" \"$@\"'"
    ));
    let scenario = Scenario::new(2);
    let words = Scenario::words("o", &[], "");
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let done = site.straight(&scenario.machine, &words).enter().code(125);
    let task = done.result()["tasks"][0].clone();
    assert_eq!(task["outcome"], "setup", "{task}");
    let problem = task["problem"].as_str().unwrap();
    assert!(problem.contains("No space left on device"), "{problem}");
    let script = "head -c 3000000 /dev/zero > output/f";
    let words = ["run", "--json", "--out", "p", "--", "sh", "-c", script];
    site.straight(&scenario.machine, &words).enter().code(1);
    let stderr = scenario.machine.text("p/stderr");
    assert!(stderr.contains("No space left on device"), "{stderr}");
}

#[test]
#[ignore = "slow: `make test-kill`"]
fn where_nothing_can_be_written_it_is_said_before_anything_runs() {
    let (site, scenario) = (Site::start(), Scenario::new(3));
    let machine = &scenario.machine;
    let words = Scenario::words("/proc/sortie/o", &[], "");
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let done = site.straight(machine, &words).enter().code(125);
    done.says("cannot make `/proc/sortie/o`").says("`--out`");
    let words = Scenario::words("o", &[], "");
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let typed = site
        .straight(machine, &words)
        .env("SORTIE_DATA_DIR", "/proc/sortie");
    typed
        .enter()
        .code(125)
        .says("`/proc/sortie/runs`")
        .says("SORTIE_DATA_DIR");
    // A file system that is read-only to root, too.
    let script = "mount --bind . . && mount -o remount,ro,bind . && cd . && exec \"$0\" \"$@\"";
    std::fs::create_dir(machine.path("fixed")).unwrap();
    let first = ["unshare", "-Urm", "sh", "-c", script, SORTIE];
    let done = site
        .program(machine, &[&first[..], &words].concat())
        .enter()
        .code(125);
    done.says("Read-only file system").says("`--out`");
    let claims = audit::objects(&site);
    assert!(!claims.iter().any(|object| object.name.contains("/claims/")));
}

/// The local emulator's own disk.
#[test]
#[ignore = "slow: `make test-kill`"]
fn a_full_data_directory_is_a_clear_failure_and_no_damage() {
    let machine = Machine::new();
    machine.write("large", crate::points::Dice(4).bytes(6_000_000));
    std::fs::create_dir(machine.path("small")).unwrap();
    // The emulator lives in these mounts alone, so it is ended with them.
    let script = r#"mount -t tmpfs -o size=4m none small
        export SORTIE_DATA_DIR="$PWD/small"
        "$0" run -q --out o -i large -- true; echo "full: $?"
        "$0" run -q --out p -- echo fits; echo "fits: $?"
        kill $(sed 's/.*"pid":\([0-9]*\).*/\1/' small/emulator.json)"#;
    let words = ["-Urm", "sh", "-c", script, SORTIE];
    let done = machine.program("unshare", words).enter().code(0);
    assert_eq!(
        String::from_utf8_lossy(&done.stdout),
        "full: 125\nfits\nfits: 0\n"
    );
    done.says("cannot upload the input `large`")
        .says("No space left on device");
}
