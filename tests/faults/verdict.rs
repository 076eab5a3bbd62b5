//! What came of a case.

use serde_json::Value;

use crate::calls::{Row, known_calls};
use crate::counts::Counts;
use crate::harness::Done;
use crate::proxy::{Fault, Kind, Rule};
use crate::scene::{Scene, expect};
use crate::server::Server;
use crate::stage::Stage;

/// What the user sees of a fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Outcome {
    /// Nothing.
    AsIfNothing,
    /// A clear error, and `sortie wait` brings the result.
    WaitBringsIt,
    /// A clear error with nothing started, and the same command again does it.
    AgainDoesIt,
    /// A task that failed with a clear reason; the same command again does it.
    TaskFailed,
    /// The result is right, but for bytes of the log or a collected directory, which is said.
    PartLost,
    /// The run goes on to its own end, which is said.
    GoesOn,
    /// What could not be removed stays, which is said; the same command again removes it.
    Stays,
}

impl Outcome {
    pub(crate) fn sign(self) -> &'static str {
        match self {
            Self::AsIfNothing => "·",
            Self::WaitBringsIt => "W",
            Self::AgainDoesIt => "A",
            Self::TaskFailed => "T",
            Self::PartLost => "L",
            Self::GoesOn => "G",
            Self::Stays => "S",
        }
    }
}

/// What came of it, and what sortie said where it was not nothing.
#[derive(Debug, Clone)]
pub(crate) struct Verdict {
    pub(crate) outcome: Outcome,
    pub(crate) said: String,
}

/// Plays a row's scene with a fault; `Err`: what must never be.
pub(crate) fn play(server: &Server, row: &Row, fault: Fault) -> Result<Verdict, String> {
    let first = row.after.map(|(call, fault)| Rule::new(call, fault));
    let rules = first.into_iter().chain([Rule::new(row.call, fault)]);
    let stage = Stage::set(server, rules.collect());
    row.scene.prepare(&stage);
    let done = row.scene.act(&stage, "o");
    let struck = stage.proxy.strikes();
    let judged = judge(&stage, row, fault, &done).and_then(|verdict| {
        expect("the call was made", &struck, &true)?;
        let unnamed = stage.proxy.asked_besides(&known_calls());
        expect("calls without a row", &unnamed, &Vec::new())?;
        Ok(verdict)
    });
    judged.map_err(|why| {
        format!(
            "{why}\ncode {:?}\n{}\n{}\n{}",
            done.code,
            String::from_utf8_lossy(&done.stdout),
            done.stderr,
            stage.proxy.seen().join("\n")
        )
    })
}

fn judge(stage: &Stage<'_>, row: &Row, fault: Fault, done: &Done) -> Result<Verdict, String> {
    let scene = row.scene;
    not_broken(done)?;
    let right = scene.check(stage, done, "o");
    if right.is_ok() {
        nothing_doubled(stage, row, fault)?;
        return Ok(verdict(Outcome::AsIfNothing, String::new()));
    }
    let wrong = right.unwrap_err();
    if let Some(verdict) = told(stage, scene, done)? {
        nothing_doubled(stage, row, fault)?;
        return Ok(verdict);
    }
    if done.code != Some(125) {
        return Err(format!(
            "neither right nor a failure of sortie's own: {wrong}"
        ));
    }
    let last = last_line(done);
    let said = words_of(done, &last);
    if said.is_empty() {
        return Err("it says nothing of why".to_owned());
    }
    stage.proxy.relent();
    let waited = last["run"].as_str().filter(|_| last["event"] == "error");
    let outcome = match waited {
        Some(run) if wait_brings_it(stage, row, fault, run)? => Outcome::WaitBringsIt,
        _ => again(stage, row, fault, &last)?,
    };
    Ok(verdict(outcome, said))
}

/// Whether `sortie wait` does, now that nothing goes wrong; where the command ran it must.
fn wait_brings_it(stage: &Stage<'_>, row: &Row, fault: Fault, run: &str) -> Result<bool, String> {
    let back = row.scene.come_back(stage, run, "o2");
    not_broken(&back)?;
    match row.scene.check(stage, &back, "o2") {
        Ok(()) => nothing_doubled(stage, row, fault).map(|()| true),
        Err(_) if stage.ran() == 0 => Ok(false),
        Err(wrong) => {
            let shown = String::from_utf8_lossy(&back.stdout);
            let stderr = &back.stderr;
            Err(format!(
                "`wait` brings nothing of a run that ran: {wrong}\n{shown}\n{stderr}\n---"
            ))
        }
    }
}

