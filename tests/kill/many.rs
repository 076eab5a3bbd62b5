//! Very many small files.

use std::fs;
use std::time::Instant;

use crate::ends::peak;
use crate::harness::Machine;
use crate::points::number;
use crate::site::{JOB, Site};

/// In a directory.
const EACH: u64 = 1000;

/// Of the entrypoint, and of `sortie`, both unoptimised.
const MOST: u64 = 64 << 20;

#[test]
#[ignore = "slow: `make test-kill`"]
fn very_many_small_outputs_come_home_in_little_memory() {
    let (site, machine) = (Site::start(), Machine::new());
    let count = number("SORTIE_KILL_FILES", 100_000);
    let script = format!(
        r#"BEGIN {{ for (i = 0; i < {count}; i++) {{
            d = "output/" int(i / {EACH}); if (i % {EACH} == 0) system("mkdir " d)
            f = d "/" i; print i > f; close(f) }} }}"#
    );
    let words = ["run", "--json", "--out", "o", "--", "awk", &script];
    let begun = Instant::now();
    let running = site.sortie(&machine, JOB, &words).start();
    let (task, host) = (site.task_pid(), running.pid());
    let of_task = std::thread::spawn(move || peak(task));
    let of_host = std::thread::spawn(move || peak(host));
    let done = running.end().code(0);
    let (of_task, of_host) = (of_task.join().unwrap(), of_host.join().unwrap());
    println!(
        "{count} files in {:?}: {of_task} bytes there, {of_host} here",
        begun.elapsed()
    );
    println!("{}", done.result()["tasks"][0]["phases"]);
    assert!(
        of_task < MOST && of_host < MOST,
        "{of_task} there, {of_host} here"
    );
    let mut next = 0;
    for directory in 0..count.div_ceil(EACH) {
        let path = machine.path("o/output").join(directory.to_string());
        let files = fs::read_dir(path).unwrap().count() as u64;
        assert_eq!(files, EACH.min(count - next));
        next += files;
    }
    for file in [0, 1, count / 2, count - 1] {
        let text = machine.text(&format!("o/output/{}/{file}", file / EACH));
        assert_eq!(text, format!("{file}\n"));
    }
}
