//! What comes before a case, without its fault.

use std::os::unix::fs::PermissionsExt;

use jiff::{SignedDuration, Timestamp};
use wire::bucket::{NewObject, Precondition};

use super::Scene;
use crate::server::runtime;
use crate::stage::{Stage, Way};

/// Does it.
pub(super) fn prepare(scene: Scene, stage: &Stage<'_>) {
    stage.machine.write("data", scene.data());
    match scene {
        Scene::KnownInput => make_known(stage),
        Scene::Remove => run_straight(stage, &["-q", "-o", "o", "--", "true"]),
        Scene::Sweep => leave_job(stage),
        Scene::Wait => detach(scene, stage, &[]),
        Scene::PlannedWait => detach(scene, stage, &PLANNED),
        Scene::Init => put_settings(stage),
        Scene::Spec => {
            stage.machine.write("many", vec![b'x'; LARGE_SPEC]);
        }
        Scene::Collected => install_claude(scene, stage),
        _ => {}
    }
}

/// Two tasks, one after the other: what they do is in a plan.
pub(super) const PLANNED: [&str; 4] = ["-n", "2", "--parallel", "1"];

/// More than a start has room for.
const LARGE_SPEC: usize = 300_000;

fn run_straight(stage: &Stage<'_>, words: &[&str]) {
    let words = [&["run"], words].concat();
    stage.enter(Way::Straight, &words).code(0);
}

fn detach(scene: Scene, stage: &Stage<'_>, how: &[&str]) {
    let command = scene.command(&stage.mark());
    let words = [&["-d", "-i", "data"], how, &["--", "sh", "-c", &command]];
    run_straight(stage, &words.concat());
}

/// A run that is over, and the job that was made for it.
fn leave_job(stage: &Stage<'_>) {
    let size = ["--cpu", "1", "--memory", "1Gi"];
    let words = [&["-q", "-o", "o"][..], &size, &["--", "true"]].concat();
    run_straight(stage, &words);
    let jobs = stage.used_jobs();
    stage.machine.write(LEFT_JOB, &jobs[0]);
}

/// The name of the job that is left behind.
pub(super) const LEFT_JOB: &str = "left-job";

/// A program in Claude Code's place.
fn install_claude(scene: Scene, stage: &Stage<'_>) {
    let script = format!("#!/bin/sh\n{}\n", scene.command(&stage.mark()));
    let path = stage.machine.write("claude", script);
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
}

/// The input lies in the bucket, and its lifecycle's clock stands at the day before yesterday.
fn make_known(stage: &Stage<'_>) {
    run_straight(stage, &["-q", "-i", "data", "-o", "before", "--", "true"]);
    let name = stage.names("inputs/").remove(0);
    let old = Timestamp::now() - SignedDuration::from_hours(48);
    let bucket = stage.bucket();
    runtime().block_on(async {
        let meta = bucket.stat(&name).await.unwrap();
        let (_, bytes) = bucket.read(&name, 1 << 20).await.unwrap();
        bucket.delete(&name, Some(meta.generation)).await.unwrap();
        let object = NewObject {
            content_type: "application/gzip",
            metadata: meta.metadata,
            custom_time: Some(old),
            precondition: Precondition::Absent,
        };
        bucket.insert(&name, &object, bytes).await.unwrap();
    });
}

/// The project that the kit's settings name.
pub(super) const TEAM: &str = "the-teams-own";

fn put_settings(stage: &Stage<'_>) {
    let settings = serde_json::json!({
        "format": 1, "project": TEAM, "region": "us-central1", "bucket": stage.bucket, "environments": {},
    });
    let object = NewObject {
        content_type: "application/json",
        metadata: std::collections::BTreeMap::new(),
        custom_time: None,
        precondition: Precondition::Absent,
    };
    let json = bytes::Bytes::from(settings.to_string());
    let bucket = stage.bucket();
    let put = bucket.insert(wire::names::SETTINGS, &object, json);
    runtime().block_on(put).unwrap();
}
