//! `sortie report`: one page about any run.

use std::fs;

use crate::forgeries::names;
use crate::harness::{Machine, wait_until};

#[test]
fn a_page_tells_a_run_whose_results_are_here() {
    let machine = Machine::new();
    machine.write(
        "tasks.toml",
        "[[task]]\nname = 'good'\ncommand = 'echo \"<b>said</b>\"; echo 12345 > output/numbers'\npost = ['echo after-all']\n\
         [[task]]\nname = 'bad'\ncommand = 'echo wrong >&2; exit 3'\n",
    );
    let result = machine
        .sortie(["run", "tasks.toml", "--json", "-o", "out"])
        .enter()
        .code(1)
        .result();
    let run = result["run"].as_str().unwrap();
    machine
        .sortie(["report", run])
        .enter()
        .code(0)
        .prints("")
        .says("report: sortie-");
    let page = machine.text(&format!("sortie-{run}.html"));
    for words in [
        run,
        "good",
        "exit code 3",
        "&lt;b&gt;said&lt;/b&gt;",
        "wrong",
        "numbers",
        "after-all",
        "command",
    ] {
        assert!(page.contains(words), "no `{words}` in:\n{page}");
    }
    assert!(
        !page.contains("<b>said</b>"),
        "what a task printed became markup"
    );
    let again = machine.sortie(["report", run, "-o", "-"]).enter().code(0);
    assert_eq!(String::from_utf8(again.stdout).unwrap(), page);
}

#[test]
fn what_is_not_here_is_fetched_for_the_page_alone() {
    let machine = Machine::new();
    let script = "head -c 600000 /dev/urandom > output/large; echo told";
    let done = machine
        .sortie(["run", "--detach", "-q", "--", "sh", "-c", script])
        .enter()
        .code(0);
    let run = String::from_utf8(done.stdout).unwrap().trim().to_owned();
    let outputs = || {
        let all = names(&machine, "runs/").into_iter();
        all.filter(|name| name.contains("/outputs/")).count()
    };
    let reported = || {
        names(&machine, "runs/")
            .iter()
            .any(|name| name.contains("/reports/"))
    };
    wait_until("it has ended", reported);
    machine
        .sortie(["report", &run, "-o", "page.html"])
        .enter()
        .code(0);
    let page = machine.text("page.html");
    assert!(page.contains("told") && page.contains("large"), "{page}");
    assert!(!machine.path("sortie-results").join(&run).join("0").exists());
    assert_eq!(outputs(), 1, "the outputs are still to be fetched");
    machine.sortie(["wait", &run, "-o", "out"]).enter().code(0);
    assert_eq!(
        fs::metadata(machine.path("out/output/large"))
            .unwrap()
            .len(),
        600_000
    );
    assert_eq!(outputs(), 0);
}

#[test]
fn a_run_that_goes_on_has_a_page_too() {
    let machine = Machine::new();
    let done = machine
        .sortie(["run", "--detach", "-q", "--", "sleep", "300"])
        .enter()
        .code(0);
    let run = String::from_utf8(done.stdout).unwrap().trim().to_owned();
    machine
        .sortie(["report", &run, "-o", "page.html"])
        .enter()
        .code(0);
    assert!(machine.text("page.html").contains("not ended"));
    machine.sortie(["cancel", &run]).enter().code(0);
}

#[test]
fn a_run_that_never_was_has_none() {
    let machine = Machine::new();
    machine
        .sortie(["report", "01M87CD03ANZWC88Q1J9M3S3NP"])
        .enter()
        .code(125)
        .says("knows nothing of run");
    assert_eq!(fs::read_dir(machine.work()).unwrap().count(), 0);
}