/// The same command, now that nothing goes wrong.
fn again(stage: &Stage<'_>, row: &Row, fault: Fault, last: &Value) -> Result<Outcome, String> {
    let scene = row.scene;
    let failed = last["event"] == "result" || !last["run"].is_null();
    let outcome = if scene.comes_back() {
        Outcome::WaitBringsIt
    } else if failed {
        Outcome::TaskFailed
    } else {
        Outcome::AgainDoesIt
    };
    let mut expected = Counts::default();
    if outcome == Outcome::TaskFailed {
        expected = Counts::of_failed(row, fault);
    }
    if !scene.runs_nothing() && !scene.comes_back() {
        expect("what came of it", &Counts::of(stage, scene), &expected)?;
    }
    let again = scene.act(stage, "o3");
    not_broken(&again)?;
    scene
        .check(stage, &again, "o3")
        .map_err(|why| format!("even without a fault: {why}\n{}\n---", again.stderr))?;
    if !scene.runs_nothing() {
        expected += Counts::of_whole(scene);
        expect("what came of all", &Counts::of(stage, scene), &expected)?;
    }
    Ok(outcome)
}

/// What is not as it must be, and is said to be so; all else of it is right.
fn told(stage: &Stage<'_>, scene: Scene, done: &Done) -> Result<Option<Verdict>, String> {
    let stdout = String::from_utf8_lossy(&done.stdout);
    let says = |words: &str| stdout.lines().find(|line| line.contains(words));
    let (outcome, words) = match (scene, done.code) {
        (Scene::Talking, Some(3)) => (Outcome::PartLost, says("bytes of `stdout` were lost")),
        (Scene::Collected, Some(3)) => (Outcome::PartLost, says("[\"`sessions`: ")),
        (Scene::Cancel, Some(0)) => (Outcome::GoesOn, says("the cancel did not go through")),
        (Scene::Sweep, Some(0)) => (
            Outcome::Stays,
            done.stderr.lines().find(|line| line.contains(" stays: ")),
        ),
        _ => return Ok(None),
    };
    let Some(words) = words else {
        return Ok(None);
    };
    match outcome {
        Outcome::PartLost | Outcome::GoesOn => {
            // Of a log that has lost bytes what is left is right.
            if scene == Scene::Talking {
                scene.check_rest_of_stdout(stage, "o")?;
            } else {
                scene.check_stdout(stage, "o")?;
            }
            scene.check_outputs(stage, "o")?;
        }
        _ => {
            stage.proxy.relent();
            let again = scene.act(stage, "o3");
            not_broken(&again)?;
            scene.check(stage, &again, "o3")?;
        }
    }
    Ok(Some(verdict(outcome, words.to_owned())))
}

fn verdict(outcome: Outcome, said: String) -> Verdict {
    Verdict { outcome, said }
}

fn not_broken(done: &Done) -> Result<(), String> {
    if done.code.is_none() {
        return Err("it hung, and was killed".to_owned());
    }
    if done.stderr.contains("panicked") {
        return Err("it panicked".to_owned());
    }
    Ok(())
}

/// The command ran once a task, however many executions there are; and there are no more of them than were asked for.
fn nothing_doubled(stage: &Stage<'_>, row: &Row, fault: Fault) -> Result<(), String> {
    if row.scene.runs_nothing() {
        return Ok(());
    }
    let mut expected = Counts::of_whole(row.scene);
    let played = [Some((row.call, fault)), row.after];
    let mut played = played.iter().flatten();
    if played.any(|(call, fault)| call.kind == Kind::JobsRun && *fault == Fault::DoneTwice) {
        expected.executions += 1;
    }
    expect("what came of it", &Counts::of(stage, row.scene), &expected)
}

fn last_line(done: &Done) -> Value {
    let text = String::from_utf8_lossy(&done.stdout);
    let last = text.lines().next_back().unwrap_or_default();
    serde_json::from_str(last).unwrap_or(Value::Null)
}

/// Why it failed, as the user reads it.
fn words_of(done: &Done, last: &Value) -> String {
    if last["event"] == "result" {
        let task = &last["tasks"][0];
        return format!(
            "{}: {}",
            task["outcome"].as_str().unwrap_or_default(),
            task["problem"].as_str().unwrap_or_default()
        );
    }
    let error = last["error"].as_str().map(str::to_owned);
    error.unwrap_or_else(|| {
        done.stderr
            .lines()
            .next_back()
            .unwrap_or_default()
            .to_owned()
    })
}
